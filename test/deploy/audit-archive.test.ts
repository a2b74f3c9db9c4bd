import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { generateKeyPairSync } from 'node:crypto';
import type { Pool } from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { makeAuditSealer } from '../../src/audit/seal-events.ts';
import { systemClock } from '../../src/bootstrap/system-clock.ts';
import { keyRingFromPem } from '../../src/crypto/key-ring.ts';
import { openPool } from '../../src/store/postgres/pool.ts';
import { PostgresAuditChain } from '../../src/store/postgres/postgres-audit-chain.ts';
import { PostgresRepository } from '../../src/store/postgres/postgres-repository.ts';
import { anEvent } from '../support/entities.ts';
import { openDatabase, type TestDatabase } from '../support/postgres.ts';

const SCRIPT = new URL('../../deploy/audit/archive.sh', import.meta.url).pathname;
const run = promisify(execFile);

const { privateKey, publicKey } = generateKeyPairSync('ed25519');

let folder: string;
let database: TestDatabase;
let pool: Pool;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'asb-archive-'));
  writeFileSync(join(folder, 'keys.pem'), publicKey.export({ format: 'pem', type: 'spki' }));
  database = await openDatabase();
  pool = openPool({ dsn: database.dsn, maxConnections: 2, statementTimeoutMs: 10_000, lockTimeoutMs: 5000 });
});
afterEach(async () => {
  await pool.end();
  await database.close();
  rmSync(folder, { recursive: true });
});

/** Records so many events, and seals them. */
async function recordAndSeal(count: number): Promise<void> {
  const repository = new PostgresRepository({ pool });
  await repository.transact((unit) => {
    for (let left = count; left > 0; left -= 1) unit.record(anEvent());
  });
  const keys = await keyRingFromPem(privateKey.export({ format: 'pem', type: 'pkcs8' }).toString());
  const sealer = makeAuditSealer({ chain: new PostgresAuditChain(pool), keys, clock: systemClock });
  expect(await sealer.seal(new AbortController().signal)).toEqual({ sealed: count, failures: [] });
}

const Failure = z.object({ code: z.number(), stdout: z.string() });

async function archive(): Promise<{ code: number; stdout: string }> {
  const env = { ...process.env, NODE: process.execPath, ASB_POSTGRES_DSN: database.dsn };
  try {
    const { stdout } = await run('sh', [SCRIPT, folder, join(folder, 'keys.pem')], { env });
    return { code: 0, stdout };
  } catch (error) {
    return Failure.parse(error);
  }
}

const linesOf = (name: string): string[] =>
  readFileSync(join(folder, name), 'utf8')
    .split('\n')
    .filter((line) => line !== '');
const exports = () => readdirSync(folder).filter((name) => name.startsWith('events-'));
const exported = () => exports().flatMap(linesOf);

test('each event is exported once, each checkpoint is kept, and the chain is found intact', async () => {
  await recordAndSeal(3);
  expect(await archive()).toEqual({ code: 0, stdout: expect.stringMatching(/^t_acme: intact: 3 events, 1 checkpoint/) });
  expect([exported().length, linesOf('checkpoints.jsonl').length]).toEqual([3, 1]);

  expect(await archive()).toMatchObject({ code: 0 });
  expect([exported().length, linesOf('checkpoints.jsonl').length]).toEqual([3, 1]);

  await recordAndSeal(2);
  for (const name of exports()) rmSync(join(folder, name));
  expect(await archive()).toEqual({ code: 0, stdout: expect.stringMatching(/^t_acme: intact: 5 events, 2 checkpoints/) });
  expect([exported().length, linesOf('checkpoints.jsonl').length]).toEqual([2, 2]);
  expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([]);
});

test('an event that was altered, and an end that was cut off with its checkpoints, are found', async () => {
  await recordAndSeal(3);
  await recordAndSeal(2);
  expect(await archive()).toMatchObject({ code: 0 });

  await pool.query('DELETE FROM audit_events WHERE chain_seq > 3');
  await pool.query('DELETE FROM audit_checkpoints WHERE chain_seq > 3');
  await pool.query(
    'UPDATE audit_chain_heads SET (chain_seq, chain_hash) = (SELECT chain_seq, chain_hash FROM audit_events WHERE chain_seq = 3)',
  );
  expect(await archive()).toEqual({ code: 2, stdout: expect.stringMatching(/^t_acme: NOT INTACT: removed: event 4/) });

  await pool.query(`UPDATE audit_events SET type = 'session.revoked' WHERE chain_seq = 2`);
  expect(await archive()).toEqual({ code: 2, stdout: expect.stringMatching(/^t_acme: NOT INTACT: altered: event 2/) });
});

test('a database that cannot be reached is told, and the cursor stays where it was', async () => {
  await recordAndSeal(1);
  await archive();
  const cursor = readFileSync(join(folder, 'cursor'), 'utf8');
  const { dsn } = database;
  database = { ...database, dsn: 'postgres://nobody@127.0.0.1:1/asb' };
  expect(await archive()).toMatchObject({ code: 1 });
  expect(readFileSync(join(folder, 'cursor'), 'utf8')).toBe(cursor);
  database = { ...database, dsn };
});

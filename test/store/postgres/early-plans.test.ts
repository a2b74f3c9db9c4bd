import { Pool as PlainPool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Repository } from '../../../src/domain/repository.ts';
import { openPool } from '../../../src/store/postgres/pool.ts';
import { PostgresRepository } from '../../../src/store/postgres/postgres-repository.ts';
import { openDatabase } from '../../support/postgres.ts';
import { type Call, CHANGES, everyCall, given } from './every-call.ts';
import { asDsnOptions, EXPLAINING } from './explaining.ts';
import { fillWithRows } from './many-rows.ts';

// A new deployment: its connections make their plans when nothing is in the tables, and keep them while the tables grow, until Postgres
// first counts what is there.

const ROWS = 50_000;
/** One in fifty rows goes on: whoever reads all that are open reads more than this. */
const MOST_ROWS_READ = 500;
/** Postgres may keep a plan from the sixth time on. */
const OFTEN = 7;
const TABLES =
  'sessions grants approvals artifacts downstream_calls revocation_jobs notifications blocks audit_events'.split(' ');

interface World {
  repository: Repository;
  plans: string[];
  close(): Promise<void>;
}
let opened: World | null = null;

/** Those whose plans are kept; the others are planned each time, with their values and by how large the tables are then. */
const {
  findSession,
  findGrant,
  findArtifact,
  findByHandle,
  findGrantByRequestId,
  findApproval,
  findApprovalOfRequest,
  findBlock,
  forgetEnded,
} = everyCall(ROWS);
const KEPT = {
  findSession,
  findGrant,
  findArtifact,
  findByHandle,
  findGrantByRequestId,
  findApproval,
  findApprovalOfRequest,
  findBlock,
  forgetEnded,
};
const calls: readonly [string, Call][] = Object.entries(KEPT).flatMap(([name, variants]) =>
  variants.map((call, index): [string, Call] => [`${name}, ${index + 1}`, call]),
);

beforeAll(async () => {
  const database = await openDatabase();
  const admin = new PlainPool({ connectionString: database.dsn });
  for (const table of TABLES) await admin.query(`ALTER TABLE ${table} SET (autovacuum_enabled = false)`);
  const dsn = new URL(database.dsn);
  const options = { ...EXPLAINING, 'auto_explain.log_analyze': 'on', 'auto_explain.log_timing': 'off' };
  dsn.searchParams.set('options', asDsnOptions(options));
  const pool = openPool({ dsn: dsn.href, maxConnections: 1, statementTimeoutMs: 60_000, lockTimeoutMs: 10_000 });
  const plans: string[] = [];
  pool.on('connect', (client) => client.on('notice', ({ message = '' }) => plans.push(message)));
  const repository = new PostgresRepository({ pool });
  const close = async (): Promise<void> => {
    await pool.end();
    await admin.end();
    await database.close();
  };
  opened = { repository, plans, close };

  for (let time = 0; time < OFTEN; time += 1) {
    for (const [, call] of calls) await call(repository);
    for (const stage of Object.values(CHANGES)) {
      const rows = await given(repository);
      await repository.transact((unit) => stage(unit, rows));
    }
  }
  await fillWithRows(admin, ROWS);
}, 300_000);
afterAll(() => opened?.close());

/** The parts of the plans of what a call does that read too much: a whole table, or more rows than it has use for. */
async function excesses(call: Call): Promise<string[]> {
  if (opened === null) throw new Error('nothing is open');
  const { repository, plans } = opened;
  plans.length = 0;
  await call(repository);
  const lines = plans.flatMap((plan) => plan.split('\n'));
  expect(lines.filter((line) => line.includes('actual rows='))).not.toEqual([]);
  return lines.filter((line) => line.includes('Seq Scan') || rowsRead(line) > MOST_ROWS_READ);
}

function rowsRead(line: string): number {
  const node = /actual rows=([\d.]+) loops=(\d+)/.exec(line);
  const removed = /Rows Removed by \w+(?: \w+)?: (\d+)/.exec(line);
  return Math.max(Number(node?.[1] ?? 0) * Number(node?.[2] ?? 0), Number(removed?.[1] ?? 0));
}

describe(`plans that were made on empty tables, now of ${ROWS} rows, read few of them`, () => {
  it.each(calls)('by %s', async (_, call) => {
    expect(await excesses(call)).toEqual([]);
  });

  it.each(Object.entries(CHANGES))('by %s in a unit', async (_, stage) => {
    if (opened === null) throw new Error('nothing is open');
    const rows = await given(opened.repository);
    expect(await excesses((repository) => repository.transact((unit) => stage(unit, rows)))).toEqual([]);
  });
});

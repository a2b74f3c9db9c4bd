import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Client, escapeIdentifier, escapeLiteral, type Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeAuditSealer } from '../../src/audit/seal-events.ts';
import { systemClock } from '../../src/bootstrap/system-clock.ts';
import { ephemeralKeyRing } from '../../src/crypto/key-ring.ts';
import { endArtifact } from '../../src/domain/artifact.ts';
import { endSession } from '../../src/domain/session.ts';
import { requireCurrentSchema } from '../../src/store/postgres/migrations.ts';
import { openPool } from '../../src/store/postgres/pool.ts';
import { PostgresAuditChain } from '../../src/store/postgres/postgres-audit-chain.ts';
import { PostgresRepository } from '../../src/store/postgres/postgres-repository.ts';
import {
  aCall,
  aGrant,
  aLeaseGrant,
  anArtifact,
  anEvent,
  aRevocation,
  aSession,
  aWrappedSecret,
  after,
} from '../support/entities.ts';
import { migrate, openEmptyDatabase, type TestDatabase } from '../support/postgres.ts';
import { asAdmin, dsnOf } from '../support/servers/template.ts';

// Roles belong to the whole server, which other tests use as well: each run has names of its own.
const suffix = `_${randomBytes(6).toString('hex')}`;
const ROLES = ['asb_owner', 'asb', 'asb_auditor'] as const;
type Role = (typeof ROLES)[number];

const scriptOf = (file: string): string =>
  readFileSync(new URL(`../../deploy/postgres/${file}`, import.meta.url), 'utf8').replaceAll(
    /\b(asb_owner|asb_auditor|asb)\b(?=[\s,;])/g,
    (name) => `${name}${suffix}`,
  );

let database: TestDatabase;
let app: Pool;
let auditor: Pool;

function dsnAs(role: Role): string {
  const url = new URL(database.dsn);
  url.username = `${role}${suffix}`;
  url.password = 'secret';
  return url.href;
}

async function run(dsn: string, script: string): Promise<void> {
  const client = new Client({ connectionString: dsn });
  await client.connect();
  try {
    await client.query(script);
  } finally {
    await client.end();
  }
}

beforeAll(async () => {
  database = await openEmptyDatabase();
  const passwords = ROLES.map(
    (role) => `ALTER ROLE ${escapeIdentifier(`${role}${suffix}`)} PASSWORD ${escapeLiteral('secret')}`,
  );
  await run(database.dsn, `${scriptOf('roles.sql')};${passwords.join(';')}`);
  await migrate(dsnAs('asb_owner'));
  await run(dsnAs('asb_owner'), scriptOf('append-only-audit.sql'));
  const settings = { maxConnections: 4, statementTimeoutMs: 10_000, lockTimeoutMs: 5000 };
  app = openPool({ ...settings, dsn: dsnAs('asb') });
  auditor = openPool({ ...settings, dsn: dsnAs('asb_auditor') });
});
afterAll(async () => {
  await Promise.all([app.end(), auditor.end()]);
  await database.close();
  for (const role of ROLES) {
    await asAdmin(dsnOf(database.dsn, 'postgres'), `DROP ROLE ${escapeIdentifier(`${role}${suffix}`)}`);
  }
});

describe('the role of the API and the workers', () => {
  test('may do all that they do', async () => {
    const repository = new PostgresRepository({ pool: app });
    const session = aSession();
    const [grant, lease] = [aGrant(session), aLeaseGrant(session)];
    const [handle, secret] = [anArtifact(grant), aWrappedSecret(lease)];
    const revocation = aRevocation(session, { grantId: lease.id });
    const call = aCall(handle);
    await requireCurrentSchema(app);
    await repository.transact((unit) => {
      unit.insertSession(session);
      unit.record(anEvent({ subject: { tenantId: session.tenantId, sessionId: session.id } }));
    });
    await repository.transact((unit) => {
      unit.insertGrant(grant);
      unit.insertGrant(lease);
      unit.insertArtifact(handle);
      unit.insertArtifact(secret);
      unit.insertRevocation(revocation);
      unit.openCall(call);
    });
    await repository.transact((unit) => {
      unit.closeCall({ tenantId: call.subject.tenantId, callId: call.id });
      unit.updateArtifact({ expected: 'issued', next: endArtifact(secret, 'used', after(10)) });
      unit.updateSession({ expected: 'active', next: endSession(session, 'revoked', after(20), 'enough') });
      unit.endGrantsOfSession({
        tenantId: session.tenantId,
        sessionId: session.id,
        state: 'revoked',
        at: after(20),
        reason: 'session revoked',
        events: () => [anEvent({ type: 'grant.revoked' })],
      });
    });
    await repository.findHandleUsage(handle.handleHash);
    await repository.countOpenLeases();
    const keys = await ephemeralKeyRing();
    const sealer = makeAuditSealer({ chain: new PostgresAuditChain(app), keys, clock: systemClock });
    expect(await sealer.seal(new AbortController().signal)).toMatchObject({ failures: [] });
    expect(await repository.forgetEnded(after(3600), 100)).toBeGreaterThan(0);
  });

  test.each([
    `UPDATE audit_events SET type = 'session.expired'`,
    `UPDATE audit_events SET details = NULL, chain_seq = chain_seq`,
    'DELETE FROM audit_events',
    'TRUNCATE audit_events',
    'DELETE FROM audit_checkpoints',
    `UPDATE audit_checkpoints SET jws = ''`,
    'DELETE FROM audit_chain_heads',
    'DELETE FROM schema_migrations',
    'CREATE TABLE elsewhere (copy text)',
    'TRUNCATE sessions',
  ])('may not %s', async (statement) => {
    await expect(app.query(statement)).rejects.toMatchObject({ code: '42501' });
  });

  test.each(['DROP TABLE audit_events', 'ALTER TABLE audit_events DROP COLUMN details', 'DROP FUNCTION forget_grants'])(
    'may not %s',
    async (statement) => {
      await expect(app.query(statement)).rejects.toMatchObject({ code: '42501' });
    },
  );
});

describe('the role of the auditors', () => {
  test('reads the chain', async () => {
    await requireCurrentSchema(auditor);
    const chain = new PostgresAuditChain(auditor);
    const [tenant] = await chain.atOneMoment((view) => view.tenants());
    expect(await chain.lastCheckpoint(tenant!)).not.toBeNull();
    const events = chain.events(tenant!)[Symbol.asyncIterator]();
    expect((await events.next()).value).toMatchObject({ seq: 1 });
  });

  test.each([
    'SELECT sealed FROM artifacts',
    'SELECT 1 FROM sessions',
    'DELETE FROM audit_events',
    `UPDATE audit_events SET code = ''`,
  ])('may not %s', async (statement) => {
    await expect(auditor.query(statement)).rejects.toMatchObject({ code: '42501' });
  });
});

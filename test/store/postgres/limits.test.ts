import type { Pool } from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import { endGrant } from '../../../src/domain/grant.ts';
import { endSession } from '../../../src/domain/session.ts';
import { openPool, type PoolSettings } from '../../../src/store/postgres/pool.ts';
import { PostgresRepository } from '../../../src/store/postgres/postgres-repository.ts';
import { givenIssuedGrant, givenSession } from '../../contract/repository-under-test.ts';
import { anEvent, aSession, after, TENANT } from '../../support/entities.ts';
import { LOCK_GRANTS, LOCK_SESSIONS, waitingBackend, whileLocked } from './backends.ts';
import { emptiedDatabase } from './emptied-database.ts';
import { recordedEvents } from './recorded-events.ts';

const database = emptiedDatabase();
const pools: Pool[] = [];
const open = async (settings: Partial<PoolSettings> = {}, options: string | null = null): Promise<Pool> => {
  const dsn = new URL(await database.dsn());
  if (options !== null) dsn.searchParams.set('options', options);
  const pool = openPool({
    dsn: dsn.href,
    maxConnections: 3,
    statementTimeoutMs: 10_000,
    lockTimeoutMs: 10_000,
    ...settings,
  });
  pools.push(pool);
  return pool;
};
afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.end();
  await database.empty();
});

const UNAVAILABLE = { code: 'unavailable', message: 'the database is not available; try again later' };

describe('a unit that waits', () => {
  it.each<[string, Partial<PoolSettings>]>([
    ['for a lock longer than it may', { lockTimeoutMs: 50 }],
    ['longer than a statement may take', { statementTimeoutMs: 50 }],
  ])('%s is unavailable, changes nothing, and its connection serves others', async (_, limits) => {
    const admin = await database.pool();
    const pool = await open({ ...limits, maxConnections: 1 });
    const repository = new PostgresRepository({ pool });
    const { session, grant } = await givenIssuedGrant(new PostgresRepository({ pool: admin }));
    const { tenantId, id: sessionId } = session;
    await whileLocked(admin, LOCK_GRANTS, [grant.id], async () => {
      const short = repository.transact((unit) => {
        unit.insertSession(aSession());
        unit.updateGrant({ expected: 'issued', next: endGrant(grant, 'revoked', after(2), 'stop') });
        unit.record(anEvent());
      });
      await expect(short).rejects.toMatchObject(UNAVAILABLE);
      const long = repository.transact((unit) => {
        unit.updateSession({ expected: 'active', next: endSession(session, 'revoked', after(2), 'stop') });
        unit.endGrantsOfSession({ tenantId, sessionId, state: 'revoked', at: after(2), reason: 'stop', events: () => [] });
      });
      await expect(long).rejects.toMatchObject(UNAVAILABLE);
      expect(await repository.findSession(tenantId, sessionId)).toEqual(session);
    });
    expect(await recordedEvents(admin)).toEqual([]);
    expect(await repository.listSessions(TENANT, {}, { limit: 9, after: null })).toMatchObject({ rows: [session] });
  });

  it('is tried again when it and another wait for each other', async () => {
    const admin = await database.pool();
    // The repository is the one of the two that notices, once both wait.
    const repository = new PostgresRepository({ pool: await open({}, '-c deadlock_timeout=500ms') });
    const [first, second] = [await givenSession(repository), await givenSession(repository)];
    const event = anEvent();
    const other = await admin.connect();
    await other.query(`BEGIN; SET LOCAL deadlock_timeout = '1min'`);
    await other.query(LOCK_SESSIONS, [[second.id]]);
    const attempt = repository.transact((unit) => {
      for (const each of [first, second]) {
        unit.updateSession({ expected: 'active', next: endSession(each, 'revoked', after(2), 'stop') });
      }
      unit.record(event);
    });
    await waitingBackend(admin);
    // Comes back when Postgres has undone the first try.
    await other.query(LOCK_SESSIONS, [[first.id]]);
    await other.query('ROLLBACK');
    other.release();
    await expect(attempt).resolves.toBeUndefined();
    expect(await recordedEvents(admin)).toEqual([event]);
  });
});

describe('the pool', () => {
  it('makes whoever waits too long for a connection unavailable, and the next one not', async () => {
    const admin = await database.pool();
    const pool = await open({ maxConnections: 1, connectionTimeoutMs: 1000 });
    const repository = new PostgresRepository({ pool });
    const session = await givenSession(repository);
    await whileLocked(admin, LOCK_SESSIONS, [session.id], async () => {
      const waits = repository.transact((unit) =>
        unit.updateSession({ expected: 'active', next: endSession(session, 'revoked', after(2), 'stop') }),
      );
      await waitingBackend(admin);
      await expect(repository.ping()).rejects.toMatchObject(UNAVAILABLE);
      return { waits };
    }).then(({ waits }) => waits);
    await expect(repository.ping()).resolves.toBeUndefined();
  });

  it.each([
    ['default_transaction_isolation', 'read committed'],
    ['DateStyle', 'ISO, DMY'],
    ['jit', 'off'],
    ['statement_timeout', '10s'],
    ['lock_timeout', '10s'],
    ['application_name', 'asb'],
  ])('has its own way about %s, whatever the DSN says', async (setting, value) => {
    const theirs =
      '-c default_transaction_isolation=serializable -c datestyle=German -c jit=on -c statement_timeout=1 -c geqo=off';
    const pool = await open({}, theirs);
    const { rows } = await pool.query<{ value: string; geqo: string }>(
      `SELECT current_setting($1) AS value, current_setting('geqo') AS geqo`,
      [setting],
    );
    expect(rows).toEqual([{ value, geqo: 'off' }]);
  });

  it('reads counts as numbers, and refuses one that no number can tell', async () => {
    const pool = await open();
    expect((await pool.query('SELECT 9007199254740991::bigint AS count')).rows).toEqual([{ count: 9007199254740991 }]);
    await expect(pool.query('SELECT 9007199254740992::bigint AS count')).rejects.toThrow(RangeError);
  });

  it('is not of use while the server takes no writes', async () => {
    const repository = new PostgresRepository({ pool: await open({}, '-c default_transaction_read_only=on') });
    await expect(repository.ping()).rejects.toMatchObject({ code: 'unavailable' });
    await expect(repository.transact((unit) => unit.insertSession(aSession()))).rejects.toMatchObject(UNAVAILABLE);
  });
});

import type { Pool } from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { endArtifact } from '../../../src/domain/artifact.ts';
import type { AuditEvent } from '../../../src/domain/audit-event.ts';
import { endGrant } from '../../../src/domain/grant.ts';
import { type ActiveSession, endSession } from '../../../src/domain/session.ts';
import type { UnitOfWork } from '../../../src/domain/unit-of-work.ts';
import { openPool } from '../../../src/store/postgres/pool.ts';
import { PostgresRepository } from '../../../src/store/postgres/postgres-repository.ts';
import { givenIssuedGrant, givenSession } from '../../contract/repository-under-test.ts';
import { type CuttableProxy, cuttableProxy } from '../../support/cuttable-proxy.ts';
import { aNotification, anApprovalId, anEvent, aSession, after, TENANT } from '../../support/entities.ts';
import { beforeStatements, LOCK_SESSIONS, terminate, terminateAll, waitingBackend, whileLocked } from './backends.ts';
import { emptiedDatabase } from './emptied-database.ts';
import { recordedEvents } from './recorded-events.ts';

const database = emptiedDatabase();

interface World {
  /** Connections that nothing happens to. */
  admin: Pool;
  proxy: CuttableProxy;
  repository: PostgresRepository;
  /** What the repository told of. */
  committed: AuditEvent[];
  lost: Error[];
  pool: Pool;
}

const opened: World[] = [];
beforeEach(async () => {
  const admin = await database.pool();
  const { hostname, port } = new URL(await database.dsn());
  const proxy = await cuttableProxy(hostname, Number(port));
  const dsn = new URL(await database.dsn());
  dsn.host = `${proxy.host}:${proxy.port}`;
  const lost: Error[] = [];
  const limits = { maxConnections: 4, statementTimeoutMs: 5000, lockTimeoutMs: 4000, connectionTimeoutMs: 2000 };
  const pool = openPool({ dsn: dsn.href, ...limits, onError: (error) => lost.push(error) });
  const committed: AuditEvent[] = [];
  const repository = new PostgresRepository({ pool, onCommitted: (events) => committed.push(...events) });
  opened.push({ admin, proxy, repository, committed, lost, pool });
});
afterEach(async () => {
  const world = opened.pop();
  await world?.pool.end();
  await world?.proxy.close();
  await database.empty();
});

function world(): World {
  const [current] = opened;
  if (current === undefined) throw new Error('nothing is open');
  return current;
}

const end = (session: ActiveSession, event: AuditEvent) => (unit: UnitOfWork) => {
  unit.updateSession({ expected: 'active', next: endSession(session, 'revoked', after(5), 'stop') });
  unit.record(event);
};
const endWithGrants = (session: ActiveSession, event: AuditEvent) => (unit: UnitOfWork) => {
  const { tenantId, id: sessionId } = session;
  unit.updateSession({ expected: 'active', next: endSession(session, 'revoked', after(5), 'stop') });
  unit.endGrantsOfSession({ tenantId, sessionId, state: 'revoked', at: after(5), reason: 'stop', events: () => [event] });
};
const stages = [
  ['of one trip', end],
  ['that ends the grants of a session', endWithGrants],
] as const;

/** Waits until an event can be read by everybody. */
async function untilOnRecord(admin: Pool, { id }: AuditEvent): Promise<void> {
  for (;;) {
    const { rows } = await admin.query('SELECT FROM audit_events WHERE id = $1', [id]);
    if (rows.length > 0) return;
  }
}

describe.each(stages)('a unit %s', (_, stage) => {
  const given = async () => {
    const { session } = await givenIssuedGrant(world().repository);
    return { session, event: anEvent({ type: 'session.revoked' }) };
  };

  it('whose connection is killed before it commits is committed by a second try, once', async () => {
    const { admin, repository, committed } = world();
    const { session, event } = await given();
    const attempt = await whileLocked(admin, LOCK_SESSIONS, [session.id], async () => {
      const unit = repository.transact(stage(session, event));
      const pid = await waitingBackend(admin);
      await terminate(admin, pid);
      await waitingBackend(admin, pid);
      return { unit };
    });
    await expect(attempt.unit).resolves.toBeUndefined();
    expect(await recordedEvents(admin)).toEqual([event]);
    expect(committed).toEqual([event]);
    expect(await repository.findSession(session.tenantId, session.id)).toMatchObject({ state: 'revoked' });
  });

  it('whose connection is killed twice is unavailable, and leaves nothing', async () => {
    const { admin, repository, committed } = world();
    const { session, event } = await given();
    await whileLocked(admin, LOCK_SESSIONS, [session.id], async () => {
      const unit = repository.transact(stage(session, event));
      const failure = expect(unit).rejects.toMatchObject({ code: 'unavailable' });
      const pid = await waitingBackend(admin);
      await terminate(admin, pid);
      await terminate(admin, await waitingBackend(admin, pid));
      await failure;
    });
    expect(await recordedEvents(admin)).toEqual([]);
    expect(committed).toEqual([]);
    expect(await repository.findSession(session.tenantId, session.id)).toEqual(session);
  });

  it('that committed, and whose answer was lost, is a success, done once', async () => {
    const { admin, proxy, pool, repository, committed } = world();
    let isLost = false;
    beforeStatements(pool, (text) => {
      if (isLost || !/^(COMMIT|SELECT commit_unit)/.test(text) || (stage === endWithGrants && text !== 'COMMIT')) return;
      isLost = true;
      proxy.holdAnswers();
    });
    const { session } = await givenIssuedGrant(new PostgresRepository({ pool: admin }));
    const event = anEvent({ type: 'session.revoked' });
    const unit = repository.transact(stage(session, event));
    await untilOnRecord(admin, event);
    proxy.cut();
    proxy.restore();
    await expect(unit).resolves.toBeUndefined();
    expect(await recordedEvents(admin)).toEqual([event]);
    expect(committed).toEqual([event]);
    expect(await repository.findSession(session.tenantId, session.id)).toMatchObject({ state: 'revoked' });
  });

  it('that is killed while somebody else does the same stays a conflict', async () => {
    const { admin, repository, committed } = world();
    const { session, event } = await given();
    const client = await admin.connect();
    await client.query('BEGIN');
    const state = { state: 'expired', ended_at: after(4), end_reason: 'first' };
    const values = [session.id, state.state, state.ended_at, state.end_reason];
    await client.query('UPDATE sessions SET state = $2, ended_at = $3, end_reason = $4 WHERE id = $1', values);
    const unit = repository.transact(stage(session, event));
    const failure = expect(unit).rejects.toMatchObject({ code: 'conflict' });
    const pid = await waitingBackend(admin);
    await terminate(admin, pid);
    await waitingBackend(admin, pid);
    await client.query('COMMIT');
    client.release();
    await failure;
    expect(await recordedEvents(admin)).toEqual([]);
    expect(committed).toEqual([]);
    expect(await repository.findSession(session.tenantId, session.id)).toMatchObject({ endReason: 'first' });
  });
});

describe('an answer that was lost', () => {
  it.each<[string, (unit: UnitOfWork) => void]>([
    ['made a session', (unit) => unit.insertSession(aSession())],
    ['records and does nothing else', () => undefined],
  ])('of a unit that %s is a success, and no second one is made', async (_, stage) => {
    const { admin, proxy, repository, committed } = world();
    await repository.ping();
    const event = anEvent();
    proxy.holdAnswers();
    const unit = repository.transact((staged) => {
      stage(staged);
      staged.record(event);
    });
    await untilOnRecord(admin, event);
    proxy.cut();
    proxy.restore();
    await expect(unit).resolves.toBeUndefined();
    expect(await recordedEvents(admin)).toEqual([event]);
    expect(committed).toEqual([event]);
  });

  it('of a unit without events is a conflict: nobody can tell who did it', async () => {
    const { admin, proxy, repository } = world();
    const notification = aNotification({ id: anApprovalId(), tenantId: TENANT, expiresAt: after(300) });
    await repository.transact((unit) => unit.insertNotification(notification));
    proxy.holdAnswers();
    const next = { ...notification, attempts: 1, nextAttemptAt: after(60) };
    const claim = repository.transact((unit) => unit.updateNotification({ expectedAttempts: 0, next }));
    const failure = expect(claim).rejects.toMatchObject({ code: 'conflict' });
    for (;;) {
      const { rows } = await admin.query('SELECT FROM notifications WHERE attempts = 1');
      if (rows.length > 0) break;
    }
    proxy.cut();
    proxy.restore();
    await failure;
    expect(await repository.findDueNotifications(after(60), 10, [])).toEqual([next]);
  });
});

describe('the repository', () => {
  it('finds other connections when the idle ones are killed, and tells of it', async () => {
    const { admin, repository, lost } = world();
    const session = await givenSession(repository);
    await Promise.all(Array.from({ length: 4 }, () => repository.ping()));
    await terminateAll(admin);
    const found = await Promise.all(Array.from({ length: 8 }, () => repository.findSession(session.tenantId, session.id)));
    expect(found).toEqual(Array.from({ length: 8 }, () => session));
    expect(lost.every((error) => error instanceof Error)).toBe(true);
  });

  it('survives the loss of a connection that is in use and has nothing under way', async () => {
    const { admin, pool, repository } = world();
    const client = await pool.connect();
    const ended = new Promise((resolve) => client.once('end', resolve));
    await terminateAll(admin);
    await ended;
    client.release();
    await expect(repository.ping()).resolves.toBeUndefined();
  });

  it('is unavailable while the server is away, and works when it is back', async () => {
    const { proxy, repository } = world();
    const session = await givenSession(repository);
    proxy.refuse();
    proxy.cut();
    const attempts = [
      () => repository.ping(),
      () => repository.findSession(session.tenantId, session.id),
      () => repository.transact((unit) => unit.insertSession(aSession())),
      () => repository.transact(endWithGrants(session, anEvent())),
      () => repository.forgetEnded(after(1e6), 10),
    ];
    for (const attempt of attempts) await expect(attempt()).rejects.toMatchObject({ code: 'unavailable' });
    proxy.restore();
    for (const attempt of attempts) await attempt();
    expect(await repository.findSession(session.tenantId, session.id)).toBeNull();
  });

  it('is unavailable when the server says nothing any more, and gives the connection up', async () => {
    const { proxy, repository } = world();
    await repository.ping();
    proxy.hold();
    await expect(repository.ping()).rejects.toMatchObject({ code: 'unavailable' });
    proxy.restore();
    await expect(repository.ping()).resolves.toBeUndefined();
  });

  it.each([
    ['a question', (repository: PostgresRepository) => repository.findSession(TENANT, aSession().id)],
    ['a unit', (repository: PostgresRepository) => repository.transact((unit) => unit.insertSession(aSession()))],
  ])('asks a silent server once: there is no time for a second wait (%s)', async (_, ask) => {
    const { pool, proxy, repository } = world();
    await repository.ping();
    let tries = 0;
    pool.on('acquire', () => (tries += 1));
    proxy.hold();
    await expect(ask(repository)).rejects.toMatchObject({ code: 'unavailable' });
    expect(tries).toBe(1);
  });

  it('loses no acknowledged change and doubles none while connections are cut at every moment', async () => {
    const { admin, proxy, repository } = world();
    const acknowledged: string[] = [];
    const load = { isOver: false };
    const cutting = (async () => {
      while (!load.isOver) {
        await admin.query('SELECT 1');
        proxy.cut();
      }
    })();
    for (let index = 0; index < 60; index += 1) {
      const session = aSession();
      const event = anEvent({ requestId: session.id });
      await repository
        .transact((unit) => {
          unit.insertSession(session);
          unit.record(event);
        })
        .then(
          () => acknowledged.push(session.id),
          (error: unknown) => expect(error).toMatchObject({ code: 'unavailable' }),
        );
    }
    load.isOver = true;
    await cutting;
    const recorded = (await recordedEvents(admin)).map(({ requestId }) => requestId);
    expect(new Set(recorded).size).toBe(recorded.length);
    expect(acknowledged.filter((id) => !recorded.includes(id))).toEqual([]);
    const { rows } = await admin.query<{ id: string }>('SELECT id FROM sessions');
    expect(rows.map(({ id }) => id).sort()).toEqual(recorded.toSorted());
  });

  it('gives the locks of a transaction back when its events cannot be made', async () => {
    const { repository, admin } = world();
    const { session, grant, artifact } = await givenIssuedGrant(repository);
    const { tenantId, id: sessionId } = session;
    const mistake = new Error('events cannot be made');
    const attempt = repository.transact((unit) => {
      const events = () => {
        throw mistake;
      };
      unit.endGrantsOfSession({ tenantId, sessionId, state: 'revoked', at: after(5), reason: 'stop', events });
    });
    await expect(attempt).rejects.toBe(mistake);
    await repository.transact((unit) => {
      unit.updateArtifact({ expected: 'issued', next: endArtifact(artifact, 'revoked', after(6)) });
      unit.updateGrant({ expected: 'issued', next: endGrant(grant, 'revoked', after(6), 'stop') });
    });
    expect(await recordedEvents(admin)).toEqual([]);
  });
});

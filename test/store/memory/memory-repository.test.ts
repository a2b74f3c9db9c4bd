import { beforeEach, describe, expect, it } from 'vitest';
import { decideApproval } from '../../../src/domain/approval.ts';
import type { AuditEvent } from '../../../src/domain/audit-event.ts';
import type { AuditLog } from '../../../src/domain/audit-log.ts';
import { BrokerError } from '../../../src/domain/errors.ts';
import { endGrant, issueGrant } from '../../../src/domain/grant.ts';
import type { RunId, TenantId, WorkloadHash } from '../../../src/domain/ids.ts';
import { type ActiveSession, endSession } from '../../../src/domain/session.ts';
import { MemoryRepository } from '../../../src/store/memory/memory-repository.ts';
import { MAX_LOOKED_AT } from '../../../src/store/memory/page.ts';
import { repositoryContract } from '../../contract/repository-contract.ts';
import { endSessionAfter, givenIssuedGrant, givenPendingGrant, givenSession } from '../../contract/repository-under-test.ts';
import {
  aBlock,
  aGrant,
  anApproval,
  anArtifact,
  anArtifactId,
  anEvent,
  aNotification,
  aPendingGrant,
  aSession,
  aSessionId,
  aWord,
  after,
  OTHER_TENANT,
  TENANT,
} from '../../support/entities.ts';
import { RecordingAuditLog } from '../../support/recording-audit-log.ts';

repositoryContract('MemoryRepository', () => {
  const auditLog = new RecordingAuditLog();
  return Promise.resolve({
    repository: new MemoryRepository({ auditLog }),
    events: () => Promise.resolve(auditLog.events),
    failNextAudit: () => auditLog.failNext(),
    close: () => Promise.resolve(),
  });
});

const PAGE = { limit: 10, after: null };
const aRepository = () => new MemoryRepository({ auditLog: new RecordingAuditLog() });

describe('isolation', () => {
  it('is not disturbed by changes to what was put in', async () => {
    const repository = aRepository();
    const given = await givenIssuedGrant(repository);
    const kept = structuredClone({ session: given.session, grant: given.grant, artifact: given.artifact });
    spoil(given);
    expect(await repository.findByHandle(kept.artifact.handleHash)).toEqual(kept);
  });

  it('is not disturbed by changes to what was staged before the unit commits', async () => {
    const repository = aRepository();
    const session = aSession();
    const kept = structuredClone(session);
    await repository.transact((unit) => {
      unit.insertSession(session);
      spoil(session);
    });
    expect(await repository.findSession(kept.tenantId, kept.id)).toEqual(kept);
  });

  it('is not disturbed by changes to what was found', async () => {
    const repository = aRepository();
    const { session, grant, artifact } = await givenIssuedGrant(repository);
    const waiting = await givenPendingGrant(repository, session, { grant: { requestId: 'one' } });
    const notification = aNotification(waiting.approval);
    const event = anEvent({ details: { tools: ['github'] } });
    await repository.transact((unit) => {
      unit.insertNotification(notification);
      unit.record(structuredClone(event));
    });
    const readers = [
      () => repository.findSession(session.tenantId, session.id),
      () => repository.findGrant(session.tenantId, grant.id),
      () => repository.findArtifact(session.tenantId, artifact.id),
      () => repository.findByHandle(artifact.handleHash),
      () => repository.findExpiredSessions(after(1e6), 10),
      () => repository.findExpiredGrants(after(1e6), 10),
      () => repository.findActiveSessions(session, 10),
      () => repository.findGrantByRequestId(session.tenantId, session.id, 'one'),
      () => repository.findApproval(session.tenantId, waiting.approval.id),
      () => repository.findApprovalOfRequest(session.tenantId, session.id, waiting.approval.requestHash),
      () => repository.findDueNotifications(after(0), 10, []),
      () => repository.listSessions(session.tenantId, {}, PAGE),
      () => repository.listGrants(session.tenantId, {}, PAGE),
      () => repository.listApprovals(session.tenantId, {}, PAGE),
      () => repository.listAuditEvents(session.tenantId, {}, PAGE),
    ];
    for (const read of readers) spoil(await read());
    expect(await repository.findByHandle(artifact.handleHash)).toEqual({ session, grant, artifact });
    expect(await repository.findExpiredSessions(after(1e6), 10)).toEqual([session]);
    expect(await repository.findExpiredGrants(after(1e6), 10)).toEqual([
      { ...waiting, artifact: null },
      { grant, artifact, approval: null },
    ]);
    expect(await repository.findDueNotifications(after(0), 10, [])).toEqual([notification]);
    expect((await repository.listAuditEvents(session.tenantId, {}, PAGE)).rows).toEqual([event]);
  });

  it('is not disturbed by changes to what the events of an ended grant are made from', async () => {
    const auditLog = new RecordingAuditLog();
    const repository = new MemoryRepository({ auditLog });
    const { session, grant, artifact } = await givenIssuedGrant(repository);
    const { approval } = await givenPendingGrant(repository, session);
    const at = after(5);
    const end = () =>
      repository.transact((unit) => {
        const { tenantId, id: sessionId } = session;
        const events = (...found: unknown[]) => {
          spoil(found);
          return [anEvent()];
        };
        unit.endGrantsOfSession({ tenantId, sessionId, state: 'revoked', at, reason: 'stop', events });
      });
    auditLog.failNext();
    await expect(end()).rejects.toMatchObject({ code: 'unavailable' });
    expect(await repository.findByHandle(artifact.handleHash)).toEqual({ session, grant, artifact });
    expect(await repository.findApproval(session.tenantId, approval.id)).toEqual(approval);
    await end();
    spoil(at);
    expect(await repository.findApproval(session.tenantId, approval.id)).toEqual({
      ...approval,
      state: 'expired',
      endedAt: after(5),
    });
    expect(await repository.findByHandle(artifact.handleHash)).toMatchObject({
      grant: { state: 'revoked', endedAt: after(5), createdAt: grant.createdAt, issuedAt: grant.issuedAt },
      artifact: { state: 'revoked', endedAt: after(5), createdAt: artifact.createdAt },
    });
  });

  it('keeps no value that it could not copy', async () => {
    const attributes: Record<string, string> = {};
    Object.setPrototypeOf(attributes, { shared: 'with whoever made it' });
    const session = aSession();
    const attempt = aRepository().transact((unit) =>
      unit.insertSession({ ...session, workload: { ...session.workload, attributes } }),
    );
    await expect(attempt).rejects.toThrow(TypeError);
  });
});

describe('memory', () => {
  it('is empty when all sessions have come, gone and been forgotten', async () => {
    const repository = aRepository();
    for (let index = 0; index < 300; index += 1) {
      const { session } = await givenIssuedGrant(repository, aSession({ expiresAt: after(10 + ((index * 37) % 300)) }));
      await repository.transact((unit) => unit.insertGrant(aGrant(session)));
    }
    expect(repository.rowCounts()).toMatchObject({ sessions: 300, grants: 600, artifacts: 300 });
    for (let seconds = 0; seconds <= 310; seconds += 10) {
      for (const session of await repository.findExpiredSessions(after(seconds), 1000)) {
        const { tenantId, id: sessionId } = session;
        const at = after(seconds);
        await repository.transact((unit) => {
          unit.updateSession({ expected: 'active', next: endSession(session, 'expired', at, 'time is up') });
          unit.endGrantsOfSession({ tenantId, sessionId, state: 'expired', at, reason: 'time is up', events: () => [] });
        });
      }
      await repository.forgetEnded(after(seconds - 60), 50);
    }
    while ((await repository.forgetEnded(after(1e6), 50)) > 0);
    expect([...new Set(Object.values(repository.rowCounts()))]).toEqual([0]);
  });

  it('is empty when everything that asks humans has come, gone and been forgotten', async () => {
    const repository = aRepository();
    const end = async (session: ActiveSession, index: number) => {
      for (let made = 0; made < 4; made += 1) {
        const overrides = { requestId: `request ${made}`, requestHash: `hash ${made % 2}` };
        const waiting = await givenPendingGrant(repository, session, { grant: overrides });
        const notification = aNotification(waiting.approval, { receiver: `receiver ${made}` });
        const { nextAttemptAt: _, ...terms } = notification;
        const denied = decideApproval(waiting.approval, aWord('alice', { decision: 'deny' }));
        await repository.transact((unit) => unit.insertNotification(notification));
        await repository.transact((unit) => {
          unit.updateNotification({ expectedAttempts: 0, next: { ...terms, state: 'given_up', endedAt: after(5) } });
          unit.insertBlock(aBlock({ runId: `run_${index}` as RunId }, { expiresAt: after(5 + made) }));
          unit.insertBlock(aBlock({ workloadHash: `workload ${index}` as WorkloadHash }, { expiresAt: after(5) }));
          if (made > 1) return;
          unit.updateApproval({ expected: 'pending', expectedDecisions: 0, next: denied });
          unit.updateGrant({ expected: 'pending', next: endGrant(waiting.grant, 'denied', after(5), 'no') });
        });
      }
      // Half of the grants are forgotten before their session is.
      await repository.forgetEnded(after(6), 10);
      await endSessionAfter(repository, session, 7);
    };
    for (let index = 0; index < 20; index += 1) {
      const tenantId = `t_${index % 3}` as TenantId;
      await end(await givenSession(repository, aSession({ tenantId, runId: `run_${index}` as RunId })), index);
    }
    expect(Object.values(repository.rowCounts()).every((count) => count >= 0)).toBe(true);
    expect(repository.rowCounts()).toMatchObject({ sessions: 20, blocks: 20 });
    while ((await repository.forgetEnded(after(1e6), 7)) > 0);
    expect([...new Set(Object.values(repository.rowCounts()))]).toEqual([0]);
  });

  it('keeps an approval that waits, and no index of it, when its session is forgotten with it', async () => {
    const repository = aRepository();
    const session = await givenSession(repository);
    await givenPendingGrant(repository, session, { grant: { requestId: 'one' } });
    await repository.transact((unit) =>
      unit.updateSession({ expected: 'active', next: endSession(session, 'revoked', after(1), 'stop') }),
    );
    expect(await repository.forgetEnded(after(2), 10)).toBe(3);
    expect([...new Set(Object.values(repository.rowCounts()))]).toEqual([0]);
  });

  it('keeps no grant that was still open when its session was forgotten', async () => {
    const repository = aRepository();
    const { session } = await givenIssuedGrant(repository);
    await repository.transact((unit) =>
      unit.updateSession({ expected: 'active', next: endSession(session, 'revoked', after(1), 'stop') }),
    );
    expect(await repository.forgetEnded(after(2), 10)).toBe(3);
    expect([...new Set(Object.values(repository.rowCounts()))]).toEqual([0]);
  });

  it('takes nothing for units that were refused', async () => {
    const auditLog = new RecordingAuditLog();
    const repository = new MemoryRepository({ auditLog });
    auditLog.failNext();
    const attempt = repository.transact((unit) => {
      const session = aSession();
      const approved = aGrant(session);
      const grant = issueGrant(approved, anArtifactId(), after(1));
      unit.insertSession(session);
      unit.insertGrant(approved);
      unit.updateGrant({ expected: 'approved', next: grant });
      unit.insertArtifact(anArtifact(grant));
      unit.record(anEvent());
    });
    await expect(attempt).rejects.toMatchObject({ code: 'unavailable' });
    expect([...new Set(Object.values(repository.rowCounts()))]).toEqual([0]);
  });
});

describe('a list', () => {
  it('ends a page early when too few of very many rows pass its filter, and says where to go on', async () => {
    const repository = aRepository();
    const first = await givenSession(repository, aSession({ runId: 'run_rare' as RunId }));
    const ids = Array.from({ length: MAX_LOOKED_AT + 10 }, () => aSessionId());
    await repository.transact((unit) => ids.forEach((id) => unit.insertSession(aSession({ id }))));
    const filter = { runId: first.runId };
    const short = await repository.listSessions(TENANT, filter, PAGE);
    expect(short).toEqual({ rows: [], next: expect.any(String) });
    const { next: after } = short;
    expect(await repository.listSessions(TENANT, filter, { limit: 1, after })).toEqual({ rows: [first], next: null });
    // What has an index needs no search.
    const active = await repository.listSessions(TENANT, { ...filter, state: 'active' }, PAGE);
    expect(active).toEqual({ rows: [first], next: null });
  });

  it("gives out no cursor of very many rows in another tenant's session", async () => {
    const repository = aRepository();
    const foreign = await givenSession(repository, aSession({ tenantId: OTHER_TENANT }));
    const grants = Array.from({ length: MAX_LOOKED_AT + 1 }, () => aPendingGrant(foreign));
    await repository.transact((unit) => {
      for (const grant of grants) {
        unit.insertGrant(grant);
        unit.insertApproval(anApproval(grant));
      }
    });
    const filter = { sessionId: foreign.id };
    expect(await repository.listGrants(TENANT, filter, PAGE)).toEqual({ rows: [], next: null });
    expect(await repository.listApprovals(TENANT, filter, PAGE)).toEqual({ rows: [], next: null });
    expect((await repository.listGrants(OTHER_TENANT, filter, PAGE)).rows).toHaveLength(PAGE.limit);
  });

  it("takes no other list's cursor", async () => {
    const repository = aRepository();
    const session = await givenSession(repository);
    for (let made = 0; made < 2; made += 1) await givenPendingGrant(repository, session);
    const { next: after } = await repository.listGrants(TENANT, {}, { limit: 1, after: null });
    const page = { limit: 1, after };
    for (const attempt of [
      repository.listSessions(TENANT, {}, page),
      repository.listApprovals(TENANT, {}, page),
      repository.listAuditEvents(TENANT, {}, page),
    ]) {
      await expect(attempt).rejects.toMatchObject({ code: 'invalid_request' });
    }
  });

  it('takes a cursor in its one spelling', async () => {
    const repository = aRepository();
    for (let made = 0; made < 2; made += 1) await givenSession(repository);
    const { next } = await repository.listSessions(TENANT, {}, { limit: 1, after: null });
    for (const after of [`${next}=`, `${next}!`, ` ${next}`, `${next}\n`]) {
      const attempt = repository.listSessions(TENANT, {}, { limit: 1, after });
      await expect(attempt).rejects.toMatchObject({ code: 'invalid_request' });
    }
  });
});

describe('the recent events', () => {
  const record = (repository: MemoryRepository, events: readonly AuditEvent[]) =>
    repository.transact((unit) => events.forEach((event) => unit.record(event)));
  const someEvents = (count: number, tenantId = TENANT) =>
    Array.from({ length: count }, () => anEvent({ subject: { tenantId } }));

  it('are as many as there is room for, whoever made them', async () => {
    const repository = new MemoryRepository({ auditLog: new RecordingAuditLog(), recentEvents: 5 });
    const events = someEvents(7);
    for (const [index, event] of events.entries()) {
      await record(repository, [event]);
      const newest = events.slice(Math.max(0, index - 4), index + 1).toReversed();
      expect((await repository.listAuditEvents(TENANT, {}, PAGE)).rows).toEqual(newest);
    }
    await record(repository, someEvents(3, OTHER_TENANT));
    expect((await repository.listAuditEvents(TENANT, {}, PAGE)).rows).toEqual(events.slice(5).toReversed());
  });

  it('come in the order in which they committed, not in that in which they were made', async () => {
    const repository = aRepository();
    const [early, late] = someEvents(2);
    if (early === undefined || late === undefined) throw new Error('two were made');
    await record(repository, [late]);
    await record(repository, [early]);
    const first = await repository.listAuditEvents(TENANT, {}, { limit: 1, after: null });
    expect(first.rows).toEqual([early]);
    expect((await repository.listAuditEvents(TENANT, {}, { limit: 1, after: first.next })).rows).toEqual([late]);
  });

  it('end at a cursor that has made room', async () => {
    const repository = new MemoryRepository({ auditLog: new RecordingAuditLog(), recentEvents: 5 });
    await record(repository, someEvents(5));
    const { next: after } = await repository.listAuditEvents(TENANT, {}, { limit: 2, after: null });
    await record(repository, someEvents(4));
    expect(await repository.listAuditEvents(TENANT, {}, { limit: 2, after })).toEqual({ rows: [], next: null });
  });
});

describe('the audit log', () => {
  it('gives no detail of its failure to the caller', async () => {
    const auditLog = new RecordingAuditLog();
    const failure = new Error('ENOSPC: /var/log/asb/audit.jsonl');
    auditLog.failNext(failure);
    const attempt = new MemoryRepository({ auditLog }).transact((unit) => unit.record(anEvent()));
    await expect(attempt).rejects.toMatchObject({
      code: 'unavailable',
      message: 'audit log cannot be written',
      cause: failure,
    });
  });

  it('is left alone by a unit without events', async () => {
    const auditLog = new RecordingAuditLog();
    auditLog.failNext();
    const repository = new MemoryRepository({ auditLog });
    await repository.transact((unit) => unit.insertSession(aSession()));
    expect(repository.rowCounts()).toMatchObject({ sessions: 1 });
  });

  it('has the events before the change can be seen', async () => {
    const session = aSession();
    const seen: unknown[] = [];
    const auditLog: AuditLog = {
      append: () => void seen.push(repository.rowCounts().sessions),
      ping: () => undefined,
    };
    const repository = new MemoryRepository({ auditLog });
    await repository.transact((unit) => {
      unit.insertSession(session);
      unit.record(anEvent());
    });
    expect(seen).toEqual([0]);
    expect(repository.rowCounts()).toMatchObject({ sessions: 1 });
  });

  it('cannot slip a unit of work into another', async () => {
    const inner: Promise<void>[] = [];
    const seen: number[] = [];
    const auditLog: AuditLog = {
      append: () => void inner.push(repository.transact((unit) => unit.insertSession(aSession()))),
      ping: () => undefined,
    };
    const repository = new MemoryRepository({ auditLog });
    await repository.transact((unit) => {
      unit.record(anEvent());
      unit.insertSession(aSession());
    });
    seen.push(repository.rowCounts().sessions ?? 0);
    await inner[0];
    seen.push(repository.rowCounts().sessions ?? 0);
    expect(seen).toEqual([1, 2]);
  });
});

describe('units of work that are staged in one turn of the event loop', () => {
  const appended: AuditEvent[][] = [];
  let isFull: boolean;
  let repository: MemoryRepository;
  beforeEach(() => {
    appended.length = 0;
    isFull = false;
    const append = (events: readonly AuditEvent[]): void => {
      if (isFull) throw new Error('no space left');
      appended.push([...events]);
    };
    repository = new MemoryRepository({ auditLog: { append, ping: () => undefined } });
  });

  const open = (session = aSession()) =>
    repository.transact((unit) => {
      unit.record(anEvent());
      unit.insertSession(session);
    });
  const codes = async (units: readonly Promise<void>[]) =>
    (await Promise.allSettled(units)).map((unit) =>
      unit.status === 'rejected' && unit.reason instanceof BrokerError ? unit.reason.code : unit.status,
    );

  it('are written to the audit log together, in their order', async () => {
    const events = Array.from({ length: 150 }, () => anEvent());
    await Promise.all(events.map((event) => repository.transact((unit) => unit.record(event))));
    expect(appended.map(({ length }) => length)).toEqual([64, 64, 22]);
    expect(appended.flat()).toEqual(events);
  });

  it('see what those before them change', async () => {
    const session = aSession();
    const grant = aGrant(session);
    const units = [open(session), repository.transact((unit) => unit.insertGrant(grant)), open(session)];
    expect(await codes(units)).toEqual(['fulfilled', 'fulfilled', 'conflict']);
    expect(repository.rowCounts()).toMatchObject({ sessions: 1, grants: 1 });
  });

  it('change nothing when they fail half way, and hold up no other', async () => {
    const [one, half, other] = [aSession(), aSession(), aSession()];
    const fail = () =>
      repository.transact((unit) => {
        unit.record(anEvent());
        unit.insertSession(half);
        unit.insertSession(one);
      });
    const outcomes = await codes([open(one), fail(), open(other), fail()]);
    expect(outcomes).toEqual(['fulfilled', 'conflict', 'fulfilled', 'conflict']);
    expect(await repository.findSession(half.tenantId, half.id)).toBeNull();
    expect(repository.rowCounts()).toMatchObject({ sessions: 2 });
    expect(appended.map(({ length }) => length)).toEqual([2]);
  });

  it('all fail when the audit log does, and change nothing', async () => {
    isFull = true;
    expect(await codes([open(), open()])).toEqual(['unavailable', 'unavailable']);
    expect(repository.rowCounts()).toMatchObject({ sessions: 0 });
    isFull = false;
    expect(await codes([open()])).toEqual(['fulfilled']);
  });

  it('fail alone when a callback of theirs throws', async () => {
    const session = aSession();
    await open(session);
    await repository.transact((unit) => unit.insertGrant(aGrant(session)));
    const { tenantId, id: sessionId } = session;
    const bad = repository.transact((unit) =>
      unit.endGrantsOfSession({
        ...{ tenantId, sessionId, state: 'revoked', at: new Date(), reason: '' },
        events() {
          throw new Error('a defect');
        },
      }),
    );
    await Promise.all([expect(bad).rejects.toThrow('a defect'), open()]);
    expect(repository.rowCounts()).toMatchObject({ sessions: 2 });
  });
});

/** Changes everything that can be reached from a value. */
function spoil(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  if (value instanceof Date) return void value.setTime(0);
  for (const inner of Object.values(value)) spoil(inner);
  if (Array.isArray(value)) return void value.push('spoilt');
  for (const key of Object.keys(value)) Reflect.set(value, key, 'spoilt');
  Reflect.set(value, 'added', 'spoilt');
}

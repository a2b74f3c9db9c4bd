import { describe, expect, it } from 'vitest';
import type { AuditLog } from '../../../src/domain/audit-log.ts';
import { issueGrant } from '../../../src/domain/grant.ts';
import { endSession } from '../../../src/domain/session.ts';
import { MemoryRepository } from '../../../src/store/memory/memory-repository.ts';
import { repositoryContract } from '../../contract/repository-contract.ts';
import { givenIssuedGrant } from '../../contract/repository-under-test.ts';
import { aGrant, anArtifact, anArtifactId, anEvent, aSession, after } from '../../support/entities.ts';
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
    const readers = [
      () => repository.findSession(session.tenantId, session.id),
      () => repository.findGrant(session.tenantId, grant.id),
      () => repository.findArtifact(session.tenantId, artifact.id),
      () => repository.findByHandle(artifact.handleHash),
      () => repository.findExpiredSessions(after(1e6), 10),
      () => repository.findExpiredGrants(after(1e6), 10),
    ];
    for (const read of readers) spoil(await read());
    expect(await repository.findByHandle(artifact.handleHash)).toEqual({ session, grant, artifact });
    expect(await repository.findExpiredSessions(after(1e6), 10)).toEqual([session]);
    expect(await repository.findExpiredGrants(after(1e6), 10)).toEqual([{ grant, artifact }]);
  });

  it('is not disturbed by changes to what the events of an ended grant are made from', async () => {
    const auditLog = new RecordingAuditLog();
    const repository = new MemoryRepository({ auditLog });
    const { session, grant, artifact } = await givenIssuedGrant(repository);
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
    await end();
    spoil(at);
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
    const auditLog: AuditLog = {
      append: () => void inner.push(repository.transact((unit) => unit.insertSession(aSession()))),
      ping: () => undefined,
    };
    const repository = new MemoryRepository({ auditLog });
    await repository.transact((unit) => unit.record(anEvent()));
    await expect(inner[0]).rejects.toThrow(/while another commits/);
    await repository.transact((unit) => unit.insertSession(aSession()));
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

import { describe, expect, it } from 'vitest';
import type { TenantId } from '../../../src/domain/ids.ts';
import type { Repository } from '../../../src/domain/repository.ts';
import { dueRevocation, endRevocation } from '../../../src/domain/revocation.ts';
import { MemoryRepository } from '../../../src/store/memory/memory-repository.ts';
import { endSessionAfter, givenIssuedGrant, givenLease, givenSession } from '../../contract/repository-under-test.ts';
import { aCall, anEvent, aRevocation, aSession, after, TENANT } from '../../support/entities.ts';
import { RecordingAuditLog } from '../../support/recording-audit-log.ts';

const PAGE = { limit: 10, after: null };
const aRepository = () => new MemoryRepository({ auditLog: new RecordingAuditLog() });

/** A handle with a call under way, and a lease that is due. */
async function givenDownstream(repository: Repository, tenantId = TENANT) {
  const { session, artifact } = await givenIssuedGrant(repository, aSession({ tenantId }));
  const call = aCall(artifact);
  const { revocation } = await givenLease(repository, session);
  const { grantId } = revocation;
  await repository.transact((unit) => {
    unit.openCall(call);
    unit.spendRequest({
      tenantId,
      artifactId: artifact.id,
      callId: call.id,
      maxRequests: 10,
      maxConcurrent: 8,
      now: after(0),
    });
    unit.spendBytes({ tenantId, artifactId: artifact.id, bytes: 10, maxBytes: 100 });
    unit.makeRevocationDue({ tenantId, grantId, at: after(5) });
  });
  return { session, artifact, call, due: dueRevocation(revocation, after(5)) };
}

describe('what is begun downstream', () => {
  it('is not disturbed by changes to what was staged or put in', async () => {
    const repository = aRepository();
    const { artifact } = await givenIssuedGrant(repository);
    const [call, requested, at] = [aCall(artifact), aRevocation(aSession()), after(5)];
    const kept = structuredClone({ call, requested });
    const held = { ...kept.requested, state: 'held' as const, leaseId: 'lease/1' };
    const staged = structuredClone(held);
    await repository.transact((unit) => {
      unit.openCall(call);
      unit.insertRevocation(requested);
      unit.updateRevocation({ expected: 'requested', next: staged });
      unit.makeRevocationDue({ tenantId: TENANT, grantId: kept.requested.grantId, at });
      for (const given of [call, call.subject, requested, staged]) spoil(given);
      at.setTime(0);
    });
    expect(await repository.findOverdueCalls(after(1e6), 10)).toEqual([kept.call]);
    expect(await repository.findRevocationOfGrant(TENANT, kept.requested.grantId)).toEqual(dueRevocation(held, after(5)));
  });

  it('is not disturbed by changes to what was found or claimed', async () => {
    const repository = aRepository();
    const { artifact, call, due } = await givenDownstream(repository);
    const claimedUntil = after(65);
    const claim = { now: after(5), claimedUntil, limit: 10, busy: [] };
    const claimed = { ...due, attempts: 1, nextAttemptAt: after(65) };
    for (const revocation of await repository.claimDueRevocations(claim)) spoil(revocation);
    claimedUntil.setTime(0);
    for (const found of await repository.findOverdueCalls(after(1e6), 10)) spoil(found.subject);
    const usage = await repository.findHandleUsage(artifact.handleHash);
    for (const slot of usage?.slots ?? []) slot.lapsesAt.setTime(0);
    for (const row of (await repository.listRevocations(TENANT, {}, PAGE)).rows) spoil(row);
    spoil((await repository.findRevocationOfGrant(TENANT, due.grantId)) ?? {});
    expect(await repository.findRevocationOfGrant(TENANT, due.grantId)).toEqual(claimed);
    expect(await repository.findOverdueCalls(after(1e6), 10)).toEqual([call]);
    expect(await repository.findHandleUsage(artifact.handleHash)).toEqual({
      requests: 1,
      bytes: 10,
      slots: [{ slotId: call.id, lapsesAt: call.deadline }],
    });
  });

  it('leaves nothing behind when it has come, gone and been forgotten', async () => {
    const repository = aRepository();
    const sessions = [];
    for (let made = 0; made < 30; made += 1) {
      const tenantId = `t_${made % 3}` as TenantId;
      const { session, call, due } = await givenDownstream(repository, tenantId);
      await endSessionAfter(repository, session, 6);
      await repository.transact((unit) => {
        unit.closeCall({ tenantId, callId: call.id });
        const next = endRevocation(due, { outcome: 'revoked', endedAt: after(7 + made) });
        unit.updateRevocation({ expected: 'due', next });
      });
      sessions.push(session);
    }
    expect(repository.rowCounts()).toMatchObject({ calls: 0, spent: 30, revocations: 30, endedRevocations: 30 });
    while ((await repository.forgetEnded(after(1e6), 7)) > 0);
    expect([...new Set(Object.values(repository.rowCounts()))]).toEqual([0]);
  });

  it('leaves nothing behind of units that were refused', async () => {
    const auditLog = new RecordingAuditLog();
    const repository = new MemoryRepository({ auditLog });
    const { artifact } = await givenIssuedGrant(repository);
    const before = repository.rowCounts();
    auditLog.failNext();
    const attempt = repository.transact((unit) => {
      const call = aCall(artifact);
      const { tenantId, id: artifactId } = artifact;
      unit.openCall(call);
      unit.spendRequest({ tenantId, artifactId, callId: call.id, maxRequests: 1, maxConcurrent: 1, now: after(0) });
      unit.spendBytes({ tenantId, artifactId, bytes: 1, maxBytes: 1 });
      unit.insertRevocation(aRevocation(aSession()));
      unit.record(anEvent());
    });
    await expect(attempt).rejects.toMatchObject({ code: 'unavailable' });
    expect(repository.rowCounts()).toEqual(before);
  });

  it("has a list that takes no other list's cursor", async () => {
    const repository = aRepository();
    for (let made = 0; made < 2; made += 1) await givenSession(repository);
    for (let made = 0; made < 2; made += 1)
      await repository.transact((unit) => unit.insertRevocation(aRevocation(aSession())));
    const { next: ofSessions } = await repository.listSessions(TENANT, {}, { limit: 1, after: null });
    const { next: ofRevocations } = await repository.listRevocations(TENANT, {}, { limit: 1, after: null });
    expect(ofRevocations).not.toBeNull();
    for (const attempt of [
      repository.listRevocations(TENANT, {}, { limit: 1, after: ofSessions }),
      repository.listSessions(TENANT, {}, { limit: 1, after: ofRevocations }),
    ]) {
      await expect(attempt).rejects.toMatchObject({ code: 'invalid_request' });
    }
  });
});

/** Changes everything in a row. */
function spoil(row: object): void {
  for (const [key, value] of Object.entries(row)) {
    if (value instanceof Date) value.setTime(0);
    else if (typeof value !== 'object' || value === null) Reflect.set(row, key, 'spoilt');
  }
}

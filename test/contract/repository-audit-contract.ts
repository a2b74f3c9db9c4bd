import { describe, expect, it } from 'vitest';
import { decideApproval } from '../../src/domain/approval.ts';
import { endSession } from '../../src/domain/session.ts';
import {
  aBlock,
  anApproval,
  anEvent,
  aNotification,
  aPendingGrant,
  aSession,
  aWord,
  after,
  OTHER_TENANT,
} from '../support/entities.ts';
import {
  eachWithRepository,
  givenIssuedGrant,
  givenPendingGrant,
  givenSession,
  type OpenRepository,
} from './repository-under-test.ts';

/** That a change and its events commit together. */
export function repositoryAuditContract(open: OpenRepository): void {
  describe('audit', () => {
    const under = eachWithRepository(open);

    it('keeps the events of a unit, in order', async () => {
      const { repository, events } = under.current;
      const recorded = [
        anEvent({ type: 'session.refused', code: 'forbidden', reason: 'workload_not_bound' }),
        anEvent({ type: 'session.created', revision: 'f'.repeat(64), details: { tools: ['github'], first: true, size: 3 } }),
        anEvent({
          type: 'session.revoked',
          subject: { tenantId: OTHER_TENANT, agentId: 'agent', runId: 'run', sessionId: 'sess_1' },
        }),
      ];
      await repository.transact((unit) => {
        for (const event of recorded) unit.record(event);
      });
      expect(await events()).toEqual(recorded);
    });

    it('changes nothing when the events cannot be written', async (context) => {
      const { repository, events, failNextAudit } = under.current;
      if (failNextAudit === undefined) return context.skip();
      const { session, grant, artifact } = await givenIssuedGrant(repository);
      const revoke = () =>
        repository.transact((unit) => {
          unit.updateSession({ expected: 'active', next: endSession(session, 'revoked', after(5), 'stop') });
          const { tenantId, id: sessionId } = session;
          unit.endGrantsOfSession({ tenantId, sessionId, state: 'revoked', at: after(5), reason: 'stop', events: () => [] });
          unit.insertSession(aSession());
          unit.record(anEvent({ type: 'session.revoked' }));
        });
      failNextAudit();
      await expect(revoke()).rejects.toMatchObject({ code: 'unavailable' });
      expect(await repository.findByHandle(artifact.handleHash)).toEqual({ session, grant, artifact });
      expect(await events()).toEqual([]);
      await revoke();
      expect(await repository.findGrant(session.tenantId, grant.id)).toMatchObject({ state: 'revoked' });
      expect(await events()).toHaveLength(1);
    });

    it('leaves nothing behind of what asks humans when the events cannot be written', async (context) => {
      const { repository, events, failNextAudit } = under.current;
      if (failNextAudit === undefined) return context.skip();
      const session = await givenSession(repository);
      const earlier = await givenPendingGrant(repository, session, { grant: { requestHash: 'c'.repeat(64) } });
      const { tenantId, id, runId, workloadHash } = session;
      const grant = aPendingGrant(session, { requestId: 'one' });
      const event = anEvent({ type: 'grant.requested' });
      const ask = () =>
        repository.transact((unit) => {
          unit.insertGrant(grant);
          unit.insertApproval(anApproval(grant));
          unit.insertNotification(aNotification(anApproval(grant)));
          unit.updateApproval({
            expected: 'pending',
            expectedDecisions: 0,
            next: decideApproval(earlier.approval, aWord('alice')),
          });
          unit.insertBlock(aBlock({ runId }));
          unit.record(event);
        });
      failNextAudit();
      await expect(ask()).rejects.toMatchObject({ code: 'unavailable' });
      expect(await repository.findGrantByRequestId(tenantId, id, 'one')).toBeNull();
      expect(await repository.findApproval(tenantId, grant.approvalId)).toBeNull();
      expect(await repository.findApprovalOfRequest(tenantId, id, grant.requestHash)).toBeNull();
      expect(await repository.findApproval(tenantId, earlier.approval.id)).toEqual(earlier.approval);
      expect(await repository.findDueNotifications(after(1e6), 10, [])).toEqual([]);
      expect(await repository.findBlock({ tenantId, runId, workloadHash })).toBeNull();
      const page = { limit: 10, after: null };
      expect((await repository.listGrants(tenantId, {}, page)).rows).toEqual([earlier.grant]);
      expect((await repository.listApprovals(tenantId, {}, page)).rows).toEqual([earlier.approval]);
      expect((await repository.listAuditEvents(tenantId, {}, page)).rows).toEqual([]);
      expect(await events()).toEqual([]);
      await ask();
      expect(await repository.findGrantByRequestId(tenantId, id, 'one')).toEqual(grant);
      expect((await repository.listAuditEvents(tenantId, {}, page)).rows).toEqual([event]);
    });
  });
}

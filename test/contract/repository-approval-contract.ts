import { describe, expect, it } from 'vitest';
import { decideApproval, type PendingApproval } from '../../src/domain/approval.ts';
import { approveGrant, endGrant, issueGrant, type PendingGrant } from '../../src/domain/grant.ts';
import type { ArtifactId } from '../../src/domain/ids.ts';
import type { Repository } from '../../src/domain/repository.ts';
import { type ActiveSession, endSession } from '../../src/domain/session.ts';
import type { UnitOfWork } from '../../src/domain/unit-of-work.ts';
import {
  aGrant,
  anApproval,
  anArtifact,
  anArtifactId,
  anEvent,
  aPendingGrant,
  aSession,
  aSessionId,
  aWord,
  after,
  OTHER_TENANT,
} from '../support/entities.ts';
import { approvalConflicts, approvalMistakes } from './repository-approval-refusals.ts';
import {
  eachWithRepository,
  endSessionAfter,
  givenPendingGrant,
  givenSession,
  type OpenRepository,
  winnersOf,
} from './repository-under-test.ts';

/** What every repository must do with approvals. */
export function repositoryApprovalContract(open: OpenRepository): void {
  describe('an approval', () => {
    const under = eachWithRepository(open);
    const givenApproval = async (overrides: Partial<PendingApproval> = {}) => {
      const { repository } = under.current;
      const session = await givenSession(repository);
      return { repository, session, ...(await givenPendingGrant(repository, session, { approval: overrides })) };
    };

    it('is found with all that it holds, before and after its decision', async () => {
      const { repository, approval } = await givenApproval({ requiredApprovers: 2 });
      const find = () => repository.findApproval(approval.tenantId, approval.id);
      expect(await find()).toEqual(approval);
      const half = decideApproval(approval, aWord('alice', { comment: 'looks right' }));
      await repository.transact((unit) => unit.updateApproval({ expected: 'pending', expectedDecisions: 0, next: half }));
      expect(await find()).toEqual(half);
      const whole = decideApproval(half, aWord('bob'));
      await repository.transact((unit) => unit.updateApproval({ expected: 'pending', expectedDecisions: 1, next: whole }));
      expect(await find()).toEqual(whole);
    });

    it('gives its grant a lifetime that starts with it', async () => {
      const { repository, grant, approval } = await givenApproval();
      const approved = approveGrant(grant, after(610));
      await repository.transact((unit) => stageYes(unit, { grant, approval }, aWord('alice')));
      expect(await repository.findGrant(grant.tenantId, grant.id)).toEqual(approved);
      expect(await repository.findExpiredGrants(after(609), 10)).toEqual([]);
      expect(await repository.findExpiredGrants(after(610), 10)).toEqual([
        { grant: approved, artifact: null, approval: null },
      ]);
    });

    it.each(approvalConflicts)('is a conflict when $name', async ({ stage }) => {
      const given = await givenApproval({ requiredApprovers: 2 });
      const { repository, grant, approval } = given;
      await expect(repository.transact((unit) => stage(unit, given))).rejects.toMatchObject({ code: 'conflict' });
      expect(await repository.findApproval(approval.tenantId, approval.id)).toEqual(approval);
      expect(await repository.findGrant(grant.tenantId, grant.id)).toEqual(grant);
    });

    it.each(approvalMistakes)('fails on $name, which is no lost race', async ({ stage }) => {
      const given = await givenApproval({ requiredApprovers: 2 });
      const { repository, grant, approval } = given;
      const failure: unknown = await repository.transact((unit) => stage(unit, given)).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(Error);
      expect(failure).not.toHaveProperty('code', 'conflict');
      expect(await repository.findApproval(approval.tenantId, approval.id)).toEqual(approval);
      expect(await repository.findGrant(grant.tenantId, grant.id)).toEqual(grant);
    });
  });

  races(open);
  endsOfSessions(open);
  approvalsOfRequests(open);
  cleanup(open);
}

interface Waiting {
  grant: PendingGrant;
  approval: PendingApproval;
}
type Word = ReturnType<typeof aWord>;

function stageYes(unit: UnitOfWork, { grant, approval }: Waiting, word: Word): void {
  unit.updateApproval({ expected: 'pending', expectedDecisions: 0, next: decideApproval(approval, word) });
  unit.updateGrant({ expected: 'pending', next: approveGrant(grant, after(610)) });
}

function stageNo(unit: UnitOfWork, { grant, approval }: Waiting, word: Word): void {
  unit.updateApproval({ expected: 'pending', expectedDecisions: 0, next: decideApproval(approval, word) });
  unit.updateGrant({ expected: 'pending', next: endGrant(grant, 'denied', word.at, 'no') });
}

function stageEnd(unit: UnitOfWork, session: ActiveSession): void {
  const { tenantId, id: sessionId } = session;
  unit.updateSession({ expected: 'active', next: endSession(session, 'revoked', after(20), 'stop') });
  unit.endGrantsOfSession({ tenantId, sessionId, state: 'revoked', at: after(20), reason: 'stop', events: () => [] });
}

function races(open: OpenRepository): void {
  describe('a race for an approval', () => {
    const under = eachWithRepository(open);

    it('is won by one of twenty who decide at once, and the grant follows that one', async () => {
      const { repository, events } = under.current;
      const session = await givenSession(repository);
      const waiting = await givenPendingGrant(repository, session);
      const attempts = Array.from({ length: 20 }, (_, index) => {
        const decision = index % 2 === 0 ? ('approve' as const) : ('deny' as const);
        const word = aWord(`person ${index}`, { decision });
        return repository.transact((unit) => {
          (decision === 'approve' ? stageYes : stageNo)(unit, waiting, word);
          unit.record(anEvent({ requestId: word.approver.subject }));
        });
      });
      const [winner = -1, ...more] = await winnersOf(attempts);
      expect(more).toEqual([]);
      const state = winner % 2 === 0 ? 'approved' : 'denied';
      expect(await repository.findApproval(session.tenantId, waiting.approval.id)).toMatchObject({
        state,
        decisions: [{ approver: { subject: `person ${winner}` } }],
      });
      expect(await repository.findGrant(session.tenantId, waiting.grant.id)).toMatchObject({ state });
      expect((await events()).map(({ requestId }) => requestId)).toEqual([`person ${winner}`]);
    });

    it('loses no word of two people who both are needed', async () => {
      const { repository } = under.current;
      const session = await givenSession(repository);
      const { approval } = await givenPendingGrant(repository, session, { approval: { requiredApprovers: 3 } });
      const speak = (seen: PendingApproval, subject: string) =>
        repository.transact((unit) => {
          const expectedDecisions = seen.decisions.length;
          unit.updateApproval({ expected: 'pending', expectedDecisions, next: decideApproval(seen, aWord(subject)) });
        });
      const people = ['alice', 'bob'];
      const winners = await winnersOf(people.map((subject) => speak(approval, subject)));
      expect(winners).toHaveLength(1);
      const seen = await repository.findApproval(session.tenantId, approval.id);
      if (seen?.state !== 'pending') throw new Error('the approval was decided by one');
      await speak(seen, people[winners[0] === 0 ? 1 : 0] ?? '');
      const found = await repository.findApproval(session.tenantId, approval.id);
      expect(found).toMatchObject({ state: 'pending' });
      expect(found?.decisions.map(({ approver }) => approver.subject).sort()).toEqual(people);
    });

    it.each([
      ['the decision', [stageDecision, stageEnd], 'approved', 'revoked'],
      ['the end of the session', [stageEnd, stageDecision], 'expired', 'expired'],
    ] as const)(
      'with the end of its session leaves nothing open when %s comes first',
      async (_, stages, approval, grant) => {
        const { repository } = under.current;
        const session = await givenSession(repository);
        const waiting = await givenPendingGrant(repository, session);
        const attempts = stages.map((stage) => () => repository.transact((unit) => stage(unit, session, waiting)));
        for (const attempt of attempts) await attempt().catch(expectConflict);
        expect(await repository.findApproval(session.tenantId, waiting.approval.id)).toMatchObject({ state: approval });
        expect(await repository.findGrant(session.tenantId, waiting.grant.id)).toMatchObject({ state: grant });
      },
    );

    it('with the end of its session leaves nothing open when both come at once', async () => {
      const { repository } = under.current;
      for (let round = 0; round < 10; round += 1) {
        const session = await givenSession(repository);
        const waiting = await givenPendingGrant(repository, session);
        const artifactId = anArtifactId();
        const stages = round % 2 === 0 ? [stageDecision, stageEnd] : [stageEnd, stageDecision];
        const attempts = stages.map((stage) => repository.transact((unit) => stage(unit, session, waiting, artifactId)));
        const winners = await winnersOf(attempts);
        expect(winners).toContain(stages.indexOf(stageEnd));
        const isDecided = winners.length === 2;
        const { tenantId } = session;
        expect(await repository.findApproval(tenantId, waiting.approval.id)).toMatchObject({
          state: isDecided ? 'approved' : 'expired',
        });
        expect(await repository.findGrant(tenantId, waiting.grant.id)).toMatchObject({
          state: isDecided ? 'revoked' : 'expired',
        });
        expect((await repository.findArtifact(tenantId, artifactId))?.state).toBe(isDecided ? 'revoked' : undefined);
      }
    });
  });
}

/** A yes with all that follows from it. */
function stageDecision(
  unit: UnitOfWork,
  _session: ActiveSession,
  waiting: Waiting,
  artifactId: ArtifactId = anArtifactId(),
): void {
  stageYes(unit, waiting, aWord('alice'));
  const issued = issueGrant(approveGrant(waiting.grant, after(610)), artifactId, after(10));
  unit.updateGrant({ expected: 'approved', next: issued });
  unit.insertArtifact(anArtifact(issued));
}

function expectConflict(error: unknown): void {
  expect(error).toMatchObject({ code: 'conflict' });
}

function endsOfSessions(open: OpenRepository): void {
  describe('ending the grants of a session', () => {
    const under = eachWithRepository(open);

    it('expires what waits for humans, tells of it, and leaves what they decided', async () => {
      const { repository, events } = under.current;
      const session = await givenSession(repository);
      const waiting = await givenPendingGrant(repository, session, { approval: { requiredApprovers: 2 } });
      const decided = await givenPendingGrant(repository, session);
      const half = decideApproval(waiting.approval, aWord('alice'));
      const unasked = aGrant(session);
      await repository.transact((unit) => {
        unit.updateApproval({ expected: 'pending', expectedDecisions: 0, next: half });
        stageYes(unit, decided, aWord('alice'));
        unit.insertGrant(unasked);
      });
      const { tenantId, id: sessionId } = session;
      await repository.transact((unit) => {
        unit.updateSession({ expected: 'active', next: endSession(session, 'revoked', after(20), 'stop') });
        unit.endGrantsOfSession({
          tenantId,
          sessionId,
          state: 'revoked',
          at: after(20),
          reason: 'stop',
          events: (grant, _artifact, approval) => [anEvent({ requestId: `${grant.id} ${approval?.id} ${approval?.state}` })],
        });
      });
      expect(await repository.findApproval(tenantId, half.id)).toEqual({ ...half, state: 'expired', endedAt: after(20) });
      expect(await repository.findApproval(tenantId, decided.approval.id)).toMatchObject({ state: 'approved' });
      expect((await events()).map(({ requestId }) => requestId).sort()).toEqual(
        [
          `${waiting.grant.id} ${half.id} expired`,
          `${decided.grant.id} undefined undefined`,
          `${unasked.id} undefined undefined`,
        ].sort(),
      );
    });

    it('expires what was put before humans in the same unit', async () => {
      const { repository } = under.current;
      const session = aSession();
      const grant = aPendingGrant(session);
      const approval = anApproval(grant);
      await repository.transact((unit) => {
        unit.insertSession(session);
        unit.insertGrant(grant);
        unit.insertApproval(approval);
        stageEnd(unit, session);
      });
      expect(await repository.findApproval(session.tenantId, approval.id)).toMatchObject({ state: 'expired' });
    });
  });
}

function approvalsOfRequests(open: OpenRepository): void {
  describe('the approval of a request', () => {
    const under = eachWithRepository(open);
    const HASH = 'd'.repeat(64);
    const given = (session: ActiveSession, requestHash = HASH) =>
      givenPendingGrant(under.current.repository, session, { grant: { requestHash } });
    const deny = (repository: Repository, waiting: Waiting) =>
      repository.transact((unit) => stageNo(unit, waiting, aWord('alice', { decision: 'deny' })));

    it('is the newest of the session that is pending or approved', async () => {
      const { repository } = under.current;
      const session = await givenSession(repository);
      const { tenantId, id } = session;
      const find = async () => (await repository.findApprovalOfRequest(tenantId, id, HASH))?.id;
      expect(await find()).toBeUndefined();
      const [first, second, third] = [await given(session), await given(session), await given(session)];
      expect(await find()).toBe(third.approval.id);
      await deny(repository, third);
      expect(await find()).toBe(second.approval.id);
      await repository.transact((unit) => stageYes(unit, second, aWord('alice')));
      expect(await repository.findApprovalOfRequest(tenantId, id, HASH)).toMatchObject({
        id: second.approval.id,
        state: 'approved',
      });
      await repository.transact((unit) => stageYes(unit, first, aWord('alice')));
      expect(await find()).toBe(second.approval.id);
    });

    it('is nobody else’s: of no other request, session or tenant', async () => {
      const { repository } = under.current;
      const session = await givenSession(repository);
      const other = await givenSession(repository);
      const { approval } = await given(session);
      await given(other, 'e'.repeat(64));
      const { tenantId, id } = session;
      expect(await repository.findApprovalOfRequest(tenantId, id, HASH)).toEqual(approval);
      expect(await repository.findApprovalOfRequest(tenantId, id, 'e'.repeat(64))).toBeNull();
      expect(await repository.findApprovalOfRequest(tenantId, other.id, HASH)).toBeNull();
      expect(await repository.findApprovalOfRequest(tenantId, aSessionId(), HASH)).toBeNull();
      expect(await repository.findApprovalOfRequest(OTHER_TENANT, id, HASH)).toBeNull();
    });

    it('is none once it was denied or its session ended', async () => {
      const { repository } = under.current;
      const [denied, ended] = [await givenSession(repository), await givenSession(repository)];
      await deny(repository, await given(denied));
      await given(ended);
      await endSessionAfter(repository, ended, 5);
      for (const { tenantId, id } of [denied, ended]) {
        expect(await repository.findApprovalOfRequest(tenantId, id, HASH)).toBeNull();
      }
    });
  });
}

function cleanup(open: OpenRepository): void {
  describe('the cleanup of approvals', () => {
    const under = eachWithRepository(open);

    it('finds an expired grant with its approval only while that is pending', async () => {
      const { repository } = under.current;
      const session = await givenSession(repository);
      const { grant, approval } = await givenPendingGrant(repository, session);
      expect(await repository.findExpiredGrants(after(300), 10)).toEqual([{ grant, artifact: null, approval }]);
      const next = decideApproval(approval, aWord('alice', { decision: 'deny' }));
      await repository.transact((unit) => unit.updateApproval({ expected: 'pending', expectedDecisions: 0, next }));
      expect(await repository.findExpiredGrants(after(300), 10)).toEqual([{ grant, artifact: null, approval: null }]);
    });

    it('forgets an approval with the grant that it was given for, and with no other', async () => {
      const { repository } = under.current;
      const session = await givenSession(repository);
      const waiting = await givenPendingGrant(repository, session);
      const { approval } = waiting;
      const again = aGrant(session, { approvalId: approval.id });
      await repository.transact((unit) => {
        stageYes(unit, waiting, aWord('alice'));
        unit.insertGrant(again);
        unit.updateGrant({ expected: 'approved', next: endGrant(again, 'expired', after(20), 'done') });
      });
      expect(await repository.forgetEnded(after(21), 100)).toBe(1);
      expect(await repository.findApproval(session.tenantId, approval.id)).toMatchObject({ state: 'approved' });
      const approved = approveGrant(waiting.grant, after(610));
      await repository.transact((unit) =>
        unit.updateGrant({ expected: 'approved', next: endGrant(approved, 'expired', after(30), 'done') }),
      );
      expect(await repository.forgetEnded(after(31), 100)).toBe(2);
      expect(await repository.findApproval(session.tenantId, approval.id)).toBeNull();
      const { tenantId, id } = session;
      expect(await repository.findApprovalOfRequest(tenantId, id, approval.requestHash)).toBeNull();
    });

    it('forgets the approvals of a session that ended long ago', async () => {
      const { repository } = under.current;
      const session = await givenSession(repository);
      const { approval } = await givenPendingGrant(repository, session);
      await endSessionAfter(repository, session, 5);
      expect(await repository.forgetEnded(after(6), 100)).toBe(3);
      expect(await repository.findApproval(session.tenantId, approval.id)).toBeNull();
    });
  });
}

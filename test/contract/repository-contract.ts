import { describe, expect, it } from 'vitest';
import { endArtifact } from '../../src/domain/artifact.ts';
import { conflict } from '../../src/domain/errors.ts';
import { type ApprovedGrant, endGrant, issueGrant } from '../../src/domain/grant.ts';
import { type ActiveSession, endSession } from '../../src/domain/session.ts';
import type { UnitOfWork } from '../../src/domain/unit-of-work.ts';
import {
  aDelegation,
  aGrant,
  aGrantId,
  aHandleHash,
  anApprovalId,
  anArtifact,
  anArtifactId,
  anEvent,
  aPendingGrant,
  aSession,
  aSessionId,
  after,
  OTHER_TENANT,
} from '../support/entities.ts';
import { repositoryApprovalContract } from './repository-approval-contract.ts';
import { repositoryAuditContract } from './repository-audit-contract.ts';
import { repositoryDownstreamContract } from './repository-downstream-contract.ts';
import { repositoryExpiryContract } from './repository-expiry-contract.ts';
import { repositoryIsolationContract } from './repository-isolation-contract.ts';
import { repositoryLeaseContract } from './repository-lease-contract.ts';
import { repositoryLeaseLookUpsContract } from './repository-lease-look-ups-contract.ts';
import { repositoryLeaseQueueContract } from './repository-lease-queue-contract.ts';
import { repositoryListingContract } from './repository-listing-contract.ts';
import { repositoryOutboxContract } from './repository-outbox-contract.ts';
import { conflicts, mistakes } from './repository-refusals.ts';
import { repositoryRequestIdContract } from './repository-request-id-contract.ts';
import { repositoryRequirementsContract } from './repository-requirements-contract.ts';
import { repositoryRevocationContract } from './repository-revocation-contract.ts';
import { eachWithRepository, givenIssuedGrant, givenSession, type OpenRepository } from './repository-under-test.ts';
import { repositoryUsageContract } from './repository-usage-contract.ts';
import { repositoryWrappedSecretContract } from './repository-wrapped-secret-contract.ts';

/** What every repository must do. */
export function repositoryContract(name: string, open: OpenRepository): void {
  describe(`${name} keeps the repository contract`, () => {
    transactions(open);
    lookUps(open);
    endingASession(open);
    openGrants(open);
    repositoryAuditContract(open);
    repositoryExpiryContract(open);
    repositoryApprovalContract(open);
    repositoryRequestIdContract(open);
    repositoryRequirementsContract(open);
    repositoryRevocationContract(open);
    repositoryWrappedSecretContract(open);
    repositoryDownstreamContract(open);
    repositoryUsageContract(open);
    repositoryLeaseContract(open);
    repositoryLeaseLookUpsContract(open);
    repositoryLeaseQueueContract(open);
    repositoryOutboxContract(open);
    repositoryListingContract(open);
    repositoryIsolationContract(open);
  });
}

function transactions(open: OpenRepository): void {
  describe('a unit of work', () => {
    const under = eachWithRepository(open);

    it('answers ping', async () => {
      await expect(under.current.repository.ping()).resolves.toBeUndefined();
    });

    it('commits a session, its grant and its artifact together', async () => {
      const { repository } = under.current;
      const { session, grant, artifact } = await givenIssuedGrant(repository);
      expect(await repository.findSession(session.tenantId, session.id)).toEqual(session);
      expect(await repository.findGrant(session.tenantId, grant.id)).toEqual(grant);
      expect(await repository.findArtifact(session.tenantId, artifact.id)).toEqual(artifact);
    });

    it('commits nothing when one of its changes is refused', async () => {
      const { repository, events } = under.current;
      const session = aSession();
      const grant = aGrant(session);
      const attempt = repository.transact((unit) => {
        unit.insertSession(session);
        unit.insertGrant(grant);
        unit.record(anEvent());
        unit.updateGrant({ expected: 'issued', next: endGrant(grant, 'revoked', after(1), 'gone') });
      });
      await expect(attempt).rejects.toMatchObject({ code: 'conflict' });
      expect(await repository.findSession(session.tenantId, session.id)).toBeNull();
      expect(await repository.findGrant(session.tenantId, grant.id)).toBeNull();
      expect(await events()).toEqual([]);
    });

    it('commits nothing when its staging throws, and passes the error on', async () => {
      const { repository, events } = under.current;
      const session = aSession();
      const refusal = conflict('already revoked');
      const attempt = repository.transact((unit) => {
        unit.insertSession(session);
        unit.record(anEvent());
        throw refusal;
      });
      await expect(attempt).rejects.toBe(refusal);
      expect(await repository.findSession(session.tenantId, session.id)).toBeNull();
      expect(await events()).toEqual([]);
    });

    it('refuses a staging function that waits', async () => {
      const session = aSession();
      // eslint-disable-next-line @typescript-eslint/no-misused-promises -- the mistake that the test is about
      const attempt = under.current.repository.transact(async (unit) => {
        unit.insertSession(session);
        await Promise.resolve();
      });
      await expect(attempt).rejects.toThrow(/async/);
      expect(await under.current.repository.findSession(session.tenantId, session.id)).toBeNull();
    });

    it('refuses changes after its staging function returned', async () => {
      const kept: UnitOfWork[] = [];
      await under.current.repository.transact((unit) => void kept.push(unit));
      expect(() => kept[0]?.insertSession(aSession())).toThrow(/unit of work/);
    });

    it.each(conflicts)('is a conflict when $name', async ({ stage }) => {
      const { repository, events } = under.current;
      const given = await givenIssuedGrant(repository);
      await expect(repository.transact((unit) => stage(unit, given))).rejects.toMatchObject({ code: 'conflict' });
      expect(await repository.findSession(given.session.tenantId, given.session.id)).toEqual(given.session);
      expect(await repository.findGrant(given.session.tenantId, given.grant.id)).toEqual(given.grant);
      expect(await repository.findArtifact(given.session.tenantId, given.artifact.id)).toEqual(given.artifact);
      expect(await events()).toEqual([]);
    });

    it.each(mistakes)('fails on $name, which is no lost race', async ({ stage }) => {
      const { repository } = under.current;
      const given = await givenIssuedGrant(repository);
      const failure: unknown = await repository.transact((unit) => stage(unit, given)).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(Error);
      expect(failure).not.toHaveProperty('code', 'conflict');
      expect(await repository.findSession(given.session.tenantId, given.session.id)).toEqual(given.session);
      expect(await repository.findGrant(given.session.tenantId, given.grant.id)).toEqual(given.grant);
      expect(await repository.findArtifact(given.session.tenantId, given.artifact.id)).toEqual(given.artifact);
    });

    it('lets exactly one of many concurrent changes of a state win', async () => {
      const { repository, events } = under.current;
      const { session, grant } = await givenIssuedGrant(repository);
      const attempts = Array.from({ length: 20 }, (_, index) =>
        repository.transact((unit) => {
          unit.updateGrant({ expected: 'issued', next: endGrant(grant, 'revoked', after(2), `attempt ${index}`) });
          unit.record(anEvent({ type: 'grant.revoked', requestId: `attempt ${index}` }));
        }),
      );
      const outcomes = await Promise.allSettled(attempts);
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'conflict' });
      }
      const [event, ...more] = await events();
      expect(more).toEqual([]);
      expect(await repository.findGrant(session.tenantId, grant.id)).toMatchObject({ endReason: event?.requestId });
    });
  });
}

function lookUps(open: OpenRepository): void {
  describe('a look-up', () => {
    const under = eachWithRepository(open);

    it('finds a session with all that it was opened with', async () => {
      const { repository } = under.current;
      const session = await givenSession(
        repository,
        aSession({ delegation: aDelegation(), proofKeyThumbprint: '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I' }),
      );
      expect(await repository.findSession(session.tenantId, session.id)).toEqual(session);
    });

    it('finds what stands behind a handle', async () => {
      const { repository } = under.current;
      const { session, grant, artifact } = await givenIssuedGrant(repository);
      expect(await repository.findByHandle(artifact.handleHash)).toEqual({ session, grant, artifact });
    });

    it('finds what stands behind a handle that has ended', async () => {
      const { repository } = under.current;
      const { session, artifact } = await givenIssuedGrant(repository);
      await repository.transact((unit) => {
        unit.updateArtifact({ expected: 'issued', next: endArtifact(artifact, 'revoked', after(3)) });
        unit.updateSession({ expected: 'active', next: endSession(session, 'revoked', after(3), 'stop') });
      });
      expect(await repository.findByHandle(artifact.handleHash)).toMatchObject({
        session: { state: 'revoked', endedAt: after(3), endReason: 'stop' },
        artifact: { state: 'revoked', endedAt: after(3) },
      });
    });

    it('answers null for what is not there', async () => {
      const { repository } = under.current;
      const { tenantId } = aSession();
      expect(await repository.findSession(tenantId, aSessionId())).toBeNull();
      expect(await repository.findGrant(tenantId, aGrantId())).toBeNull();
      expect(await repository.findArtifact(tenantId, anArtifactId())).toBeNull();
      expect(await repository.findApproval(tenantId, anApprovalId())).toBeNull();
      expect(await repository.findByHandle(aHandleHash())).toBeNull();
    });
  });
}

function endingASession(open: OpenRepository): void {
  describe('ending the grants of a session', () => {
    const under = eachWithRepository(open);

    it('ends every open grant and issued artifact, and no other', async () => {
      const { repository, events } = under.current;
      const other = await givenIssuedGrant(repository);
      const { session, grant, artifact } = await givenIssuedGrant(repository);
      const [pending, approved, used] = [aPendingGrant(session), aGrant(session), aGrant(session)];
      const usedIssued = issueGrant(used, anArtifactId(), after(1));
      const unwrapped = anArtifact(usedIssued);
      await repository.transact((unit) => {
        for (const inserted of [pending, approved, used]) unit.insertGrant(inserted);
        unit.updateGrant({ expected: 'approved', next: usedIssued });
        unit.insertArtifact(unwrapped);
        unit.updateArtifact({ expected: 'issued', next: endArtifact(unwrapped, 'used', after(2)) });
        unit.updateGrant({ expected: 'issued', next: { ...usedIssued, state: 'used' } });
      });

      await repository.transact((unit) => {
        unit.updateSession({ expected: 'active', next: endSession(session, 'revoked', after(5), 'stop') });
        unit.endGrantsOfSession({
          tenantId: session.tenantId,
          sessionId: session.id,
          state: 'revoked',
          at: after(5),
          reason: 'session revoked',
          events: (ended, its) => [
            anEvent({
              type: `grant.${ended.state === 'expired' ? 'expired' : 'revoked'}`,
              requestId: `${ended.id} ${its?.state}`,
            }),
          ],
        });
      });

      const ended = { endedAt: after(5), endReason: 'session revoked' };
      const find = (id: typeof grant.id) => repository.findGrant(session.tenantId, id);
      expect(await find(grant.id)).toMatchObject({ ...ended, state: 'revoked' });
      expect(await find(approved.id)).toMatchObject({ ...ended, state: 'revoked' });
      expect(await find(used.id)).toMatchObject({ ...ended, state: 'revoked' });
      expect(await find(pending.id)).toMatchObject({ ...ended, state: 'expired' });
      expect(await repository.findArtifact(session.tenantId, artifact.id)).toMatchObject({
        state: 'revoked',
        endedAt: after(5),
      });
      expect(await repository.findArtifact(session.tenantId, unwrapped.id)).toMatchObject({
        state: 'used',
        endedAt: after(2),
      });
      expect(await repository.findByHandle(other.artifact.handleHash)).toEqual({
        session: other.session,
        grant: other.grant,
        artifact: other.artifact,
      });
      expect((await events()).map((event) => `${event.type} ${event.requestId}`).sort()).toEqual(
        [
          `grant.revoked ${grant.id} revoked`,
          `grant.revoked ${approved.id} undefined`,
          `grant.revoked ${used.id} undefined`,
          `grant.expired ${pending.id} undefined`,
        ].sort(),
      );
    });

    it("does nothing to another tenant's session, or to grants that ended before", async () => {
      const { repository, events } = under.current;
      const { session, grant } = await givenIssuedGrant(repository);
      const change = {
        sessionId: session.id,
        state: 'expired' as const,
        at: after(5),
        reason: 'time is up',
        events: () => [anEvent()],
      };
      await repository.transact((unit) => unit.endGrantsOfSession({ ...change, tenantId: OTHER_TENANT }));
      expect(await repository.findGrant(session.tenantId, grant.id)).toEqual(grant);
      await repository.transact((unit) => unit.endGrantsOfSession({ ...change, tenantId: session.tenantId }));
      await repository.transact((unit) =>
        unit.endGrantsOfSession({ ...change, tenantId: session.tenantId, at: after(6), state: 'revoked' }),
      );
      expect(await repository.findGrant(session.tenantId, grant.id)).toMatchObject({ state: 'expired', endedAt: after(5) });
      expect(await events()).toHaveLength(1);
    });

    it('leaves no grant open whichever comes first, a new grant or the end of its session', async () => {
      const { repository } = under.current;
      const session = aSession();
      await repository.transact((unit) => unit.insertSession(session));
      const grants = Array.from({ length: 20 }, () => aGrant(session));
      const insertions = grants.map((grant) => () => repository.transact((unit) => unit.insertGrant(grant)));
      const revocation = () =>
        repository.transact((unit) => {
          unit.updateSession({ expected: 'active', next: endSession(session, 'revoked', after(5), 'stop') });
          const { tenantId, id: sessionId } = session;
          unit.endGrantsOfSession({ tenantId, sessionId, state: 'revoked', at: after(5), reason: 'stop', events: () => [] });
        });
      const attempts = [...insertions.slice(0, 10), revocation, ...insertions.slice(10)];
      await Promise.allSettled(attempts.map((attempt) => attempt()));
      for (const { id } of grants) {
        const found = await repository.findGrant(session.tenantId, id);
        expect(found?.state ?? 'never made').toMatch(/^(revoked|never made)$/);
      }
    });
  });
}

function openGrants(open: OpenRepository): void {
  describe('room for a grant', () => {
    const under = eachWithRepository(open);
    const insertion = (session: ActiveSession, grant: ApprovedGrant, maxOpen: number) => (unit: UnitOfWork) => {
      unit.requireRoomForGrant({ tenantId: session.tenantId, sessionId: session.id, maxOpen });
      unit.insertGrant(grant);
    };

    it('of 20 at once lets in as many as a session may have open', async () => {
      const { repository } = under.current;
      const session = aSession();
      await repository.transact((unit) => unit.insertSession(session));
      const grants = Array.from({ length: 20 }, () => aGrant(session));
      const results = await Promise.allSettled(grants.map((grant) => repository.transact(insertion(session, grant, 5))));
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(5);
      for (const result of results) {
        if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'resource_budget_exceeded' });
      }
      const found = await Promise.all(grants.map(({ id }) => repository.findGrant(session.tenantId, id)));
      expect(found.filter((grant) => grant !== null)).toHaveLength(5);
    });

    it('is there again when a grant has ended, and counts no other session', async () => {
      const { repository } = under.current;
      const { session, grant, artifact } = await givenIssuedGrant(repository);
      const other = await givenIssuedGrant(repository);
      const next = aGrant(session);
      const attempt = () => repository.transact(insertion(session, next, 1));
      await expect(attempt()).rejects.toMatchObject({ code: 'resource_budget_exceeded' });
      await repository.transact((unit) => {
        unit.updateGrant({ expected: 'issued', next: endGrant(grant, 'revoked', after(2), 'stop') });
        unit.updateArtifact({ expected: 'issued', next: endArtifact(artifact, 'revoked', after(2)) });
      });
      await attempt();
      await repository.forgetEnded(after(1e6), 100);
      await expect(repository.transact(insertion(session, aGrant(session), 1))).rejects.toMatchObject({
        code: 'resource_budget_exceeded',
      });
      expect(await repository.findGrant(other.grant.tenantId, other.grant.id)).toEqual(other.grant);
    });

    it('counts what the same unit has staged', async () => {
      const { repository } = under.current;
      const session = aSession();
      await repository.transact((unit) => unit.insertSession(session));
      const attempt = repository.transact((unit) => {
        for (let made = 0; made < 3; made += 1) insertion(session, aGrant(session), 2)(unit);
      });
      await expect(attempt).rejects.toMatchObject({ code: 'resource_budget_exceeded' });
    });
  });
}

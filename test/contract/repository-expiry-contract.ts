import { describe, expect, it } from 'vitest';
import { endArtifact } from '../../src/domain/artifact.ts';
import { endGrant, issueGrant } from '../../src/domain/grant.ts';
import type { ActiveSession } from '../../src/domain/session.ts';
import { aGrant, anApproval, anArtifact, anArtifactId, aPendingGrant, aSession, after } from '../support/entities.ts';
import { eachWithRepository, endSessionAfter, givenIssuedGrant, type OpenRepository } from './repository-under-test.ts';

/** What every repository must do for the cleanup. */
export function repositoryExpiryContract(open: OpenRepository): void {
  describe('expiry', () => {
    const under = eachWithRepository(open);

    it('finds active sessions whose time is up, oldest first, and no more than asked for', async () => {
      const { repository } = under.current;
      const ttls = [50, 10, 40, 20, 30, 60];
      const sessions = ttls.map((ttl) => aSession({ expiresAt: after(ttl) }));
      await repository.transact((unit) => sessions.forEach((session) => unit.insertSession(session)));
      const found = async (now: Date, limit: number) =>
        (await repository.findExpiredSessions(now, limit)).map(({ expiresAt }) => expiresAt);
      expect(await found(after(9.999), 10)).toEqual([]);
      expect(await found(after(10), 10)).toEqual([after(10)]);
      expect(await found(after(50), 3)).toEqual([after(10), after(20), after(30)]);
      expect(await found(after(50), 10)).toEqual([10, 20, 30, 40, 50].map(after));
    });

    it('does not find sessions that ended', async () => {
      const { repository } = under.current;
      const [revoked, left] = [aSession(), aSession()];
      await repository.transact((unit) => {
        unit.insertSession(revoked);
        unit.insertSession(left);
      });
      await endSessionAfter(repository, revoked, 20);
      expect(await repository.findExpiredSessions(after(1e6), 10)).toEqual([left]);
    });

    it('finds open grants whose time is up, oldest first, with their artifacts and pending approvals', async () => {
      const { repository } = under.current;
      const session = aSession();
      const pending = aPendingGrant(session, { expiresAt: after(30) });
      const approval = anApproval(pending);
      const approved = aGrant(session, { expiresAt: after(10) });
      const later = aGrant(session, { expiresAt: after(20) });
      const issued = issueGrant(later, anArtifactId(), after(1));
      const artifact = anArtifact(issued);
      await repository.transact((unit) => {
        unit.insertSession(session);
        for (const grant of [pending, approved, later]) unit.insertGrant(grant);
        unit.updateGrant({ expected: 'approved', next: issued });
        unit.insertArtifact(artifact);
        unit.insertApproval(approval);
      });
      expect(await repository.findExpiredGrants(after(9), 10)).toEqual([]);
      expect(await repository.findExpiredGrants(after(30), 2)).toEqual([
        { grant: approved, artifact: null, approval: null },
        { grant: issued, artifact, approval: null },
      ]);
      await repository.transact((unit) =>
        unit.updateGrant({ expected: 'approved', next: endGrant(approved, 'expired', after(31), 'time is up') }),
      );
      expect(await repository.findExpiredGrants(after(30), 10)).toEqual([
        { grant: issued, artifact, approval: null },
        { grant: pending, artifact: null, approval },
      ]);
    });

    it('forgets sessions that ended long ago, with all that hangs on them', async () => {
      const { repository } = under.current;
      const old = await givenIssuedGrant(repository);
      const recent = await givenIssuedGrant(repository);
      const active = await givenIssuedGrant(repository);
      await endSessionAfter(repository, old.session, 10);
      await endSessionAfter(repository, recent.session, 20);
      expect(await repository.forgetEnded(after(10), 100)).toBe(0);
      expect(await repository.forgetEnded(after(20), 100)).toBe(3);
      expect(await repository.findSession(old.session.tenantId, old.session.id)).toBeNull();
      expect(await repository.findGrant(old.session.tenantId, old.grant.id)).toBeNull();
      expect(await repository.findArtifact(old.session.tenantId, old.artifact.id)).toBeNull();
      expect(await repository.findByHandle(old.artifact.handleHash)).toBeNull();
      expect(await repository.findByHandle(recent.artifact.handleHash)).not.toBeNull();
      expect(await repository.findByHandle(active.artifact.handleHash)).not.toBeNull();
      expect(await repository.forgetEnded(after(20), 100)).toBe(0);
    });

    it('forgets grants that ended long ago in a session that goes on', async () => {
      const { repository } = under.current;
      const { session, grant, artifact } = await givenIssuedGrant(repository);
      const open = aGrant(session);
      await repository.transact((unit) => {
        unit.updateGrant({ expected: 'issued', next: endGrant(grant, 'revoked', after(10), 'done') });
        unit.updateArtifact({ expected: 'issued', next: endArtifact(artifact, 'revoked', after(10)) });
        unit.insertGrant(open);
      });
      expect(await repository.forgetEnded(after(11), 100)).toBe(2);
      expect(await repository.findGrant(session.tenantId, grant.id)).toBeNull();
      expect(await repository.findArtifact(session.tenantId, artifact.id)).toBeNull();
      expect(await repository.findGrant(session.tenantId, open.id)).toEqual(open);
      expect(await repository.findSession(session.tenantId, session.id)).toEqual(session);
    });

    it('forgets the oldest first and comes to an end in small steps', async () => {
      const { repository } = under.current;
      const sessions: ActiveSession[] = [];
      for (let index = 0; index < 5; index += 1) sessions.push((await givenIssuedGrant(repository)).session);
      for (const [index, session] of sessions.entries()) await endSessionAfter(repository, session, 50 - index);
      expect(await repository.forgetEnded(after(100), 2)).toBeGreaterThanOrEqual(2);
      const [first] = sessions;
      expect(first && (await repository.findSession(first.tenantId, first.id))).not.toBeNull();
      while ((await repository.forgetEnded(after(100), 2)) > 0);
      for (const session of sessions) expect(await repository.findSession(session.tenantId, session.id)).toBeNull();
    });

    it('lets a forgotten session get no new grant', async () => {
      const { repository } = under.current;
      const session = aSession();
      await repository.transact((unit) => unit.insertSession(session));
      await endSessionAfter(repository, session, 10);
      await repository.forgetEnded(after(11), 100);
      const attempt = repository.transact((unit) => unit.insertGrant(aGrant(session)));
      await expect(attempt).rejects.toMatchObject({ code: 'conflict' });
    });
  });
}

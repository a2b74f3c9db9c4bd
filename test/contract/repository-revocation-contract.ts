import { describe, expect, it } from 'vitest';
import { endArtifact } from '../../src/domain/artifact.ts';
import { endGrant } from '../../src/domain/grant.ts';
import type { RunId, TenantId, WorkloadHash } from '../../src/domain/ids.ts';
import { type ActiveSession, endSession } from '../../src/domain/session.ts';
import type { BlockQuestion, UnitOfWork } from '../../src/domain/unit-of-work.ts';
import { aBlock, aGrant, anEvent, aSession, after, OTHER_TENANT, TENANT } from '../support/entities.ts';
import {
  eachWithRepository,
  endSessionAfter,
  givenIssuedGrant,
  givenPendingGrant,
  givenSession,
  type OpenRepository,
  winnersOf,
} from './repository-under-test.ts';

const RUN = 'run_1' as RunId;
const OTHER_RUN = 'run_2' as RunId;
const WORKLOAD = 'a'.repeat(64) as WorkloadHash;
const OTHER_WORKLOAD = 'f'.repeat(64) as WorkloadHash;

/** What every repository must do for an operator's kill switch. */
export function repositoryRevocationContract(open: OpenRepository): void {
  blocks(open);
  activeSessions(open);
  endedHandles(open);
  killSwitch(open);
}

const question = (overrides: Partial<BlockQuestion> = {}): BlockQuestion => ({
  tenantId: TENANT,
  runId: RUN,
  workloadHash: WORKLOAD,
  ...overrides,
});

function blocks(open: OpenRepository): void {
  describe('a block', () => {
    const under = eachWithRepository(open);

    it.each([
      ['run', { runId: RUN }, 'run_revoked', { workloadHash: OTHER_WORKLOAD }],
      ['workload', { workloadHash: WORKLOAD }, 'workload_revoked', { runId: OTHER_RUN }],
    ] as const)('of a %s refuses whoever is that, and nothing of the unit stays', async (kind, target, reason, rest) => {
      const { repository, events } = under.current;
      await repository.transact((unit) => unit.insertBlock(aBlock(target)));
      const session = aSession({ runId: RUN, workloadHash: WORKLOAD, ...rest });
      const attempt = repository.transact((unit) => {
        unit.insertSession(session);
        unit.record(anEvent());
        unit.requireNoBlock(session);
      });
      await expect(attempt).rejects.toMatchObject({ code: 'forbidden', reason, rule: 'revocation' });
      expect(await repository.findSession(session.tenantId, session.id)).toBeNull();
      expect(await events()).toEqual([]);
      expect(await repository.findBlock(question(rest))).toBe(kind);
    });

    it('names the run first when both are blocked', async () => {
      const { repository } = under.current;
      await repository.transact((unit) => {
        unit.insertBlock(aBlock({ workloadHash: WORKLOAD }));
        unit.insertBlock(aBlock({ runId: RUN }));
      });
      expect(await repository.findBlock(question())).toBe('run');
      const attempt = repository.transact((unit) => unit.requireNoBlock(question()));
      await expect(attempt).rejects.toMatchObject({ reason: 'run_revoked' });
    });

    it('refuses in the unit that sets it', async () => {
      const { repository } = under.current;
      const attempt = repository.transact((unit) => {
        unit.insertBlock(aBlock({ runId: RUN }));
        unit.requireNoBlock(question());
      });
      await expect(attempt).rejects.toMatchObject({ code: 'forbidden', reason: 'run_revoked' });
      expect(await repository.findBlock(question())).toBeNull();
    });

    it('says nothing but that the caller is stopped', async () => {
      const { repository } = under.current;
      await repository.transact((unit) => unit.insertBlock(aBlock({ runId: RUN }, { reason: 'CANARY' })));
      const failure: unknown = await repository
        .transact((unit) => unit.requireNoBlock(question()))
        .catch((error: unknown) => error);
      expect(failure).toHaveProperty('message', expect.not.stringMatching(/CANARY|t_acme|run_1|aaaa/));
    });

    it.each<[string, Partial<BlockQuestion>]>([
      ['another run of another workload', { runId: OTHER_RUN, workloadHash: OTHER_WORKLOAD }],
      ['the same run and workload in another tenant', { tenantId: OTHER_TENANT }],
      ['a run with the name of the workload', { runId: WORKLOAD as string as RunId, workloadHash: OTHER_WORKLOAD }],
      ['a workload with the name of the run', { runId: OTHER_RUN, workloadHash: RUN as string as WorkloadHash }],
      ['a run whose name begins the same', { runId: 'run_12' as RunId, workloadHash: OTHER_WORKLOAD }],
      ['a run that differs in case', { runId: 'RUN_1' as RunId, workloadHash: OTHER_WORKLOAD }],
      [
        'a tenant and a run that read the same when joined',
        { tenantId: 't_acmerun' as TenantId, runId: '_1' as RunId, workloadHash: OTHER_WORKLOAD },
      ],
    ])('does not touch %s', async (_, other) => {
      const { repository } = under.current;
      await repository.transact((unit) => {
        unit.insertBlock(aBlock({ runId: RUN }));
        unit.insertBlock(aBlock({ workloadHash: WORKLOAD }));
      });
      expect(await repository.findBlock(question())).toBe('run');
      expect(await repository.findBlock(question(other))).toBeNull();
      await expect(repository.transact((unit) => unit.requireNoBlock(question(other)))).resolves.toBeUndefined();
    });

    it.each([
      ['later', 10, 20],
      ['earlier', 20, 10],
    ])('set again with a %s end stands until the later one', async (_, first, second) => {
      const { repository } = under.current;
      for (const end of [first, second]) {
        await repository.transact((unit) => unit.insertBlock(aBlock({ runId: RUN }, { expiresAt: after(end) })));
      }
      await repository.forgetEnded(after(20), 100);
      expect(await repository.findBlock(question())).toBe('run');
      expect(await repository.forgetEnded(after(20.001), 100)).toBe(1);
      expect(await repository.findBlock(question())).toBeNull();
    });

    it('set twice in a unit stands until the later end', async () => {
      const { repository } = under.current;
      await repository.transact((unit) => {
        for (const end of [10, 30, 20]) unit.insertBlock(aBlock({ workloadHash: WORKLOAD }, { expiresAt: after(end) }));
      });
      await repository.forgetEnded(after(30), 100);
      expect(await repository.findBlock(question())).toBe('workload');
    });

    it('may be set by many at once', async () => {
      const { repository } = under.current;
      const ends = Array.from({ length: 20 }, (_, index) => after(10 + ((index * 7) % 20)));
      const attempts = ends.map((expiresAt) =>
        repository.transact((unit) => unit.insertBlock(aBlock({ runId: RUN }, { expiresAt }))),
      );
      expect(await winnersOf(attempts)).toHaveLength(20);
      await repository.forgetEnded(after(29), 100);
      expect(await repository.findBlock(question())).toBe('run');
      expect(await repository.forgetEnded(after(30), 100)).toBe(1);
    });
  });
}

function activeSessions(open: OpenRepository): void {
  describe('the active sessions', () => {
    const under = eachWithRepository(open);

    it.each([
      ['run', { runId: RUN }, { runId: OTHER_RUN }],
      ['workload', { workloadHash: WORKLOAD }, { workloadHash: OTHER_WORKLOAD }],
    ] as const)('of a %s are found oldest first, and no more than asked for', async (_, of, other) => {
      const { repository } = under.current;
      const sessions = Array.from({ length: 5 }, () => aSession({ runId: RUN, workloadHash: WORKLOAD }));
      const [first, second, third, fourth, fifth] = sessions.map(({ id }) => id);
      await repository.transact((unit) => {
        sessions.toReversed().forEach((session) => unit.insertSession(session));
        unit.insertSession(aSession({ runId: RUN, workloadHash: WORKLOAD, ...other }));
        unit.insertSession(aSession({ runId: RUN, workloadHash: WORKLOAD, tenantId: OTHER_TENANT }));
      });
      const find = async (limit: number) =>
        (await repository.findActiveSessions({ tenantId: TENANT, ...of }, limit)).map(({ id }) => id);
      expect(await find(10)).toEqual([first, second, third, fourth, fifth]);
      expect(await find(2)).toEqual([first, second]);
      for (const ended of sessions.slice(0, 2)) await endSessionAfter(repository, ended, 5);
      expect(await find(2)).toEqual([third, fourth]);
      expect(await repository.findActiveSessions({ tenantId: TENANT, ...of }, 1)).toEqual([sessions[2]]);
      for (const ended of sessions.slice(2)) await endSessionAfter(repository, ended, 5);
      expect(await find(10)).toEqual([]);
    });

    it('are none of a run or workload that nobody has heard of', async () => {
      const { repository } = under.current;
      await givenSession(repository);
      expect(await repository.findActiveSessions({ tenantId: TENANT, runId: OTHER_RUN }, 10)).toEqual([]);
      expect(await repository.findActiveSessions({ tenantId: TENANT, workloadHash: OTHER_WORKLOAD }, 10)).toEqual([]);
      expect(await repository.findActiveSessions({ tenantId: 't_none' as TenantId, runId: RUN }, 10)).toEqual([]);
    });
  });
}

function endedHandles(open: OpenRepository): void {
  describe('the ended handles', () => {
    const under = eachWithRepository(open);
    const OURS = { runId: RUN, workloadHash: WORKLOAD };
    const givenOpen = (overrides: Partial<ActiveSession> = {}) =>
      givenIssuedGrant(under.current.repository, aSession({ ...OURS, ...overrides }));
    const ended = async (seconds: number, overrides: Partial<ActiveSession> = {}) => {
      const { grant, artifact } = await givenOpen(overrides);
      await under.current.repository.transact((unit) => {
        unit.updateGrant({ expected: 'issued', next: endGrant(grant, 'revoked', after(seconds), 'stop') });
        unit.updateArtifact({ expected: 'issued', next: endArtifact(artifact, 'revoked', after(seconds)) });
      });
      return { grantId: grant.id, handleHash: artifact.handleHash };
    };
    const targets = [
      ['run', { runId: RUN }, { runId: OTHER_RUN }],
      ['workload', { workloadHash: WORKLOAD }, { workloadHash: OTHER_WORKLOAD }],
    ] as const;
    const find = async (target: { runId: RunId } | { workloadHash: WorkloadHash }, seconds: number) => {
      const found = await under.current.repository.findEndedHandles({ tenantId: TENANT, ...target }, after(seconds));
      return found.toSorted((one, other) => (one.grantId < other.grantId ? -1 : 1));
    };

    it.each(targets)('of a %s are those whose grants ended at the moment or later', async (_, target) => {
      const [first, second, third] = [await ended(10), await ended(20), await ended(30)];
      expect(await find(target, 0)).toEqual([first, second, third]);
      expect(await find(target, 10)).toEqual([first, second, third]);
      expect(await find(target, 10.001)).toEqual([second, third]);
      expect(await find(target, 30)).toEqual([third]);
      expect(await find(target, 30.001)).toEqual([]);
    });

    it.each(targets)('of a %s are no open ones, no strange ones and none that had no handle', async (_, target, other) => {
      const { repository } = under.current;
      await givenOpen();
      await ended(10, other);
      await ended(10, { tenantId: OTHER_TENANT });
      const session = await givenSession(repository, aSession(OURS));
      const { grant: asked } = await givenPendingGrant(repository, session);
      const approved = aGrant(session);
      await repository.transact((unit) => {
        unit.updateGrant({ expected: 'pending', next: endGrant(asked, 'denied', after(10), 'no') });
        unit.insertGrant(approved);
        unit.updateGrant({ expected: 'approved', next: endGrant(approved, 'revoked', after(10), 'stop') });
      });
      expect(await find(target, 0)).toEqual([]);
      const one = await ended(10);
      expect(await find(target, 0)).toEqual([one]);
    });

    it.each(targets)('of a %s are also those that ended with their session', async (_, target) => {
      const { session, grant, artifact } = await givenOpen();
      await endSessionAfter(under.current.repository, session, 15);
      expect(await find(target, 15)).toEqual([{ grantId: grant.id, handleHash: artifact.handleHash }]);
      expect(await find(target, 16)).toEqual([]);
    });

    it.each(['expired', 'revoked'] as const)(
      'are also of a grant that was %s after the handle was used up',
      async (state) => {
        const { grant, artifact } = await givenOpen();
        const used = { ...grant, state: 'used' as const };
        await under.current.repository.transact((unit) => {
          unit.updateArtifact({ expected: 'issued', next: endArtifact(artifact, 'used', after(3)) });
          unit.updateGrant({ expected: 'issued', next: used });
        });
        expect(await find({ runId: RUN }, 0)).toEqual([]);
        const next = endGrant(used, state, after(10), 'over');
        await under.current.repository.transact((unit) => unit.updateGrant({ expected: 'used', next }));
        expect(await find({ runId: RUN }, 10)).toEqual([{ grantId: grant.id, handleHash: artifact.handleHash }]);
      },
    );

    it('are none of a run with the name of the workload, and the other way round', async () => {
      await ended(10);
      expect(await find({ runId: WORKLOAD as string as RunId }, 0)).toEqual([]);
      expect(await find({ workloadHash: RUN as string as WorkloadHash }, 0)).toEqual([]);
    });
  });
}

function killSwitch(open: OpenRepository): void {
  describe('a kill switch', () => {
    const under = eachWithRepository(open);
    const opening = (session: ActiveSession) => (unit: UnitOfWork) => {
      unit.requireNoBlock(session);
      unit.insertSession(session);
    };

    it.each([
      ['run', { runId: RUN }],
      ['workload', { workloadHash: WORKLOAD }],
    ] as const)('for a %s leaves no session active of those that open meanwhile', async (_, target) => {
      const { repository } = under.current;
      const sessions = Array.from({ length: 40 }, () => aSession({ runId: RUN, workloadHash: WORKLOAD }));
      const openings = sessions.map((session) => () => repository.transact(opening(session)));
      // First the block, then the end of what is there: whatever opened before the block is found, and nothing opens after it.
      const kill = async () => {
        await repository.transact((unit) => unit.insertBlock(aBlock(target)));
        for (const session of await repository.findActiveSessions({ tenantId: TENANT, ...target }, 100)) {
          if (session.state !== 'active') throw new Error('found a session that has ended');
          const next = endSession(session, 'revoked', after(5), 'stop');
          await repository.transact((unit) => unit.updateSession({ expected: 'active', next }));
        }
      };
      const attempts = [...openings.slice(0, 20), kill, ...openings.slice(20)];
      const winners = await winnersOf(
        attempts.map((attempt) => attempt()),
        'forbidden',
      );
      expect(winners).toContain(20);
      expect(await repository.findActiveSessions({ tenantId: TENANT, ...target }, 100)).toEqual([]);
      const found = await Promise.all(sessions.map(({ tenantId, id }) => repository.findSession(tenantId, id)));
      for (const session of found) expect(session?.state ?? 'never opened').toMatch(/^(revoked|never opened)$/);
      const late = repository.transact(opening(aSession({ runId: RUN, workloadHash: WORKLOAD })));
      await expect(late).rejects.toMatchObject({ code: 'forbidden' });
    });
  });
}

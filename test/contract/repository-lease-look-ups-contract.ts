import { describe, expect, it } from 'vitest';
import type { GrantId, RunId, WorkloadHash } from '../../src/domain/ids.ts';
import type { RevocationFilter } from '../../src/domain/repository.ts';
import {
  dueRevocation,
  endRevocation,
  type HeldRevocation,
  holdLease,
  type RequestedRevocation,
  type Revocation,
} from '../../src/domain/revocation.ts';
import type { ActiveSession } from '../../src/domain/session.ts';
import { aGrantId, aRevocation, aSession, after, OTHER_TENANT, TENANT } from '../support/entities.ts';
import {
  eachWithRepository,
  givenLease,
  givenRevocation,
  givenSession,
  type OpenRepository,
} from './repository-under-test.ts';

const RUN = 'run_1' as RunId;
const WORKLOAD = 'a'.repeat(64) as WorkloadHash;

const held = (requested: RequestedRevocation): HeldRevocation =>
  holdLease(requested, { leaseId: 'database/creds/reporting/x1', expiresAt: after(590.5) });
const done = (requested: RequestedRevocation, seconds: number) =>
  endRevocation(requested, { outcome: 'not_issued', endedAt: after(seconds) });

/** What every repository must answer about what was issued downstream. */
export function repositoryLeaseLookUpsContract(open: OpenRepository): void {
  unrevokedGrants(open);
  counts(open);
  lists(open);
}

function unrevokedGrants(open: OpenRepository): void {
  describe('the grants that are not revoked downstream', () => {
    const under = eachWithRepository(open);
    const find = async (target: { runId: RunId } | { workloadHash: WorkloadHash }): Promise<GrantId[]> =>
      (await under.current.repository.findUnrevokedGrants({ tenantId: TENANT, ...target })).toSorted();
    const given = (
      pass: (requested: RequestedRevocation) => readonly Revocation[],
      overrides: Partial<ActiveSession> = {},
    ) => {
      const requested = aRevocation(aSession({ runId: RUN, workloadHash: WORKLOAD, ...overrides }));
      return givenRevocation(under.current.repository, requested, ...pass(requested));
    };
    const due = (requested: RequestedRevocation) => [held(requested), dueRevocation(held(requested), after(20))];

    it.each([
      ['run', { runId: RUN }, { runId: 'run_2' as RunId }],
      ['workload', { workloadHash: WORKLOAD }, { workloadHash: 'f'.repeat(64) as WorkloadHash }],
    ] as const)('of a %s are those whose leases are due, and no other', async (_, target, other) => {
      await given(() => []);
      await given((requested) => [held(requested)]);
      await given((requested) => [done(requested, 10)]);
      await given((requested) => {
        const [issued, over] = [held(requested), dueRevocation(held(requested), after(20))];
        return [issued, over, endRevocation(over, { outcome: 'revoked', endedAt: after(21) })];
      });
      await given(due, other);
      await given(due, { tenantId: OTHER_TENANT });
      expect(await find(target)).toEqual([]);
      const known = await given(due);
      const unknown = await given((requested) => [dueRevocation(requested, after(1e6))]);
      expect(await find(target)).toEqual([known.grantId, unknown.grantId].sort());
    });

    it('are none of a run with the name of the workload, and the other way round', async () => {
      await given(due);
      expect(await find({ runId: WORKLOAD as string as RunId })).toEqual([]);
      expect(await find({ workloadHash: RUN as string as WorkloadHash })).toEqual([]);
    });
  });
}

function counts(open: OpenRepository): void {
  describe('the count of open leases', () => {
    const under = eachWithRepository(open);
    const count = async () => {
      const found = await under.current.repository.countOpenLeases();
      return found.map((one) => `${one.connector} ${one.state} ${one.count}`).sort();
    };

    it('says how many of each connector are in each state, whoever has them, and none that are done', async () => {
      const { repository } = under.current;
      expect(await count()).toEqual([]);
      const givenOne = async (connector: string, pass: (requested: RequestedRevocation) => readonly Revocation[]) => {
        const tenantId = connector === 'vaultdb' ? TENANT : OTHER_TENANT;
        const requested = aRevocation(aSession({ tenantId }), { connector });
        return givenRevocation(repository, requested, ...pass(requested));
      };
      const due = (requested: RequestedRevocation) => [dueRevocation(requested, after(20))];
      await givenOne('vaultdb', () => []);
      await givenOne('vaultdb', (requested) => [held(requested)]);
      await givenOne('vaultdb', (requested) => [held(requested)]);
      await givenOne('vaultdb', due);
      await givenOne('browser', due);
      await givenOne('browser', (requested) => [done(requested, 10)]);
      const last = await givenOne('mint', due);
      expect(await count()).toEqual([
        'browser due 1',
        'mint due 1',
        'vaultdb due 1',
        'vaultdb held 2',
        'vaultdb requested 1',
      ]);
      if (last.state !== 'due') throw new Error('it was made due');
      const next = endRevocation(last, { outcome: 'revoked', endedAt: after(30) });
      await repository.transact((unit) => unit.updateRevocation({ expected: 'due', next }));
      expect(await count()).not.toContainEqual(expect.stringMatching(/^mint/));
    });

    it('follows a lease that is made due, and leaves out one that is forgotten', async () => {
      const { repository } = under.current;
      const requested = aRevocation(aSession());
      await givenRevocation(repository, requested, held(requested));
      await repository.transact((unit) =>
        unit.makeRevocationDue({ tenantId: TENANT, grantId: requested.grantId, at: after(5) }),
      );
      await repository.claimDueRevocations({ now: after(5), claimedUntil: after(65), limit: 1, busy: [] });
      expect(await count()).toEqual(['vaultdb due 1']);
      const other = aRevocation(aSession());
      await givenRevocation(repository, other, done(other, 6));
      await repository.forgetEnded(after(10), 10);
      expect(await count()).toEqual(['vaultdb due 1']);
    });
  });
}

function lists(open: OpenRepository): void {
  describe('a filter of leases', () => {
    const under = eachWithRepository(open);

    it('lets through what has every value that it names', async () => {
      const { repository } = under.current;
      const made = [aRevocation(aSession()), aRevocation(aSession()), aRevocation(aSession(), { connector: 'browser' })];
      const [first, second, third] = made;
      if (!first || !second || !third) throw new Error('three were made');
      await givenRevocation(repository, first);
      await givenRevocation(repository, second, held(second));
      await givenRevocation(repository, third, held(third));
      await givenRevocation(repository, aRevocation(aSession({ tenantId: OTHER_TENANT })));
      const list = async (filter: RevocationFilter) => {
        const ids: string[] = [];
        let after: string | null = null;
        do {
          const page = await repository.listRevocations(TENANT, filter, { limit: 1, after });
          ids.push(...page.rows.map(({ id }) => id));
          after = page.next;
        } while (after !== null);
        return ids;
      };
      expect(await list({})).toEqual([third.id, second.id, first.id]);
      expect(await list({ state: 'held' })).toEqual([third.id, second.id]);
      expect(await list({ state: 'done' })).toEqual([]);
      expect(await list({ connector: 'vaultdb' })).toEqual([second.id, first.id]);
      expect(await list({ connector: 'vaultdb', state: 'requested' })).toEqual([first.id]);
      expect(await list({ grantId: second.grantId })).toEqual([second.id]);
      expect(await list({ grantId: second.grantId, state: 'requested' })).toEqual([]);
      expect(await list({ grantId: aGrantId() })).toEqual([]);
    });

    it('shows a lease with all that is known of it', async () => {
      const { repository } = under.current;
      const { revocation } = await givenLease(repository, await givenSession(repository));
      const page = { limit: 10, after: null };
      expect(await repository.listRevocations(TENANT, {}, page)).toEqual({ rows: [revocation], next: null });
      expect(await repository.listRevocations(OTHER_TENANT, { grantId: revocation.grantId }, page)).toEqual({
        rows: [],
        next: null,
      });
    });
  });
}

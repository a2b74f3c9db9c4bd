import { describe, expect, it } from 'vitest';
import {
  type DueRevocation,
  dueRevocation,
  endRevocation,
  holdLease,
  postponeRevocation,
  type RequestedRevocation,
} from '../../src/domain/revocation.ts';
import { aRevocation, aSession, after, OTHER_TENANT, TENANT } from '../support/entities.ts';
import {
  eachWithRepository,
  givenLease,
  givenRevocation,
  givenSession,
  type OpenRepository,
  winnersOf,
} from './repository-under-test.ts';

/** As a claim leaves it. */
const claimed = (due: DueRevocation, claimedUntil: Date): DueRevocation => ({
  ...due,
  attempts: due.attempts + 1,
  nextAttemptAt: claimedUntil,
});

/** What every repository must do with the leases that are due to be revoked. */
export function repositoryLeaseQueueContract(open: OpenRepository): void {
  describe('a lease that is due', () => {
    const under = eachWithRepository(open);
    const given = async (seconds: number, overrides: Partial<RequestedRevocation> = {}): Promise<DueRevocation> => {
      const requested = aRevocation(aSession(), overrides);
      const due = dueRevocation(requested, after(seconds));
      await givenRevocation(under.current.repository, requested, due);
      return due;
    };
    const claim = (seconds: number, limit = 100, busy: readonly string[] = []) =>
      under.current.repository.claimDueRevocations({
        now: after(seconds),
        claimedUntil: after(seconds + 60),
        limit,
        busy,
      });
    const find = ({ tenantId, grantId }: DueRevocation) => under.current.repository.findRevocationOfGrant(tenantId, grantId);

    it('is claimed when its time has come, the one that waits longest first, and no more than asked for', async () => {
      const dues = new Map<number, DueRevocation>();
      for (const seconds of [50, 10, 40, 20, 30, 60]) {
        dues.set(seconds, await given(seconds, { tenantId: seconds === 20 ? OTHER_TENANT : TENANT }));
      }
      const idsOf = (...seconds: number[]) => seconds.map((each) => dues.get(each)?.id);
      const idsAt = async (seconds: number, limit: number) => (await claim(seconds, limit)).map(({ id }) => id);
      expect(await idsAt(9.999, 10)).toEqual([]);
      expect(await idsAt(10, 10)).toEqual(idsOf(10));
      expect(await idsAt(50, 2)).toEqual(idsOf(20, 30));
      expect(await idsAt(50, 10)).toEqual(idsOf(40, 50));
      expect(await idsAt(60, 10)).toEqual(idsOf(60));
    });

    it('is answered and kept as it is with the try counted and the next one at the end of the claim', async () => {
      const { repository } = under.current;
      const { session, revocation } = await givenLease(repository, await givenSession(repository));
      const { tenantId, grantId } = revocation;
      await repository.transact((unit) => unit.makeRevocationDue({ tenantId, grantId, at: after(5) }));
      const due = claimed(dueRevocation(revocation, after(5)), after(66));
      expect(await claim(6)).toEqual([due]);
      expect(await find(due)).toEqual(due);
      expect(await repository.findUnrevokedGrants({ tenantId, runId: session.runId })).toEqual([grantId]);
    });

    it('is claimed by nobody else before the end of the claim, and again then', async () => {
      const due = await given(5);
      const first = claimed(due, after(66));
      expect(await claim(6)).toEqual([first]);
      expect(await claim(6)).toEqual([]);
      expect(await claim(65.999)).toEqual([]);
      expect(await claim(66)).toEqual([claimed(first, after(126))]);
    });

    it('is no other lease: one that is requested, held or done is never claimed', async () => {
      const { repository } = under.current;
      const [requested, issued, refused] = [aRevocation(aSession()), aRevocation(aSession()), aRevocation(aSession())];
      await givenRevocation(repository, requested);
      await givenRevocation(repository, issued, holdLease(issued, { leaseId: 'lease/1', expiresAt: after(60) }));
      await givenRevocation(repository, refused, endRevocation(refused, { outcome: 'not_issued', endedAt: after(1) }));
      expect(await claim(1e6)).toEqual([]);
    });

    it('leaves no event of its being claimed', async () => {
      const { events } = under.current;
      await given(5);
      await claim(6);
      expect(await events()).toEqual([]);
    });

    it('goes to exactly one of twenty who claim at once, and none is left out', async () => {
      const due: DueRevocation[] = [];
      for (let made = 0; made < 60; made += 1) due.push(await given(made / 100));
      const claims = await Promise.all(Array.from({ length: 20 }, () => claim(10, 7)));
      for (const one of claims) expect(one.length).toBeLessThanOrEqual(7);
      const rest = [];
      // Whoever comes while others claim may leave some for later.
      for (let turn = 0; turn < 20; turn += 1) rest.push(...(await claim(10, 7)));
      const all = [...claims.flat(), ...rest];
      expect(all.map(({ id }) => id).sort()).toEqual(due.map(({ id }) => id).sort());
      for (const one of all) expect(one).toMatchObject({ attempts: 1, nextAttemptAt: after(70) });
    });

    it('goes to somebody when it is the only one and twenty claim at once', async () => {
      const due = await given(5);
      const claims = await Promise.all(Array.from({ length: 20 }, () => claim(6)));
      expect(claims.flat()).toEqual([claimed(due, after(66))]);
    });

    it('is not claimed for a connector that is busy', async () => {
      const [vault, mint] = [await given(5), await given(6, { connector: 'mint' })];
      expect(await claim(7, 10, ['vaultdb', 'mint', 'nobody'])).toEqual([]);
      expect(await claim(7, 10, ['vaultdb'])).toEqual([claimed(mint, after(67))]);
      expect(await claim(7, 10, ['mint'])).toEqual([claimed(vault, after(67))]);
    });

    it('is not hidden by 300 older ones of a connector that is busy', async () => {
      const { repository } = under.current;
      await repository.transact((unit) => {
        for (let made = 0; made < 300; made += 1) {
          const requested = aRevocation(aSession());
          unit.insertRevocation(requested);
          unit.updateRevocation({ expected: 'requested', next: dueRevocation(requested, after(1)) });
        }
      });
      const mint = await given(5, { connector: 'mint' });
      expect(await claim(6, 1, ['vaultdb'])).toEqual([claimed(mint, after(66))]);
      expect(await claim(6, 100, [])).toHaveLength(100);
    });

    it.each(['VAULTDB', 'vault', 'vaultdb ', 'vaultdb%', '%', '_', "vaultdb' OR 'a'='a", '{vaultdb}', ''])(
      'is claimed while a connector called %j is busy',
      async (busy) => {
        const due = await given(5);
        expect(await claim(6, 10, [busy])).toEqual([claimed(due, after(66))]);
      },
    );

    it('comes back when it was put off, with the words that say why, and not before its time', async () => {
      const { repository } = under.current;
      const due = await given(5);
      await claim(6);
      const next = postponeRevocation(claimed(due, after(66)), after(30), 'Vault answered 503');
      await repository.transact((unit) => unit.updateRevocation({ expected: 'due', next }));
      expect(await claim(29.999)).toEqual([]);
      expect(await claim(30)).toEqual([claimed(next, after(90))]);
    });

    it('never comes back once it is done', async () => {
      const { repository } = under.current;
      const [due, other] = [await given(5), await given(6)];
      await claim(6);
      const next = endRevocation(claimed(due, after(66)), { outcome: 'revoked', endedAt: after(7) });
      await repository.transact((unit) => unit.updateRevocation({ expected: 'due', next }));
      expect(await claim(1e6)).toEqual([claimed(claimed(other, after(66)), after(1e6 + 60))]);
    });

    it('is told of by its last claimant alone: one whose claim ran out is told conflict', async () => {
      const { repository } = under.current;
      const due = await given(5);
      const [first] = await claim(6);
      const [second] = await claim(66);
      if (first === undefined || second === undefined) throw new Error('it was due twice');
      const tell = (revocation: DueRevocation, outcome: 'revoked' | 'expired') =>
        repository.transact((unit) =>
          unit.updateRevocation({ expected: 'due', next: endRevocation(revocation, { outcome, endedAt: after(70) }) }),
        );
      const putOff = repository.transact((unit) =>
        unit.updateRevocation({ expected: 'due', next: postponeRevocation(first, after(500), 'Vault answered 503') }),
      );
      await expect(putOff).rejects.toMatchObject({ code: 'conflict' });
      expect(await winnersOf([tell(first, 'expired'), tell(second, 'revoked')])).toEqual([1]);
      expect(await find(due)).toMatchObject({ state: 'done', outcome: 'revoked', attempts: 2 });
    });
  });
}

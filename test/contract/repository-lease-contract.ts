import { describe, expect, it } from 'vitest';
import { endGrant, issueGrant } from '../../src/domain/grant.ts';
import {
  dueRevocation,
  endRevocation,
  type HeldRevocation,
  holdLease,
  postponeRevocation,
  type RequestedRevocation,
  type Revocation,
} from '../../src/domain/revocation.ts';
import {
  aGrantId,
  aLeaseGrant,
  anArtifactId,
  anEvent,
  aRevocation,
  aSession,
  aWrappedSecret,
  after,
  OTHER_TENANT,
  TENANT,
} from '../support/entities.ts';
import { conflicts, mistakes, type GivenRevocations } from './repository-lease-refusals.ts';
import {
  eachWithRepository,
  endSessionAfter,
  givenLease,
  givenRevocation,
  givenSession,
  type OpenRepository,
  winnersOf,
} from './repository-under-test.ts';

/** What every repository must do with what was issued downstream. Its look-ups and its queue have contracts of their own. */
export function repositoryLeaseContract(open: OpenRepository): void {
  leases(open);
  leasesOfEndedGrants(open);
}

const held = (requested: RequestedRevocation, leaseId = 'database/creds/reporting/x1'): HeldRevocation =>
  holdLease(requested, { leaseId, expiresAt: after(590.5) });
const done = (requested: RequestedRevocation, seconds: number) =>
  endRevocation(requested, { outcome: 'not_issued', endedAt: after(seconds) });

/** The ways that a revocation can go, each as the states that it passes through. */
const histories: [string, (requested: RequestedRevocation) => readonly Revocation[]][] = [
  ['requested', () => []],
  ['held', (requested) => [held(requested)]],
  ['due', (requested) => [held(requested), dueRevocation(held(requested), after(20))]],
  ['due at once when its lease became known too late', (requested) => [dueRevocation(held(requested), after(20))]],
  ['due though its lease never became known', (requested) => [dueRevocation(requested, after(20))]],
  [
    'due with a lease that became known after all',
    (requested) => [dueRevocation(requested, after(20)), dueRevocation(held(requested), after(20))],
  ],
  [
    'put off, with the words that say why',
    (requested) => {
      const due = dueRevocation(held(requested), after(20));
      return [held(requested), due, postponeRevocation(due, after(80), `Vault answered 503: it's "sealed"`)];
    },
  ],
  ...(['revoked', 'expired'] as const).map((outcome): (typeof histories)[number] => [
    `done: ${outcome}`,
    (requested) => {
      const due = postponeRevocation(dueRevocation(held(requested), after(20)), after(80), 'Vault answered 503');
      return [held(requested), due, endRevocation(due, { outcome, endedAt: after(90) })];
    },
  ]),
  ['done: nothing was issued', (requested) => [done(requested, 3)]],
];

function leases(open: OpenRepository): void {
  describe('a lease', () => {
    const under = eachWithRepository(open);
    const find = ({ tenantId, grantId }: Revocation) => under.current.repository.findRevocationOfGrant(tenantId, grantId);

    const givenOneOfEach = async (): Promise<GivenRevocations> => {
      const { repository } = under.current;
      const [requested, toHold, toEnd, toLose] = Array.from({ length: 4 }, () => aRevocation(aSession()));
      if (!requested || !toHold || !toEnd || !toLose) throw new Error('four were made');
      const given = {
        requested,
        held: held(toHold),
        // Tried twice, as far as anybody knows.
        due: { ...dueRevocation(held(toEnd), after(20)), attempts: 2 },
        dueUnknown: dueRevocation(toLose, after(20)),
      };
      await givenRevocation(repository, requested);
      await givenRevocation(repository, toHold, given.held);
      await givenRevocation(repository, toEnd, given.due);
      await givenRevocation(repository, toLose, given.dueUnknown);
      return given;
    };
    const expectUnchanged = async ({
      requested,
      held: issued,
      due,
      dueUnknown,
    }: Record<keyof GivenRevocations, Revocation>) => {
      for (const revocation of [requested, issued, due, dueUnknown]) expect(await find(revocation)).toEqual(revocation);
    };

    it.each(histories)('is found by its grant when it is %s', async (_, pass) => {
      const { repository } = under.current;
      const requested = aRevocation(aSession());
      const last = await givenRevocation(repository, requested, ...pass(requested));
      await givenRevocation(repository, aRevocation(aSession()));
      expect(await find(last)).toEqual(last);
      expect(await repository.findRevocationOfGrant(TENANT, aGrantId())).toBeNull();
    });

    it('is on record together with the event that says so, or not at all', async () => {
      const { repository, events } = under.current;
      const [requested, other] = [aRevocation(aSession()), aRevocation(aSession())];
      await givenRevocation(repository, other);
      const attempt = repository.transact((unit) => {
        unit.insertRevocation(requested);
        unit.record(anEvent({ type: 'lease.requested' }));
        unit.insertRevocation(other);
      });
      await expect(attempt).rejects.toMatchObject({ code: 'conflict' });
      expect(await find(requested)).toBeNull();
      expect(await events()).toEqual([]);
    });

    it('stays as it is when the event of its change cannot be written', async (context) => {
      const { repository, failNextAudit } = under.current;
      if (failNextAudit === undefined) return context.skip();
      const given = await givenOneOfEach();
      failNextAudit();
      const late = aRevocation(aSession());
      const attempt = repository.transact((unit) => {
        unit.insertRevocation(late);
        unit.updateRevocation({ expected: 'requested', next: held(given.requested) });
        unit.makeRevocationDue({ tenantId: TENANT, grantId: given.held.grantId, at: after(5) });
        unit.record(anEvent({ type: 'lease.issued' }));
      });
      await expect(attempt).rejects.toMatchObject({ code: 'unavailable' });
      await expectUnchanged(given);
      expect(await find(late)).toBeNull();
    });

    it('goes all its way in one unit', async () => {
      const requested = aRevocation(aSession());
      await under.current.repository.transact((unit) => {
        unit.insertRevocation(requested);
        unit.updateRevocation({ expected: 'requested', next: held(requested) });
        unit.makeRevocationDue({ tenantId: TENANT, grantId: requested.grantId, at: after(5) });
      });
      expect(await find(requested)).toEqual(dueRevocation(held(requested), after(5)));
    });

    it('is changed by one of twenty who come with different news', async () => {
      const { repository } = under.current;
      const requested = aRevocation(aSession());
      await givenRevocation(repository, requested);
      const news = Array.from({ length: 20 }, (_, index) =>
        index % 2 === 0 ? held(requested, `lease/${index}`) : dueRevocation(requested, after(index)),
      );
      const attempts = news.map((next) =>
        repository.transact((unit) => unit.updateRevocation({ expected: 'requested', next })),
      );
      const [winner = -1, ...more] = await winnersOf(attempts);
      expect(more).toEqual([]);
      expect(await find(requested)).toEqual(news[winner]);
    });

    it('is one of twenty that are requested for one grant at once', async () => {
      const { repository } = under.current;
      const grantId = aGrantId();
      const requests = Array.from({ length: 20 }, () => aRevocation(aSession(), { grantId }));
      const [winner = -1, ...more] = await winnersOf(requests.map((requested) => givenRevocation(repository, requested)));
      expect(more).toEqual([]);
      expect(await repository.findRevocationOfGrant(TENANT, grantId)).toEqual(requests[winner]);
    });

    it.each(conflicts)('is a conflict when $name', async ({ stage }) => {
      const { repository, events } = under.current;
      const given = await givenOneOfEach();
      const attempt = repository.transact((unit) => {
        unit.record(anEvent());
        stage(unit, given);
      });
      await expect(attempt).rejects.toMatchObject({ code: 'conflict' });
      await expectUnchanged(given);
      expect(await events()).toEqual([]);
    });

    it.each(mistakes)('never $name, which is no lost race', async ({ stage }) => {
      const { repository } = under.current;
      const given = await givenOneOfEach();
      const failure: unknown = await repository.transact((unit) => stage(unit, given)).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(Error);
      expect(failure).not.toHaveProperty('code', 'conflict');
      await expectUnchanged(given);
    });

    it('is made due while it is held, and left alone in every other state', async () => {
      const { repository } = under.current;
      const given = await givenOneOfEach();
      const makeAllDue = () =>
        repository.transact((unit) => {
          for (const { tenantId, grantId } of [given.requested, given.held, given.due, given.dueUnknown]) {
            unit.makeRevocationDue({ tenantId, grantId, at: after(5) });
          }
          unit.makeRevocationDue({ tenantId: TENANT, grantId: aGrantId(), at: after(5) });
        });
      for (let turn = 0; turn < 2; turn += 1) {
        await makeAllDue();
        await expectUnchanged({ ...given, held: dueRevocation(given.held, after(5)) });
      }
    });

    it("is not made due by another tenant's word", async () => {
      const { repository } = under.current;
      const given = await givenOneOfEach();
      const { grantId } = given.held;
      await repository.transact((unit) => unit.makeRevocationDue({ tenantId: OTHER_TENANT, grantId, at: after(5) }));
      await expectUnchanged(given);
    });

    it('is forgotten long after it was done, and never before', async () => {
      const { repository } = under.current;
      const given = await givenOneOfEach();
      const [early, late] = [aRevocation(aSession()), aRevocation(aSession())];
      await givenRevocation(repository, early, done(early, 10));
      await givenRevocation(repository, late, done(late, 20));
      expect(await repository.forgetEnded(after(10), 100)).toBe(0);
      expect(await repository.forgetEnded(after(10.001), 100)).toBe(1);
      expect(await find(early)).toBeNull();
      expect(await find(late)).toEqual(done(late, 20));
      expect(await repository.forgetEnded(after(1e6), 100)).toBe(1);
      expect(await repository.forgetEnded(after(1e6), 100)).toBe(0);
      await expectUnchanged(given);
    });

    it('is forgotten the oldest first, and no more than asked for', async () => {
      const { repository } = under.current;
      for (const seconds of [50, 10, 40, 20, 30]) {
        const requested = aRevocation(aSession());
        await givenRevocation(repository, requested, done(requested, seconds));
      }
      expect(await repository.forgetEnded(after(1e6), 2)).toBe(2);
      const { rows } = await repository.listRevocations(TENANT, {}, { limit: 10, after: null });
      // The last that was made comes first.
      expect(rows.map((row) => 'endedAt' in row && row.endedAt)).toEqual([30, 40, 50].map(after));
    });
  });
}

function leasesOfEndedGrants(open: OpenRepository): void {
  describe('the lease of a grant that ends', () => {
    const under = eachWithRepository(open);
    const find = ({ tenantId, grantId }: Revocation) => under.current.repository.findRevocationOfGrant(tenantId, grantId);

    it('with its session becomes due at that moment, and no other', async () => {
      const { repository } = under.current;
      const session = await givenSession(repository);
      const [one, two] = [await givenLease(repository, session), await givenLease(repository, session)];
      const other = await givenLease(repository, await givenSession(repository));
      const foreign = await givenLease(repository, await givenSession(repository, aSession({ tenantId: OTHER_TENANT })));
      await endSessionAfter(repository, session, 7);
      for (const { revocation } of [one, two]) expect(await find(revocation)).toEqual(dueRevocation(revocation, after(7)));
      for (const { revocation } of [other, foreign]) expect(await find(revocation)).toEqual(revocation);
    });

    it("with its session stays held when another tenant ends that session's grants", async () => {
      const { repository } = under.current;
      const { session, revocation } = await givenLease(repository, await givenSession(repository));
      const { id: sessionId } = session;
      await repository.transact((unit) =>
        unit.endGrantsOfSession({
          tenantId: OTHER_TENANT,
          sessionId,
          state: 'revoked',
          at: after(7),
          reason: 'stop',
          events: () => [],
        }),
      );
      expect(await find(revocation)).toEqual(revocation);
    });

    it('with its session becomes due also when its secret was used before', async () => {
      const { repository } = under.current;
      const { session, grant, revocation } = await givenLease(repository, await givenSession(repository));
      await repository.transact((unit) => unit.updateGrant({ expected: 'issued', next: { ...grant, state: 'used' } }));
      await endSessionAfter(repository, session, 7);
      expect(await find(revocation)).toEqual(dueRevocation(revocation, after(7)));
    });

    it('with its session stays as it is when it is due already, done, or not issued yet', async () => {
      const { repository } = under.current;
      const session = await givenSession(repository);
      const states: Revocation[] = [];
      for (const pass of [() => [], (one: RequestedRevocation) => [dueRevocation(one, after(3))]]) {
        const grant = aLeaseGrant(session);
        await repository.transact((unit) => unit.insertGrant(grant));
        const requested = aRevocation(session, { grantId: grant.id });
        states.push(await givenRevocation(repository, requested, ...pass(requested)));
      }
      await endSessionAfter(repository, session, 7);
      for (const revocation of states) expect(await find(revocation)).toEqual(revocation);
    });

    it('before its session does is not made due again when that ends', async () => {
      const { repository } = under.current;
      const { session, grant, revocation } = await givenLease(repository, await givenSession(repository));
      await repository.transact((unit) => {
        unit.updateGrant({ expected: 'issued', next: endGrant(grant, 'revoked', after(4), 'stop') });
        unit.makeRevocationDue({ tenantId: TENANT, grantId: grant.id, at: after(4) });
      });
      await endSessionAfter(repository, session, 7);
      expect(await find(revocation)).toEqual(dueRevocation(revocation, after(4)));
    });

    it('is due or never held, whichever comes first, the answer of the connector or the end of its session', async () => {
      const { repository } = under.current;
      const session = await givenSession(repository);
      const leases = Array.from({ length: 20 }, () => {
        const approved = aLeaseGrant(session);
        return { approved, requested: aRevocation(session, { grantId: approved.id }) };
      });
      await repository.transact((unit) => {
        for (const { approved, requested } of leases) {
          unit.insertGrant(approved);
          unit.insertRevocation(requested);
        }
      });
      const answers = leases.map(({ approved, requested }) => () => {
        const grant = issueGrant(approved, anArtifactId(), after(2));
        return repository.transact((unit) => {
          unit.updateRevocation({ expected: 'requested', next: held(requested) });
          unit.insertArtifact(aWrappedSecret(grant));
          unit.updateGrant({ expected: 'approved', next: grant });
        });
      });
      const end = () => endSessionAfter(repository, session, 7);
      const attempts = [...answers.slice(0, 10), end, ...answers.slice(10)].map((attempt) => attempt());
      const winners = await winnersOf(attempts);
      expect(winners).toContain(10);
      for (const [index, { requested }] of leases.entries()) {
        const isIssued = winners.includes(index < 10 ? index : index + 1);
        expect(await find(requested)).toEqual(isIssued ? dueRevocation(held(requested), after(7)) : requested);
      }
    });

    it('outlives the grant and the session that it was issued for', async () => {
      const { repository } = under.current;
      const { session, revocation } = await givenLease(repository, await givenSession(repository));
      await endSessionAfter(repository, session, 7);
      expect(await repository.forgetEnded(after(1e6), 100)).toBe(3);
      const due = dueRevocation(revocation, after(7));
      expect(await find(revocation)).toEqual(due);
      const next = endRevocation(due, { outcome: 'revoked', endedAt: after(9) });
      await repository.transact((unit) => unit.updateRevocation({ expected: 'due', next }));
      expect(await repository.forgetEnded(after(1e6), 100)).toBe(1);
      expect(await find(revocation)).toBeNull();
    });
  });
}

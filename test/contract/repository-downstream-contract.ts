import { describe, expect, it } from 'vitest';
import { DOWNSTREAM_CALL_KINDS, type DownstreamCall } from '../../src/domain/downstream-call.ts';
import type { UnitOfWork } from '../../src/domain/unit-of-work.ts';
import { aCall, aCallId, aGrant, anArtifact, anEvent, aSession, after, OTHER_TENANT, TENANT } from '../support/entities.ts';
import {
  eachWithRepository,
  endSessionAfter,
  givenIssuedGrant,
  type OpenRepository,
  winnersOf,
} from './repository-under-test.ts';

/** A call behind a handle that is not on record: a call needs no row but its own. */
const aStrangeCall = (overrides: Partial<DownstreamCall> = {}): DownstreamCall =>
  aCall(anArtifact(aGrant(aSession())), overrides);

const close = (unit: UnitOfWork, { id: callId, subject: { tenantId } }: DownstreamCall): void =>
  unit.closeCall({ tenantId, callId });

const conflicts: { name: string; stage: (unit: UnitOfWork, given: DownstreamCall) => void }[] = [
  { name: 'its id is taken', stage: (unit, { id }) => unit.openCall(aStrangeCall({ id })) },
  {
    name: 'its id is taken by another tenant',
    stage: (unit, { id }) => unit.openCall(aStrangeCall({ id, subject: { tenantId: OTHER_TENANT } })),
  },
  {
    name: 'its id is taken within the unit',
    stage: (unit) => {
      const call = aStrangeCall();
      unit.openCall(call);
      unit.openCall(call);
    },
  },
  { name: 'one to close is not there', stage: (unit, given) => close(unit, { ...given, id: aCallId() }) },
  {
    name: "one to close is another tenant's",
    stage: (unit, given) => close(unit, { ...given, subject: { ...given.subject, tenantId: OTHER_TENANT } }),
  },
  {
    name: 'it is closed twice in one unit',
    stage: (unit, given) => {
      close(unit, given);
      close(unit, given);
    },
  },
  {
    name: 'it is opened and closed twice in one unit',
    stage: (unit) => {
      const call = aStrangeCall();
      unit.openCall(call);
      close(unit, call);
      close(unit, call);
    },
  },
];

/** What every repository must do with the calls that are made downstream. */
export function repositoryDownstreamContract(open: OpenRepository): void {
  describe('a downstream call', () => {
    const under = eachWithRepository(open);
    const given = async (overrides: Partial<DownstreamCall> = {}): Promise<DownstreamCall> => {
      const call = aStrangeCall(overrides);
      await under.current.repository.transact((unit) => unit.openCall(call));
      return call;
    };
    const overdue = (seconds = 1e6, limit = 100) => under.current.repository.findOverdueCalls(after(seconds), limit);

    it.each(DOWNSTREAM_CALL_KINDS)('of kind %s is on record with all that it was opened with', async (kind) => {
      const call = await given({ kind, requestId: 'req_of_the_call', startedAt: after(3), deadline: after(7.5) });
      expect(await overdue()).toEqual([call]);
    });

    it('is on record with the least and the most that its subject can name', async () => {
      const least = await given({ subject: { tenantId: TENANT }, deadline: after(1) });
      const subject = {
        tenantId: TENANT,
        agentId: 'agent',
        runId: 'run',
        workloadHash: 'e'.repeat(64),
        sessionId: 'sess_1',
        grantId: 'gr_1',
        artifactId: 'art_1',
        approvalId: 'ap_1',
      };
      const most = await given({ subject, deadline: after(2) });
      expect(await overdue()).toEqual([least, most]);
    });

    it('is not on record, and no event of it, when its unit is refused', async () => {
      const { repository, events } = under.current;
      const call = await given();
      const attempt = repository.transact((unit) => {
        unit.openCall(aStrangeCall());
        unit.record(anEvent({ type: 'proxy.requested' }));
        unit.openCall(call);
      });
      await expect(attempt).rejects.toMatchObject({ code: 'conflict' });
      expect(await overdue()).toEqual([call]);
      expect(await events()).toEqual([]);
    });

    it('is neither opened nor closed when its event cannot be written', async (context) => {
      const { repository, failNextAudit } = under.current;
      if (failNextAudit === undefined) return context.skip();
      const call = await given();
      failNextAudit();
      const attempt = repository.transact((unit) => {
        close(unit, call);
        unit.openCall(aStrangeCall());
        unit.record(anEvent({ type: 'proxy.requested' }));
      });
      await expect(attempt).rejects.toMatchObject({ code: 'unavailable' });
      expect(await overdue()).toEqual([call]);
    });

    it('is overdue once its deadline has passed, the oldest first, and no more than asked for', async () => {
      const deadlines = [50, 10, 40, 20, 30, 60];
      for (const seconds of deadlines) {
        const tenantId = seconds === 20 ? OTHER_TENANT : TENANT;
        await given({ deadline: after(seconds), subject: { tenantId } });
      }
      const found = async (seconds: number, limit: number) =>
        (await overdue(seconds, limit)).map(({ deadline }) => deadline);
      expect(await found(10, 10)).toEqual([]);
      expect(await found(10.001, 10)).toEqual([after(10)]);
      expect(await found(50.001, 3)).toEqual([10, 20, 30].map(after));
      expect(await found(50.001, 10)).toEqual([10, 20, 30, 40, 50].map(after));
    });

    it('is off the record once it is closed, and no other with it', async () => {
      const { repository } = under.current;
      const [call, other] = [await given(), await given()];
      await repository.transact((unit) => close(unit, call));
      expect(await overdue()).toEqual([other]);
      await expect(repository.transact((unit) => close(unit, call))).rejects.toMatchObject({ code: 'conflict' });
    });

    it('may be opened and closed in one unit', async () => {
      await under.current.repository.transact((unit) => {
        const call = aStrangeCall();
        unit.openCall(call);
        close(unit, call);
      });
      expect(await overdue()).toEqual([]);
    });

    it('is closed by one of twenty who come to tell its outcome, and has one event', async () => {
      const { repository, events } = under.current;
      const call = await given();
      const attempts = Array.from({ length: 20 }, (_, index) =>
        repository.transact((unit) => {
          close(unit, call);
          unit.record(anEvent({ type: 'proxy.unknown', requestId: `attempt ${index}` }));
        }),
      );
      const [winner, ...more] = await winnersOf(attempts);
      expect(more).toEqual([]);
      expect((await events()).map(({ requestId }) => requestId)).toEqual([`attempt ${winner}`]);
      expect(await overdue()).toEqual([]);
    });

    it('is opened by one of twenty under one id', async () => {
      const { repository } = under.current;
      const id = aCallId();
      const calls = Array.from({ length: 20 }, (_, index) => aStrangeCall({ id, requestId: `attempt ${index}` }));
      const [winner = -1, ...more] = await winnersOf(
        calls.map((call) => repository.transact((unit) => unit.openCall(call))),
      );
      expect(more).toEqual([]);
      expect(await overdue()).toEqual([calls[winner]]);
    });

    it.each(conflicts)('is a conflict when $name', async ({ stage }) => {
      const { repository } = under.current;
      const call = await given();
      await expect(repository.transact((unit) => stage(unit, call))).rejects.toMatchObject({ code: 'conflict' });
      expect(await overdue()).toEqual([call]);
    });

    it('outlives its grant and its session until somebody closes it', async () => {
      const { repository } = under.current;
      const { session, artifact } = await givenIssuedGrant(repository);
      const call = aCall(artifact);
      await repository.transact((unit) => unit.openCall(call));
      await endSessionAfter(repository, session, 5);
      expect(await repository.forgetEnded(after(1e6), 100)).toBe(3);
      expect(await repository.forgetEnded(after(1e6), 100)).toBe(0);
      expect(await overdue()).toEqual([call]);
      await repository.transact((unit) => close(unit, call));
      expect(await overdue()).toEqual([]);
    });
  });
}

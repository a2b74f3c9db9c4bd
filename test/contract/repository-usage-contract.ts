import { describe, expect, it } from 'vitest';
import type { DownstreamCall } from '../../src/domain/downstream-call.ts';
import { endArtifact } from '../../src/domain/artifact.ts';
import { endGrant } from '../../src/domain/grant.ts';
import type { HandleHash } from '../../src/domain/ids.ts';
import type { ByteSpending, RequestSpending, UnitOfWork } from '../../src/domain/unit-of-work.ts';
import { aCall, aCallId, aHandleHash, anArtifactId, anEvent, after, OTHER_TENANT, TENANT } from '../support/entities.ts';
import {
  eachWithRepository,
  endSessionAfter,
  givenIssuedGrant,
  type OpenRepository,
  winnersOf,
} from './repository-under-test.ts';

type Artifact = Awaited<ReturnType<typeof givenIssuedGrant>>['artifact'];

const BUDGET_EXCEEDED = { code: 'resource_budget_exceeded' };
const NOTHING_USED = { requests: 0, bytes: 0, slots: [] };

const spending = (artifact: Artifact, overrides: Partial<RequestSpending> = {}): RequestSpending => ({
  tenantId: artifact.tenantId,
  artifactId: artifact.id,
  callId: aCallId(),
  maxRequests: 100,
  maxConcurrent: 8,
  now: after(0),
  ...overrides,
});
const bytesOf = (artifact: Artifact, bytes: number, overrides: Partial<ByteSpending> = {}): ByteSpending => ({
  tenantId: artifact.tenantId,
  artifactId: artifact.id,
  bytes,
  maxBytes: 1000,
  ...overrides,
});

/** Stages a call with what it takes of the budget, as the start of a proxied call does. */
function begin(
  unit: UnitOfWork,
  artifact: Artifact,
  { call: overrides = {}, ...budget }: Partial<RequestSpending> & { call?: Partial<DownstreamCall> } = {},
): DownstreamCall {
  const call = aCall(artifact, overrides);
  unit.openCall(call);
  unit.spendRequest(spending(artifact, { callId: call.id, ...budget }));
  return call;
}

/** What every repository must do with the budgets of handles. */
export function repositoryUsageContract(open: OpenRepository): void {
  usage(open);
  requests(open);
  calls(open);
  bytes(open);
}

/** Opens a repository for each test, and answers what they all ask of it. */
function eachWithUsage(open: OpenRepository) {
  const under = eachWithRepository(open);
  const usageOf = async (handleHash: HandleHash) => {
    const found = await under.current.repository.findHandleUsage(handleHash);
    return found && { ...found, slots: found.slots.toSorted((one, other) => (one.slotId < other.slotId ? -1 : 1)) };
  };
  return {
    get current() {
      return under.current;
    },
    handle: async () => (await givenIssuedGrant(under.current.repository)).artifact,
    usage: ({ handleHash }: Artifact) => usageOf(handleHash),
    begun: async (artifact: Artifact, options: Parameters<typeof begin>[2] = {}): Promise<DownstreamCall> => {
      const begun: DownstreamCall[] = [];
      await under.current.repository.transact((unit) => void begun.push(begin(unit, artifact, options)));
      const [call] = begun;
      if (call === undefined) throw new Error('no call was staged');
      return call;
    },
    close: (call: DownstreamCall) =>
      under.current.repository.transact((unit) => unit.closeCall({ tenantId: call.subject.tenantId, callId: call.id })),
  };
}

function usage(open: OpenRepository): void {
  describe('the usage of a handle', () => {
    const under = eachWithUsage(open);

    it('is not known of a handle that was never issued', async () => {
      await under.handle();
      expect(await under.current.repository.findHandleUsage(aHandleHash())).toBeNull();
    });

    it('is nothing at first', async () => {
      expect(await under.usage(await under.handle())).toEqual(NOTHING_USED);
    });

    it('is its requests and its bytes, and a slot for each call that is open', async () => {
      const [artifact, other] = [await under.handle(), await under.handle()];
      const first = await under.begun(artifact, { call: { deadline: after(15) } });
      const second = await under.begun(artifact, { call: { deadline: after(20) } });
      await under.begun(other);
      await under.current.repository.transact((unit) => unit.spendBytes(bytesOf(artifact, 300)));
      const slots = [
        { slotId: first.id, lapsesAt: after(15) },
        { slotId: second.id, lapsesAt: after(20) },
      ];
      expect(await under.usage(artifact)).toEqual({ requests: 2, bytes: 300, slots });
      await under.close(first);
      expect(await under.usage(artifact)).toEqual({ requests: 2, bytes: 300, slots: slots.slice(1) });
      await under.close(second);
      expect(await under.usage(artifact)).toEqual({ requests: 2, bytes: 300, slots: [] });
    });

    it('stays what it was when the handle, its grant and its session have ended', async () => {
      const { repository } = under.current;
      const { session, grant, artifact } = await givenIssuedGrant(repository);
      const call = await under.begun(artifact);
      await repository.transact((unit) => {
        unit.updateArtifact({ expected: 'issued', next: endArtifact(artifact, 'revoked', after(2)) });
        unit.updateGrant({ expected: 'issued', next: endGrant(grant, 'revoked', after(2), 'stop') });
      });
      await endSessionAfter(repository, session, 3);
      const slots = [{ slotId: call.id, lapsesAt: call.deadline }];
      expect(await under.usage(artifact)).toEqual({ requests: 1, bytes: 0, slots });
      // What the call under way brings back counts to the end.
      await repository.transact((unit) => unit.spendBytes(bytesOf(artifact, 700)));
      expect(await under.usage(artifact)).toEqual({ requests: 1, bytes: 700, slots });
    });

    it('is forgotten with its session', async () => {
      const { repository } = under.current;
      const { session, artifact } = await givenIssuedGrant(repository);
      await under.close(await under.begun(artifact));
      await endSessionAfter(repository, session, 3);
      await repository.forgetEnded(after(4), 100);
      expect(await under.usage(artifact)).toBeNull();
    });

    it.each<[string, (artifact: Artifact) => Partial<Artifact>]>([
      ['is not there', () => ({ id: anArtifactId() })],
      ["is another tenant's", () => ({ tenantId: OTHER_TENANT })],
    ])('is a conflict to add to when the artifact %s', async (_, change) => {
      const { repository } = under.current;
      const artifact = await under.handle();
      const strange = { ...artifact, ...change(artifact) };
      for (const stage of [
        (unit: UnitOfWork) => void begin(unit, strange),
        (unit: UnitOfWork) => unit.spendBytes(bytesOf(strange, 1)),
        (unit: UnitOfWork) => unit.spendBytes(bytesOf(strange, 1, { maxBytes: null })),
      ]) {
        await expect(repository.transact(stage)).rejects.toMatchObject({ code: 'conflict' });
      }
      expect(await under.usage(artifact)).toEqual(NOTHING_USED);
    });

    it('counts nothing of a unit that is refused for something else', async () => {
      const { repository } = under.current;
      const artifact = await under.handle();
      const attempt = repository.transact((unit) => {
        begin(unit, artifact);
        unit.spendBytes(bytesOf(artifact, 10));
        unit.closeCall({ tenantId: TENANT, callId: aCallId() });
      });
      await expect(attempt).rejects.toMatchObject({ code: 'conflict' });
      expect(await under.usage(artifact)).toEqual(NOTHING_USED);
    });

    it('counts nothing of a unit whose event cannot be written', async (context) => {
      const { repository, failNextAudit } = under.current;
      if (failNextAudit === undefined) return context.skip();
      const artifact = await under.handle();
      failNextAudit();
      const attempt = repository.transact((unit) => {
        begin(unit, artifact);
        unit.spendBytes(bytesOf(artifact, 10));
        unit.record(anEvent({ type: 'proxy.requested' }));
      });
      await expect(attempt).rejects.toMatchObject({ code: 'unavailable' });
      expect(await under.usage(artifact)).toEqual(NOTHING_USED);
    });
  });
}

function requests(open: OpenRepository): void {
  describe("a request of a handle's budget", () => {
    const under = eachWithUsage(open);

    it('is taken until none is left, and a call that ends gives none back', async () => {
      const artifact = await under.handle();
      for (let made = 0; made < 3; made += 1) await under.close(await under.begun(artifact, { maxRequests: 3 }));
      await expect(under.begun(artifact, { maxRequests: 3 })).rejects.toMatchObject(BUDGET_EXCEEDED);
      expect(await under.usage(artifact)).toEqual({ requests: 3, bytes: 0, slots: [] });
    });

    it('lets exactly ten of fifty through at once on a budget of ten, and leaves nothing of the others', async () => {
      const { repository, events } = under.current;
      const artifact = await under.handle();
      const attempts = Array.from({ length: 50 }, (_, index) =>
        repository.transact((unit) => {
          begin(unit, artifact, { maxRequests: 10, maxConcurrent: 50 });
          unit.record(anEvent({ type: 'proxy.requested', requestId: `call ${index}` }));
        }),
      );
      const winners = await winnersOf(attempts, BUDGET_EXCEEDED.code);
      expect(winners).toHaveLength(10);
      expect(await under.usage(artifact)).toMatchObject({ requests: 10, slots: { length: 10 } });
      expect(await repository.findOverdueCalls(after(1e6), 100)).toHaveLength(10);
      expect((await events()).map(({ requestId }) => requestId).sort()).toEqual(
        winners.map((place) => `call ${place}`).sort(),
      );
    });

    it('counts those that the same unit has taken', async () => {
      const { repository } = under.current;
      const artifact = await under.handle();
      const attempt = repository.transact((unit) => {
        for (let made = 0; made < 3; made += 1) begin(unit, artifact, { maxRequests: 2 });
      });
      await expect(attempt).rejects.toMatchObject(BUDGET_EXCEEDED);
      expect(await under.usage(artifact)).toEqual(NOTHING_USED);
      await repository.transact((unit) => {
        for (let made = 0; made < 2; made += 1) begin(unit, artifact, { maxRequests: 2 });
      });
      expect(await under.usage(artifact)).toMatchObject({ requests: 2 });
    });

    it("takes none of another handle's", async () => {
      const [artifact, other] = [await under.handle(), await under.handle()];
      await under.begun(artifact, { maxRequests: 1 });
      await under.begun(other, { maxRequests: 1 });
      await expect(under.begun(artifact, { maxRequests: 1 })).rejects.toMatchObject(BUDGET_EXCEEDED);
      expect(await under.usage(other)).toMatchObject({ requests: 1 });
    });
  });
}

function calls(open: OpenRepository): void {
  describe('a call behind a handle', () => {
    const under = eachWithUsage(open);

    it('lets exactly eight of fifty run at once where eight may', async () => {
      const artifact = await under.handle();
      const attempts = Array.from({ length: 50 }, () => under.begun(artifact, { maxConcurrent: 8 }));
      expect(await winnersOf(attempts, BUDGET_EXCEEDED.code)).toHaveLength(8);
      expect(await under.usage(artifact)).toMatchObject({ requests: 8, slots: { length: 8 } });
    });

    it('lets another run when it ends', async () => {
      const artifact = await under.handle();
      const one = { maxConcurrent: 1 };
      const call = await under.begun(artifact, one);
      await expect(under.begun(artifact, one)).rejects.toMatchObject(BUDGET_EXCEEDED);
      await under.close(call);
      await under.begun(artifact, one);
      expect(await under.usage(artifact)).toMatchObject({ requests: 2, slots: { length: 1 } });
    });

    it('lets another run in the unit that ends it, and not before', async () => {
      const { repository } = under.current;
      const artifact = await under.handle();
      const { id: callId } = await under.begun(artifact, { maxConcurrent: 1 });
      const end = (unit: UnitOfWork) => unit.closeCall({ tenantId: TENANT, callId });
      const early = repository.transact((unit) => {
        begin(unit, artifact, { maxConcurrent: 1 });
        end(unit);
      });
      await expect(early).rejects.toMatchObject(BUDGET_EXCEEDED);
      await repository.transact((unit) => {
        end(unit);
        begin(unit, artifact, { maxConcurrent: 1 });
      });
      expect(await under.usage(artifact)).toMatchObject({ requests: 2, slots: { length: 1 } });
    });

    it('whose deadline has come takes no place, though nobody told how it ended', async () => {
      const artifact = await under.handle();
      const dead = await under.begun(artifact, { maxConcurrent: 1, call: { deadline: after(15) } });
      const later = { maxConcurrent: 1, call: { deadline: after(60) } };
      await expect(under.begun(artifact, { ...later, now: after(14.999) })).rejects.toMatchObject(BUDGET_EXCEEDED);
      const call = await under.begun(artifact, { ...later, now: after(15) });
      expect(await under.usage(artifact)).toEqual({
        requests: 2,
        bytes: 0,
        slots: [
          { slotId: dead.id, lapsesAt: after(15) },
          { slotId: call.id, lapsesAt: after(60) },
        ],
      });
    });

    it.each(['before', 'after'] as const)('is not in its own way, opened %s its request is taken', async (order) => {
      const artifact = await under.handle();
      const call = aCall(artifact);
      await under.current.repository.transact((unit) => {
        if (order === 'before') unit.openCall(call);
        unit.spendRequest(spending(artifact, { callId: call.id, maxConcurrent: 1 }));
        if (order === 'after') unit.openCall(call);
      });
      expect(await under.usage(artifact)).toMatchObject({ requests: 1, slots: [{ slotId: call.id }] });
    });

    it('is in the way of the next one of its unit', async () => {
      const artifact = await under.handle();
      const attempt = under.current.repository.transact((unit) => {
        begin(unit, artifact, { maxConcurrent: 1 });
        begin(unit, artifact, { maxConcurrent: 1 });
      });
      await expect(attempt).rejects.toMatchObject(BUDGET_EXCEEDED);
      expect(await under.usage(artifact)).toEqual(NOTHING_USED);
    });

    it("takes no place of another handle's calls, nor does another tenant's that names this handle", async () => {
      const [artifact, other] = [await under.handle(), await under.handle()];
      const { subject } = aCall(artifact);
      await under.begun(other);
      await under.current.repository.transact((unit) => {
        unit.openCall(aCall(artifact, { subject: { ...subject, tenantId: OTHER_TENANT } }));
      });
      const call = await under.begun(artifact, { maxConcurrent: 1 });
      const slots = [{ slotId: call.id, lapsesAt: call.deadline }];
      expect(await under.usage(artifact)).toEqual({ requests: 1, bytes: 0, slots });
    });
  });
}

function bytes(open: OpenRepository): void {
  describe("the bytes of a handle's budget", () => {
    const under = eachWithUsage(open);
    const spend = (artifact: Artifact, amount: number, overrides: Partial<ByteSpending> = {}) =>
      under.current.repository.transact((unit) => unit.spendBytes(bytesOf(artifact, amount, overrides)));

    it('add up to the last one', async () => {
      const artifact = await under.handle();
      for (const amount of [600, 0, 399, 1]) await spend(artifact, amount);
      await expect(spend(artifact, 1)).rejects.toMatchObject(BUDGET_EXCEEDED);
      expect(await under.usage(artifact)).toEqual({ requests: 0, bytes: 1000, slots: [] });
    });

    it('refuse the unit that comes to more, and count and change nothing', async () => {
      const { repository, events } = under.current;
      const artifact = await under.handle();
      const call = await under.begun(artifact);
      await spend(artifact, 400);
      const attempt = repository.transact((unit) => {
        unit.closeCall({ tenantId: TENANT, callId: call.id });
        unit.spendBytes(bytesOf(artifact, 601));
        unit.record(anEvent({ type: 'proxy.completed' }));
      });
      await expect(attempt).rejects.toMatchObject(BUDGET_EXCEEDED);
      const slots = [{ slotId: call.id, lapsesAt: call.deadline }];
      expect(await under.usage(artifact)).toEqual({ requests: 1, bytes: 400, slots });
      expect(await events()).toEqual([]);
      await spend(artifact, 600);
    });

    it('are recorded whatever they come to where no limit is given, and leave none', async () => {
      const artifact = await under.handle();
      await spend(artifact, 999);
      await spend(artifact, 500, { maxBytes: null });
      expect(await under.usage(artifact)).toMatchObject({ bytes: 1499 });
      for (const amount of [0, 1]) await expect(spend(artifact, amount)).rejects.toMatchObject(BUDGET_EXCEEDED);
    });

    it('count those that the same unit has spent', async () => {
      const artifact = await under.handle();
      const attempt = under.current.repository.transact((unit) => {
        unit.spendBytes(bytesOf(artifact, 600));
        unit.spendBytes(bytesOf(artifact, 600));
      });
      await expect(attempt).rejects.toMatchObject(BUDGET_EXCEEDED);
      expect(await under.usage(artifact)).toEqual(NOTHING_USED);
    });

    it('are never more than there are, however many spend at once', async () => {
      const artifact = await under.handle();
      const attempts = Array.from({ length: 50 }, () => spend(artifact, 30));
      expect(await winnersOf(attempts, BUDGET_EXCEEDED.code)).toHaveLength(33);
      expect(await under.usage(artifact)).toMatchObject({ bytes: 990 });
    });

    it('are all counted when there is no limit, however many spend at once', async () => {
      const artifact = await under.handle();
      await Promise.all(Array.from({ length: 50 }, () => spend(artifact, 30, { maxBytes: null })));
      expect(await under.usage(artifact)).toMatchObject({ bytes: 1500 });
    });

    it('may be more than fit into 32 bits', async () => {
      const artifact = await under.handle();
      for (let made = 0; made < 2; made += 1) await spend(artifact, 3e9, { maxBytes: 6e9 });
      await expect(spend(artifact, 1, { maxBytes: 6e9 })).rejects.toMatchObject(BUDGET_EXCEEDED);
      expect(await under.usage(artifact)).toMatchObject({ bytes: 6e9 });
    });

    it.each([-1, Number.NaN, 0.5, Number.POSITIVE_INFINITY, Number.MAX_SAFE_INTEGER + 1])(
      'are never %d, which is no lost race',
      async (amount) => {
        const artifact = await under.handle();
        await spend(artifact, 500);
        for (const maxBytes of [1000, null]) {
          await expect(spend(artifact, amount, { maxBytes })).rejects.toThrow(RangeError);
        }
        expect(await under.usage(artifact)).toMatchObject({ bytes: 500 });
      },
    );
  });
}

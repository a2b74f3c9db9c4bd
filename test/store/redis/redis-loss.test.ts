import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { makeProofVerifier } from '../../../src/authn/dpop.ts';
import type { CallId } from '../../../src/domain/ids.ts';
import type { SlotRequest } from '../../../src/domain/runtime-store.ts';
import { openRedis } from '../../../src/store/redis/connect.ts';
import { RedisRuntimeStore } from '../../../src/store/redis/redis-runtime-store.ts';
import { KnownUsage } from '../../contract/runtime-store-recovery-contract.ts';
import { makeProofKey } from '../../support/dpop.ts';
import { aCallId, aHandleHash, after } from '../../support/entities.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { type RedisServer, startRedis } from '../../support/redis.ts';
import { NOTHING_USED, openStore, settingsFor, type StoreUnderTest, untilConnected } from './redis-under-test.ts';

const BUDGET = { maxConcurrent: 8, maxRequests: 100, maxBytes: 1000, timeoutSeconds: 15 };

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

/** A server that stays, and loses its data by being flushed. */
let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.close());
beforeEach(async () => {
  const redis = await openRedis(settingsFor(server));
  await redis.client.flushall();
  await redis.close();
});

/** A process of a deployment whose repository is `usage`. */
async function aProcess(usage: KnownUsage, at = server): Promise<StoreUnderTest> {
  const opened = await openStore(settingsFor(at), 'asb:', usage);
  closers.push(opened.close);
  return opened;
}

describe('a call under way when Redis loses its data', () => {
  let usage: KnownUsage;
  beforeEach(() => {
    usage = new KnownUsage();
  });

  /** A call that has its slot and is on record, as every call is before it is made. */
  const aCall = async (
    { store }: StoreUnderTest,
    handleHash = aHandleHash(),
    onRecord: readonly CallId[] = [],
  ): Promise<{ request: SlotRequest; slots: CallId[] }> => {
    const slotId = aCallId();
    const request = { handleHash, slotId, budget: BUDGET, now: after(0), handleExpiresAt: after(600) };
    if (onRecord.length === 0) usage.set(handleHash);
    expect(await store.acquireSlot(request)).toMatchObject({ granted: true });
    const slots = [...onRecord, slotId];
    open(request, slots);
    return { request, slots };
  };
  const open = ({ handleHash }: SlotRequest, slots: readonly CallId[], bytes = 0): void =>
    usage.set(handleHash, {
      ...{ requests: slots.length, bytes },
      slots: slots.map((slotId) => ({ slotId, lapsesAt: after(15) })),
    });

  it('goes on, and pays again for what it had paid', async () => {
    const one = await aProcess(usage);
    const { request } = await aCall(one);
    expect(await one.store.spendBytes(request.handleHash, 600)).toBe(true);
    await one.redis.client.flushall();
    expect(await one.store.spendBytes(request.handleHash, 300)).toBe(true);
    expect(await one.store.acquireSlot(request)).toEqual({ granted: true, remainingBytes: 100 });
    expect(await one.store.spendBytes(request.handleHash, 101)).toBe(false);
    expect(await one.store.slotsHeld(request.handleHash, after(1))).toBe(1);
  });

  it('pays for what it had paid also where another call was first to come', async () => {
    const one = await aProcess(usage);
    const { request } = await aCall(one);
    await one.store.spendBytes(request.handleHash, 600);
    await one.redis.client.flushall();
    expect(await one.store.acquireSlot({ ...request, slotId: aCallId() })).toMatchObject({ granted: true });
    expect(await one.store.spendBytes(request.handleHash, 1)).toBe(true);
    expect(await one.store.spendBytes(request.handleHash, 400)).toBe(false);
  });

  it('pays beside those of other processes, and beside what is on record', async () => {
    const [one, other] = [await aProcess(usage), await aProcess(usage)];
    const { request, slots } = await aCall(one);
    const { request: second, slots: both } = await aCall(other, request.handleHash, slots);
    await one.store.spendBytes(request.handleHash, 200);
    await other.store.spendBytes(request.handleHash, 300);
    open(second, both, 100);
    await one.redis.client.flushall();
    expect(await one.store.spendBytes(request.handleHash, 1)).toBe(true);
    expect(await one.store.acquireSlot(request)).toMatchObject({ remainingBytes: 699 });
    expect(await other.store.spendBytes(request.handleHash, 1)).toBe(true);
    expect(await one.store.acquireSlot(request)).toMatchObject({ remainingBytes: 398 });
    expect(await other.store.spendBytes(request.handleHash, 398)).toBe(true);
    expect(await one.store.spendBytes(request.handleHash, 1)).toBe(false);
  });

  it('gives out no byte twice to fifty amounts that were on their way', async () => {
    const one = await aProcess(usage);
    const { request } = await aCall(one);
    const { handleHash } = request;
    const spending = Array.from({ length: 25 }, () => one.store.spendBytes(handleHash, 10));
    const lost = one.redis.client.flushall();
    spending.push(...Array.from({ length: 25 }, () => one.store.spendBytes(handleHash, 10)));
    expect(await Promise.all(spending)).toEqual(Array(50).fill(true));
    await lost;
    expect(await one.store.acquireSlot(request)).toEqual({ granted: true, remainingBytes: 500 });
  });

  it('pays once for what is on record by the time of the loss', async () => {
    const one = await aProcess(usage);
    const { request } = await aCall(one);
    await one.store.spendBytes(request.handleHash, 600);
    open(request, [], 600);
    await one.store.releaseSlot(request.handleHash, request.slotId);
    await one.redis.client.flushall();
    const next = { ...request, slotId: aCallId() };
    expect(await one.store.acquireSlot(next)).toEqual({ granted: true, remainingBytes: 400 });
    expect(await one.store.spendBytes(request.handleHash, 400)).toBe(true);
    expect(await one.store.spendBytes(request.handleHash, 1)).toBe(false);
  });

  it('is cut off when it is on record no longer', async () => {
    const one = await aProcess(usage);
    const { request } = await aCall(one);
    open(request, [], 0);
    await one.redis.client.flushall();
    expect(await one.store.spendBytes(request.handleHash, 1)).toBe(false);
  });

  it('is cut off when nobody can say what it used, and nothing is begun', async () => {
    const one = await aProcess(usage);
    const { request } = await aCall(one);
    await one.redis.client.flushall();
    usage.failNext(new Error('the database is away'));
    await expect(one.store.spendBytes(request.handleHash, 1)).rejects.toThrow('the database is away');
    expect(await one.redis.client.dbsize()).toBe(0);
    expect(await one.store.spendBytes(request.handleHash, 1)).toBe(true);
  });

  it('leaves no tally behind when it ends, and loses none when another ends', async () => {
    const one = await aProcess(usage);
    const { request, slots } = await aCall(one);
    const { request: second } = await aCall(one, request.handleHash, slots);
    const tallies = async () =>
      Object.keys(await one.redis.client.hgetall(`asb:handle:{${request.handleHash}}`)).filter((key) =>
        key.startsWith('tally'),
      );
    await one.store.spendBytes(request.handleHash, 600);
    await one.store.releaseSlot(request.handleHash, request.slotId);
    expect(await tallies()).toHaveLength(1);
    expect(await one.store.spendBytes(request.handleHash, 400)).toBe(true);
    await one.store.releaseSlot(second.handleHash, second.slotId);
    expect(await tallies()).toEqual([]);
    expect(await one.store.spendBytes(request.handleHash, 1)).toBe(false);
  });
});

/** What a server has when it comes back: nothing, or a snapshot that is older than what it answered. */
describe.each([
  ['empty', []],
  ['with an old snapshot', ['--save', '3600 1000000']],
])('a server that comes back %s', (_, args) => {
  const start = async (): Promise<RedisServer> => {
    const own = await startRedis(args);
    closers.push(() => own.close());
    return own;
  };

  it('refills no budget, and forgets no slot of an open call', async () => {
    const own = await start();
    const usage = new KnownUsage();
    const { store, redis } = await aProcess(usage, own);
    const handleHash = aHandleHash();
    const request = { handleHash, budget: BUDGET, now: after(0), handleExpiresAt: after(600) };
    usage.set(handleHash);
    await store.acquireSlot({ ...request, slotId: aCallId() });
    if (args.length > 0) await redis.client.save();
    for (let made = 0; made < 6; made += 1) await store.acquireSlot({ ...request, slotId: aCallId() });
    await store.spendBytes(handleHash, 700);
    const open = [aCallId(), aCallId()].map((slotId) => ({ slotId, lapsesAt: after(15) }));
    usage.set(handleHash, { requests: 99, bytes: 700, slots: open });

    await own.kill();
    await own.start();
    await untilConnected(redis);
    expect(await redis.client.exists(`asb:handle:{${handleHash}}`)).toBe(args.length === 0 ? 0 : 1);
    expect(await store.slotsHeld(handleHash, after(1))).toBe(2);
    expect(await store.acquireSlot({ ...request, slotId: aCallId() })).toEqual({ granted: true, remainingBytes: 300 });
    expect(await store.slotsHeld(handleHash, after(1))).toBe(3);
    expect(await store.acquireSlot({ ...request, slotId: aCallId() })).toMatchObject({ exhausted: 'requests' });
  });

  it('lets a call under way pay from what is left on record', async () => {
    const own = await start();
    const usage = new KnownUsage();
    const { store, redis } = await aProcess(usage, own);
    const [handleHash, slotId] = [aHandleHash(), aCallId()];
    usage.set(handleHash);
    await store.acquireSlot({ handleHash, slotId, budget: BUDGET, now: after(0), handleExpiresAt: after(600) });
    if (args.length > 0) await redis.client.save();
    usage.set(handleHash, { requests: 9, bytes: 700, slots: [{ slotId, lapsesAt: after(15) }] });
    await own.kill();
    await own.start();
    await untilConnected(redis);
    expect(await store.spendBytes(handleHash, 300)).toBe(true);
    expect(await store.spendBytes(handleHash, 1)).toBe(false);
  });

  it('takes no proof that may have been used before', async () => {
    const own = await start();
    const { store, redis } = await aProcess(new KnownUsage(), own);
    const { verifier, clock, prove } = await aVerifier(store);
    if (args.length > 0) await redis.client.save();
    const used = await prove();
    await verifier.verify(used);
    await own.kill();
    await own.start();
    await untilConnected(redis);
    await expect(verifier.verify(used)).rejects.toMatchObject({ code: 'unavailable', retryAfterSeconds: 10 });
    clock.advance(59);
    await expect(verifier.verify(used)).rejects.toMatchObject({ code: 'unavailable' });
    clock.advance(1);
    await expect(verifier.verify(used)).rejects.toMatchObject({ code: 'unauthorized' });
  });
});

async function aVerifier(runtime: RedisRuntimeStore) {
  const clock = new FakeClock();
  const key = await makeProofKey();
  const verifier = makeProofVerifier({ clock, runtime, ids: { tokenId: randomUUID } });
  const [method, url] = ['POST', 'https://asb.example/v1/grants'];
  const prove = async (secondsFromNow = 0) => ({
    presented: {
      proofs: [await key.proof({ method, url, at: new Date(clock.now().getTime() + secondsFromNow * 1000) })],
      ...{ method, url },
    },
    credential: null,
  });
  return { verifier, clock, prove };
}

describe('proofs after a loss', () => {
  it('are taken again when they were made more than ten seconds later', async () => {
    const { store, redis } = await aProcess(new KnownUsage());
    const { verifier, clock, prove } = await aVerifier(store);
    await redis.client.flushall();
    await expect(verifier.verify(await prove())).rejects.toMatchObject({ code: 'unavailable' });
    clock.advance(10);
    await expect(verifier.verify(await prove())).rejects.toMatchObject({ code: 'unavailable' });
    clock.advance(1);
    const fresh = await prove();
    expect(await verifier.verify(fresh)).toEqual(expect.any(String));
    await expect(verifier.verify(fresh)).rejects.toMatchObject({ code: 'unauthorized' });
  });

  it.each([-59, 0, 4, 5])('are taken for no second use when they were dated %d seconds from now', async (seconds) => {
    const { store, redis } = await aProcess(new KnownUsage());
    const { verifier, clock, prove } = await aVerifier(store);
    const used = await prove(seconds);
    await verifier.verify(used);
    await redis.client.flushall();
    // Whoever asks first has a clock that is as far behind as may be.
    await store.forgetExpired(new Date(clock.now().getTime() - 5000));
    for (let second = 0; second < 70; second += 1) {
      await expect(verifier.verify(used)).rejects.toMatchObject({
        code: expect.stringMatching(/^un(available|authorized)$/),
      });
      clock.advance(1);
    }
  });

  it('are taken from ten seconds after the very first start, which a pass of the cleanup may be', async () => {
    const redis = await openRedis(settingsFor(server));
    closers.push(() => redis.close());
    const store = new RedisRuntimeStore({ redis, keyPrefix: 'asb:', usage: NOTHING_USED });
    const { verifier, clock, prove } = await aVerifier(store);
    await store.forgetExpired(clock.now());
    clock.advance(11);
    expect(await verifier.verify(await prove())).toEqual(expect.any(String));
  });

  it('do not wait because other claims and keys went', async () => {
    const { store } = await aProcess(new KnownUsage());
    for (const kind of ['delegation', 'callback'] as const) {
      expect(await store.claim(kind, 'key', 'value', after(60), after(0))).toBe(true);
    }
    const { verifier, prove } = await aVerifier(store);
    expect(await verifier.verify(await prove())).toEqual(expect.any(String));
  });
});

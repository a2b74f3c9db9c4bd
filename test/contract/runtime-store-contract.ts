import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CLAIM_KINDS, type ProxyBudget, type RuntimeStore, type SlotRequest } from '../../src/domain/runtime-store.ts';
import { aCallId, aHandleHash, after } from '../support/entities.ts';
import { runtimeStoreValuesContract } from './runtime-store-values-contract.ts';

/** A store that knows no handle. One that asks a repository what a handle has used hears of each that it has used nothing. */
export interface RuntimeStoreUnderTest {
  store: RuntimeStore;
  close: () => Promise<void>;
}

const BUDGET: ProxyBudget = { maxConcurrent: 8, maxRequests: 100, maxBytes: 1000, timeoutSeconds: 15 };
const GRANTED = { granted: true, remainingBytes: 1000 };

/** What every runtime store must do. */
export function runtimeStoreContract(name: string, open: () => Promise<RuntimeStoreUnderTest>): void {
  describe(`${name} keeps the runtime store contract`, () => {
    const opened: RuntimeStoreUnderTest[] = [];
    beforeEach(async () => void opened.push(await open()));
    afterEach(async () => opened.pop()?.close());

    const store = (): RuntimeStore => {
      const [current] = opened;
      if (current === undefined) throw new Error('no store is open');
      return current.store;
    };

    /** Asks for slots of one handle, each under a name of its own. */
    const aHandle = (budget: Partial<ProxyBudget> = {}) => {
      const handleHash = aHandleHash();
      const acquire = (overrides: Partial<SlotRequest> = {}) =>
        store().acquireSlot({
          handleHash,
          slotId: aCallId(),
          budget: { ...BUDGET, ...budget },
          now: after(0),
          handleExpiresAt: after(600),
          ...overrides,
        });
      return { handleHash, acquire };
    };

    it('answers ping', async () => {
      await expect(store().ping()).resolves.toBeUndefined();
    });

    it('lets no more requests through than the budget has', async () => {
      const { handleHash, acquire } = aHandle({ maxRequests: 2 });
      for (const slotId of [aCallId(), aCallId()]) {
        expect(await acquire({ slotId })).toEqual(GRANTED);
        await store().releaseSlot(handleHash, slotId);
      }
      expect(await acquire()).toEqual({ granted: false, exhausted: 'requests' });
    });

    it('lets exactly ten of fifty concurrent requests through a budget of ten', async () => {
      const { acquire } = aHandle({ maxRequests: 10, maxConcurrent: 50 });
      const answers = await Promise.all(Array.from({ length: 50 }, () => acquire()));
      expect(answers.filter(({ granted }) => granted)).toHaveLength(10);
      for (const answer of answers) if (!answer.granted) expect(answer.exhausted).toBe('requests');
    });

    it('lets exactly eight of fifty concurrent requests run at once', async () => {
      const { acquire } = aHandle();
      const answers = await Promise.all(Array.from({ length: 50 }, () => acquire()));
      expect(answers.filter(({ granted }) => granted)).toHaveLength(8);
      for (const answer of answers) if (!answer.granted) expect(answer.exhausted).toBe('concurrency');
    });

    it('takes no request for a slot that it refuses', async () => {
      const held = aCallId();
      const { handleHash, acquire } = aHandle({ maxConcurrent: 1, maxRequests: 2 });
      expect(await acquire({ slotId: held })).toEqual(GRANTED);
      for (let attempt = 0; attempt < 5; attempt += 1) {
        expect(await acquire()).toEqual({ granted: false, exhausted: 'concurrency' });
      }
      await store().releaseSlot(handleHash, held);
      expect(await acquire()).toEqual(GRANTED);
    });

    it('gives a slot back once, whatever is released twice or was never held', async () => {
      const [first, second] = [aCallId(), aCallId()];
      const { handleHash, acquire } = aHandle({ maxConcurrent: 2 });
      await acquire({ slotId: first });
      await acquire({ slotId: second });
      await store().releaseSlot(handleHash, first);
      await store().releaseSlot(handleHash, first);
      await store().releaseSlot(handleHash, aCallId());
      await store().releaseSlot(aHandleHash(), second);
      expect(await acquire()).toEqual(GRANTED);
      expect(await acquire()).toEqual({ granted: false, exhausted: 'concurrency' });
    });

    it('takes a slot back when its lease lapses', async () => {
      const { acquire } = aHandle({ maxConcurrent: 1, timeoutSeconds: 15 });
      await acquire();
      expect(await acquire({ now: after(14.999) })).toEqual({ granted: false, exhausted: 'concurrency' });
      expect(await acquire({ now: after(15) })).toEqual(GRANTED);
    });

    it("does not free another's slot when a lapsed one is released", async () => {
      const lapsed = aCallId();
      const { handleHash, acquire } = aHandle({ maxConcurrent: 1 });
      await acquire({ slotId: lapsed });
      await acquire({ slotId: aCallId(), now: after(20) });
      await store().releaseSlot(handleHash, lapsed);
      expect(await acquire({ now: after(21) })).toEqual({ granted: false, exhausted: 'concurrency' });
    });

    it('takes bytes until they are gone', async () => {
      const { handleHash, acquire } = aHandle();
      await acquire();
      expect(await store().spendBytes(handleHash, 600)).toBe(true);
      expect(await acquire()).toEqual({ granted: true, remainingBytes: 400 });
      expect(await store().spendBytes(handleHash, 400)).toBe(true);
      expect(await store().spendBytes(handleHash, 1)).toBe(false);
      expect(await acquire()).toEqual({ granted: false, exhausted: 'bytes' });
    });

    it('takes what is left when that is less than was asked for', async () => {
      const { handleHash, acquire } = aHandle();
      await acquire();
      expect(await store().spendBytes(handleHash, 1001)).toBe(false);
      expect(await store().spendBytes(handleHash, 1)).toBe(false);
      expect(await acquire()).toEqual({ granted: false, exhausted: 'bytes' });
    });

    it('never gives out more bytes than there are under concurrency', async () => {
      const { handleHash, acquire } = aHandle();
      await acquire();
      const answers = await Promise.all(Array.from({ length: 50 }, () => store().spendBytes(handleHash, 30)));
      expect(answers.filter(Boolean)).toHaveLength(33);
    });

    it('refills no bytes from a nonsensical amount', async () => {
      const { handleHash, acquire } = aHandle();
      await acquire();
      for (const bytes of [-1, Number.NaN, 0.5, Number.POSITIVE_INFINITY]) {
        await expect(store().spendBytes(handleHash, bytes)).rejects.toThrow(RangeError);
      }
      expect(await acquire()).toEqual(GRANTED);
    });

    it('has no bytes for a handle that it does not know', async () => {
      expect(await store().spendBytes(aHandleHash(), 1)).toBe(false);
    });

    it('keeps handles apart', async () => {
      const [first, second] = [aHandle({ maxRequests: 1 }), aHandle({ maxRequests: 1 })];
      await first.acquire();
      await store().spendBytes(first.handleHash, 999);
      expect(await second.acquire()).toEqual(GRANTED);
      expect(await store().spendBytes(second.handleHash, 1000)).toBe(true);
    });

    it('names bytes before requests before concurrency', async () => {
      const { handleHash, acquire } = aHandle({ maxRequests: 1, maxConcurrent: 1 });
      await acquire();
      expect(await acquire()).toEqual({ granted: false, exhausted: 'requests' });
      await store().spendBytes(handleHash, 1000);
      expect(await acquire()).toEqual({ granted: false, exhausted: 'bytes' });
    });

    it('gives nothing to a handle whose time is up', async () => {
      const { handleHash, acquire } = aHandle();
      expect(await acquire({ now: after(600) })).toMatchObject({ granted: false });
      expect(await store().spendBytes(handleHash, 1)).toBe(false);
    });

    it('forgets handles that ended, and hands them no second budget', async () => {
      const { handleHash, acquire } = aHandle({ maxRequests: 1 });
      const other = aHandle();
      await acquire();
      await other.acquire({ handleExpiresAt: after(1200) });
      await store().forgetExpired(after(601));
      expect(await store().spendBytes(handleHash, 1)).toBe(false);
      expect(await acquire({ now: after(601) })).toMatchObject({ granted: false });
      expect(await store().spendBytes(other.handleHash, 1)).toBe(true);
    });

    it('lets a call that outlives its handle pay for its bytes, and starts no other', async () => {
      const { handleHash, acquire } = aHandle();
      await acquire({ now: after(599) });
      await store().forgetExpired(after(601));
      expect(await store().spendBytes(handleHash, 600)).toBe(true);
      expect(await acquire({ now: after(601) })).toMatchObject({ granted: false });
      expect(await store().spendBytes(handleHash, 401)).toBe(false);
    });

    it.each([
      ['gives its slot back', true, after(602)],
      ['died: its lease lapses', false, after(614)],
    ])('forgets a handle that ended once the call under way %s', async (_, isReleased, now) => {
      const { handleHash, acquire } = aHandle();
      const held = aCallId();
      await acquire({ slotId: held, now: after(599) });
      await store().forgetExpired(after(601));
      if (isReleased) await store().releaseSlot(handleHash, held);
      await store().forgetExpired(now);
      expect(await store().spendBytes(handleHash, 1)).toBe(false);
    });

    it('counts the slots that are held, and none that were given back or lapsed', async () => {
      const [first, second] = [aCallId(), aCallId()];
      const { handleHash, acquire } = aHandle();
      const held = (now: Date) => store().slotsHeld(handleHash, now);
      expect(await held(after(0))).toBe(0);
      await acquire({ slotId: first });
      await acquire({ slotId: second, now: after(5) });
      await aHandle().acquire();
      expect(await held(after(5))).toBe(2);
      expect(await held(after(14.999))).toBe(2);
      expect(await held(after(15))).toBe(1);
      expect(await held(after(20))).toBe(0);
      await store().releaseSlot(handleHash, second);
      expect(await held(after(5))).toBe(1);
    });

    it('frees no slot by counting', async () => {
      const { handleHash, acquire } = aHandle({ maxConcurrent: 1 });
      await acquire();
      expect(await store().slotsHeld(handleHash, after(100))).toBe(0);
      expect(await acquire({ now: after(1) })).toEqual({ granted: false, exhausted: 'concurrency' });
    });

    it('forgets no handle that still lives', async () => {
      const { acquire } = aHandle({ maxRequests: 1 });
      await acquire();
      await store().forgetExpired(after(599));
      expect(await acquire({ now: after(599) })).toEqual({ granted: false, exhausted: 'requests' });
    });

    heldSlots(store);
    claims(store);
    runtimeStoreValuesContract(store);
  });
}

function heldSlots(store: () => RuntimeStore): void {
  const aCallOf = (budget: Partial<ProxyBudget> = {}) => {
    const request = {
      handleHash: aHandleHash(),
      slotId: aCallId(),
      budget: { ...BUDGET, ...budget },
      now: after(0),
      handleExpiresAt: after(600),
    };
    return { request, ask: (overrides: Partial<SlotRequest> = {}) => store().acquireSlot({ ...request, ...overrides }) };
  };

  it('answers yes when a held slot is asked for again, and takes nothing for it', async () => {
    const { ask } = aCallOf({ maxRequests: 2, maxConcurrent: 2 });
    for (let asked = 0; asked < 5; asked += 1) expect(await ask()).toEqual(GRANTED);
    expect(await ask({ slotId: aCallId() })).toEqual(GRANTED);
    expect(await ask({ slotId: aCallId() })).toEqual({ granted: false, exhausted: 'requests' });
    expect(await ask()).toEqual(GRANTED);
  });

  it('answers yes to all of fifty who ask for one slot at once, and takes one request', async () => {
    const { ask } = aCallOf({ maxRequests: 2, maxConcurrent: 2 });
    const answers = await Promise.all(Array.from({ length: 50 }, () => ask()));
    for (const answer of answers) expect(answer).toEqual(GRANTED);
    expect(await ask({ slotId: aCallId() })).toEqual(GRANTED);
    expect(await ask({ slotId: aCallId() })).toMatchObject({ granted: false });
  });

  it('says what is left to whoever asks for a held slot again, also when that is nothing', async () => {
    const { request, ask } = aCallOf();
    await ask();
    await store().spendBytes(request.handleHash, 600);
    expect(await ask()).toEqual({ granted: true, remainingBytes: 400 });
    await store().spendBytes(request.handleHash, 400);
    expect(await ask()).toEqual({ granted: true, remainingBytes: 0 });
  });

  it('holds a slot no longer for being asked for it again', async () => {
    const { request, ask } = aCallOf({ maxConcurrent: 1, timeoutSeconds: 15 });
    await ask();
    expect(await ask({ now: after(10) })).toEqual(GRANTED);
    expect(await store().slotsHeld(request.handleHash, after(14.999))).toBe(1);
    expect(await store().slotsHeld(request.handleHash, after(15))).toBe(0);
    expect(await ask({ slotId: aCallId(), now: after(15) })).toEqual(GRANTED);
  });

  it.each(['lapsed', 'was given back'])('takes a request again for a slot that %s', async (end) => {
    const { request, ask } = aCallOf({ maxRequests: 2 });
    await ask();
    if (end === 'was given back') await store().releaseSlot(request.handleHash, request.slotId);
    expect(await ask({ now: after(15) })).toEqual(GRANTED);
    expect(await ask({ slotId: aCallId(), now: after(15) })).toEqual({ granted: false, exhausted: 'requests' });
  });

  it("does not take one handle's slot for another's", async () => {
    const { request, ask } = aCallOf({ maxRequests: 1 });
    const handleHash = aHandleHash();
    await ask({ handleHash });
    expect(await ask()).toEqual(GRANTED);
    await store().releaseSlot(handleHash, request.slotId);
    expect(await store().slotsHeld(request.handleHash, after(1))).toBe(1);
  });
}

function claims(store: () => RuntimeStore): void {
  const aKey = (): string => `claim ${randomUUID()}`;
  const claim = (key: string, value: string, now = after(0), expiresAt = after(60)) =>
    store().claim('proof', key, value, expiresAt, now);

  it('gives a key to the first of fifty who claim it at once, and to no other', async () => {
    const key = aKey();
    const answers = await Promise.all(Array.from({ length: 50 }, (_, index) => claim(key, `value ${index}`)));
    expect(answers.filter(Boolean)).toHaveLength(1);
    const winner = answers.indexOf(true);
    expect(await claim(key, `value ${winner}`)).toBe(true);
    expect(await claim(key, `value ${winner === 0 ? 1 : 0}`)).toBe(false);
  });

  it('answers yes to all of fifty who claim a key with the same value', async () => {
    const key = aKey();
    const answers = await Promise.all(Array.from({ length: 50 }, () => claim(key, 'value')));
    expect(answers.filter(Boolean)).toHaveLength(50);
  });

  it('holds a claim until its end and not longer, asked for again or not', async () => {
    const [asked, left] = [aKey(), aKey()];
    for (const key of [asked, left]) await claim(key, 'one');
    expect(await claim(asked, 'one', after(30), after(90))).toBe(true);
    for (const key of [asked, left]) expect(await claim(key, 'two', after(59.999), after(120))).toBe(false);
    for (const key of [asked, left]) expect(await claim(key, 'two', after(60), after(120))).toBe(true);
    for (const key of [asked, left]) expect(await claim(key, 'one', after(61), after(120))).toBe(false);
  });

  it('gives nobody what is over when it is claimed', async () => {
    const key = aKey();
    expect(await claim(key, 'one', after(60), after(60))).toBe(false);
    expect(await claim(key, 'two', after(60), after(59))).toBe(false);
    expect(await claim(key, 'three', after(60), after(61))).toBe(true);
  });

  it('keeps keys apart that are nearly the same', async () => {
    const key = aKey();
    const keys = [key, `${key} `, key.toUpperCase(), `${key}"`, `"${key}"`, `${key}:`, `${key}💥`];
    for (const [index, one] of keys.entries()) expect(await claim(one, `value ${index}`)).toBe(true);
    for (const one of keys) expect(await claim(one, 'another')).toBe(false);
  });

  it('keeps the kinds of claims apart', async () => {
    const key = aKey();
    for (const kind of CLAIM_KINDS) expect(await store().claim(kind, key, `first ${kind}`, after(60), after(0))).toBe(true);
    for (const kind of CLAIM_KINDS) {
      expect(await store().claim(kind, key, 'another', after(60), after(1))).toBe(false);
      expect(await store().claim(kind, key, `first ${kind}`, after(60), after(1))).toBe(true);
    }
    await store().forgetExpired(after(60));
    for (const kind of CLAIM_KINDS) expect(await store().claim(kind, key, 'another', after(90), after(60))).toBe(true);
  });

  it('keeps a claim that still holds when the others are forgotten', async () => {
    const [short, long] = [aKey(), aKey()];
    await claim(short, 'one');
    await claim(long, 'one', after(0), after(600));
    await store().forgetExpired(after(60));
    expect(await claim(short, 'two', after(60), after(600))).toBe(true);
    expect(await claim(long, 'two', after(60), after(600))).toBe(false);
    expect(await claim(long, 'one', after(60), after(600))).toBe(true);
  });
}

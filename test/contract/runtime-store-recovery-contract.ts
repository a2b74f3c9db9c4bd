import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { unavailable } from '../../src/domain/errors.ts';
import type { CallId, HandleHash } from '../../src/domain/ids.ts';
import type { HandleUsage, ProxyBudget, RuntimeStore, SlotRequest } from '../../src/domain/runtime-store.ts';
import { aCallId, aHandleHash, after } from '../support/entities.ts';

/** What a repository would answer of the handles that it knows. */
export class KnownUsage {
  /** How often it was asked. */
  asked = 0;
  readonly #usage = new Map<HandleHash, HandleUsage>();
  #failure: Error | null = null;

  /** Makes a handle known, with nothing used but what is said. */
  set(handleHash: HandleHash, usage: Partial<HandleUsage> = {}): void {
    this.#usage.set(handleHash, { requests: 0, bytes: 0, slots: [], ...usage });
  }

  /** Makes the next question fail. */
  failNext(failure: Error): void {
    this.#failure = failure;
  }

  findHandleUsage(handleHash: HandleHash): Promise<HandleUsage | null> {
    this.asked += 1;
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) return Promise.reject(failure);
    return Promise.resolve(this.#usage.get(handleHash) ?? null);
  }
}

export interface RecoveringStoreUnderTest {
  store: RuntimeStore;
  /** Where the store asks what a handle has used. */
  usage: KnownUsage;
  /** Loses all that the store holds, as a server does that comes back empty. */
  loseData: () => Promise<void>;
  close: () => Promise<void>;
}

const BUDGET: ProxyBudget = { maxConcurrent: 8, maxRequests: 10, maxBytes: 1000, timeoutSeconds: 15 };
const GRANTED = { granted: true, remainingBytes: 1000 };

/** What a runtime store must do that can lose its data without the repository losing its own. */
export function runtimeStoreRecoveryContract(name: string, open: () => Promise<RecoveringStoreUnderTest>): void {
  describe(`${name} loses its data and refills nothing`, () => {
    const opened: RecoveringStoreUnderTest[] = [];
    beforeEach(async () => void opened.push(await open()));
    afterEach(async () => opened.pop()?.close());

    const current = (): RecoveringStoreUnderTest => {
      const [under] = opened;
      if (under === undefined) throw new Error('no store is open');
      return under;
    };

    /** A handle that the repository knows, with what it says of it. */
    const aHandle = (known: Partial<HandleUsage> | null = {}, budget: Partial<ProxyBudget> = {}) => {
      const handleHash = aHandleHash();
      if (known !== null) current().usage.set(handleHash, known);
      const acquire = (overrides: Partial<SlotRequest> = {}) =>
        current().store.acquireSlot({
          handleHash,
          slotId: aCallId(),
          budget: { ...BUDGET, ...budget },
          now: after(0),
          handleExpiresAt: after(600),
          ...overrides,
        });
      return { handleHash, acquire };
    };
    type Handle = ReturnType<typeof aHandle>;
    const slot = (slotId: CallId, seconds: number) => ({ slotId, lapsesAt: after(seconds) });
    /** How many more requests a handle gets, one after the other. */
    const requestsLeft = async ({ handleHash, acquire }: Handle): Promise<number> => {
      for (let granted = 0; ; granted += 1) {
        const slotId = aCallId();
        const answer = await acquire({ slotId });
        if (!answer.granted) return granted;
        await current().store.releaseSlot(handleHash, slotId);
      }
    };

    it('gives a new handle its whole budget', async () => {
      const handle = aHandle();
      expect(await handle.acquire()).toEqual(GRANTED);
      expect(await current().store.spendBytes(handle.handleHash, 1000)).toBe(true);
      expect(await requestsLeft(aHandle())).toBe(10);
    });

    it('gives nothing to a handle that the repository does not know', async () => {
      const { handleHash, acquire } = aHandle(null);
      expect(await acquire()).toMatchObject({ granted: false });
      expect(await current().store.spendBytes(handleHash, 1)).toBe(false);
      expect(await current().store.slotsHeld(handleHash, after(0))).toBe(0);
    });

    it('takes up a handle that becomes known after it was refused', async () => {
      const { handleHash, acquire } = aHandle(null);
      expect(await acquire()).toMatchObject({ granted: false });
      current().usage.set(handleHash);
      expect(await acquire()).toEqual(GRANTED);
    });

    it('gives the requests that are left and no more', async () => {
      const { usage, loseData } = current();
      const handle = aHandle();
      for (let made = 0; made < 3; made += 1) await handle.acquire({ now: after(20 * made) });
      usage.set(handle.handleHash, { requests: 3 });
      await loseData();
      expect(await requestsLeft(handle)).toBe(7);
      usage.set(handle.handleHash, { requests: 10 });
      await loseData();
      expect(await handle.acquire()).toEqual({ granted: false, exhausted: 'requests' });
    });

    it('gives the requests that are left and no more to fifty who ask at once', async () => {
      const { loseData } = current();
      const handle = aHandle({ requests: 3 }, { maxConcurrent: 50 });
      await loseData();
      const answers = await Promise.all(Array.from({ length: 50 }, () => handle.acquire()));
      expect(answers.filter(({ granted }) => granted)).toHaveLength(7);
      for (const answer of answers) if (!answer.granted) expect(answer.exhausted).toBe('requests');
    });

    it('gives the bytes that are left and no more', async () => {
      const { store, usage, loseData } = current();
      const { handleHash, acquire } = aHandle();
      await acquire();
      await store.spendBytes(handleHash, 600);
      usage.set(handleHash, { requests: 1, bytes: 600 });
      await loseData();
      expect(await acquire()).toEqual({ granted: true, remainingBytes: 400 });
      expect(await store.spendBytes(handleHash, 400)).toBe(true);
      expect(await store.spendBytes(handleHash, 1)).toBe(false);
    });

    it.each([1000, 1001, 5_000_000_000])('gives no bytes when %d of 1000 are on record', async (bytes) => {
      const { store, loseData } = current();
      const { handleHash, acquire } = aHandle({ requests: 1, bytes });
      await loseData();
      expect(await acquire()).toEqual({ granted: false, exhausted: 'bytes' });
      expect(await store.spendBytes(handleHash, 1)).toBe(false);
    });

    it('has no bytes for a handle until a call asks for a slot again', async () => {
      const { store, loseData } = current();
      const { handleHash, acquire } = aHandle();
      await acquire();
      await loseData();
      expect(await store.spendBytes(handleHash, 1)).toBe(false);
      expect(await acquire()).toEqual(GRANTED);
      expect(await store.spendBytes(handleHash, 1)).toBe(true);
    });

    it('holds the slots of open calls until they lapse', async () => {
      const { store, loseData } = current();
      const slots = [slot(aCallId(), 15), slot(aCallId(), 30)];
      const { handleHash, acquire } = aHandle({ requests: 2, slots }, { maxConcurrent: 2 });
      await loseData();
      expect(await acquire({ now: after(14.999) })).toEqual({ granted: false, exhausted: 'concurrency' });
      expect(await acquire({ now: after(15) })).toEqual(GRANTED);
      expect(await acquire({ now: after(29.999) })).toEqual({ granted: false, exhausted: 'concurrency' });
      expect(await store.slotsHeld(handleHash, after(29))).toBe(2);
      expect(await acquire({ now: after(30) })).toEqual(GRANTED);
    });

    it('lets exactly as many of fifty run at once as are left beside the open calls', async () => {
      const { loseData } = current();
      const slots = [slot(aCallId(), 15), slot(aCallId(), 15), slot(aCallId(), 15)];
      const { acquire } = aHandle({ requests: 3, slots }, { maxRequests: 100 });
      await loseData();
      const answers = await Promise.all(Array.from({ length: 50 }, () => acquire()));
      expect(answers.filter(({ granted }) => granted)).toHaveLength(5);
      for (const answer of answers) if (!answer.granted) expect(answer.exhausted).toBe('concurrency');
    });

    it('counts the slots of open calls before anybody asks for another', async () => {
      const { store, loseData } = current();
      const { handleHash } = aHandle({ requests: 2, slots: [slot(aCallId(), 15), slot(aCallId(), 30)] });
      await loseData();
      expect(await store.slotsHeld(handleHash, after(14))).toBe(2);
      expect(await store.slotsHeld(handleHash, after(15))).toBe(1);
      expect(await store.slotsHeld(handleHash, after(30))).toBe(0);
    });

    it('takes the slot of an open call back when it is given back', async () => {
      const { store, usage, loseData } = current();
      const open = slot(aCallId(), 15);
      const { handleHash, acquire } = aHandle({ requests: 1, slots: [open] }, { maxConcurrent: 1 });
      await loseData();
      expect(await acquire()).toEqual({ granted: false, exhausted: 'concurrency' });
      await store.releaseSlot(handleHash, open.slotId);
      usage.set(handleHash, { requests: 1 });
      expect(await acquire()).toEqual(GRANTED);
    });

    it('answers yes to an open call that asks for its own slot, and takes nothing for it', async () => {
      const { loseData } = current();
      const open = slot(aCallId(), 15);
      const handle = aHandle({ requests: 9, slots: [open] }, { maxConcurrent: 2 });
      await loseData();
      for (let asked = 0; asked < 3; asked += 1) expect(await handle.acquire({ slotId: open.slotId })).toEqual(GRANTED);
      expect(await requestsLeft(handle)).toBe(1);
    });

    it('has nothing for a handle whose time is up, whatever is on record', async () => {
      const { loseData } = current();
      const { acquire } = aHandle();
      await loseData();
      expect(await acquire({ now: after(600) })).toMatchObject({ granted: false });
    });

    it('asks no more than once while it has its data', async () => {
      const { usage } = current();
      const handle = aHandle();
      await handle.acquire();
      const { asked } = usage;
      expect(asked).toBe(1);
      await requestsLeft(handle);
      await current().store.spendBytes(handle.handleHash, 5);
      await current().store.slotsHeld(handle.handleHash, after(1));
      expect(usage.asked).toBe(asked);
    });

    it('goes by its own count while it has one, whatever is on record meanwhile', async () => {
      const { usage } = current();
      const handle = aHandle();
      for (let made = 0; made < 4; made += 1) await handle.acquire();
      usage.set(handle.handleHash, { requests: 0 });
      expect(await requestsLeft(handle)).toBe(6);
    });

    it('gives nothing while nobody can say what was used, and comes back by itself', async () => {
      const { usage, loseData } = current();
      const handle = aHandle({ requests: 3 });
      await loseData();
      usage.failNext(unavailable('the database is away'));
      await expect(handle.acquire()).rejects.toMatchObject({ code: 'unavailable' });
      expect(await requestsLeft(handle)).toBe(7);
    });

    it('loses its data again and again, and refills nothing', async () => {
      const { usage, loseData } = current();
      const handle = aHandle();
      for (let used = 0; used < 10; used += 1) {
        usage.set(handle.handleHash, { requests: used, bytes: used * 100 });
        await loseData();
        expect(await handle.acquire()).toEqual({ granted: true, remainingBytes: 1000 - used * 100 });
      }
      usage.set(handle.handleHash, { requests: 10, bytes: 900 });
      await loseData();
      expect(await handle.acquire()).toEqual({ granted: false, exhausted: 'requests' });
    });

    it('keeps handles apart', async () => {
      const { loseData } = current();
      const [used, fresh] = [aHandle({ requests: 10, bytes: 1000 }), aHandle()];
      await loseData();
      expect(await used.acquire()).toMatchObject({ granted: false });
      expect(await fresh.acquire()).toEqual(GRANTED);
    });
  });
}

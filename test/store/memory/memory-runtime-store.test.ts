import { describe, expect, it } from 'vitest';
import { CLAIM_KINDS } from '../../../src/domain/runtime-store.ts';
import { MemoryRuntimeStore } from '../../../src/store/memory/memory-runtime-store.ts';
import { runtimeStoreContract } from '../../contract/runtime-store-contract.ts';
import { aHandleHash, after } from '../../support/entities.ts';

runtimeStoreContract('MemoryRuntimeStore', () =>
  Promise.resolve({ store: new MemoryRuntimeStore(), close: () => Promise.resolve() }),
);

const BUDGET = { maxConcurrent: 8, maxRequests: 100, maxBytes: 1000, timeoutSeconds: 15 };

it('keeps nothing about handles that ended', async () => {
  const store = new MemoryRuntimeStore();
  for (let index = 0; index < 1000; index += 1) {
    const handleExpiresAt = after(1 + (index % 600));
    await store.acquireSlot({ handleHash: aHandleHash(), slotId: 'slot', budget: BUDGET, now: after(0), handleExpiresAt });
  }
  expect(store.entryCounts()).toMatchObject({ uses: 1000, expiries: 1000 });
  await store.forgetExpired(after(601));
  expect(store.entryCounts()).toMatchObject({ uses: 0, expiries: 0 });
});

it('keeps a handle that ended as long as a call is under way, and then nothing', async () => {
  const store = new MemoryRuntimeStore();
  const [released, died] = [aHandleHash(), aHandleHash()];
  for (const handleHash of [released, died]) {
    await store.acquireSlot({ handleHash, slotId: 'slot', budget: BUDGET, now: after(0), handleExpiresAt: after(1) });
  }
  await store.forgetExpired(after(2));
  expect(store.entryCounts()).toMatchObject({ uses: 2, expiries: 2 });
  await store.releaseSlot(released, 'slot');
  await store.forgetExpired(after(2));
  expect(store.entryCounts()).toMatchObject({ uses: 1, expiries: 1 });
  await store.forgetExpired(after(15));
  expect(store.entryCounts()).toMatchObject({ uses: 0, expiries: 0 });
});

it('keeps nothing about handles that it refused', async () => {
  const store = new MemoryRuntimeStore();
  const request = { handleHash: aHandleHash(), slotId: 'slot', budget: BUDGET, now: after(0), handleExpiresAt: after(600) };
  await store.acquireSlot({ ...request, handleExpiresAt: after(0) });
  await store.acquireSlot({ ...request, budget: { ...BUDGET, maxConcurrent: 0 } });
  await store.acquireSlot({ ...request, budget: { ...BUDGET, maxBytes: 0 } });
  expect(store.entryCounts()).toMatchObject({ uses: 0, expiries: 0 });
});

it('refills no budget when the configuration raises it', async () => {
  const store = new MemoryRuntimeStore();
  const request = { handleHash: aHandleHash(), slotId: 'slot', now: after(0), handleExpiresAt: after(600) };
  await store.acquireSlot({ ...request, budget: { ...BUDGET, maxRequests: 1 } });
  expect(await store.acquireSlot({ ...request, budget: BUDGET })).toEqual({ granted: false, exhausted: 'requests' });
});

describe('claims', () => {
  const claim = (store: MemoryRuntimeStore, key: string, now = after(0), expiresAt = after(60)) =>
    store.claim('proof', key, 'value', expiresAt, now);

  it('are gone when they have run out and the cleanup has passed', async () => {
    const store = new MemoryRuntimeStore();
    for (let made = 0; made < 1000; made += 1) await claim(store, `key ${made}`, after(0), after(1 + (made % 60)));
    await store.forgetExpired(after(30));
    expect(store.entryCounts()).toMatchObject({ claims: 490, claimEnds: 490 });
    await store.forgetExpired(after(60));
    expect(store.entryCounts()).toMatchObject({ claims: 0, claimEnds: 0 });
  });

  it('are gone after some passes of the cleanup when very many ran out at once, and count for nothing before', async () => {
    const store = new MemoryRuntimeStore();
    for (let made = 0; made < 25_000; made += 1) await claim(store, `key ${made}`);
    await store.forgetExpired(after(60));
    expect(store.entryCounts().claims).toBeGreaterThan(0);
    for (let key = 0; key < 25_000; key += 1000) {
      expect(await store.claim('proof', `key ${key}`, 'another', after(120), after(60))).toBe(true);
    }
    for (let pass = 0; pass < 3; pass += 1) await store.forgetExpired(after(61));
    expect(store.entryCounts()).toMatchObject({ claims: 25, claimEnds: 25 });
  });

  it('do not pile up between two passes of the cleanup', async () => {
    const store = new MemoryRuntimeStore();
    for (let second = 0; second < 5000; second += 1) await claim(store, `key ${second}`, after(second), after(second + 60));
    expect(store.entryCounts()).toMatchObject({ claims: 60, claimEnds: 60 });
  });

  it('leave nothing behind when they are refused', async () => {
    const store = new MemoryRuntimeStore();
    await claim(store, 'over', after(60), after(60));
    expect(store.entryCounts()).toMatchObject({ claims: 0, claimEnds: 0 });
  });

  it('are refused when there is no room, and no live one makes room', async () => {
    const store = new MemoryRuntimeStore({ maxClaims: 3 });
    for (const key of ['a', 'b', 'c']) await claim(store, key);
    await expect(claim(store, 'd')).rejects.toMatchObject({ code: 'unavailable' });
    expect(await store.claim('proof', 'a', 'another', after(60), after(1))).toBe(false);
    expect(await claim(store, 'a', after(1))).toBe(true);
    expect(await claim(store, 'd', after(60), after(120))).toBe(true);
  });

  it('of one kind take none of the room of another', async () => {
    const store = new MemoryRuntimeStore({ maxClaims: 1 });
    for (const kind of CLAIM_KINDS) {
      expect(await store.claim(kind, 'a', 'value', after(60), after(0))).toBe(true);
      await expect(store.claim(kind, 'b', 'value', after(60), after(0))).rejects.toMatchObject({ code: 'unavailable' });
    }
    expect(store.entryCounts()).toMatchObject({ claims: CLAIM_KINDS.length, claimEnds: CLAIM_KINDS.length });
    await store.forgetExpired(after(61));
    expect(store.entryCounts()).toMatchObject({ claims: 0, claimEnds: 0 });
  });
});

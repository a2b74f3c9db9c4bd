import { expect, it } from 'vitest';
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
  expect(store.handleCounts()).toEqual({ uses: 1000, expiries: 1000 });
  await store.forgetExpired(after(601));
  expect(store.handleCounts()).toEqual({ uses: 0, expiries: 0 });
});

it('keeps a handle that ended as long as a call is under way, and then nothing', async () => {
  const store = new MemoryRuntimeStore();
  const [released, died] = [aHandleHash(), aHandleHash()];
  for (const handleHash of [released, died]) {
    await store.acquireSlot({ handleHash, slotId: 'slot', budget: BUDGET, now: after(0), handleExpiresAt: after(1) });
  }
  await store.forgetExpired(after(2));
  expect(store.handleCounts()).toEqual({ uses: 2, expiries: 2 });
  await store.releaseSlot(released, 'slot');
  await store.forgetExpired(after(2));
  expect(store.handleCounts()).toEqual({ uses: 1, expiries: 1 });
  await store.forgetExpired(after(15));
  expect(store.handleCounts()).toEqual({ uses: 0, expiries: 0 });
});

it('keeps nothing about handles that it refused', async () => {
  const store = new MemoryRuntimeStore();
  const request = { handleHash: aHandleHash(), slotId: 'slot', budget: BUDGET, now: after(0), handleExpiresAt: after(600) };
  await store.acquireSlot({ ...request, handleExpiresAt: after(0) });
  await store.acquireSlot({ ...request, budget: { ...BUDGET, maxConcurrent: 0 } });
  await store.acquireSlot({ ...request, budget: { ...BUDGET, maxBytes: 0 } });
  expect(store.handleCounts()).toEqual({ uses: 0, expiries: 0 });
});

it('refills no budget when the configuration raises it', async () => {
  const store = new MemoryRuntimeStore();
  const request = { handleHash: aHandleHash(), slotId: 'slot', now: after(0), handleExpiresAt: after(600) };
  await store.acquireSlot({ ...request, budget: { ...BUDGET, maxRequests: 1 } });
  expect(await store.acquireSlot({ ...request, budget: BUDGET })).toEqual({ granted: false, exhausted: 'requests' });
});

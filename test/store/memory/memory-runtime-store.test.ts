import { describe, expect, it } from 'vitest';
import { CLAIM_KINDS, KEPT_KINDS } from '../../../src/domain/runtime-store.ts';
import { MemoryRuntimeStore } from '../../../src/store/memory/memory-runtime-store.ts';
import { runtimeStoreContract } from '../../contract/runtime-store-contract.ts';
import { aCallId, aHandleHash, after } from '../../support/entities.ts';

runtimeStoreContract('MemoryRuntimeStore', () =>
  Promise.resolve({ store: new MemoryRuntimeStore(), close: () => Promise.resolve() }),
);

const BUDGET = { maxConcurrent: 8, maxRequests: 100, maxBytes: 1000, timeoutSeconds: 15 };

it('keeps nothing about handles that ended', async () => {
  const store = new MemoryRuntimeStore();
  for (let index = 0; index < 1000; index += 1) {
    const handleExpiresAt = after(1 + (index % 600));
    await store.acquireSlot({
      handleHash: aHandleHash(),
      slotId: aCallId(),
      budget: BUDGET,
      now: after(0),
      handleExpiresAt,
    });
  }
  expect(store.entryCounts()).toMatchObject({ uses: 1000, expiries: 1000 });
  await store.forgetExpired(after(601));
  expect(store.entryCounts()).toMatchObject({ uses: 0, expiries: 0 });
});

it('keeps a handle that ended as long as a call is under way, and then nothing', async () => {
  const store = new MemoryRuntimeStore();
  const [released, died] = [aHandleHash(), aHandleHash()];
  const slotId = aCallId();
  for (const handleHash of [released, died]) {
    await store.acquireSlot({ handleHash, slotId, budget: BUDGET, now: after(0), handleExpiresAt: after(1) });
  }
  await store.forgetExpired(after(2));
  expect(store.entryCounts()).toMatchObject({ uses: 2, expiries: 2 });
  await store.releaseSlot(released, slotId);
  await store.forgetExpired(after(2));
  expect(store.entryCounts()).toMatchObject({ uses: 1, expiries: 1 });
  await store.forgetExpired(after(15));
  expect(store.entryCounts()).toMatchObject({ uses: 0, expiries: 0 });
});

it('keeps nothing about handles that it refused', async () => {
  const store = new MemoryRuntimeStore();
  const request = {
    handleHash: aHandleHash(),
    slotId: aCallId(),
    budget: BUDGET,
    now: after(0),
    handleExpiresAt: after(600),
  };
  await store.acquireSlot({ ...request, handleExpiresAt: after(0) });
  await store.acquireSlot({ ...request, budget: { ...BUDGET, maxConcurrent: 0 } });
  await store.acquireSlot({ ...request, budget: { ...BUDGET, maxBytes: 0 } });
  expect(store.entryCounts()).toMatchObject({ uses: 0, expiries: 0 });
});

it('refills no budget when the configuration raises it', async () => {
  const store = new MemoryRuntimeStore();
  const request = { handleHash: aHandleHash(), slotId: aCallId(), now: after(0), handleExpiresAt: after(600) };
  await store.acquireSlot({ ...request, budget: { ...BUDGET, maxRequests: 1 } });
  const again = { ...request, slotId: aCallId(), budget: BUDGET };
  expect(await store.acquireSlot(again)).toEqual({ granted: false, exhausted: 'requests' });
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

describe('kept values', () => {
  it('are gone when they have run out and the cleanup has passed', async () => {
    const store = new MemoryRuntimeStore();
    for (let made = 0; made < 100; made += 1) {
      for (const kind of KEPT_KINDS) await store.keep(kind, `key ${made}`, 'value', after(made), after(0));
    }
    await store.forgetExpired(after(50));
    expect(store.entryCounts()).toMatchObject({ keptValues: 98 });
    await store.forgetExpired(after(100));
    expect(store.entryCounts()).toMatchObject({ keptValues: 0 });
  });

  it('do not pile up between two passes of the cleanup', async () => {
    const store = new MemoryRuntimeStore();
    for (let second = 0; second < 5000; second += 1) {
      await store.keep('relay_session', `key ${second}`, 'value', after(second + 60), after(second));
    }
    expect(store.entryCounts()).toMatchObject({ keptValues: 60 });
  });

  it('are refused when there is no room, but for those that take the place of an earlier one', async () => {
    const store = new MemoryRuntimeStore({ maxKeptValues: 2 });
    const keep = (key: string, value = 'value', now = after(0)) =>
      store.keep('github_token', key, value, new Date(now.getTime() + 60_000), now);
    await keep('a');
    await keep('b');
    await expect(keep('c')).rejects.toMatchObject({ code: 'unavailable' });
    await keep('a', 'another', after(1));
    expect(await store.kept('github_token', 'a', after(2))).toBe('another');
    expect(await store.kept('github_token', 'b', after(2))).toBe('value');
    await store.keep('relay_session', 'c', 'value', after(60), after(2));
    await keep('c', 'value', after(60));
    expect(await store.kept('github_token', 'c', after(61))).toBe('value');
  });
});

describe('revoked tokens', () => {
  it('are gone when they have run out and the cleanup has passed, and do not pile up before', async () => {
    const store = new MemoryRuntimeStore();
    for (let second = 0; second < 5000; second += 1)
      await store.revokeToken(`token ${second}`, after(second + 60), after(second));
    expect(store.entryCounts()).toMatchObject({ revokedTokens: 60 });
    await store.forgetExpired(after(5100));
    expect(store.entryCounts()).toMatchObject({ revokedTokens: 0 });
  });

  it('make room for one more, those first that would run out first', async () => {
    const store = new MemoryRuntimeStore({ maxRevokedTokens: 3 });
    for (const [index, seconds] of [90, 60, 120, 100].entries())
      await store.revokeToken(`token ${index}`, after(seconds), after(0));
    const known = [];
    for (let index = 0; index < 4; index += 1) known.push(await store.isTokenRevoked(`token ${index}`, after(1)));
    expect(known).toEqual([true, false, true, true]);
    expect(store.entryCounts()).toMatchObject({ revokedTokens: 3 });
  });
});

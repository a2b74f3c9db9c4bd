import { afterAll, afterEach, describe, expect, it } from 'vitest';
import type { RuntimeStore } from '../../../src/domain/runtime-store.ts';
import { openRedis } from '../../../src/store/redis/connect.ts';
import { RedisRuntimeStore } from '../../../src/store/redis/redis-runtime-store.ts';
import { runtimeStoreContract } from '../../contract/runtime-store-contract.ts';
import { runtimeStoreRecoveryContract } from '../../contract/runtime-store-recovery-contract.ts';
import { aCallId, aHandleHash, after } from '../../support/entities.ts';
import { redisForTest, startRedis } from '../../support/redis.ts';
import { keysOf, NOTHING_USED, openRecovering, openStore, settingsFor } from './redis-under-test.ts';

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function open(keyPrefix = redisForTest().keyPrefix) {
  const opened = await openStore(settingsFor(redisForTest()), keyPrefix);
  closers.push(opened.close);
  return { ...opened, keyPrefix };
}

runtimeStoreContract('RedisRuntimeStore', () => openStore(settingsFor(redisForTest()), redisForTest().keyPrefix));
runtimeStoreRecoveryContract('RedisRuntimeStore', () =>
  openRecovering(settingsFor(redisForTest()), redisForTest().keyPrefix),
);

const BUDGET = { maxConcurrent: 8, maxRequests: 100, maxBytes: 1000, timeoutSeconds: 15 };

/** One of everything that a store keeps. */
async function fill(store: RuntimeStore, { key, value }: { key: string; value: string }): Promise<string> {
  const handleHash = aHandleHash();
  const request = { handleHash, budget: BUDGET, now: after(0), handleExpiresAt: after(600) };
  const released = aCallId();
  for (const slotId of [released, aCallId()]) await store.acquireSlot({ ...request, slotId });
  await store.spendBytes(handleHash, 10);
  await store.releaseSlot(handleHash, released);
  for (const kind of ['proof', 'delegation', 'callback'] as const) await store.claim(kind, key, value, after(60), after(0));
  await store.revokeToken(key, after(60), after(0));
  await store.keep('relay_session', key, 'sealed by the caller', after(60), after(0));
  await store.keep('github_token', key, 'sealed by the caller', after(60), after(0));
  await store.forgetExpired(after(1));
  await store.ping();
  return handleHash;
}

it('leaves no key without an end, and none for longer than what it tells and a minute', async () => {
  const { store, redis, keyPrefix } = await open();
  await fill(store, { key: 'key', value: 'value' });
  const kinds = new Set<string>();
  for (const { node, key } of await keysOf(redis.client, keyPrefix)) {
    const end = await node.pttl(key);
    expect(end, key).toBeGreaterThan(0);
    // What remembers since when proofs are known is written again and again.
    if (!key.endsWith('claim:{proof}')) expect(end, key).toBeLessThanOrEqual(660_000);
    kinds.add(key.slice(keyPrefix.length).replace(/[:{].*/, ''));
  }
  expect([...kinds].sort()).toEqual(['claim', 'handle', 'kept', 'ping', 'revoked', 'slots']);
});

it('gives a slot the time that it needs where that is longer than its handle has', async () => {
  const { store, redis, keyPrefix } = await open();
  const budget = { ...BUDGET, timeoutSeconds: 3600 };
  const request = { handleHash: aHandleHash(), slotId: aCallId(), budget, now: after(0), handleExpiresAt: after(1) };
  await store.acquireSlot(request);
  const ends = await Promise.all((await keysOf(redis.client, keyPrefix)).map(({ node, key }) => node.pttl(key)));
  expect(ends.filter((end) => end > 3_600_000 && end < 7_200_000)).toHaveLength(2);
});

it("writes nobody's keys, values and tokens in clear", async () => {
  const { store, redis, keyPrefix } = await open();
  const canaries = { key: 'canary-key-eyJhbGciOiJFZERTQSJ9', value: 'canary-value-ph_0123456789abcdef' };
  const handleHash = await fill(store, canaries);
  const found = await keysOf(redis.client, keyPrefix);
  const everything = await Promise.all(found.map(async ({ node, key }) => `${key} ${await contentOf(node, key)}`));
  const text = everything.join('\n');
  for (const canary of Object.values(canaries)) {
    expect(text).not.toContain(canary);
    for (const encoding of ['hex', 'base64', 'base64url'] as const) {
      expect(text).not.toContain(Buffer.from(canary).toString(encoding));
    }
  }
  expect(text).toContain(handleHash);
  expect(text).toContain('sealed by the caller');
});

async function contentOf(node: Awaited<ReturnType<typeof keysOf>>[number]['node'], key: string): Promise<string> {
  switch (await node.type(key)) {
    case 'hash':
      return JSON.stringify(await node.hgetall(key));
    case 'zset':
      return JSON.stringify(await node.zrange(key, '0', '-1', 'WITHSCORES'));
    default:
      return (await node.get(key)) ?? '';
  }
}

it('keeps nothing about handles that the repository does not know', async () => {
  const { keyPrefix } = redisForTest();
  const { store, redis, close } = await openRecovering(settingsFor(redisForTest()), keyPrefix);
  closers.push(close);
  await store.acquireSlot({
    ...{ handleHash: aHandleHash(), slotId: aCallId(), budget: BUDGET },
    ...{ now: after(0), handleExpiresAt: after(600) },
  });
  expect((await keysOf(redis.client, keyPrefix)).map(({ key }) => key)).toEqual([`${keyPrefix}claim:{proof}`]);
});

it('refills no budget when the configuration raises it', async () => {
  const { store } = await open();
  const request = { handleHash: aHandleHash(), now: after(0), handleExpiresAt: after(600) };
  await store.acquireSlot({ ...request, slotId: aCallId(), budget: { ...BUDGET, maxRequests: 1 } });
  const answer = await store.acquireSlot({ ...request, slotId: aCallId(), budget: BUDGET });
  expect(answer).toEqual({ granted: false, exhausted: 'requests' });
});

it('counts to the last of a billion million bytes', async () => {
  const { store } = await open();
  const handleHash = aHandleHash();
  const budget = { ...BUDGET, maxBytes: 1e15 };
  const request = { handleHash, budget, now: after(0), handleExpiresAt: after(600) };
  expect(await store.acquireSlot({ ...request, slotId: aCallId() })).toMatchObject({ remainingBytes: 1e15 });
  expect(await store.spendBytes(handleHash, 1e15 - 1)).toBe(true);
  expect(await store.acquireSlot({ ...request, slotId: aCallId() })).toMatchObject({ remainingBytes: 1 });
  expect(await store.spendBytes(handleHash, 2)).toBe(false);
});

it('does not take an amount for paid that comes after the one that used everything up', async () => {
  const { store, redis, keyPrefix } = await open();
  const handleHash = aHandleHash();
  await store.acquireSlot({
    ...{ handleHash, slotId: aCallId(), budget: BUDGET },
    ...{ now: after(0), handleExpiresAt: after(600) },
  });
  const say = (total: number) =>
    redis.client.asbSpendBytes(
      ...([`${keyPrefix}handle:{${handleHash}}`, `${keyPrefix}slots:{${handleHash}}`] as const),
      ...[total, 'tally', after(1).getTime()],
    );
  expect(await say(600)).toBe('paid');
  expect(await say(600)).toBe('paid');
  expect(await say(1200)).toBe('exhausted');
  expect(await say(1100)).toBe('exhausted');
});

it('refuses a prefix that would choose the node of a cluster', async () => {
  const redis = await openRedis(settingsFor(redisForTest()));
  closers.push(() => redis.close());
  expect(() => new RedisRuntimeStore({ redis, keyPrefix: 'asb:{all}:', usage: NOTHING_USED })).toThrow(RangeError);
});

describe('two processes on one Redis', () => {
  const openTwo = async () => {
    const one = await open();
    const other = await open(one.keyPrefix);
    return [one.store, other.store] as const;
  };

  it('let exactly 100 of 1,000 calls through a budget of 100', async () => {
    const stores = await openTwo();
    const request = {
      ...{ handleHash: aHandleHash(), budget: { ...BUDGET, maxConcurrent: 1000 } },
      ...{ now: after(0), handleExpiresAt: after(600) },
    };
    const answers = await Promise.all(
      Array.from({ length: 1000 }, (_, call) => stores[call % 2]!.acquireSlot({ ...request, slotId: aCallId() })),
    );
    expect(answers.filter(({ granted }) => granted)).toHaveLength(100);
    for (const answer of answers) if (!answer.granted) expect(answer.exhausted).toBe('requests');
  });

  it('run exactly 8 of 200 calls at once, and give out exactly the bytes that there are', async () => {
    const stores = await openTwo();
    const handleHash = aHandleHash();
    const request = { handleHash, budget: BUDGET, now: after(0), handleExpiresAt: after(600) };
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, call) => stores[call % 2]!.acquireSlot({ ...request, slotId: aCallId() })),
    );
    expect(answers.filter(({ granted }) => granted)).toHaveLength(8);
    const paid = await Promise.all(Array.from({ length: 200 }, (_, call) => stores[call % 2]!.spendBytes(handleHash, 7)));
    expect(paid.filter(Boolean)).toHaveLength(142);
  });

  it('give a claim to one of 200 who ask for it', async () => {
    const stores = await openTwo();
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, value) =>
        stores[value % 2]!.claim('callback', 'key', `value ${value}`, after(60), after(0)),
      ),
    );
    expect(answers.filter(Boolean)).toHaveLength(1);
  });

  it('know what the other revoked and kept, and take back the slots that it left', async () => {
    const [one, other] = await openTwo();
    await one.revokeToken('jti', after(60), after(0));
    await one.keep('github_token', 'installation 7', 'sealed', after(60), after(0));
    expect(await other.isTokenRevoked('jti', after(1))).toBe(true);
    expect(await other.kept('github_token', 'installation 7', after(1))).toBe('sealed');

    const request = { handleHash: aHandleHash(), budget: { ...BUDGET, maxConcurrent: 1 }, handleExpiresAt: after(600) };
    expect(await one.acquireSlot({ ...request, slotId: aCallId(), now: after(0) })).toMatchObject({ granted: true });
    expect(await other.acquireSlot({ ...request, slotId: aCallId(), now: after(14) })).toMatchObject({ granted: false });
    expect(await other.acquireSlot({ ...request, slotId: aCallId(), now: after(15) })).toMatchObject({ granted: true });
  });

  it('know nothing of each other under different prefixes', async () => {
    const [one, other] = [await open(), await open()];
    await one.store.revokeToken('jti', after(60), after(0));
    expect(await other.store.isTokenRevoked('jti', after(1))).toBe(false);
    for (const { store } of [one, other]) expect(await store.claim('callback', 'key', 'v', after(60), after(0))).toBe(true);
    expect(await other.store.claim('callback', 'key', 'w', after(60), after(0))).toBe(false);
  });
});

describe('a server of its own', () => {
  const servers: { close(): Promise<void> }[] = [];
  afterAll(async () => {
    for (const server of servers) await server.close();
  });
  const openOn = async (...args: string[]) => {
    const server = await startRedis(args);
    servers.push(server);
    const opened = await openStore(settingsFor(server), 'asb:');
    closers.push(opened.close);
    return opened;
  };

  it('that has forgotten the scripts is told them again', async () => {
    const { store, redis } = await openOn();
    await fill(store, { key: 'a', value: 'a' });
    await redis.client.script('FLUSH', 'SYNC');
    const handleHash = aHandleHash();
    const request = { handleHash, budget: BUDGET, now: after(0), handleExpiresAt: after(600) };
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => store.acquireSlot({ ...request, slotId: aCallId() })),
    );
    expect(answers.filter(({ granted }) => granted)).toHaveLength(8);
    await redis.client.script('FLUSH', 'SYNC');
    await fill(store, { key: 'b', value: 'b' });
    expect(await store.claim('callback', 'b', 'another', after(60), after(1))).toBe(false);
  });

  it('that is full refuses what is new and forgets nothing', async () => {
    const { store, redis } = await openOn('--maxmemory-policy', 'noeviction');
    for (const kind of ['proof', 'callback'] as const) await store.claim(kind, 'key', 'first', after(60), after(0));
    await redis.client.config('SET', 'maxmemory', '1');
    for (const kind of ['proof', 'callback'] as const) {
      await expect(store.claim(kind, 'new', 'value', after(60), after(0))).rejects.toMatchObject({ code: 'unavailable' });
    }
    await expect(store.ping()).rejects.toMatchObject({ code: 'unavailable' });
    await expect(store.acquireSlot({ ...anyCall(), slotId: aCallId() })).rejects.toMatchObject({ code: 'unavailable' });
    await redis.client.config('SET', 'maxmemory', '0');
    for (const kind of ['proof', 'callback'] as const) {
      expect(await store.claim(kind, 'key', 'second', after(60), after(1))).toBe(false);
    }
  });

  const anyCall = () => ({ handleHash: aHandleHash(), budget: BUDGET, now: after(0), handleExpiresAt: after(600) });
});

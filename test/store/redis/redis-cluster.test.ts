import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { RedisSettings } from '../../../src/store/redis/connect.ts';
import { runtimeStoreContract } from '../../contract/runtime-store-contract.ts';
import { runtimeStoreRecoveryContract } from '../../contract/runtime-store-recovery-contract.ts';
import { aCallId, aHandleHash, after } from '../../support/entities.ts';
import { startCluster, type TestCluster } from './redis-cluster.ts';
import { keysOf, openRecovering, openStore, openUnderTest, settingsFor } from './redis-under-test.ts';

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(() => cluster.close());

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

let prefixes = 0;
const aPrefix = (): string => `test-${(prefixes += 1)}:`;
/** Knows one node, and finds the others by it. */
const settings = (changes: Partial<RedisSettings> = {}): RedisSettings =>
  settingsFor(cluster.nodes[0]!, { mode: 'cluster', ...changes });

runtimeStoreContract('RedisRuntimeStore on a cluster', () => openStore(settings(), aPrefix()));
runtimeStoreRecoveryContract('RedisRuntimeStore on a cluster', () => openRecovering(settings(), aPrefix()));

const BUDGET = { maxConcurrent: 1000, maxRequests: 100, maxBytes: 1000, timeoutSeconds: 15 };
const aCall = (handleHash = aHandleHash()) => ({
  ...{ handleHash, slotId: aCallId(), budget: BUDGET },
  ...{ now: after(0), handleExpiresAt: after(600) },
});

it('spreads handles over all nodes, each of them with what belongs to it', async () => {
  const keyPrefix = aPrefix();
  const { store, redis, close } = await openStore(settings(), keyPrefix);
  closers.push(close);
  for (let handle = 0; handle < 60; handle += 1) await store.acquireSlot(aCall());
  const found = await keysOf(redis.client, keyPrefix);
  expect(new Set(found.map(({ node }) => node.options.port)).size).toBe(3);
  expect(found.filter(({ key }) => key.startsWith(`${keyPrefix}handle:`))).toHaveLength(60);
});

it('lets exactly 100 of 1,000 calls of two processes through a budget of 100', async () => {
  const keyPrefix = aPrefix();
  const [one, other] = [await openStore(settings(), keyPrefix), await openStore(settings(), keyPrefix)];
  closers.push(one.close, other.close);
  const { handleHash } = aCall();
  const answers = await Promise.all(
    Array.from({ length: 1000 }, (_, call) => [one, other][call % 2]!.store.acquireSlot(aCall(handleHash))),
  );
  expect(answers.filter(({ granted }) => granted)).toHaveLength(100);
});

describe('a cluster that loses a node', () => {
  it('refuses what was there and comes back by itself; what others have goes on', async () => {
    const own = await startCluster('--cluster-require-full-coverage', 'no');
    closers.push(() => own.close());
    const { store, redis, errors } = await openUnderTest(settingsFor(own.nodes[0]!, { mode: 'cluster' }));
    closers.push(() => redis.close());
    const claim = (index: number) => store.claim('callback', `key ${index}`, 'value', after(60), after(0));
    const everyClaim = () => Promise.allSettled(Array.from({ length: 30 }, (_, index) => claim(index)));
    const outcomes = async () => new Set((await everyClaim()).map(({ status }) => status));
    expect(await outcomes()).toEqual(new Set(['fulfilled']));

    await own.nodes[2]!.kill();
    expect(await outcomes()).toEqual(new Set(['fulfilled', 'rejected']));
    for (const answer of await everyClaim()) {
      if (answer.status === 'rejected') expect(answer.reason).toMatchObject({ code: 'unavailable' });
    }
    expect(errors.map(({ message }) => message)).toContainEqual(
      expect.stringMatching(new RegExp(`^127.0.0.1:${own.nodes[2]!.port}: Redis: .*ECONNREFUSED`)),
    );

    await own.nodes[2]!.start();
    await expect.poll(outcomes, { timeout: 20_000 }).toEqual(new Set(['fulfilled']));
  });

  it('refuses everything when all of it is away, and comes back by itself', async () => {
    const own = await startCluster();
    closers.push(() => own.close());
    const { store, redis } = await openUnderTest(settingsFor(own.nodes[0]!, { mode: 'cluster' }));
    closers.push(() => redis.close());
    await store.ping();
    for (const node of own.nodes) await node.kill();
    for (let call = 0; call < 10; call += 1) {
      await expect(store.acquireSlot(aCall())).rejects.toMatchObject({ code: 'unavailable' });
      await expect(store.ping()).rejects.toMatchObject({ code: 'unavailable' });
    }
    for (const node of own.nodes) await node.start();
    await expect
      .poll(
        () =>
          store.ping().then(
            () => 'back',
            () => 'away',
          ),
        { timeout: 20_000 },
      )
      .toBe('back');
    expect(await store.acquireSlot(aCall())).toMatchObject({ granted: true });
  });
});

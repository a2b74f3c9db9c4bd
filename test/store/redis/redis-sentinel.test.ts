import { Redis } from 'ioredis';
import { afterEach, describe, expect, it } from 'vitest';
import { Secret } from '../../../src/domain/secret.ts';
import type { RedisSettings } from '../../../src/store/redis/connect.ts';
import { KnownUsage } from '../../contract/runtime-store-recovery-contract.ts';
import { aCallId, aHandleHash, after } from '../../support/entities.ts';
import type { RedisServer } from '../../support/redis.ts';
import { freePort } from '../../support/servers/free-port.ts';
import { startLocalRedis } from '../../support/servers/local-redis.ts';
import { LOCAL, startSentinel as startSentinelOf } from './redis-sentinel.ts';
import { openStore, openUnderTest, printed, settingsFor, untilConnected } from './redis-under-test.ts';

const PASSWORD = 'canary-password-4711';
const SENTINEL_PASSWORD = 'canary-sentinel-4712';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function startServer(...args: string[]): Promise<RedisServer> {
  const server = await startLocalRedis(['--requirepass', PASSWORD, '--masterauth', PASSWORD, ...args]);
  closers.push(() => server.close());
  return server;
}

/** Answers the sentinel's port. */
async function startSentinel(master: RedisServer, at?: number): Promise<number> {
  const sentinel = await startSentinelOf(master, { password: SENTINEL_PASSWORD, ...(at !== undefined && { port: at }) });
  closers.push(() => sentinel.close());
  return sentinel.port;
}

const settings = (sentinel: number, changes: Partial<RedisSettings> = {}): RedisSettings =>
  settingsFor(
    { host: LOCAL, port: sentinel, password: PASSWORD },
    { mode: 'sentinel', sentinelName: 'runtime', sentinelPassword: new Secret(SENTINEL_PASSWORD), ...changes },
  );

async function startPair() {
  const master = await startServer();
  const replica = await startServer('--replicaof', LOCAL, String(master.port));
  const sentinel = await startSentinel(master);
  return { master, replica, sentinel };
}

/** Asks a server or a sentinel; the connection is closed afterwards. */
async function asking<Answer>(port: number, password: string, ask: (redis: Redis) => Promise<Answer>): Promise<Answer> {
  const redis = new Redis({ host: LOCAL, port, password });
  redis.on('error', () => undefined);
  try {
    return await ask(redis);
  } finally {
    redis.disconnect();
  }
}

const knownReplicas = (sentinel: number): Promise<unknown> =>
  asking(sentinel, SENTINEL_PASSWORD, (redis) => redis.call('sentinel', 'replicas', 'runtime')).then(
    (replicas) => (replicas as unknown[]).length,
  );

describe('a master behind a sentinel', () => {
  it('that dies is followed by its replica, whose counts are not trusted', async () => {
    const { master, replica, sentinel } = await startPair();
    await expect.poll(() => knownReplicas(sentinel), { timeout: 20_000 }).toBe(1);
    const usage = new KnownUsage();
    const { store, close } = await openStore(settings(sentinel), 'asb:', usage);
    closers.push(close);

    const handleHash = aHandleHash();
    usage.set(handleHash);
    const budget = { maxConcurrent: 100, maxRequests: 100, maxBytes: 1000, timeoutSeconds: 15 };
    const acquire = () =>
      store.acquireSlot({ handleHash, slotId: aCallId(), budget, now: after(0), handleExpiresAt: after(600) });
    await acquire();
    await store.revokeToken('jti', after(60), after(0));
    await asking(master.port, PASSWORD, (redis) => redis.wait(1, 10_000));
    await asking(replica.port, PASSWORD, async (redis) => expect(await redis.exists(`asb:handle:{${handleHash}}`)).toBe(1));
    usage.set(handleHash, { requests: 99 });

    await master.kill();
    await expect(store.ping()).rejects.toMatchObject({ code: 'unavailable' });
    await expect
      .poll(
        () =>
          store.ping().then(
            () => 'back',
            () => 'away',
          ),
        { timeout: 25_000, interval: 50 },
      )
      .toBe('back');
    expect(await store.isTokenRevoked('jti', after(1))).toBe(true);
    expect(await acquire()).toMatchObject({ granted: true });
    expect(await acquire()).toEqual({ granted: false, exhausted: 'requests' });
    await expect(store.claim('proof', 'key', 'value', after(60), after(0))).rejects.toMatchObject({ code: 'unavailable' });
  });

  it.each<[string, Partial<RedisSettings>, RegExp]>([
    ['the password of the sentinel is wrong', { sentinelPassword: new Secret('wrong') }, /All sentinels are unreachable/],
    ['the sentinel does not know the name', { sentinelName: 'another' }, /All sentinels are unreachable/],
    ['the password of the master is wrong', { password: new Secret('wrong') }, /WRONGPASS/],
  ])('is not reached when %s, and no password is told', async (_, changes, reason) => {
    const sentinel = await startSentinel(await startServer());
    const { store, redis, errors } = await openUnderTest(settings(sentinel, changes));
    closers.push(() => redis.close());
    const refused = await store.ping().catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'unavailable' });
    expect(errors.map(({ message }) => message)).toContainEqual(expect.stringMatching(reason));
    for (const password of [PASSWORD, SENTINEL_PASSWORD])
      expect([refused, ...errors].map(printed).join()).not.toContain(password);
  });

  it('is found by another sentinel when the first is away', async () => {
    const sentinel = await startSentinel(await startServer());
    const nodes = [await freePort(), sentinel].map((port) => ({ host: LOCAL, port }));
    const { store, redis } = await openUnderTest(settings(sentinel, { nodes }));
    closers.push(() => redis.close());
    await store.ping();
  });

  it('is found when its sentinel comes later than the process, which tells of that once', async () => {
    const master = await startServer();
    const port = await freePort();
    const { store, redis, errors } = await openUnderTest(settings(port));
    closers.push(() => redis.close());
    await expect(store.ping()).rejects.toMatchObject({ code: 'unavailable' });
    for (let attempt = 0; attempt < 4; attempt += 1) await new Promise((resolve) => redis.client.once('error', resolve));
    expect(errors).toHaveLength(1);
    await startSentinel(master, port);
    await untilConnected(redis);
    await store.ping();
  });
});

import { afterEach, describe, expect, it } from 'vitest';
import { Secret } from '../../../src/domain/secret.ts';
import { openRedis, type RedisSettings } from '../../../src/store/redis/connect.ts';
import type { RedisRuntimeStore } from '../../../src/store/redis/redis-runtime-store.ts';
import { cuttableProxy } from '../../support/cuttable-proxy.ts';
import { aCallId, aHandleHash, after } from '../../support/entities.ts';
import { startRedis } from '../../support/redis.ts';
import { type Address, next, openUnderTest, printed, settingsFor, untilConnected } from './redis-under-test.ts';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function start(...args: string[]) {
  const server = await startRedis(args);
  closers.push(() => server.close());
  return server;
}

async function open(address: Address, changes: Partial<RedisSettings> = {}) {
  const opened = await openUnderTest(settingsFor(address, changes));
  closers.push(() => opened.redis.close());
  return opened;
}

/** Every call that a store has, each of which needs Redis. */
const CALLS: Readonly<Record<string, (store: RedisRuntimeStore) => Promise<unknown>>> = {
  acquireSlot: (store) =>
    store.acquireSlot({
      ...{ handleHash: aHandleHash(), slotId: aCallId(), now: after(0), handleExpiresAt: after(600) },
      budget: { maxConcurrent: 8, maxRequests: 100, maxBytes: 1000, timeoutSeconds: 15 },
    }),
  spendBytes: (store) => store.spendBytes(aHandleHash(), 1),
  releaseSlot: (store) => store.releaseSlot(aHandleHash(), aCallId()),
  slotsHeld: (store) => store.slotsHeld(aHandleHash(), after(0)),
  'claim of a proof': (store) => store.claim('proof', 'key', 'value', after(60), after(0)),
  'claim of a delegation': (store) => store.claim('delegation', 'key', 'value', after(60), after(0)),
  revokeToken: (store) => store.revokeToken('jti', after(60), after(0)),
  isTokenRevoked: (store) => store.isTokenRevoked('jti', after(0)),
  keep: (store) => store.keep('github_token', 'key', 'value', after(60), after(0)),
  'keep of what is over': (store) => store.keep('github_token', 'key', 'value', after(0), after(0)),
  kept: (store) => store.kept('github_token', 'key', after(0)),
  forgetExpired: (store) => store.forgetExpired(after(0)),
  ping: (store) => store.ping(),
};

async function refuses(store: RedisRuntimeStore): Promise<void> {
  for (const [name, call] of Object.entries(CALLS)) {
    await expect(call(store), name).rejects.toMatchObject({ name: 'BrokerError', code: 'unavailable' });
  }
}

async function works(store: RedisRuntimeStore): Promise<void> {
  await store.ping();
  expect(await store.claim('callback', 'key', 'value', after(60), after(0))).toBe(true);
}

describe('a server that is away', () => {
  it('when a process starts: it starts, refuses everything, and works when the server is there', async () => {
    const server = await start();
    await server.stop();
    const { redis, store } = await open(server);
    await refuses(store);
    await server.start();
    await untilConnected(redis);
    await works(store);
  });

  it.each(['stop', 'kill'] as const)('after %s: everything is refused until it is back', async (way) => {
    const server = await start();
    const { redis, store } = await open(server);
    await works(store);
    const closed = next(redis, 'reconnecting');
    await server[way]();
    await closed;
    await refuses(store);
    await server.start();
    await untilConnected(redis);
    await works(store);
  });

  it('fails what is under way when the connection breaks, and sends none of it again', async () => {
    const server = await start();
    const proxy = await cuttableProxy(server.host, server.port);
    closers.push(() => proxy.close());
    const { redis, store } = await open(proxy);
    await works(store);
    proxy.hold();
    const calls = Array.from({ length: 20 }, (_, index) =>
      store.keep('relay_session', `${index}`, 'v', after(60), after(0)),
    );
    const outcomes = Promise.allSettled(calls);
    // What is held reaches nobody.
    await new Promise(setImmediate);
    const closed = next(redis, 'reconnecting');
    proxy.cut();
    await closed;
    for (const outcome of await outcomes) expect(outcome).toMatchObject({ reason: { code: 'unavailable' } });
    proxy.restore();
    await untilConnected(redis);
    expect(await store.kept('relay_session', '7', after(1))).toBeNull();
  });

  it('without a word: calls end in their time, and a new connection takes the place of the dead one', async () => {
    const server = await start();
    const proxy = await cuttableProxy(server.host, server.port);
    closers.push(() => proxy.close());
    const { redis, store } = await open(proxy, { commandTimeoutMs: 100, connectTimeoutMs: 100 });
    proxy.hold();
    const closed = next(redis, 'reconnecting');
    await expect(store.ping()).rejects.toMatchObject({ code: 'unavailable' });
    await closed;
    proxy.restore();
    await untilConnected(redis);
    await works(store);
  });

  it('is told of once for each reason, and once more when it goes again', async () => {
    const server = await start();
    const { redis, errors } = await open(server);
    for (let round = 1; round <= 2; round += 1) {
      await server.stop();
      // Some attempts to come back, each of which fails the same way.
      for (let attempt = 0; attempt < 3; attempt += 1) await next(redis, 'reconnecting');
      expect(errors.filter(({ message }) => message.includes('ECONNREFUSED'))).toHaveLength(round);
      await server.start();
      await untilConnected(redis);
    }
    expect(errors.length).toBeLessThanOrEqual(6);
  });

  it('is left alone by a process that has let go of it', async () => {
    const server = await start();
    const { redis, errors, store } = await open(server);
    const ended = next(redis, 'end');
    await redis.close();
    await ended;
    await refuses(store);
    await server.stop();
    expect(errors).toEqual([]);
  });
});

describe('a password', () => {
  const PASSWORD = 'canary-password-4711';
  const everySpelling = [
    PASSWORD,
    ...(['hex', 'base64', 'base64url'] as const).map((as) => Buffer.from(PASSWORD).toString(as)),
  ];

  it('that is right opens the server, also with a name', async () => {
    const server = await start('--requirepass', PASSWORD, '--user', 'asb', 'on', `>${PASSWORD}-2`, '~asb:*', '+@all');
    await works((await open(server)).store);
    await works((await open(server, { username: 'asb', password: new Secret(`${PASSWORD}-2`) })).store);
  });

  it.each<[string, Partial<RedisSettings>]>([
    ['is wrong', { password: new Secret(`${PASSWORD}-wrong`) }],
    ['is missing', { password: null }],
    ['goes with another name', { username: 'asb', password: new Secret(PASSWORD) }],
  ])('that %s opens nothing and is told to nobody', async (_, changes) => {
    const server = await start('--requirepass', PASSWORD);
    const { store, errors } = await open(server, changes);
    await refuses(store);
    expect(errors.map(({ message }) => message)).toContainEqual(
      expect.stringMatching(/^Redis answered (WRONGPASS|NOAUTH)$/),
    );
    const told: unknown[] = [...errors];
    for (const call of Object.values(CALLS)) told.push(await call(store).catch((error: unknown) => error));
    for (const secret of everySpelling) expect(told.map(printed).join('\n')).not.toContain(secret);
  });

  it('is told to nobody by a server that repeats what it does not know', async () => {
    const server = await start('--requirepass', PASSWORD, '--rename-command', 'HELLO', '', '--rename-command', 'AUTH', '');
    const { store, errors } = await open(server);
    await refuses(store);
    const told: unknown[] = [...errors, await store.ping().catch((error: unknown) => error)];
    expect(told.map(printed).join('\n')).not.toContain(PASSWORD);
  });

  it('that changes while a process runs: it is refused, and works when it is right again', async () => {
    const server = await start('--requirepass', PASSWORD);
    const { redis, store } = await open(server);
    await works(store);
    await redis.client.config('SET', 'requirepass', 'another');
    const refused = next(redis, 'reconnecting');
    await redis.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'no').catch(() => undefined);
    await refused;
    await refuses(store);
    const operator = await open({ ...server, password: 'another' });
    await operator.redis.client.config('SET', 'requirepass', PASSWORD);
    await untilConnected(redis);
    await works(store);
  });
});

describe('what a server may not do', () => {
  it('is no success, be it a replica or a user without rights', async () => {
    const server = await start(
      '--requirepass',
      'p',
      '--user',
      'reader',
      'on',
      '>p',
      '~*',
      '+@read',
      '+@connection',
      '+info',
    );
    const reader = await open(server, { username: 'reader' });
    await expect(reader.store.ping()).rejects.toMatchObject({ code: 'unavailable' });
    await expect(reader.store.claim('callback', 'k', 'v', after(60), after(0))).rejects.toMatchObject({
      code: 'unavailable',
    });

    const { redis, store } = await open(server);
    await works(store);
    await redis.client.replicaof('127.0.0.1', '1');
    for (const call of ['ping', 'claim of a proof', 'revokeToken', 'keep'] as const) {
      // Whoever is told so looks for the master again.
      const back = next(redis, 'reconnecting').then(() => next(redis, 'ready'));
      await expect(CALLS[call]!(store), call).rejects.toMatchObject({ code: 'unavailable' });
      await back;
    }
    await redis.client.replicaof('NO', 'ONE');
    await works(store);
  });
});

it('needs a server', async () => {
  await expect(openRedis({ ...settingsFor({ host: '127.0.0.1', port: 1 }), nodes: [] })).rejects.toThrow(RangeError);
});

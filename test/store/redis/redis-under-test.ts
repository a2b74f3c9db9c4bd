import { inspect } from 'node:util';
import { Cluster, type Redis } from 'ioredis';
import { Secret } from '../../../src/domain/secret.ts';
import { openRedis, type RedisConnection, type RedisSettings } from '../../../src/store/redis/connect.ts';
import { RedisRuntimeStore } from '../../../src/store/redis/redis-runtime-store.ts';
import { KnownUsage } from '../../contract/runtime-store-recovery-contract.ts';
import { after } from '../../support/entities.ts';

export interface Address {
  host: string;
  port: number;
  password?: string | null;
}

/** Settings for one server; errors are dropped unless somebody listens. */
export const settingsFor = (
  { host, port, password = null }: Address,
  changes: Partial<RedisSettings> = {},
): RedisSettings => ({
  mode: 'standalone',
  nodes: [{ host, port }],
  sentinelName: null,
  username: null,
  password: password === null ? null : new Secret(password),
  sentinelPassword: null,
  tls: null,
  // Servers of tests share two cores with everything else.
  commandTimeoutMs: 10_000,
  connectTimeoutMs: 10_000,
  onError: () => undefined,
  ...changes,
});

/** What a repository answers that knows every handle, and that nothing of it has been used. */
export const NOTHING_USED = { findHandleUsage: () => Promise.resolve({ requests: 0, bytes: 0, slots: [] }) };

export interface StoreUnderTest {
  store: RedisRuntimeStore;
  redis: RedisConnection;
  close: () => Promise<void>;
}

/** A store that has remembered proofs for an hour. */
export async function openStore(
  settings: RedisSettings,
  keyPrefix: string,
  usage: ConstructorParameters<typeof RedisRuntimeStore>[0]['usage'] = NOTHING_USED,
): Promise<StoreUnderTest> {
  const redis = await openRedis(settings);
  const store = new RedisRuntimeStore({ redis, keyPrefix, usage });
  await store.forgetExpired(after(-3600));
  return { store, redis, close: () => redis.close() };
}

/** A store, and what was told of its connection, whether there is one or not. */
export async function openUnderTest(settings: RedisSettings) {
  const errors: Error[] = [];
  const redis = await openRedis({ ...settings, onError: (error) => errors.push(error) });
  return { redis, errors, store: new RedisRuntimeStore({ redis, keyPrefix: 'asb:', usage: NOTHING_USED }) };
}

/** A store with a repository that a test fills, and a way to lose what the store holds. */
export async function openRecovering(settings: RedisSettings, keyPrefix: string) {
  const usage = new KnownUsage();
  const opened = await openStore(settings, keyPrefix, usage);
  return { ...opened, usage, loseData: () => dropAll(opened.redis.client, keyPrefix) };
}

const mastersOf = (client: Redis | Cluster): Redis[] => (client instanceof Cluster ? client.nodes('master') : [client]);

/** Every key that begins with a prefix, and the node that has it. */
export async function keysOf(client: Redis | Cluster, keyPrefix: string): Promise<{ node: Redis; key: string }[]> {
  const found: { node: Redis; key: string }[] = [];
  for (const node of mastersOf(client)) {
    for await (const keys of node.scanStream({ match: `${keyPrefix}*`, count: 1000 })) {
      for (const key of keys as string[]) found.push({ node, key });
    }
  }
  return found;
}

export async function dropAll(client: Redis | Cluster, keyPrefix: string): Promise<void> {
  for (const { node, key } of await keysOf(client, keyPrefix)) await node.del(key);
}

/** Resolves when it happens next. */
export const next = ({ client }: RedisConnection, event: 'ready' | 'reconnecting' | 'end'): Promise<void> =>
  new Promise((resolve) => client.once(event, () => resolve()));

/** Resolves when there is a connection (again). */
export const untilConnected = async (redis: RedisConnection): Promise<void> =>
  redis.client.status === 'ready' ? undefined : next(redis, 'ready');

/** All that an error says to whoever prints it. */
export const printed = (error: unknown): string => inspect(error, { depth: 20, showHidden: true });

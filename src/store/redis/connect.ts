import { randomInt } from 'node:crypto';
import { isIP } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'ioredis';
import type { Secret } from '../../domain/secret.ts';
import { ErrorReports } from './error-reports.ts';
import { loggableError } from './translate-error.ts';

export interface RedisNode {
  host: string;
  port: number;
}

export interface RedisSettings {
  mode: 'standalone' | 'sentinel' | 'cluster';
  /** The server; the sentinels; some nodes of the cluster. */
  nodes: readonly RedisNode[];
  /** What the sentinels call the master. */
  sentinelName: string | null;
  /** Null is Redis's own `default`. */
  username: string | null;
  password: Secret | null;
  sentinelPassword: Secret | null;
  /** Null speaks in clear. */
  tls: RedisTls | null;
  /** How long one command may take, in milliseconds. */
  commandTimeoutMs?: number;
  /** How long one attempt to connect may take, in milliseconds. */
  connectTimeoutMs?: number;
  /** Told why there is no connection, once for each reason until there is one again. The error holds no secret and no command. */
  onError: (error: Error) => void;
}

export interface RedisTls {
  /** PEM authorities; null trusts the system's. */
  ca: string | null;
  /** The name that the certificates carry, when it is not the host that is connected to, as where sentinels name servers by address. */
  servername?: string;
}

export interface RedisConnection {
  client: Redis | Cluster;
  close(): Promise<void>;
}

/** Far above what a script takes, well below what a caller waits for. */
const COMMAND_TIMEOUT_MS = 1000;
const CONNECT_TIMEOUT_MS = 2000;
const FIRST_RETRY_MS = 50;
/** How long after Redis is back a process may still wait. */
const LONGEST_RETRY_MS = 2000;
/** How often a command follows a cluster that moves; with 100 ms between those that find a node gone. */
const CLUSTER_REDIRECTIONS = 4;

/**
 * A connection that keeps itself open. While there is none, commands fail at once: nothing waits for Redis, nothing is sent twice.
 * Resolves when the first attempt is over, whether it succeeded or not: a process starts with Redis away and uses it when it is there.
 */
export async function openRedis(settings: RedisSettings): Promise<RedisConnection> {
  const client = makeClient(settings);
  watch(client, settings.onError);
  await firstAttempt(client);
  return {
    client,
    close() {
      client.disconnect();
      return Promise.resolve();
    },
  };
}

function makeClient(settings: RedisSettings): Redis | Cluster {
  const common = commonOptions(settings);
  const tls = settings.tls === null ? undefined : tlsOptions(settings.tls);
  const nodes = settings.nodes.map(({ host, port }) => ({ host, port }));
  const [first] = nodes;
  if (first === undefined) throw new RangeError('Redis: at least one node must be named');
  switch (settings.mode) {
    case 'standalone':
      return new Redis({
        ...common,
        ...ALONE,
        ...first,
        // Asked for by name (RFC 6066 section 3), which addresses do not have.
        tls: tls && { ...(isIP(first.host) === 0 && { servername: first.host }), ...tls },
      });
    case 'sentinel':
      return new Redis({
        ...common,
        ...ALONE,
        sentinels: nodes,
        name: settings.sentinelName ?? undefined,
        sentinelPassword: settings.sentinelPassword?.reveal(),
        sentinelCommandTimeout: common.commandTimeout,
        sentinelRetryStrategy: retryDelayMs,
        tls,
        sentinelTLS: tls,
        enableTLSForSentinelMode: tls !== undefined,
      });
    case 'cluster':
      return new Cluster(nodes, { ...CLUSTER, redisOptions: { ...common, tls }, ...(tls && { dnsLookup: keepName }) });
  }
}

const commonOptions = ({ username, password, ...timeouts }: RedisSettings) => {
  const { commandTimeoutMs = COMMAND_TIMEOUT_MS, connectTimeoutMs = CONNECT_TIMEOUT_MS } = timeouts;
  return {
    connectionName: 'asb',
    username: username ?? undefined,
    password: password?.reveal(),
    connectTimeout: connectTimeoutMs,
    commandTimeout: commandTimeoutMs,
    // A peer that is gone without a word: the connection is given up, where TCP alone would try for a quarter of an hour.
    socketTimeout: 2 * commandTimeoutMs,
    maxLoadingRetryTime: LONGEST_RETRY_MS,
    lazyConnect: true,
  } satisfies RedisOptions;
};

/** For one server, that of a sentinel's included. */
const ALONE: RedisOptions = {
  retryStrategy: retryDelayMs,
  enableOfflineQueue: false,
  // What was sent when the connection broke fails with it.
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
  // A master that became a replica: ask again who is master.
  reconnectOnError: ({ message }) => message.includes('READONLY'),
};

const CLUSTER: ClusterOptions = {
  clusterRetryStrategy: retryDelayMs,
  enableOfflineQueue: false,
  maxRedirections: CLUSTER_REDIRECTIONS,
  slotsRefreshTimeout: CONNECT_TIMEOUT_MS,
  lazyConnect: true,
};

const tlsOptions = ({ ca, servername }: RedisTls): ConnectionOptions => ({
  ...(ca !== null && { ca }),
  ...(servername !== undefined && { servername }),
});

/** Certificates are checked against the name, so the name stays. */
const keepName: NonNullable<ClusterOptions['dnsLookup']> = (host, callback) => callback(null, host);

/** Doubles, and is spread over its upper half, so that processes that lost Redis together do not come back together. */
function retryDelayMs(attempt: number): number {
  const full = Math.min(FIRST_RETRY_MS * 2 ** (attempt - 1), LONGEST_RETRY_MS);
  return full / 2 + randomInt(full / 2 + 1);
}

/** Without a listener for errors a lost connection would end the process. */
function watch(client: Redis | Cluster, onError: (error: Error) => void): void {
  const reports = new ErrorReports(onError);
  client.on('error', (error: unknown) => reports.failed('', loggableError(error)));
  client.on('reconnecting', () => reports.lost(new Error('Redis: the connection was closed')));
  client.on('ready', () => reports.restored());
  client.on('node error', (error: unknown, node: string) => reports.failed(node, loggableError(error)));
  client.on('+node', (node: Redis) =>
    node.once('ready', () => reports.restored(`${node.options.host}:${node.options.port}`)),
  );
}

const FIRST_OUTCOMES = ['ready', 'error', 'reconnecting', 'end'] as const;

async function firstAttempt(client: Redis | Cluster): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const over = (): void => {
    for (const outcome of FIRST_OUTCOMES) client.off(outcome, over);
    resolve(undefined);
  };
  for (const outcome of FIRST_OUTCOMES) client.on(outcome, over);
  // Told by the events as well, which also know of attempts that go on.
  client.connect().catch(over);
  await promise;
}

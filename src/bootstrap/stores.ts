import type { AuditChain, ChainView } from '../domain/audit-chain.ts';
import type { AuditEvent } from '../domain/audit-event.ts';
import type { AuditLog } from '../domain/audit-log.ts';
import type { Repository } from '../domain/repository.ts';
import type { RuntimeStore } from '../domain/runtime-store.ts';
import { Secret } from '../domain/secret.ts';
import { MemoryRepository } from '../store/memory/memory-repository.ts';
import { MemoryRuntimeStore } from '../store/memory/memory-runtime-store.ts';
import type { Log } from '../transport/logging.ts';
import { ConfigurationError } from './configuration-error.ts';
import type { Configuration } from './configuration.ts';
import type { Environment } from './environment.ts';

/** What all processes of a deployment share. */
export interface SharedStores {
  repository: Repository;
  runtime: RuntimeStore;
}

/** Where a process keeps its state. */
export interface OpenedStores extends SharedStores {
  /** Whether the state outlives this process, and workers of their own look after it. */
  isDurable: boolean;
  /** The audit chain that is kept beside the events; null where they go into a log. */
  chain: (AuditChain & ChainView) | null;
  /** What must answer for the process to be of use, by name. */
  checks: Readonly<Record<string, { ping(): Promise<void> | void }>>;
  /** Lets go of every connection. */
  close(): Promise<void>;
}

export interface OpenStoresDeps {
  log: Log;
  /** Where events go on the memory store. */
  auditLog: AuditLog;
  /** Told of events that have committed. */
  onEvents: (events: readonly AuditEvent[]) => void;
}

/** Opens what the environment names. Rejects with ConfigurationError when it cannot be used as it is. */
export async function openStores(configuration: Configuration, deps: OpenStoresDeps): Promise<OpenedStores> {
  const state =
    configuration.environment.ASB_POSTGRES_DSN === undefined
      ? openMemory(deps)
      : await openPostgres(configuration, configuration.environment.ASB_POSTGRES_DSN, deps);
  if (configuration.environment.ASB_REDIS_ADDR === undefined) {
    const runtime = new MemoryRuntimeStore();
    return { ...state, runtime, checks: { ...state.checks, runtime } };
  }
  try {
    const shared = await openRedisStore(configuration, state.repository, deps);
    return {
      ...state,
      runtime: shared.runtime,
      checks: { ...state.checks, runtime: shared.runtime },
      async close() {
        await shared.close();
        await state.close();
      },
    };
  } catch (error) {
    await state.close();
    throw error;
  }
}

/** How long what has ended stays readable: a database has room for a day, a process for minutes. */
export const retentionOf = ({ ASB_RETENTION_SECONDS: set, ASB_POSTGRES_DSN: dsn }: Environment): number =>
  set ?? (dsn === undefined ? 300 : 86_400);

type State = Omit<OpenedStores, 'runtime'>;

function openMemory({ auditLog, onEvents }: OpenStoresDeps): State {
  const counted: AuditLog = {
    append(events) {
      auditLog.append(events);
      onEvents(events);
    },
    ping: () => auditLog.ping(),
  };
  const repository = new MemoryRepository({ auditLog: counted });
  return {
    repository,
    isDurable: false,
    chain: null,
    checks: { repository, audit_log: auditLog },
    close: () => Promise.resolve(),
  };
}

/** What Postgres needs is loaded only with it: on the memory store it would be a tenth of the process. */
async function openPostgres({ environment }: Configuration, dsn: string, { log, onEvents }: OpenStoresDeps): Promise<State> {
  const [{ openPool }, { PostgresRepository }, { PostgresAuditChain }, { requireCurrentSchema }, { databaseProblems }] =
    await Promise.all([
      import('../store/postgres/pool.ts'),
      import('../store/postgres/postgres-repository.ts'),
      import('../store/postgres/postgres-audit-chain.ts'),
      import('../store/postgres/migrations.ts'),
      import('./database-problems.ts'),
    ]);
  const pool = openPool({
    dsn,
    maxConnections: environment.ASB_POSTGRES_MAX_CONNECTIONS,
    statementTimeoutMs: environment.ASB_POSTGRES_STATEMENT_TIMEOUT_MS,
    lockTimeoutMs: environment.ASB_POSTGRES_LOCK_TIMEOUT_MS,
    onError: (error) => log.warn({ error }, 'a connection to Postgres was lost; others are opened when they are needed'),
  });
  try {
    const unknown = await requireCurrentSchema(pool);
    if (unknown.length > 0) {
      log.warn(
        { problems: unknown.map(({ file }) => file) },
        'the database has migrations of a newer version; finish the upgrade',
      );
    }
  } catch (error) {
    await pool.end();
    throw new ConfigurationError(databaseProblems(error).map((problem) => `ASB_POSTGRES_DSN: ${problem}`));
  }
  const repository = new PostgresRepository({ pool, onCommitted: onEvents });
  const chain = new PostgresAuditChain(pool);
  return { repository, isDurable: true, chain, checks: { repository }, close: () => pool.end() };
}

async function openRedisStore(
  { environment, keys }: Configuration,
  repository: Repository,
  { log }: OpenStoresDeps,
): Promise<{ runtime: RuntimeStore; close(): Promise<void> }> {
  const [{ openRedis }, { RedisRuntimeStore }] = await Promise.all([
    import('../store/redis/connect.ts'),
    import('../store/redis/redis-runtime-store.ts'),
  ]);
  const { ASB_REDIS_PASSWORD: password, ASB_REDIS_SENTINEL_PASSWORD: sentinelPassword } = environment;
  const redis = await openRedis({
    mode: environment.ASB_REDIS_MODE,
    nodes: environment.ASB_REDIS_ADDR ?? [],
    sentinelName: environment.ASB_REDIS_SENTINEL_NAME ?? null,
    username: environment.ASB_REDIS_USERNAME ?? null,
    password: password === undefined ? null : new Secret(password),
    sentinelPassword: sentinelPassword === undefined ? null : new Secret(sentinelPassword),
    tls: environment.ASB_REDIS_TLS ? { ca: keys.redisCa } : null,
    onError: (error) => log.warn({ error }, 'the connection to Redis was lost; it is opened again'),
  });
  const runtime = new RedisRuntimeStore({ redis, keyPrefix: environment.ASB_REDIS_KEY_PREFIX, usage: repository });
  return { runtime, close: () => redis.close() };
}

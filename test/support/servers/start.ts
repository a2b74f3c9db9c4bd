import type * as Containers from './containers.ts';
import { startLocalPostgres } from './local-postgres.ts';
import { startLocalRedis } from './local-redis.ts';
import type { PostgresServer, RedisServer } from './server.ts';

/**
 * A Postgres of the caller's own, in a container where a Docker engine answers, otherwise as a process. It is empty. `settings` are those of
 * postgresql.conf. A commit that it acknowledged outlives `kill`.
 */
export const startPostgresServer = (settings: Readonly<Record<string, string>> = {}): Promise<PostgresServer> =>
  inContainerOr(
    (containers) => containers.startPostgresContainer(settings),
    () => startLocalPostgres(settings),
  );

/** A Redis of the caller's own, likewise. `args` are those of redis-server; unless they say so, it forgets everything when it stops. */
export const startRedisServer = (args: readonly string[] = []): Promise<RedisServer> =>
  inContainerOr(
    (containers) => containers.startRedisContainer(args),
    () => startLocalRedis(args),
  );

async function inContainerOr<Server>(
  inContainer: (containers: typeof Containers) => Promise<Server>,
  asProcess: () => Promise<Server>,
): Promise<Server> {
  const found = await containers();
  if (found === null) return asProcess();
  try {
    return await inContainer(found);
  } catch (error) {
    // An engine without its images and without a way to fetch them, for one.
    process.stderr.write(`no container could be started, a local process stands in: ${String(error)}\n`);
    return asProcess();
  }
}

let engine: Promise<typeof Containers | null> | undefined;

const containers = (): Promise<typeof Containers | null> =>
  (engine ??= import('./containers.ts').then(async (module) => ((await module.dockerAnswers()) ? module : null)));

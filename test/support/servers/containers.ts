import { randomBytes } from 'node:crypto';
import { GenericContainer, getContainerRuntimeClient } from 'testcontainers';
import { freePort } from './free-port.ts';
import { asOptions, TEST_SETTINGS } from './local-postgres.ts';
import { passwordIn } from './local-redis.ts';
import type { PostgresServer, RedisServer, TestServer } from './server.ts';
import { postgresAnswers, redisAnswers, untilReady } from './until-ready.ts';

// Debian's images, not Alpine's: their Postgres sorts as a language does.
const POSTGRES_IMAGE = 'postgres:18';
const REDIS_IMAGE = 'redis:8';

/** Whether a Docker engine answers here. */
export const dockerAnswers = (): Promise<boolean> =>
  getContainerRuntimeClient().then(
    () => true,
    () => false,
  );

export async function startPostgresContainer(settings: Readonly<Record<string, string>> = {}): Promise<PostgresServer> {
  const password = randomBytes(16).toString('hex');
  const container = new GenericContainer(POSTGRES_IMAGE)
    .withEnvironment({ POSTGRES_USER: 'asb', POSTGRES_PASSWORD: password, POSTGRES_DB: 'postgres' })
    .withCommand(['postgres', ...asOptions({ ...TEST_SETTINGS, ...settings })]);
  const dsnOf = (host: string, port: number): string => `postgres://asb:${password}@${host}:${port}/postgres`;
  const server = await startContainer(container, 5432, (host, port) => postgresAnswers(dsnOf(host, port)));
  return { ...server, dsn: dsnOf(server.host, server.port) };
}

export async function startRedisContainer(args: readonly string[] = []): Promise<RedisServer> {
  const command = ['redis-server', '--save', '', '--appendonly', 'no', ...args];
  const server = await startContainer(new GenericContainer(REDIS_IMAGE).withCommand(command), 6379, redisAnswers);
  return { ...server, password: passwordIn(args) };
}

/** A port of the host is fixed, so that the server keeps its address when it starts again. */
async function startContainer(
  container: GenericContainer,
  inner: number,
  answers: (host: string, port: number) => Promise<boolean>,
): Promise<TestServer> {
  const port = await freePort();
  const started = await container.withExposedPorts({ container: inner, host: port }).start();
  const host = started.getHost();
  const ready = (): Promise<void> => untilReady(() => answers(host, port));
  const engine = await getContainerRuntimeClient();
  const handle = engine.container.getById(started.getId());
  await ready();
  return {
    host,
    port,
    async stop() {
      await handle.stop();
    },
    async kill() {
      await handle.kill();
    },
    async start() {
      await handle.start();
      await ready();
    },
    async close() {
      await started.stop({ remove: true, removeVolumes: true });
    },
  };
}

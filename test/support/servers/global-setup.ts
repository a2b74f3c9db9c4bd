import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestProject } from 'vitest/node';
import { closeTemplate, makeTemplate, type Template } from './template.ts';
import type { RedisServer } from './server.ts';
import { startPostgresServer, startRedisServer } from './start.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Where tests ask for the servers that they share. */
    sharedServers: string;
  }
}

type SharedRedis = Pick<RedisServer, 'host' | 'port' | 'password'>;

/** Starts the servers that tests share, each when the first test asks for it, and ends them when the run ends. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const closers: (() => Promise<void>)[] = [];
  const started = new Map<string, Promise<Template | SharedRedis>>();
  const kinds: Readonly<Record<string, () => Promise<Template | SharedRedis>>> = {
    '/postgres': () => sharedPostgres(closers),
    '/redis': () => sharedRedis(closers),
  };

  const desk = createServer((request, response) => {
    const kind = request.url ?? '';
    const server = started.get(kind) ?? kinds[kind]?.() ?? Promise.reject(new Error(`no such server: ${kind}`));
    started.set(kind, server);
    server.then(
      (answer) => response.end(JSON.stringify(answer)),
      (error: unknown) => response.writeHead(500).end(error instanceof Error ? error.message : String(error)),
    );
  }).listen(0, '127.0.0.1');
  await once(desk, 'listening');
  project.provide('sharedServers', `http://127.0.0.1:${(desk.address() as AddressInfo).port}`);

  return async () => {
    desk.close();
    desk.closeAllConnections();
    await Promise.allSettled(started.values());
    for (const close of closers.toReversed()) await close();
  };
}

/** ASB_TEST_POSTGRES_DSN names a superuser's database on a server that is there already. */
async function sharedPostgres(closers: (() => Promise<void>)[]): Promise<Template> {
  let dsn = process.env.ASB_TEST_POSTGRES_DSN ?? '';
  if (dsn === '') {
    const server = await startPostgresServer({ synchronous_commit: 'off' });
    closers.push(() => server.close());
    dsn = server.dsn;
  }
  const template = await makeTemplate(dsn);
  closers.push(() => closeTemplate(template));
  return template;
}

/** ASB_TEST_REDIS_ADDR (HOST:PORT) and ASB_TEST_REDIS_PASSWORD name one that is there already. */
async function sharedRedis(closers: (() => Promise<void>)[]): Promise<SharedRedis> {
  const address = /^(?<host>.+):(?<port>\d+)$/.exec(process.env.ASB_TEST_REDIS_ADDR ?? '')?.groups;
  if (address !== undefined) {
    return { host: address.host ?? '', port: Number(address.port), password: process.env.ASB_TEST_REDIS_PASSWORD ?? null };
  }
  const server = await startRedisServer();
  closers.push(() => server.close());
  const { host, port, password } = server;
  return { host, port, password };
}

import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { type CuttableProxy, cuttableProxy } from '../support/cuttable-proxy.ts';
import { migrate, type PostgresServer, startPostgres } from '../support/postgres.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { Calls } from './agents.ts';
import { Deployment } from './deployment.ts';
import { BUDGET } from './kept.ts';
import type { Load, Outage } from './load.ts';
import { countsOf, noFindings } from './invariants.ts';
import { IS_SHORT } from './points.ts';
import { addRow } from './report.ts';
import { until } from './within.ts';
import { makeWorld, type World } from './world.ts';

let postgres: PostgresServer;
let redis: RedisServer;
let postgresProxy: CuttableProxy;
let redisProxy: CuttableProxy;
let world: World;
let deployment: Deployment;

beforeAll(async () => {
  [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
  await migrate(postgres.dsn);
  [postgresProxy, redisProxy] = await Promise.all([
    cuttableProxy(postgres.host, postgres.port),
    cuttableProxy(redis.host, redis.port),
  ]);
  const dsn = new URL(postgres.dsn);
  dsn.port = String(postgresProxy.port);
  const { host, port } = redisProxy;
  world = await makeWorld(
    { dsn: dsn.href, directDsn: postgres.dsn, redis: { host, port, keyPrefix: 'faults:' } },
    { ASB_PROXY_MAX_REQUESTS: String(BUDGET), ASB_POSTGRES_MAX_CONNECTIONS: '10' },
  );
  deployment = await Deployment.start(world, new Calls(world.config.operators));
});
afterAll(async () => {
  await deployment.stop();
  await world.close();
  await Promise.all([postgresProxy.close(), redisProxy.close()]);
  await Promise.all([postgres.close(), redis.close()]);
});

const AGENTS = IS_SHORT ? 8 : 20;
/** Acknowledged calls before and after a fault, and between the blows of one that strikes more than once. */
const SOME = IS_SHORT ? 50 : 300;
const BLOWS = IS_SHORT ? 2 : 4;
const KILLS = IS_SHORT ? 1 : 2;
/** Calls that fail while something is away. */
const FAILURES = IS_SHORT ? 50 : 200;

const WITHOUT_POSTGRES: Outage = { needs: () => true };
const WITHOUT_REDIS: Outage = { needs: (operation) => operation === 'proxied' };

/** Stops something for as long as it takes that so many calls fail. */
async function away(
  load: Load,
  outage: Outage,
  { stop, start, failures = FAILURES }: { stop: () => Promise<void>; start: () => Promise<void>; failures?: number },
): Promise<void> {
  await stop();
  load.outage = { ...outage };
  await load.fail(failures);
  load.outage = null;
  await start();
}

/** Something takes every byte and answers none, until calls have waited in vain. */
async function silent(load: Load, outage: Outage, proxy: CuttableProxy): Promise<void> {
  // Each of them takes seconds.
  const failures = 2 * AGENTS;
  await away(load, outage, { stop: async () => proxy.hold(), start: async () => proxy.restore(), failures });
}

async function blows(load: Load, blow: () => Promise<void> | void, times = BLOWS): Promise<void> {
  for (let count = 0; count < times; count += 1) {
    if (count > 0) await load.goOn(SOME);
    await blow();
  }
}

/** Cuts every connection to Postgres when statements have committed and nobody has heard of it. */
async function cutAfterCommits(load: Load): Promise<void> {
  await blows(load, async () => {
    const before = await world.countEvents();
    postgresProxy.holdAnswers();
    await until(30, 'something commits', async () => (await world.countEvents()) > before);
    postgresProxy.cut();
    postgresProxy.restore();
  });
}

interface Fault {
  name: string;
  /** Left out of the short form. */
  isLong?: true;
  strike: (load: Load) => Promise<void>;
}

/** A server goes in an orderly way or not, and starts again. */
const restart =
  (outage: Outage, serverOf: () => Pick<PostgresServer, 'start' | 'stop' | 'kill'>, how: 'stop' | 'kill') =>
  (load: Load): Promise<void> => {
    const server = serverOf();
    return away(load, outage, { stop: () => server[how](), start: () => server.start() });
  };

const FAULTS: readonly Fault[] = [
  { name: 'Postgres stops and starts', strike: restart(WITHOUT_POSTGRES, () => postgres, 'stop') },
  { name: 'kill -9 Postgres, and start', strike: restart(WITHOUT_POSTGRES, () => postgres, 'kill') },
  { name: 'Redis stops and starts', strike: restart(WITHOUT_REDIS, () => redis, 'stop') },
  { name: 'kill -9 Redis, and start', isLong: true, strike: restart(WITHOUT_REDIS, () => redis, 'kill') },
  { name: 'connections to Postgres are cut', strike: (load) => blows(load, () => postgresProxy.cut()) },
  { name: 'connections to Postgres are cut in a commit', strike: cutAfterCommits },
  { name: 'connections to Redis are cut', strike: (load) => blows(load, () => redisProxy.cut()) },
  { name: 'Postgres is silent', isLong: true, strike: (load) => silent(load, WITHOUT_POSTGRES, postgresProxy) },
  { name: 'Redis is silent', isLong: true, strike: (load) => silent(load, WITHOUT_REDIS, redisProxy) },
  { name: 'FLUSHALL', strike: (load) => blows(load, () => deployment.flush(redis)) },
  { name: 'kill -9 one of two APIs', strike: (load) => blows(load, () => deployment.killApi(), KILLS) },
  { name: 'kill -9 the worker', strike: (load) => blows(load, () => deployment.killWorker(), KILLS) },
];

describe('under load', () => {
  const faults = FAULTS.filter(({ isLong }) => !IS_SHORT || isLong !== true);
  test.each(faults.map(({ name, strike }) => [name, strike] as const))('nothing is lost when: %s', async (name, strike) => {
    const load = deployment.load();
    load.start(AGENTS);
    await load.goOn(SOME);
    const { inFlight } = load;
    await strike(load);
    const recoveryMs = await deployment.untilEverythingWorks();
    await load.goOn(SOME);
    await load.stop();
    const findings = await deployment.compare(load);
    addRow(inject('faultReport'), {
      fault: name,
      inFlight,
      done: load.answered,
      acknowledged: load.acknowledged,
      ...countsOf(findings),
      recovery: `${(recoveryMs / 1000).toFixed(1)} s`,
    });
    expect(findings).toEqual(noFindings());
  });
});

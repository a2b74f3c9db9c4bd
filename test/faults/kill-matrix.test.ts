import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { makeApi } from '../../src/bootstrap/api.ts';
import { readConfiguration } from '../../src/bootstrap/configuration.ts';
import { httpLeaseConnector } from '../support/lease-connector.ts';
import { openDatabase, type TestDatabase } from '../support/postgres.ts';
import { redisForTest } from '../support/redis.ts';
import { jsonClient, type TransportClient } from '../support/transports.ts';
import { Calls } from './agents.ts';
import { FaultProcess } from './fault-process.ts';
import { noFindings } from './invariants.ts';
import { type DownstreamMoment, type Operation, OPERATIONS, type Scene, type Trial } from './operations.ts';
import type { KillPoint } from './orders.ts';
import { pointsOf } from './points.ts';
import { addRow } from './report.ts';
import { settle } from './settle.ts';
import { Victims } from './victims.ts';
import { within } from './within.ts';
import { makeWorld, type World } from './world.ts';

let database: TestDatabase;
let world: World;
let scene: Scene;
let victims: Victims;
/** Runs each operation once without a kill, to see what steps it has. */
let survivor: FaultProcess;
let closeHealthy: () => Promise<void>;

beforeAll(async () => {
  database = await openDatabase();
  const { dsn } = database;
  world = await makeWorld({ dsn, directDsn: dsn, redis: redisForTest() });
  victims = new Victims(() => FaultProcess.api(world.environment));
  survivor = await victims.take();
  const connectors = [httpLeaseConnector(world.leases.url)];
  const api = await makeApi(await readConfiguration(world.environment), { connectors });
  const [address = ''] = await api.start();
  const healthy = jsonClient(`http://${address}`);
  scene = { world, calls: new Calls(world.config.operators), healthy };
  closeHealthy = async () => {
    healthy.close();
    await api.stop();
  };
});
afterAll(async () => {
  await Promise.all([victims.close(), survivor.kill(), closeHealthy()]);
  await world.close();
  await database.close();
});

/** Sends a trial's request to a process. */
async function runOn<T>(process: FaultProcess, run: (client: TransportClient) => Promise<T>): Promise<T> {
  const client = jsonClient(process.url);
  try {
    return await run(client);
  } finally {
    client.close();
  }
}

async function stepsOf(operation: Operation): Promise<{ names: readonly string[]; trial: Trial }> {
  const trial = await operation.prepare(scene);
  await survivor.count(null);
  expect(await runOn(survivor, trial.run)).toMatchObject({ kind: 'done' });
  return { names: await survivor.steps(), trial };
}

/** Runs an operation in a process that dies at a step of it. */
async function killedAt(operation: Operation, point: KillPoint): Promise<Trial> {
  const trial = await operation.prepare(scene);
  const victim = await victims.take();
  await victim.count(point);
  expect(await runOn(victim, trial.run)).toEqual({ kind: 'broken' });
  expect(await within(30, 'a process is dead', victim.ended)).toBe('SIGKILL');
  await trial.again();
  return trial;
}

/** Runs it in a process that is killed while a system downstream is asked. */
async function killedWhileAsking(operation: Operation, moment: DownstreamMoment): Promise<Trial> {
  const trial = await operation.prepare(scene);
  const victim = await victims.take();
  const asked = moment.arrange(world);
  const answer = runOn(victim, trial.run);
  await asked;
  await victim.kill();
  expect(await answer).toEqual({ kind: 'broken' });
  await trial.again();
  return trial;
}

describe('an API that is killed', () => {
  test.each(OPERATIONS)('between any two steps of: $name', async (operation) => {
    const started = performance.now();
    const { calls } = scene;
    const { done, acknowledged } = calls;
    const { names, trial } = await stepsOf(operation);
    expect(names).toEqual(expect.arrayContaining([expect.stringMatching(/^(commit|COMMIT)/)]));
    const trials = [trial];
    for (const point of pointsOf(names)) trials.push(await killedAt(operation, point));
    for (const moment of operation.downstream) trials.push(await killedWhileAsking(operation, moment));
    const findings = noFindings();
    await settle(world, findings);
    for (const each of trials) await each.check(findings);
    await settle(world, findings);

    const harm = { lost: findings.lost.length, doubled: findings.doubled.length, leaked: findings.leaked.length };
    addRow(inject('faultReport'), {
      fault: `kill -9 an API in: ${operation.name} (${names.length} steps)`,
      inFlight: trials.length - 1,
      done: calls.done - done,
      acknowledged: calls.acknowledged - acknowledged,
      ...harm,
      recovery: 'the worker',
    });
    console.log(operation.name, trials.length, ((performance.now() - started) / 1000).toFixed(1), names);
    expect(findings).toEqual(noFindings());
  });
});

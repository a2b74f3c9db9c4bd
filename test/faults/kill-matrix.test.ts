import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { jsonClient, type TransportClient } from '../support/transports.ts';
import type { Answer } from './agents.ts';
import { FaultProcess } from './fault-process.ts';
import { type HealthyScene, healthyScene } from './healthy-scene.ts';
import { countsOf, noFindings } from './invariants.ts';
import { type DownstreamMoment, type Operation, OPERATIONS, type Scene, type Trial } from './operations.ts';
import type { Point } from './orders.ts';
import { pointsOf } from './points.ts';
import { addRow } from './report.ts';
import { settle } from './settle.ts';
import { Victims } from './victims.ts';

/** Requests are held in the middle of what they do, in transactions too, until all are there. */
const HELD = { ASB_POSTGRES_MAX_CONNECTIONS: '60', ASB_POSTGRES_STATEMENT_TIMEOUT_MS: '60000' };

let made: HealthyScene;
let scene: Scene;
let victims: Victims;
/** Runs each operation once without a kill, to see what steps it has. */
let survivor: FaultProcess;

beforeAll(async () => {
  made = await healthyScene(HELD);
  ({ scene } = made);
  const { environment } = scene.world;
  victims = new Victims(2, () => FaultProcess.api(environment));
  survivor = await victims.take();
});
afterAll(async () => {
  await Promise.all([victims.close(), survivor.kill()]);
  await made.close();
});

async function stepsOf(operation: Operation): Promise<readonly string[]> {
  const trial = await operation.prepare(scene);
  const client = jsonClient(survivor.url);
  await survivor.count();
  expect(await trial.run(client)).toMatchObject({ kind: 'done' });
  client.close();
  return survivor.steps();
}

/** Requests that are under way in a process, each at another point of an operation. */
class UnderWay {
  readonly trials: Trial[] = [];
  readonly #operation: Operation;
  readonly #victim: FaultProcess;
  readonly #client: TransportClient;
  readonly #answers: Promise<Answer<unknown>>[] = [];

  constructor(operation: Operation, victim: FaultProcess) {
    this.#operation = operation;
    this.#victim = victim;
    this.#client = jsonClient(victim.url);
  }

  /** One more, which goes as far as this. */
  async upTo(point: Point): Promise<void> {
    const trial = await this.#operation.prepare(scene);
    await this.#victim.holdAt(point);
    this.#send(trial);
    await this.#victim.held();
  }

  /** One more, which goes until a system downstream has been asked. */
  async untilAsked(moment: DownstreamMoment): Promise<void> {
    const trial = await this.#operation.prepare(scene);
    const asked = moment.arrange(scene.world);
    this.#send(trial);
    await asked;
  }

  /** Kills the process. Nobody got an answer. */
  async kill(): Promise<void> {
    await this.#victim.kill();
    expect(new Set((await Promise.all(this.#answers)).map(({ kind }) => kind))).toEqual(new Set(['broken']));
    this.#client.close();
  }

  #send(trial: Trial): void {
    this.trials.push(trial);
    this.#answers.push(trial.run(this.#client));
  }
}

/** Those that wait for a connector last: it is not waited for as long as for the stores. */
const inOrder = (names: readonly string[]): readonly Point[] =>
  pointsOf(names).toSorted((one, other) => Number(isLease(names, one)) - Number(isLease(names, other)));
const isLease = (names: readonly string[], { step }: Point): boolean => names[step - 1] === 'issue lease';

describe('an API that is killed', () => {
  test.each(OPERATIONS)('between any two steps of: $name', async (operation) => {
    const { calls, world } = scene;
    const { done, acknowledged } = calls;
    const names = await stepsOf(operation);
    expect(names).toEqual(expect.arrayContaining([expect.stringMatching(/^(commit|COMMIT)/)]));
    const underWay = new UnderWay(operation, await victims.take());
    for (const point of inOrder(names)) await underWay.upTo(point);
    for (const moment of operation.downstream) await underWay.untilAsked(moment);
    await underWay.kill();

    const findings = noFindings();
    const { trials } = underWay;
    for (const trial of trials) await trial.again();
    await settle(world, findings);
    for (const trial of trials) await trial.check(findings);
    await settle(world, findings);
    addRow(inject('faultReport'), {
      fault: `kill -9 an API at each of ${names.length} steps: ${operation.name}`,
      inFlight: trials.length,
      done: calls.done - done,
      acknowledged: calls.acknowledged - acknowledged,
      ...countsOf(findings),
      recovery: 'the worker',
    });
    expect(findings).toEqual(noFindings());
  });
});

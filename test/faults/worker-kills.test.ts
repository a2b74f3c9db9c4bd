import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { FaultProcess } from './fault-process.ts';
import { type Forgetful, forgetfulApi, makeDueWork } from './due-work.ts';
import { type HealthyScene, healthyScene } from './healthy-scene.ts';
import { countsOf, noFindings } from './invariants.ts';
import { workerPointsOf } from './points.ts';
import { addRow } from './report.ts';
import { LONG_ENOUGH_SECONDS, settle } from './settle.ts';
import { Victims } from './victims.ts';

/** How much work two workers share. */
const ROUNDS = 8;

let made: HealthyScene;
let forgetful: Forgetful;
let victims: Victims;

beforeAll(async () => {
  made = await healthyScene();
  const { environment } = made.scene.world;
  victims = new Victims(2, () => FaultProcess.worker(environment, LONG_ENOUGH_SECONDS));
  forgetful = await forgetfulApi(made.scene.world);
});
afterAll(async () => {
  await Promise.all([victims.close(), forgetful.close()]);
  await made.close();
});

/** More than what the worker that died had taken for itself. */
const LONGER_SECONDS = 2 * LONG_ENOUGH_SECONDS;

/** How often each message arrived. */
function messages(): number[] {
  const { received } = made.scene.world.receiver;
  return [...Map.groupBy(received, ({ headers }) => headers['webhook-id']).values()].map(({ length }) => length);
}

describe('a worker', () => {
  test('that is killed at any step leaves everything to the next one', async () => {
    const { scene } = made;
    const { world, calls } = scene;
    const findings = noFindings();
    await makeDueWork(scene, forgetful);
    await settle(world, findings, LONGER_SECONDS);

    await makeDueWork(scene, forgetful);
    const survivor = await victims.take();
    await survivor.count();
    expect(await survivor.work()).toBe(true);
    const names = await survivor.steps();
    await survivor.kill();
    expect(messages()).toEqual([1, 1]);

    let kills = 0;
    for (const point of workerPointsOf(names)) {
      await makeDueWork(scene, forgetful);
      const victim = await victims.take();
      await victim.dieAt(point);
      // Passes that run side by side do not always have as many steps.
      if ((await victim.work()) === null) kills += 1;
      await victim.kill();
      await world.work(LONGER_SECONDS);
    }
    await settle(world, findings, LONGER_SECONDS);
    // One that was killed when it had sent a message, and had not said so yet, leaves it to be sent again.
    const repeated = messages().filter((count) => count > 1);
    if (repeated.some((count) => count > 2)) findings.doubled.push(`messages were sent ${repeated.join()} times`);
    addRow(inject('faultReport'), {
      fault: `kill -9 a worker in a pass (${names.length} steps)`,
      inFlight: kills,
      done: calls.done,
      acknowledged: calls.acknowledged,
      ...countsOf(findings),
      recovery: 'another worker',
    });
    expect(findings).toEqual(noFindings());
  });

  test('shares the work with another at the same time, and nothing is done twice', async () => {
    const { scene } = made;
    const { world } = scene;
    const { ledger } = world.leases;
    const findings = noFindings();
    await settle(world, findings, LONGER_SECONDS);
    for (let round = 0; round < ROUNDS; round += 1) await makeDueWork(scene, forgetful);
    const [revoked, sent] = [ledger.asked.revoke, world.receiver.received.length];
    const workers = await Promise.all([victims.take(), victims.take()]);
    await Promise.all(workers.map((worker) => worker.work()));
    await settle(world, findings, LONGER_SECONDS);
    expect(findings).toEqual(noFindings());
    expect(ledger.asked.revoke - revoked).toBe(ROUNDS * 3);
    expect(world.receiver.received.length - sent).toBe(ROUNDS);
    await Promise.all(workers.map((worker) => worker.kill()));
  });
});

import { expect, test, vi } from 'vitest';
import { startCleanupLoop } from '../../src/worker/cleanup-loop.ts';
import type { ExpireDueReport } from '../../src/broker/expire-due.ts';
import { FakeClock } from '../support/fake-clock.ts';

const report = (count: number): ExpireDueReport => ({ sessions: count, grants: 0, forgotten: 0 });
const settle = () => new Promise(setImmediate);

function start(expireDue: () => Promise<ExpireDueReport>) {
  const clock = new FakeClock();
  const onPass = vi.fn();
  const onError = vi.fn();
  const stop = startCleanupLoop({
    clock,
    expireDue,
    newRequestId: () => 'req',
    intervalSeconds: 5,
    limit: 100,
    onPass,
    onError,
  });
  return { clock, onPass, onError, stop };
}

test('it passes every interval', async () => {
  const { clock, onPass, stop } = start(() => Promise.resolve(report(1)));
  for (let pass = 1; pass <= 3; pass += 1) {
    clock.advance(5);
    await settle();
    expect(onPass).toHaveBeenCalledTimes(pass);
  }
  await stop();
});

test('a full pass is followed at once by another', async () => {
  const counts = [100, 100, 7];
  const { clock, onPass, stop } = start(() => Promise.resolve(report(counts.shift() ?? 0)));
  clock.advance(5);
  await settle();
  clock.advance(0);
  await settle();
  clock.advance(0);
  await settle();
  clock.advance(0);
  await settle();
  expect(onPass).toHaveBeenCalledTimes(3);
  await stop();
});

test('a failed pass is reported and the next one runs', async () => {
  const failure = new Error('store away');
  const answers = [Promise.reject(failure), Promise.resolve(report(0))];
  const { clock, onPass, onError, stop } = start(() => answers.shift() ?? Promise.resolve(report(0)));
  clock.advance(5);
  await settle();
  expect(onError).toHaveBeenCalledWith(failure);
  clock.advance(5);
  await settle();
  expect(onPass).toHaveBeenCalledTimes(1);
  await stop();
});

test('stopping waits for the pass under way and starts no other', async () => {
  let finish = (_report: ExpireDueReport): void => {};
  const { clock, onPass, stop } = start(() => new Promise((resolve) => (finish = resolve)));
  clock.advance(5);
  const stopped = stop();
  finish(report(100));
  await stopped;
  clock.advance(60);
  await settle();
  expect(onPass).toHaveBeenCalledTimes(1);
});

import { expect, test, vi } from 'vitest';
import type { OverdueReport } from '../../src/broker/end-overdue-calls.ts';
import { startOverdueLoop } from '../../src/worker/overdue-loop.ts';
import { FakeClock } from '../support/fake-clock.ts';

const report = (proxy: number, lease = 0, revocation = 0): OverdueReport => ({ proxy, lease, revocation });
const settle = () => new Promise(setImmediate);

function start(answer: () => Promise<OverdueReport>) {
  const clock = new FakeClock();
  const endOverdueCalls = vi.fn(answer);
  const onPass = vi.fn();
  const onError = vi.fn();
  const stop = startOverdueLoop({
    ...{ clock, endOverdueCalls, onPass, onError },
    newRequestId: () => 'req',
    intervalSeconds: 5,
    limit: 100,
  });
  return { clock, endOverdueCalls, onPass, onError, stop };
}

test('it passes every interval, one pass at a time', async () => {
  const { promise, resolve } = Promise.withResolvers<OverdueReport>();
  const { clock, endOverdueCalls, onPass, stop } = start(() => promise);
  clock.advance(60);
  expect(endOverdueCalls).toHaveBeenCalledTimes(1);
  expect(endOverdueCalls).toHaveBeenCalledWith(100, 'req');
  resolve(report(1));
  await settle();
  clock.advance(5);
  await settle();
  expect(onPass).toHaveBeenCalledTimes(2);
  await stop();
});

test.each([report(100), report(0, 100), report(30, 30, 40)])(
  'a full pass is followed at once by another: %o',
  async (full) => {
    const answers = [full, report(99)];
    const { clock, endOverdueCalls, stop } = start(() => Promise.resolve(answers.shift() ?? report(0)));
    clock.advance(5);
    await settle();
    clock.advance(0);
    await settle();
    expect(endOverdueCalls).toHaveBeenCalledTimes(2);
    clock.advance(4.9);
    expect(endOverdueCalls).toHaveBeenCalledTimes(2);
    await stop();
  },
);

test('a failed pass is reported and the next one runs', async () => {
  const failure = new Error('store away');
  const answers = [Promise.reject(failure), Promise.resolve(report(0))];
  const { clock, onPass, onError, stop } = start(() => answers.shift() ?? Promise.resolve(report(0)));
  clock.advance(5);
  await settle();
  clock.advance(5);
  await settle();
  expect(onError).toHaveBeenCalledWith(failure);
  expect(onPass).toHaveBeenCalledTimes(1);
  await stop();
});

test('stopping waits for the pass under way and starts no other', async () => {
  const { promise, resolve } = Promise.withResolvers<OverdueReport>();
  const { clock, endOverdueCalls, stop } = start(() => promise);
  clock.advance(5);
  const stopped = stop();
  resolve(report(100));
  await stopped;
  clock.advance(60);
  await settle();
  expect(endOverdueCalls).toHaveBeenCalledTimes(1);
});

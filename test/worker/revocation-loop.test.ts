import { expect, test, vi } from 'vitest';
import type { RevokeDue, RevokeReport } from '../../src/broker/revoke-due.ts';
import { startRevocationLoop } from '../../src/worker/revocation-loop.ts';
import { FakeClock } from '../support/fake-clock.ts';

const report = (revoked: number, expired = 0, retried = 0): RevokeReport => ({ revoked, expired, retried });
const settle = () => new Promise(setImmediate);

function start(answer: () => Promise<RevokeReport>) {
  const clock = new FakeClock();
  const revokeDue = vi.fn<RevokeDue>(answer);
  const onPass = vi.fn();
  const onError = vi.fn();
  const loop = startRevocationLoop({ clock, revokeDue, newRequestId: () => 'req', limit: 100, onPass, onError });
  return { clock, revokeDue, onPass, onError, loop };
}

test('it passes every second', async () => {
  const { clock, revokeDue, onPass, loop } = start(() => Promise.resolve(report(1)));
  clock.advance(3);
  await settle();
  expect(revokeDue).toHaveBeenCalledTimes(3);
  expect(revokeDue).toHaveBeenCalledWith(100, 'req', expect.any(AbortSignal));
  expect(onPass).toHaveBeenCalledTimes(3);
  await loop.stop();
});

test.each([report(100), report(40, 60), report(0, 50, 50)])(
  'a full pass is followed at once by another: %o',
  async (full) => {
    const answers = [full, report(99)];
    const { clock, revokeDue, loop } = start(() => Promise.resolve(answers.shift() ?? report(0)));
    clock.advance(1);
    await settle();
    clock.advance(0.01);
    expect(revokeDue).toHaveBeenCalledTimes(2);
    await settle();
    clock.advance(0.5);
    expect(revokeDue).toHaveBeenCalledTimes(2);
    await loop.stop();
  },
);

test('a pass that hangs does not keep the next ones waiting', async () => {
  const finish: (() => void)[] = [];
  const { clock, revokeDue, onPass, loop } = start(() =>
    revokeDue.mock.calls.length === 1
      ? new Promise((resolve) => finish.push(() => resolve(report(0))))
      : Promise.resolve(report(0)),
  );
  clock.advance(5);
  await settle();
  expect(revokeDue).toHaveBeenCalledTimes(5);
  expect(onPass).toHaveBeenCalledTimes(4);
  finish[0]?.();
  await loop.stop();
});

test('a failed pass is reported and the next one runs', async () => {
  const failure = new Error('store away');
  const answers = [Promise.reject(failure), Promise.resolve(report(0))];
  const { clock, onPass, onError, loop } = start(() => answers.shift() ?? Promise.resolve(report(0)));
  clock.advance(1);
  await settle();
  clock.advance(1);
  await settle();
  expect(onError).toHaveBeenCalledWith(failure);
  expect(onPass).toHaveBeenCalledTimes(1);
  await loop.stop();
});

test('stopping tells the pass under way and waits for it', async () => {
  const { promise, resolve } = Promise.withResolvers<RevokeReport>();
  const { clock, revokeDue, loop } = start(() => promise);
  clock.advance(1);
  const stopped = loop.stop();
  expect(revokeDue.mock.calls[0]?.[2].aborted).toBe(true);
  resolve(report(100));
  await stopped;
  clock.advance(60);
  expect(revokeDue).toHaveBeenCalledTimes(1);
});

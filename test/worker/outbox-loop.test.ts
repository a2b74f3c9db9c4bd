import { expect, test, vi } from 'vitest';
import type { SendNotifications, SendReport } from '../../src/broker/send-notifications.ts';
import { startOutboxLoop } from '../../src/worker/outbox-loop.ts';
import { FakeClock } from '../support/fake-clock.ts';

const report = (delivered: number, retried = 0, givenUp = 0): SendReport => ({ delivered, retried, givenUp });
const settle = () => new Promise(setImmediate);

function start(answer: () => Promise<SendReport>) {
  const clock = new FakeClock();
  const send = vi.fn<SendNotifications>(answer);
  const onPass = vi.fn();
  const onError = vi.fn();
  const loop = startOutboxLoop({ clock, send, newRequestId: () => 'req', limit: 100, onPass, onError });
  return { clock, send, onPass, onError, loop };
}

test('it passes every second', async () => {
  const { clock, send, onPass, loop } = start(() => Promise.resolve(report(1)));
  clock.advance(0.9);
  expect(send).not.toHaveBeenCalled();
  clock.advance(0.1);
  clock.advance(1);
  clock.advance(1);
  await settle();
  expect(send).toHaveBeenCalledTimes(3);
  expect(send).toHaveBeenCalledWith(100, 'req', expect.any(AbortSignal));
  expect(onPass).toHaveBeenCalledTimes(3);
  await loop.stop();
});

test('it passes at once when it is woken, and a second after that', async () => {
  const { clock, send, loop } = start(() => Promise.resolve(report(0)));
  clock.advance(0.5);
  loop.wake();
  clock.advance(0.01);
  expect(send).toHaveBeenCalledTimes(1);
  clock.advance(0.98);
  expect(send).toHaveBeenCalledTimes(1);
  clock.advance(0.02);
  expect(send).toHaveBeenCalledTimes(2);
  await loop.stop();
});

test('woken a thousand times together it passes once, and being woken again and again puts nothing off', async () => {
  const { clock, send, loop } = start(() => Promise.resolve(report(0)));
  for (let count = 0; count < 1000; count += 1) {
    loop.wake();
    if (count % 100 === 0) clock.advance(0.001);
  }
  expect(send).toHaveBeenCalledTimes(1);
  await loop.stop();
});

test.each([report(100), report(40, 60), report(0, 50, 50)])(
  'a full pass is followed at once by another: %o',
  async (full) => {
    const answers = [full, report(99)];
    const { clock, send, loop } = start(() => Promise.resolve(answers.shift() ?? report(0)));
    clock.advance(1);
    await settle();
    clock.advance(0.01);
    expect(send).toHaveBeenCalledTimes(2);
    await settle();
    clock.advance(0.5);
    expect(send).toHaveBeenCalledTimes(2);
    await loop.stop();
  },
);

test('a failed pass is reported and the next one runs', async () => {
  const failure = new Error('store away');
  const answers = [Promise.reject(failure), Promise.resolve(report(0))];
  const { clock, onPass, onError, loop } = start(() => answers.shift() ?? Promise.resolve(report(0)));
  clock.advance(1);
  await settle();
  expect(onError).toHaveBeenCalledWith(failure);
  clock.advance(1);
  await settle();
  expect(onPass).toHaveBeenCalledTimes(1);
  await loop.stop();
});

test('a pass that takes long does not keep the next ones waiting, up to a limit', async () => {
  const finish: (() => void)[] = [];
  const { clock, send, onPass, loop } = start(() => new Promise((resolve) => finish.push(() => resolve(report(0)))));
  clock.advance(60);
  expect(send).toHaveBeenCalledTimes(10);
  finish[0]?.();
  await settle();
  expect(onPass).toHaveBeenCalledTimes(1);
  clock.advance(1);
  expect(send).toHaveBeenCalledTimes(11);
  const stopped = loop.stop();
  for (const each of finish) each();
  await stopped;
});

test('stopping waits for the passes under way, tells them, and starts no other', async () => {
  const finish: (() => void)[] = [];
  const { clock, send, onPass, loop } = start(() => new Promise((resolve) => finish.push(() => resolve(report(100)))));
  clock.advance(2);
  const signal = send.mock.calls[0]?.[2];
  expect(signal?.aborted).toBe(false);
  let isStopped = false;
  const stopped = loop.stop().then(() => (isStopped = true));
  expect(signal?.aborted).toBe(true);
  finish[0]?.();
  await settle();
  expect(isStopped).toBe(false);
  finish[1]?.();
  await stopped;
  loop.wake();
  clock.advance(60);
  expect(send).toHaveBeenCalledTimes(2);
  expect(onPass).toHaveBeenCalledTimes(2);
});

import { expect, test } from 'vitest';
import { withinTime } from '../../src/broker/within-time.ts';
import { upstreamError } from '../../src/domain/errors.ts';
import { FakeClock } from '../support/fake-clock.ts';

const LATE = { code: 'deadline_exceeded', message: 'too late' };

function start<T>(work: (signal: AbortSignal) => Promise<T>) {
  const clock = new FakeClock();
  return { clock, outcome: withinTime(clock, 10, 'too late', work) };
}

test('what is done in time is the answer, and its signal stays as it is', async () => {
  const signals: AbortSignal[] = [];
  const { clock, outcome } = start((signal) => {
    signals.push(signal);
    return Promise.resolve('done');
  });
  expect(await outcome).toBe('done');
  clock.advance(60);
  expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
});

test('a failure in time is told as it is', async () => {
  const failure = upstreamError('no');
  await expect(start(() => Promise.reject(failure)).outcome).rejects.toBe(failure);
});

test('whoever hears of the end in time is late, whatever they say of it', async () => {
  const { clock, outcome } = start(
    (signal) =>
      new Promise((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(new Error('AbortError of a library'))),
      ),
  );
  clock.advance(10);
  await expect(outcome).rejects.toMatchObject(LATE);
});

test('an answer that comes in the last second is still one', async () => {
  const { clock, outcome } = start(
    (signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve('just made it'))),
  );
  clock.advance(10);
  expect(await outcome).toBe('just made it');
});

test('whoever pays no heed is left behind a second later, and what they say then is dropped', async () => {
  const { promise, reject } = Promise.withResolvers<never>();
  const { clock, outcome } = start(() => promise);
  clock.advance(11);
  await expect(outcome).rejects.toMatchObject(LATE);
  reject(new Error('far too late'));
  await new Promise(setImmediate);
});

import { expect, test, vi } from 'vitest';
import { type Chore, runOnce } from '../../src/worker/run-once.ts';

const never = new AbortController().signal;

/** A chore that does so many things in its passes, and then nothing. */
const counting = (log: string[], name: string, ...counts: number[]): Chore => {
  return () => {
    log.push(name);
    return Promise.resolve(counts.shift() ?? 0);
  };
};

function run(chores: Readonly<Record<string, Chore>>, stop = never) {
  const onError = vi.fn();
  return { report: runOnce({ chores, newRequestId: () => 'req', limit: 100, stop, onError }), onError };
}

test('each chore is done in order, round by round, until nothing is due', async () => {
  const log: string[] = [];
  const { report } = run({ expiry: counting(log, 'expiry', 100, 7), leases: counting(log, 'leases', 0, 3, 0) });
  expect(await report).toEqual({ done: { expiry: 107, leases: 3 }, unfinished: [] });
  expect(log).toEqual(['expiry', 'leases', 'expiry', 'leases', 'expiry', 'leases']);
});

test('where nothing is due, each is asked once', async () => {
  const log: string[] = [];
  const { report } = run({ expiry: counting(log, 'expiry'), leases: counting(log, 'leases') });
  expect(await report).toEqual({ done: { expiry: 0, leases: 0 }, unfinished: [] });
  expect(log).toEqual(['expiry', 'leases']);
});

test('a chore is told its limit, a request id and when to stop', async () => {
  const chore = vi.fn<Chore>(() => Promise.resolve(0));
  await run({ chore }).report;
  expect(chore).toHaveBeenCalledWith(100, 'req', never);
});

test('one that fails is reported, not tried again, and does not keep the others from being done', async () => {
  const log: string[] = [];
  const failure = new Error('store away');
  const broken: Chore = () => {
    log.push('broken');
    return Promise.reject(failure);
  };
  const { report, onError } = run({ broken, leases: counting(log, 'leases', 1) });
  expect(await report).toEqual({ done: { broken: 0, leases: 1 }, unfinished: ['broken'] });
  expect(log).toEqual(['broken', 'leases', 'leases']);
  expect(onError).toHaveBeenCalledExactlyOnceWith('broken', failure);
});

test('work without an end is left to the next run', async () => {
  const endless = vi.fn<Chore>(() => Promise.resolve(1));
  const { report } = run({ endless });
  expect(await report).toEqual({ done: { endless: 1000 }, unfinished: ['endless'] });
  expect(endless).toHaveBeenCalledTimes(1000);
});

test('once it is told to stop it begins no more rounds', async () => {
  const stopping = new AbortController();
  const chore: Chore = () => {
    stopping.abort();
    return Promise.resolve(1);
  };
  expect(await run({ chore }, stopping.signal).report).toEqual({ done: { chore: 1 }, unfinished: ['chore'] });
});

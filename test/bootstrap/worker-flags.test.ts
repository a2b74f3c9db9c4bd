import { expect, test } from 'vitest';
import { parseWorkerFlags } from '../../src/bootstrap/worker-flags.ts';

test('without flags a pass takes 100 of each kind, every 30 seconds', () => {
  expect(parseWorkerFlags([])).toEqual({ intervalSeconds: 30, limit: 100, once: false });
});

test.each([
  [['--interval', '5s', '--limit', '7', '--once'], { intervalSeconds: 5, limit: 7, once: true }],
  [['--interval=1m30s', '--limit=7'], { intervalSeconds: 90, limit: 7, once: false }],
  [['-interval', '500ms', '-once'], { intervalSeconds: 0.5, limit: 100, once: true }],
  [['-interval=1.5h', '-limit=10000'], { intervalSeconds: 5400, limit: 10_000, once: false }],
])('%j is understood', (args, flags) => {
  expect(parseWorkerFlags(args)).toEqual(flags);
});

test.each([
  [['--interval', '30'], /^--interval: write a duration/],
  [['--interval', '-5s'], /--interval/],
  [['--interval', '0s'], /^--interval: must be more than 0/],
  [['--interval', '25h'], /^--interval: must be .* at most 24h/],
  [['--limit', '0'], /^--limit: must be a whole number/],
  [['--limit', '1e3'], /^--limit: must be a whole number/],
  [['--limit', '10001'], /^--limit: must be a whole number/],
  [['--twice'], /--twice/],
  [['now'], /now/],
])('%j is refused with what to change', (args, message) => {
  expect(() => parseWorkerFlags(args)).toThrow(message);
});

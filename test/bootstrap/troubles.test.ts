import { expect, test } from 'vitest';
import { Troubles } from '../../src/bootstrap/troubles.ts';
import { FakeClock } from '../support/fake-clock.ts';

test('a trouble is told when it begins, once a minute while it lasts, and when it is over', () => {
  const clock = new FakeClock();
  const told: unknown[] = [];
  const troubles = new Troubles(clock, { begun: (error) => told.push(error), over: () => told.push('over') });
  troubles.succeeded();
  expect(told).toEqual([]);
  for (let second = 0; second < 121; second += 1) {
    troubles.failed(second);
    clock.advance(1);
  }
  expect(told).toEqual([0, 60, 120]);
  troubles.succeeded();
  troubles.succeeded();
  troubles.failed('again');
  expect(told).toEqual([0, 60, 120, 'over', 'again']);
});

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { TimeQueue } from '../../../src/store/memory/time-queue.ts';

const id = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j');
const moment = fc.integer({ min: 0, max: 20 });
const operation = fc.oneof(
  fc.record({ kind: fc.constant('put' as const), id, moment }),
  fc.record({ kind: fc.constant('remove' as const), id }),
  fc.record({
    kind: fc.constantFrom('before', 'until', 'takeBefore', 'takeUntil'),
    moment,
    limit: fc.integer({ min: 0, max: 12 }),
  }),
);

it('answers like a sorted list', () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 80 }), (operations) => {
      const queue = new TimeQueue<string>();
      const list = new Map<string, number>();
      for (const step of operations) {
        if (step.kind === 'put') {
          queue.put(step.id, new Date(step.moment));
          list.set(step.id, step.moment);
        } else if (step.kind === 'remove') {
          queue.remove(step.id);
          list.delete(step.id);
        } else {
          const end = step.kind.endsWith('ntil') ? step.moment + 1 : step.moment;
          const due = [...list.values()].filter((time) => time < end).sort((a, b) => a - b);
          const found = queue[step.kind](new Date(step.moment), step.limit);
          expect(found.map((name) => list.get(name))).toEqual(due.slice(0, step.limit));
          expect(new Set(found).size).toBe(found.length);
          if (step.kind.startsWith('take')) for (const name of found) list.delete(name);
        }
        for (const name of 'abcdefghij') expect(queue.timeMs(name)).toBe(list.get(name));
        expect(queue.size).toBe(list.size);
      }
    }),
    { numRuns: 500 },
  );
});

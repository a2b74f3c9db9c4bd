import fc from 'fast-check';
import { expect, it } from 'vitest';
import { IdIndex, PairIndex, pairKey } from '../../../src/store/memory/id-index.ts';
import { SortedIds } from '../../../src/store/memory/sorted-ids.ts';

const text = (value: number): string => String(value).padStart(5, '0');
const id = fc.integer({ min: 0, max: 99_999 }).map(text);

const lists: [string, fc.Arbitrary<string[]>][] = [
  ['in any order', fc.array(id, { maxLength: 3000, size: 'max' })],
  ['in order', fc.uniqueArray(id, { maxLength: 3000, size: 'max' }).map((ids) => ids.toSorted())],
  ['in reverse order', fc.uniqueArray(id, { maxLength: 3000, size: 'max' }).map((ids) => ids.toSorted().toReversed())],
];

it.each(lists)('ids that come and go %s are there once, in their order', (_, ids) => {
  fc.assert(
    fc.property(ids, fc.array(id, { maxLength: 20 }), fc.integer({ min: 2, max: 5 }), (added, strange, nth) => {
      const sorted = new SortedIds<string>();
      for (const one of added) sorted.add(one);
      const removed = added.filter((_one, index) => index % nth === 0);
      for (const one of [...removed, ...strange]) sorted.remove(one);
      const gone = new Set([...removed, ...strange]);
      const left = [...new Set(added)].filter((one) => !gone.has(one)).sort();
      expect([...sorted.ascending()]).toEqual(left);
      expect([...sorted.descending(null)]).toEqual(left.toReversed());
      for (const below of strange) {
        expect([...sorted.descending(below)]).toEqual(left.filter((one) => one < below).toReversed());
      }
      for (const one of left) sorted.remove(one);
      expect(sorted.isEmpty).toBe(true);
    }),
    { numRuns: 60 },
  );
});

const key = fc.constantFrom('a', 'b', 'c');
const step = fc.record({ add: fc.boolean(), outer: key, inner: key, id: fc.integer({ min: 0, max: 5 }).map(text) });

it('indexes answer like sorted lists by key, and keep no key without ids', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 0, max: 6 }).map(text), (steps, below) => {
      const index = new IdIndex<string, string>();
      const pairs = new PairIndex<string, string, string>();
      const model = new Map<string, Set<string>>();
      for (const { add, outer, inner, id: one } of steps) {
        const name = `${outer} ${inner}`;
        const ids = model.get(name) ?? new Set();
        if (add) {
          index.add(name, one);
          pairs.add(outer, inner, one);
          model.set(name, ids.add(one));
        } else {
          index.remove(name, one);
          pairs.remove(outer, inner, one);
          ids.delete(one);
          if (ids.size === 0) model.delete(name);
        }
      }
      for (const outer of 'abc') {
        for (const inner of 'abc') {
          const name = `${outer} ${inner}`;
          const ids = [...(model.get(name) ?? [])].sort();
          expect([...index.ascending(name)]).toEqual(ids);
          expect([...pairs.ascending(outer, inner)]).toEqual(ids);
          expect([...index.descending(name, null)]).toEqual(ids.toReversed());
          const lower = ids.filter((one) => one < below).toReversed();
          expect([...index.descending(name, below)]).toEqual(lower);
          expect([...pairs.descending(outer, inner, below)]).toEqual(lower);
        }
      }
      expect(index.size).toBe(model.size);
      expect(pairs.size).toBe(new Set([...model.keys()].map((name) => name[0])).size);
    }),
    { numRuns: 300 },
  );
});

it('no two pairs make one key', () => {
  const part = fc.oneof(fc.constantFrom('', '"', '","', '\\', '\\"', ']', 'a'), fc.string());
  fc.assert(
    fc.property(part, part, part, part, (outer, inner, otherOuter, otherInner) => {
      const isSame = outer === otherOuter && inner === otherInner;
      expect(pairKey(outer, inner) === pairKey(otherOuter, otherInner)).toBe(isSame);
    }),
  );
});

import { describe, expect, it } from 'vitest';
import { copyRow } from '../../../src/store/memory/row-copy.ts';

describe('a copied row', () => {
  it('shares what is frozen to its depth', () => {
    const workload = Object.freeze({ subject: 'agent', attributes: Object.freeze({ pod: 'one' }) });
    const copy = copyRow({ workload });
    expect(copy.workload).toBe(workload);
  });

  it.each<[string, () => object]>([
    ['an object', () => ({ name: 'one' })],
    ['a list', () => ['one']],
    ['a date', () => new Date(5)],
  ])('copies what is frozen on the outside and holds %s', (_name, inner) => {
    const row = { outer: Object.freeze({ inner: inner() }) };
    const copy = copyRow(row);
    expect(copy).toEqual(row);
    expect(copy.outer.inner).not.toBe(row.outer.inner);
  });

  it.each<[string, unknown]>([
    ['a map', Object.freeze({ inner: new Map() })],
    ['a function', Object.freeze({ inner: () => 1 })],
    ['a frozen function further down', Object.freeze({ inner: Object.freeze({ deep: Object.freeze(() => 1) }) })],
  ])('is refused when it holds %s, frozen or not', (_name, row) => {
    expect(() => copyRow({ row })).toThrow(TypeError);
  });
});

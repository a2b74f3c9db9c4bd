import { SortedIds } from './sorted-ids.ts';

/** Ids by a key, in their order. Most keys have one id, which is kept bare: a collection for each would weigh more than it. */
export class IdIndex<Key extends string, Id extends string> {
  readonly #ids = new Map<Key, Id | SortedIds<Id>>();

  /** How many keys have an id. */
  get size(): number {
    return this.#ids.size;
  }

  add(key: Key, id: Id): void {
    const present = this.#ids.get(key);
    if (present === undefined) {
      this.#ids.set(key, id);
    } else if (present instanceof SortedIds) {
      present.add(id);
    } else if (present !== id) {
      const ids = new SortedIds<Id>();
      ids.add(present);
      ids.add(id);
      this.#ids.set(key, ids);
    }
  }

  /** Takes an id out. One that is not inside is no error. */
  remove(key: Key, id: Id): void {
    const present = this.#ids.get(key);
    if (present instanceof SortedIds) {
      present.remove(id);
      if (present.isEmpty) this.#ids.delete(key);
    } else if (present === id) {
      this.#ids.delete(key);
    }
  }

  /** The ids of a key, first to last. */
  ascending(key: Key): Iterable<Id> {
    const present = this.#ids.get(key);
    if (present === undefined) return [];
    return present instanceof SortedIds ? present.ascending() : [present];
  }

  /** The ids of a key, last to first: all, or those before `below`, which need not be among them. */
  descending(key: Key, below: string | null): Iterable<Id> {
    const present = this.#ids.get(key);
    if (present === undefined) return [];
    if (present instanceof SortedIds) return present.descending(below);
    return below === null || present < below ? [present] : [];
  }
}

/** The same by two keys, for few outer ones with many inner ones. */
export class PairIndex<Outer extends string, Inner extends string, Id extends string> {
  readonly #indexes = new Map<Outer, IdIndex<Inner, Id>>();

  /** How many outer keys have an id. */
  get size(): number {
    return this.#indexes.size;
  }

  add(outer: Outer, inner: Inner, id: Id): void {
    let index = this.#indexes.get(outer);
    if (index === undefined) {
      index = new IdIndex();
      this.#indexes.set(outer, index);
    }
    index.add(inner, id);
  }

  /** Takes an id out. One that is not inside is no error. */
  remove(outer: Outer, inner: Inner, id: Id): void {
    const index = this.#indexes.get(outer);
    index?.remove(inner, id);
    if (index?.size === 0) this.#indexes.delete(outer);
  }

  ascending(outer: Outer, inner: Inner): Iterable<Id> {
    return this.#indexes.get(outer)?.ascending(inner) ?? [];
  }

  descending(outer: Outer, inner: Inner, below: string | null): Iterable<Id> {
    return this.#indexes.get(outer)?.descending(inner, below) ?? [];
  }
}

/** One key of two, for many outer ones with few inner ones. No two pairs make the same, whatever is in them. */
export const pairKey = (outer: string, inner: string): string => JSON.stringify([outer, inner]);

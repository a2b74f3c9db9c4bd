interface Entry<Id> {
  id: Id;
  timeMs: number;
}

/**
 * Ids, each with a moment, earliest first. A binary heap that knows the place of each id, so that adding an id and taking
 * any one out cost O(log n) and nothing outdated is left inside.
 */
export class TimeQueue<Id extends string> {
  readonly #heap: Entry<Id>[] = [];
  readonly #places = new Map<Id, number>();

  get size(): number {
    return this.#heap.length;
  }

  /** Adds an id, or gives it another moment. */
  put(id: Id, time: Date): void {
    this.remove(id);
    this.#push({ id, timeMs: time.getTime() });
  }

  /** Takes an id out. One that is not inside is no error. */
  remove(id: Id): void {
    const place = this.#places.get(id);
    if (place === undefined) return;
    this.#places.delete(id);
    const last = this.#heap.pop();
    if (last === undefined || last.id === id) return;
    this.#sink(last, place);
    this.#rise(last, this.#places.get(last.id) ?? place);
  }

  /** The moment of an id, in milliseconds since the epoch; undefined for one that is not inside. */
  timeMs(id: Id): number | undefined {
    const place = this.#places.get(id);
    return place === undefined ? undefined : this.#heap[place]?.timeMs;
  }

  /** Up to `limit` ids whose moment is before `end`, earliest first. They stay inside. Costs O(log n) for each. */
  before(end: Date, limit: number): Id[] {
    return this.#look(end.getTime(), limit);
  }

  /** The same, for ids whose moment is `end` or before. */
  until(end: Date, limit: number): Id[] {
    return this.#look(end.getTime() + 1, limit);
  }

  /** Takes out up to `limit` ids whose moment is before `end`, earliest first. */
  takeBefore(end: Date, limit: number): Id[] {
    return this.#take(end.getTime(), limit).map((entry) => entry.id);
  }

  /** The same, for ids whose moment is `end` or before. */
  takeUntil(end: Date, limit: number): Id[] {
    return this.#take(end.getTime() + 1, limit).map((entry) => entry.id);
  }

  /** Takes out up to `limit` ids, earliest first, whatever their moment. */
  takeFirst(limit: number): Id[] {
    return this.#take(Number.POSITIVE_INFINITY, limit).map((entry) => entry.id);
  }

  #look(endMs: number, limit: number): Id[] {
    const taken = this.#take(endMs, limit);
    for (const entry of taken) this.#push(entry);
    return taken.map((entry) => entry.id);
  }

  #take(endMs: number, limit: number): Entry<Id>[] {
    const taken: Entry<Id>[] = [];
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || first.timeMs >= endMs || taken.length >= limit) return taken;
      this.remove(first.id);
      taken.push(first);
    }
  }

  #push(entry: Entry<Id>): void {
    this.#heap.push(entry);
    this.#rise(entry, this.#heap.length - 1);
  }

  #rise(entry: Entry<Id>, from: number): void {
    let place = from;
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = this.#heap[above];
      if (parent === undefined || parent.timeMs <= entry.timeMs) break;
      this.#set(place, parent);
      place = above;
    }
    this.#set(place, entry);
  }

  #sink(entry: Entry<Id>, from: number): void {
    let place = from;
    for (;;) {
      const child = this.#earlierChild(place);
      if (child === null || child.entry.timeMs >= entry.timeMs) break;
      this.#set(place, child.entry);
      place = child.place;
    }
    this.#set(place, entry);
  }

  #earlierChild(place: number): { entry: Entry<Id>; place: number } | null {
    const left = this.#heap[2 * place + 1];
    const right = this.#heap[2 * place + 2];
    if (left === undefined) return null;
    if (right === undefined || left.timeMs <= right.timeMs) return { entry: left, place: 2 * place + 1 };
    return { entry: right, place: 2 * place + 2 };
  }

  #set(place: number, entry: Entry<Id>): void {
    this.#heap[place] = entry;
    this.#places.set(entry.id, place);
  }
}

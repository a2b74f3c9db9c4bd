import { TimeQueue } from './time-queue.ts';

/** Ids in groups, each with a moment: many of one group must not hide those of the others. */
export class TimeQueues<Id extends string> {
  readonly #queues = new Map<string, TimeQueue<Id>>();

  /** How many groups have an id. */
  get groups(): number {
    return this.#queues.size;
  }

  /** How many ids there are, those of all groups together. */
  get size(): number {
    let size = 0;
    for (const queue of this.#queues.values()) size += queue.size;
    return size;
  }

  /** Adds an id to a group, or gives it another moment there. */
  put(group: string, id: Id, time: Date): void {
    let queue = this.#queues.get(group);
    if (queue === undefined) {
      queue = new TimeQueue();
      this.#queues.set(group, queue);
    }
    queue.put(id, time);
  }

  /** Takes an id out of its group. One that is not inside is no error. */
  remove(group: string, id: Id): void {
    const queue = this.#queues.get(group);
    queue?.remove(id);
    if (queue?.size === 0) this.#queues.delete(group);
  }

  /** Up to `limit` ids whose moment is `end` or before, earliest first, but for those of the groups left out. They stay inside. */
  until(end: Date, limit: number, leftOut: readonly string[]): Id[] {
    const found: { id: Id; timeMs: number }[] = [];
    for (const [group, queue] of this.#queues) {
      if (leftOut.includes(group)) continue;
      for (const id of queue.until(end, limit)) found.push({ id, timeMs: queue.timeMs(id) ?? 0 });
    }
    found.sort((one, other) => one.timeMs - other.timeMs);
    return found.slice(0, limit).map(({ id }) => id);
  }
}

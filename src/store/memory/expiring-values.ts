import { TimeQueue } from './time-queue.ts';

/** More are dropped than can be added, so what ran out does not pile up between two passes of the cleanup. */
const DROPPED_WITH_EACH = 2;
/** Some 20 ms' worth; what is left goes with the next pass. */
const DROPPED_AT_ONCE = 10_000;

/** Values by key, each good until its end. */
export class ExpiringValues {
  readonly #values = new Map<string, string>();
  readonly #ends = new TimeQueue<string>();

  /** How many are inside, those that ran out included. */
  get size(): number {
    return this.#values.size;
  }

  /** How many ends are kept; as many as there are values. */
  get ends(): number {
    return this.#ends.size;
  }

  /** Undefined when there is none that is good at `now`. */
  get(key: string, now: Date): string | undefined {
    const end = this.#ends.timeMs(key);
    return end !== undefined && end > now.getTime() ? this.#values.get(key) : undefined;
  }

  /** Whether a key takes up room, good or not. */
  has(key: string): boolean {
    return this.#values.has(key);
  }

  /** When a value ends, in milliseconds since the epoch. */
  endMs(key: string): number | undefined {
    return this.#ends.timeMs(key);
  }

  put(key: string, value: string, expiresAt: Date): void {
    this.#values.set(key, value);
    this.#ends.put(key, expiresAt);
  }

  remove(key: string): void {
    this.#values.delete(key);
    this.#ends.remove(key);
  }

  /** Takes the one out that ends first. */
  removeFirst(): void {
    for (const key of this.#ends.takeFirst(1)) this.#values.delete(key);
  }

  /** Drops a few that ran out; to be called before one is added. */
  dropSome(now: Date): void {
    this.#drop(now, DROPPED_WITH_EACH);
  }

  /** Drops what ran out, the oldest first and so many at once that no call waits long for it. */
  forgetExpired(now: Date): void {
    this.#drop(now, DROPPED_AT_ONCE);
  }

  #drop(now: Date, limit: number): void {
    for (const key of this.#ends.takeUntil(now, limit)) this.#values.delete(key);
  }
}

import { unavailable } from '../../domain/errors.ts';
import { TimeQueue } from './time-queue.ts';

/** More are dropped than can be added, so what ran out does not pile up between two passes of the cleanup. */
const DROPPED_WITH_EACH = 2;
/** Some 20 ms' worth; what is left goes with the next pass. */
const DROPPED_AT_ONCE = 10_000;

/**
 * Who was first to ask for a key. What is kept is bounded twice: a claim goes when its time is up, and no more than `maxClaims`
 * are held at once. A live one never makes room, since whatever it marks could then be used again.
 */
export class Claims {
  readonly #values = new Map<string, string>();
  readonly #ends = new TimeQueue<string>();
  readonly #maxClaims: number;

  constructor(maxClaims: number) {
    this.#maxClaims = maxClaims;
  }

  counts(): Readonly<Record<string, number>> {
    return { claims: this.#values.size, claimEnds: this.#ends.size };
  }

  /** Throws `unavailable` when there is no room. */
  claim(key: string, value: string, expiresAt: Date, now: Date): boolean {
    this.#drop(now, DROPPED_WITH_EACH);
    const end = this.#ends.timeMs(key);
    if (end !== undefined && end > now.getTime()) return this.#values.get(key) === value;
    // What is over at once would let everybody be the first.
    if (expiresAt <= now) return false;
    if (end === undefined && this.#values.size >= this.#maxClaims) {
      throw unavailable('too many of these are in use at once; try again later');
    }
    this.#values.set(key, value);
    this.#ends.put(key, expiresAt);
    return true;
  }

  /** Drops claims that ran out, the oldest first and so many at once that no call waits long for it. */
  forgetExpired(now: Date): void {
    this.#drop(now, DROPPED_AT_ONCE);
  }

  #drop(now: Date, limit: number): void {
    for (const key of this.#ends.takeUntil(now, limit)) this.#values.delete(key);
  }
}

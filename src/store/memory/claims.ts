import { unavailable } from '../../domain/errors.ts';
import { ExpiringValues } from './expiring-values.ts';

/**
 * Who was first to ask for a key. What is kept is bounded twice: a claim goes when its time is up, and no more than `maxClaims`
 * are held at once. A live one never makes room, since whatever it marks could then be used again.
 */
export class Claims {
  readonly #values = new ExpiringValues();
  readonly #maxClaims: number;

  constructor(maxClaims: number) {
    this.#maxClaims = maxClaims;
  }

  counts(): Readonly<Record<string, number>> {
    return { claims: this.#values.size, claimEnds: this.#values.ends };
  }

  /** Throws `unavailable` when there is no room. */
  claim(key: string, value: string, expiresAt: Date, now: Date): boolean {
    this.#values.dropSome(now);
    const holder = this.#values.get(key, now);
    if (holder !== undefined) return holder === value;
    // What is over at once would let everybody be the first.
    if (expiresAt <= now) return false;
    if (!this.#values.has(key) && this.#values.size >= this.#maxClaims) {
      throw unavailable('too many of these are in use at once; try again later');
    }
    this.#values.put(key, value, expiresAt);
    return true;
  }

  forgetExpired(now: Date): void {
    this.#values.forgetExpired(now);
  }
}

import { unavailable } from '../../domain/errors.ts';
import { ExpiringValues } from './expiring-values.ts';

/** Values that are kept for others to find. No more than `maxValues` at once, and none that is good makes room for another. */
export class KeptValues {
  readonly #values = new ExpiringValues();
  readonly #maxValues: number;

  constructor(maxValues: number) {
    this.#maxValues = maxValues;
  }

  get size(): number {
    return this.#values.size;
  }

  /** Throws `unavailable` when there is no room. */
  keep(key: string, value: string, expiresAt: Date, now: Date): void {
    this.#values.dropSome(now);
    if (expiresAt <= now) {
      this.#values.remove(key);
      return;
    }
    if (!this.#values.has(key) && this.#values.size >= this.#maxValues) {
      throw unavailable('too many of these are kept at once; try again later');
    }
    this.#values.put(key, value, expiresAt);
  }

  get(key: string, now: Date): string | null {
    return this.#values.get(key, now) ?? null;
  }

  forgetExpired(now: Date): void {
    this.#values.forgetExpired(now);
  }
}

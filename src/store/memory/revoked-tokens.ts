import { ExpiringValues } from './expiring-values.ts';

/** The marks of revoked tokens. The one that would run out first makes room for another: the repository knows it as well. */
export class RevokedTokens {
  readonly #marks = new ExpiringValues();
  readonly #maxMarks: number;

  constructor(maxMarks: number) {
    this.#maxMarks = maxMarks;
  }

  get size(): number {
    return this.#marks.size;
  }

  /** A token that is marked already stays so until the later end. */
  add(tokenId: string, expiresAt: Date, now: Date): void {
    this.#marks.dropSome(now);
    const endMs = this.#marks.endMs(tokenId) ?? now.getTime();
    if (expiresAt.getTime() <= endMs) return;
    if (!this.#marks.has(tokenId) && this.#marks.size >= this.#maxMarks) this.#marks.removeFirst();
    this.#marks.put(tokenId, '', expiresAt);
  }

  has(tokenId: string, now: Date): boolean {
    return this.#marks.get(tokenId, now) !== undefined;
  }

  forgetExpired(now: Date): void {
    this.#marks.forgetExpired(now);
  }
}

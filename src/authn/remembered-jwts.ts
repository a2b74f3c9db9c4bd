import { hash } from 'node:crypto';
import type { JWTPayload } from 'jose';
import { LRUCache } from 'lru-cache';
import type { KeyHint, KeySource } from './key-source.ts';
import type { VerificationKey } from './pem-keys.ts';

/** Thousands of tokens as Kubernetes projects them; fewer where they are long, never more memory. */
const MAX_BYTES = 8 * 2 ** 20;
/** What an entry takes besides its claims. */
const ENTRY_BYTES = 512;

/** A token that was found good. */
export interface GoodJwt {
  claims: JWTPayload & { exp: number };
  /** The key whose signature it bears, and what its header says of that. */
  key: VerificationKey;
  hint: KeyHint;
  /** When its times were checked. */
  checkedAt: Date;
}

/**
 * Remembers which tokens were verified, so that a pod that opens many sessions pays for the signature of its token once. A token is
 * remembered by its SHA-256, only when it was good, only until its `exp` by the clock without any tolerance, and only while its key is
 * still one of the issuer's: to verify it again could say nothing else.
 */
export class RememberedJwts {
  readonly #good = new LRUCache<string, GoodJwt & { size: number }>({
    maxSize: MAX_BYTES,
    sizeCalculation: ({ size }) => size,
  });

  /** The claims of a token that is known to be good at `now`; null when it has to be verified. Rejects as `keys` does. */
  async claimsOf(token: string, keys: KeySource, now: Date): Promise<GoodJwt['claims'] | null> {
    const known = this.#good.get(keyOf(token));
    // What was in date once stays so until its end; a clock that was set back begins anew.
    if (known === undefined || now < known.checkedAt || now.getTime() >= known.claims.exp * 1000) return null;
    const current = keys.fixed ?? (await keys.find(known.hint));
    return current.includes(known.key) ? known.claims : null;
  }

  remember(token: string, good: GoodJwt): void {
    this.#good.set(keyOf(token), { ...good, size: ENTRY_BYTES + 2 * token.length });
  }
}

const keyOf = (token: string): string => hash('sha256', token, 'base64');

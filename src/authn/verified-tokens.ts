import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../domain/clock.ts';
import type { SessionClaims, SessionTokens } from '../domain/session-tokens.ts';

/** About 1 KiB each. */
const MAX_TOKENS = 5000;

/**
 * Remembers which session tokens were verified, so that a run's later calls do not pay for the same signature again. A token
 * is remembered by its SHA-256, only when it was valid, and only until its `exp`; whether its session still lives is asked of the
 * store at every use, as ever.
 */
export function rememberVerified(tokens: SessionTokens, clock: Clock): SessionTokens {
  const verified = new LRUCache<string, SessionClaims>({ max: MAX_TOKENS });
  return {
    ...tokens,
    async verify(token) {
      const key = hash('sha256', token, 'base64');
      const known = verified.get(key);
      if (known !== undefined) {
        if (clock.now() < known.expiresAt) return known;
        verified.delete(key);
      }
      const claims = await tokens.verify(token);
      verified.set(key, Object.freeze(claims));
      return claims;
    },
  };
}

import { readFile } from 'node:fs/promises';
import { Agent } from 'undici';
import { isTrustworthy } from '../authn/issuer-url.ts';
import { makeTokenReview, type TokenReview } from '../authn/token-review.ts';
import type { Clock } from '../domain/clock.ts';
import { readText } from './read-text.ts';
import type { TokenReviewSettings } from './settings.ts';

/** An answer is a few KiB; the token comes back in it. */
const MAX_RESPONSE_BYTES = 256 * 1024;
/** Kubernetes writes a new token into the file when a fifth of the old one's life is left. */
const OWN_TOKEN_AGE_MS = 60_000;

/**
 * Opens the reviews of one cluster. The authority's file is read here and now. Throws an Error when it or the token's file cannot
 * be read, or when ASB's own token would travel in the clear.
 */
export function openTokenReview(settings: TokenReviewSettings, deps: { audience: string; clock: Clock }): TokenReview {
  const { apiServer, caFile, tokenFile } = settings;
  if (!isTrustworthy(apiServer)) throw new Error('the API server must be an https URL (http is for loopback only)');
  const ca = caFile === null ? undefined : withName('the CA file', () => readText(caFile));
  withName('the token file', () => readText(tokenFile));
  const dispatcher = new Agent({ maxResponseSize: MAX_RESPONSE_BYTES, connect: { ca } });
  return makeTokenReview({ ...deps, apiServer, dispatcher, ownToken: tokenFromFile(tokenFile, deps.clock) });
}

function withName(name: string, read: () => string): string {
  try {
    return read();
  } catch (cause) {
    throw new Error(`${name}: ${cause instanceof Error ? cause.message : 'cannot be read'}`, { cause });
  }
}

/** The content of a file that is rotated, read again once a minute. */
export function tokenFromFile(path: string, clock: Clock): () => Promise<string> {
  let latest: { token: Promise<string>; readAt: number } | null = null;
  return () => {
    const now = clock.now().getTime();
    if (latest === null || Math.abs(now - latest.readAt) >= OWN_TOKEN_AGE_MS) {
      const reading = { token: readToken(path), readAt: now };
      latest = reading;
      // What could not be read is not remembered.
      reading.token.catch(() => {
        if (latest === reading) latest = null;
      });
    }
    return latest.token;
  };
}

async function readToken(path: string): Promise<string> {
  const text = (await readFile(path, 'utf8')).trim();
  if (text === '') throw new Error("the file of ASB's own token is empty");
  return text;
}

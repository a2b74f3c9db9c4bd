import { decodeJwt } from 'jose';
import { isCompactJws } from '../domain/compact-jws.ts';
import { MAX_JWT_LENGTH } from './signed-jwt.ts';

/**
 * The issuer that a token names. Nothing is proved yet: this only chooses who checks the signature and, again, the name. A token
 * that names none of them goes to the first, which refuses it as any forgery, and so does not tell who is configured. Undefined
 * when there are none.
 */
export function namedIssuer<T extends { issuer: string }>(issuers: readonly T[], token: string): T | undefined {
  if (issuers.length < 2) return issuers[0];
  const claimed = claimedIssuer(token);
  return issuers.find(({ issuer }) => issuer === claimed) ?? issuers[0];
}

function claimedIssuer(token: string): unknown {
  if (!isCompactJws(token, MAX_JWT_LENGTH)) return undefined;
  try {
    return decodeJwt(token).iss;
  } catch {
    return undefined;
  }
}

/** Throws an Error when an issuer is there twice: what its tokens are worth would hang on the order. */
export function requireDistinctIssuers(issuers: readonly { issuer: string }[], whose: string): void {
  if (new Set(issuers.map(({ issuer }) => issuer)).size !== issuers.length) {
    throw new Error(`${whose}: an issuer is configured twice`);
  }
}

/**
 * The token of an `Authorization: Bearer` header (RFC 6750 section 2.1), or of one with the scheme `DPoP` (RFC 9449 section 7.1): whether
 * a token needs a proof is for the broker to say, whatever its scheme. Null when there is none: other schemes are not ours to read, and
 * a call that needs a token answers 401 without one.
 */
export function presentedToken(header: string | null | undefined): string | null {
  const match = /^(?:bearer|dpop) +(.*)$/i.exec(header ?? '');
  const token = match?.[1]?.trim() ?? '';
  return token === '' ? null : token;
}

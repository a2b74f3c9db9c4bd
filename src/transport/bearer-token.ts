/**
 * The token of an `Authorization: Bearer` header (RFC 6750 section 2.1). Null when there is none: other schemes are not ours
 * to read, and a call that needs a token answers 401 without one.
 */
export function bearerToken(header: string | null | undefined): string | null {
  const match = /^bearer +(.*)$/i.exec(header ?? '');
  const token = match?.[1]?.trim() ?? '';
  return token === '' ? null : token;
}

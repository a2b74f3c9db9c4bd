/** Three base64url parts (RFC 7515 section 7.1); `.` separates them and nothing pads them. */
const COMPACT_JWS = /^[\w-]+\.[\w-]+\.[\w-]+$/;
/** Characters of base64 that stand for whole bytes. */
const QUANTUM = 4;
/** What the last of two or of three characters can be, so that its unused bits are nought; one alone stands for no byte. */
const LAST_OF: readonly (RegExp | null)[] = [/[\w-]$/, null, /[AQgw]$/, /[AEIMQUYcgkosw048]$/];

/**
 * Whether a presented token has the one shape and spelling that a signed JWT can have, so that nothing larger or stranger
 * reaches a decoder. Decoders skip white space and ignore unused trailing bits (RFC 4648 section 3.5); without this check
 * one signature could be written in several ways.
 */
export function isCompactJws(token: string, maxLength: number): boolean {
  if (token.length > maxLength || !COMPACT_JWS.test(token)) return false;
  // Only the last, broken group of characters has bits to spare.
  const length = token.length - token.lastIndexOf('.') - 1;
  return LAST_OF[length % QUANTUM]?.test(token) ?? false;
}

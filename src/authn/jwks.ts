import { createPublicKey } from 'node:crypto';
import { z } from 'zod';
import { toVerificationKey, type VerificationKey } from './pem-keys.ts';

/** Bounds the signatures that one forged token can make us check. The busiest public issuers publish about ten. */
const MAX_KEYS = 32;

const KeySet = z.object({ keys: z.array(z.unknown()).max(MAX_KEYS, `at most ${MAX_KEYS} keys are read`) });

/** What RFC 7518 section 6 and RFC 8037 section 2 make a public key of. */
const PublicPart = z.object({
  kty: z.enum(['RSA', 'EC', 'OKP']),
  crv: z.string().optional(),
  n: z.string().optional(),
  e: z.string().optional(),
  x: z.string().optional(),
  y: z.string().optional(),
});
/** RFC 7517 section 4. */
const Purpose = z.object({
  kid: z.string().optional(),
  use: z.string().optional(),
  key_ops: z.array(z.string()).optional(),
  alg: z.string().optional(),
});

/**
 * Reads the keys that verify signatures from a JWK Set (RFC 7517 section 5): RSA of at least 2048 bits for RS256, P-256 for ES256,
 * Ed25519 for EdDSA. As the RFC asks, a key is passed over when it is of another kind, too weak, malformed, or meant for something
 * else by its `use`, `key_ops` or `alg`.
 *
 * Throws an Error that says what is wrong when the document is no JWK Set, when no key is left, and when one is a private key.
 */
export function parseJwks(document: unknown): readonly VerificationKey[] {
  const parsed = KeySet.safeParse(document);
  if (!parsed.success) {
    throw new Error(`the document is no JWK Set: ${parsed.error.issues[0]?.message ?? 'it needs a list named keys'}`);
  }
  const { keys } = parsed.data;
  if (keys.some(isPrivate)) {
    throw new Error('the JWK Set holds a private key; publish only the public part, and use a new key');
  }
  const read = keys.map((key, index) => readKey(key, `key ${index + 1}`));
  const usable = read.filter((key) => typeof key !== 'string');
  if (usable.length === 0) {
    const reasons = read.filter((key) => typeof key === 'string').join('; ');
    throw new Error(`the JWK Set holds no key that can be used here: ${reasons === '' ? 'it is empty' : reasons}`);
  }
  return usable;
}

const isPrivate = (key: unknown) => typeof key === 'object' && key !== null && 'd' in key;

/** The key, or why it is passed over. */
function readKey(value: unknown, where: string): VerificationKey | string {
  const part = PublicPart.safeParse(value);
  const purpose = Purpose.safeParse(value);
  if (!part.success || !purpose.success) return `${where} is not a well-formed RSA, EC or OKP key`;
  const { kid, use = 'sig', key_ops: operations = ['verify'], alg } = purpose.data;
  if (use !== 'sig' || !operations.includes('verify')) return `${where} is not meant for verifying signatures`;
  try {
    const key = toVerificationKey(createPublicKey({ key: part.data, format: 'jwk' }), where);
    if (alg !== undefined && alg !== key.alg) return `${where} is meant for another algorithm than ${key.alg}`;
    return { ...key, kid: kid ?? key.kid };
  } catch (error) {
    // What does not begin so is a decoder's, and may hold text of the document.
    return error instanceof Error && error.message.startsWith(where) ? error.message : `${where} cannot be decoded`;
  }
}

import { createPublicKey, generateKeyPairSync, hkdfSync, type KeyObject } from 'node:crypto';
import { calculateJwkThumbprint, exportJWK } from 'jose';
import type { KeyRing } from '../domain/key-ring.ts';
import { parseSigningKeys, parseVerificationKeys } from './ed25519-pem.ts';

const ED25519 = { name: 'Ed25519' };
const PKCS8 = { format: 'der', type: 'pkcs8' } as const;
const SECRET_BYTES = 32;
// The key is uniformly random already (RFC 5869 section 3.1).
const NO_SALT = new Uint8Array(0);

/**
 * A ring with a key that dies with this process: tokens signed with it are worth nothing after a restart or in another
 * replica. For development; whoever uses it should say so at the start.
 */
export function ephemeralKeyRing(): Promise<KeyRing> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return makeKeyRing(privateKey, [publicKey]);
}

/**
 * A ring from PEM text. The first private key signs. Further keys, private or public, only verify: keep a retired key
 * there until the last token it signed has run out, and put a coming key there before it signs, so that every replica
 * knows it. Rejects with an Error that names the block, counted from 1, and what is wrong with it.
 */
export async function keyRingFromPem(pem: string): Promise<KeyRing> {
  const { signing, verifying } = parseSigningKeys(pem);
  return makeKeyRing(signing, [createPublicKey(signing), ...verifying]);
}

/** The public halves of the keys in PEM text, for those who only verify. Rejects as `keyRingFromPem` does. */
export async function verificationKeysFromPem(pem: string): Promise<Pick<KeyRing, 'verificationKey'>> {
  const entries = await Promise.all(parseVerificationKeys(pem).map(toEntry));
  const keys = new Map(entries.map(({ kid, publicKey }) => [kid, publicKey]));
  return { verificationKey: (kid) => keys.get(kid) ?? null };
}

async function makeKeyRing(signing: KeyObject, verifying: readonly KeyObject[]): Promise<KeyRing> {
  const entries = await Promise.all(verifying.map(toEntry));
  const keys = new Map(entries.map(({ kid, publicKey }) => [kid, publicKey]));
  const published = { keys: [...new Map(entries.map(({ kid, jwk }) => [kid, jwk])).values()] };
  const [active] = entries;
  if (active === undefined) throw new Error('a key ring needs a key');
  return {
    signingKey: { kid: active.kid, privateKey: signing.toCryptoKey(ED25519, false, ['sign']) },
    verificationKey: (kid) => keys.get(kid) ?? null,
    secretFor: (purpose) => new Uint8Array(hkdfSync('sha256', signing.export(PKCS8), NO_SALT, purpose, SECRET_BYTES)),
    publicKeys: () => published,
  };
}

async function toEntry(key: KeyObject) {
  const publicKey = key.toCryptoKey(ED25519, true, ['verify']);
  const { kty, crv, x } = await exportJWK(publicKey);
  const kid = await calculateJwkThumbprint(publicKey);
  // Members are named one by one, so that a private part could not slip in (RFC 8037 section 2).
  return { kid, publicKey, jwk: Object.freeze({ kty, crv, x, kid, alg: 'EdDSA', use: 'sig' }) };
}

import { createHash, createPublicKey, type KeyObject, type webcrypto, X509Certificate } from 'node:crypto';

/** RFC 7518 section 3.1 and RFC 8037 section 3.1. */
export type SigningAlgorithm = 'RS256' | 'ES256' | 'EdDSA';

/** A public key and the only algorithm it may ever verify (RFC 8725 section 3.1). */
export interface VerificationKey {
  alg: SigningAlgorithm;
  /** The issuer's own, where it gives one; otherwise as Kubernetes makes it: SHA-256 of the SPKI DER, base64url. */
  kid: string;
  publicKey: webcrypto.CryptoKey;
}

/** Bounds the signatures that one forged token can make us check. */
const MAX_KEYS = 16;
/** RFC 7518 section 3.3. */
const MIN_RSA_BITS = 2048;
const PEM_BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g;
const PEM_BEGIN = /-----BEGIN /g;

/**
 * Reads the public keys that sign attestations from PEM text (RFC 7468): one or several blocks of `PUBLIC KEY` (SPKI),
 * `RSA PUBLIC KEY` (PKCS#1) or `CERTIFICATE`. A certificate is only a container here: neither its dates nor its issuer
 * count, because the operator chose the file. RSA keys verify RS256, P-256 keys ES256,
 * Ed25519 keys EdDSA, no others are read.
 *
 * Throws an Error that names the block, counted from 1, and what is wrong with it.
 */
export function parsePublicKeys(pem: string): readonly VerificationKey[] {
  if (pem.trim() === '') throw new Error('the key file is empty');
  const begun = pem.match(PEM_BEGIN)?.length ?? 0;
  // Before any block is looked for: each that has no end is searched for up to the end of the file.
  if (begun > MAX_KEYS) throw new Error(`the key file holds ${begun} keys; at most ${MAX_KEYS} are read`);
  const blocks = [...pem.matchAll(PEM_BLOCK)];
  if (blocks.length === 0 || blocks.length !== begun) {
    throw new Error(
      'the key file is not PEM: every key starts with -----BEGIN ...----- and ends with its -----END ...-----',
    );
  }
  const keys = new Map<string, VerificationKey>();
  blocks.forEach(([text, label = ''], index) => {
    const key = toVerificationKey(readBlock(text, label, `block ${index + 1} (${label})`), `block ${index + 1} (${label})`);
    keys.set(key.kid, key);
  });
  return [...keys.values()];
}

function readBlock(text: string, label: string, where: string): KeyObject {
  if (label.endsWith('PRIVATE KEY')) {
    throw new Error(`${where} is a private key; put only the public key here, and take the private key off this machine`);
  }
  try {
    if (label === 'CERTIFICATE') return new X509Certificate(text).publicKey;
    if (label === 'PUBLIC KEY') return createPublicKey({ key: text, format: 'pem', type: 'spki' });
    if (label === 'RSA PUBLIC KEY') return createPublicKey({ key: text, format: 'pem', type: 'pkcs1' });
  } catch (cause) {
    throw new Error(`${where} cannot be decoded`, { cause });
  }
  throw new Error(`${where} is not read here; use PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE`);
}

/** Ties a key to its algorithm. Throws an Error that begins with `where` when the key is weak or of a kind that is not read. */
export function toVerificationKey(key: KeyObject, where: string): VerificationKey {
  const kid = createHash('sha256')
    .update(key.export({ format: 'der', type: 'spki' }))
    .digest('base64url');
  const { modulusLength = 0, namedCurve = 'unknown' } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'rsa':
      if (modulusLength < MIN_RSA_BITS) {
        throw new Error(`${where} is an RSA key of ${modulusLength} bits; at least ${MIN_RSA_BITS} are needed`);
      }
      return { alg: 'RS256', kid, publicKey: importKey(key, { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }) };
    case 'ec':
      if (namedCurve !== 'prime256v1') throw new Error(`${where} is an EC key on curve ${namedCurve}; only P-256 is read`);
      return { alg: 'ES256', kid, publicKey: importKey(key, { name: 'ECDSA', namedCurve: 'P-256' }) };
    case 'ed25519':
      return { alg: 'EdDSA', kid, publicKey: importKey(key, { name: 'Ed25519' }) };
    default:
      throw new Error(
        `${where} is a key of kind ${key.asymmetricKeyType ?? 'unknown'}; only RSA, EC P-256 and Ed25519 are read`,
      );
  }
}

const importKey = (
  key: KeyObject,
  algorithm: webcrypto.RsaHashedImportParams | webcrypto.EcKeyImportParams | webcrypto.Algorithm,
) => key.toCryptoKey(algorithm, true, ['verify']);

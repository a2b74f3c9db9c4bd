import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';

/** The one in use, and far more than are still to be verified after it has been replaced. */
const MAX_KEYS = 16;
const PEM_BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g;
const PEM_BEGIN = /-----BEGIN /g;
const HOW_TO_MAKE_ONE = 'make one with: openssl genpkey -algorithm ed25519';

/**
 * Reads Ed25519 keys from PEM text (RFC 7468, RFC 8410): `PRIVATE KEY` (PKCS#8) and `PUBLIC KEY` (SPKI) blocks. The first
 * private key is the signing one; the others, in order, come back as public keys.
 * Throws an Error that names the block, counted from 1, and what is wrong with it, never what is in it.
 */
export function parseSigningKeys(pem: string): { signing: KeyObject; verifying: readonly KeyObject[] } {
  const keys = readBlocks(pem, 'the signing key file');
  const signing = keys.find((key) => key.type === 'private');
  if (signing === undefined) throw new Error(`the signing key file holds public keys only; ${HOW_TO_MAKE_ONE}`);
  return { signing, verifying: keys.filter((key) => key !== signing).map(publicHalf) };
}

/** The same, for those who only verify: the public half of each key. */
export const parseVerificationKeys = (pem: string): readonly KeyObject[] =>
  readBlocks(pem, 'the public key file').map(publicHalf);

const publicHalf = (key: KeyObject): KeyObject => (key.type === 'private' ? createPublicKey(key) : key);

function readBlocks(pem: string, file: string): readonly KeyObject[] {
  if (pem.trim() === '') throw new Error(`${file} is empty; ${HOW_TO_MAKE_ONE}`);
  const begun = pem.match(PEM_BEGIN)?.length ?? 0;
  // Before any block is looked for: each that has no end is searched for up to the end of the file.
  if (begun > MAX_KEYS) throw new Error(`${file} holds ${begun} keys; at most ${MAX_KEYS} are read`);
  const blocks = [...pem.matchAll(PEM_BLOCK)];
  if (blocks.length === 0 || blocks.length !== begun) throw new Error(`${file} is not PEM; ${HOW_TO_MAKE_ONE}`);
  return blocks.map(([text, label = ''], index) => readBlock(text, label, `block ${index + 1} (${label})`));
}

function readBlock(text: string, label: string, where: string): KeyObject {
  if (label === 'ENCRYPTED PRIVATE KEY') {
    throw new Error(`${where} is encrypted; decrypt it with: openssl pkey, and guard the file by its permissions`);
  }
  if (label !== 'PRIVATE KEY' && label !== 'PUBLIC KEY') {
    throw new Error(`${where} is not read here; use an Ed25519 key in PKCS#8; ${HOW_TO_MAKE_ONE}`);
  }
  const key = decode(text, label, where);
  if (key.asymmetricKeyType !== 'ed25519') {
    throw new Error(`${where} is a key of kind ${key.asymmetricKeyType ?? 'unknown'}, not Ed25519; ${HOW_TO_MAKE_ONE}`);
  }
  return key;
}

function decode(text: string, label: 'PRIVATE KEY' | 'PUBLIC KEY', where: string): KeyObject {
  try {
    return label === 'PRIVATE KEY'
      ? createPrivateKey({ key: text, format: 'pem', type: 'pkcs8' })
      : createPublicKey({ key: text, format: 'pem', type: 'spki' });
  } catch (cause) {
    throw new Error(`${where} cannot be decoded`, { cause });
  }
}

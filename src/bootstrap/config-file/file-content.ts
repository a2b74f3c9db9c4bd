import { X509Certificate } from 'node:crypto';
import { parseJwks } from '../../authn/jwks.ts';
import { parsePublicKeys, type VerificationKey } from '../../authn/pem-keys.ts';
import { parseRsaPrivateKey } from '../../crypto/rsa-pem.ts';
import { secureUrl } from '../secure-url.ts';
import { type FileReading, textOf } from './file-reader.ts';
import type { FileKind } from './referenced-files.ts';

const SECRETS: ReadonlySet<FileKind> = new Set<FileKind>(['secret_url', 'signing_secret', 'secret', 'app_key']);

/** What is wrong with a file that was read for a field; null when nothing is. Never holds anything of what is in the file. */
export function fileProblem(kind: FileKind, reading: FileReading, ownUid: number): string | null {
  if ('failure' in reading) return `the file ${reading.failure}`;
  const exposed = SECRETS.has(kind) ? exposure(reading, ownUid) : null;
  if (exposed !== null) return exposed;
  const text = textOf(reading);
  if (text === null) return 'the file is not UTF-8 text';
  if (text.trim() === '') return 'the file is empty';
  try {
    CHECKS[kind](text);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : 'the file cannot be used';
  }
}

/**
 * Who else may read a secret, by the rule that PostgreSQL has for its TLS key: a file of ASB's own user is for that user alone, one of
 * root may besides be read by a group, because that is how Kubernetes hands secrets to programs that are not root.
 */
export function exposure({ mode, uid }: { mode: number; uid: number }, ownUid: number): string | null {
  if (uid !== ownUid && uid !== 0) return 'the file is a secret and must belong to the user that ASB runs as, or to root';
  const forbidden = uid === ownUid ? 0o077 : 0o037;
  if ((mode & forbidden) === 0) return null;
  const octal = mode.toString(8).padStart(4, '0');
  return `the file is a secret and others may use it (mode ${octal}); make it 0600 or 0400`;
}

/** Each throws an Error that says what is wrong. */
const CHECKS: Readonly<Record<FileKind, (text: string) => void>> = {
  public_keys: parsePublicKeys,
  delegation_keys: (text) => requireEd25519(parsePublicKeys(text)),
  key_set: (text) => parseJwks(parseJson(text)),
  delegation_key_set: (text) => requireEd25519(parseJwks(parseJson(text))),
  authorities: requireCertificates,
  token: () => undefined,
  secret_url: parseSecretUrl,
  signing_secret: parseSigningSecret,
  app_key: parseRsaPrivateKey,
  secret: () => undefined,
  callback_key: (text) => {
    const keys = parsePublicKeys(text);
    if (keys.length !== 1 || keys[0]?.alg !== 'EdDSA') throw new Error('the file must hold one Ed25519 public key');
  },
};

function requireEd25519(keys: readonly VerificationKey[]): void {
  if (!keys.some(({ alg }) => alg === 'EdDSA')) throw new Error('the file must hold an Ed25519 key: delegations are EdDSA');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's message quotes the text.
    throw new Error('the file is not JSON');
  }
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

function requireCertificates(text: string): void {
  const blocks = text.match(CERTIFICATE) ?? [];
  if (blocks.length === 0) throw new Error('the file holds no PEM certificate');
  for (const [index, block] of blocks.entries()) {
    try {
      new X509Certificate(block);
    } catch {
      throw new Error(`certificate ${index + 1} of the file cannot be decoded`);
    }
  }
}

/** A URL that is a secret: https, or http on loopback; its query may hold a key. Throws an Error that does not quote it. */
export function parseSecretUrl(text: string): URL {
  const written = text.trim();
  const url = URL.canParse(written) ? new URL(written) : null;
  if (url === null) throw new Error('the file must hold one URL and nothing else');
  const bare = new URL(url);
  bare.search = '';
  const { error } = secureUrl.safeParse(bare.href);
  if (error !== undefined)
    throw new Error('the URL in the file must be https, without credentials or fragment (http is for loopback only)');
  return url;
}

const PREFIX = 'whsec_';
/** https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md: 24 to 64 bytes. */
const MIN_SECRET_BYTES = 24;
const MAX_SECRET_BYTES = 64;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** A secret as Standard Webhooks writes it: `whsec_` and base64. Throws an Error that does not quote it. */
export function parseSigningSecret(text: string): string {
  const written = text.trim();
  const encoded = written.startsWith(PREFIX) ? written.slice(PREFIX.length) : '';
  const bytes = BASE64.test(encoded) ? Buffer.from(encoded, 'base64').length : 0;
  if (bytes >= MIN_SECRET_BYTES && bytes <= MAX_SECRET_BYTES) return written;
  throw new Error(
    'the file must hold whsec_ and the base64 of 24 to 64 random bytes; make one with: echo whsec_$(openssl rand -base64 32)',
  );
}

import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { CompactSign } from 'jose';
import { type KeySource, staticKeys } from '../../src/authn/key-source.ts';
import { parsePublicKeys, type SigningAlgorithm } from '../../src/authn/pem-keys.ts';

type Members = Readonly<Record<string, unknown>>;

/** A key as an issuer holds it, with what the broker is given of it. */
export interface IssuerKey {
  alg: SigningAlgorithm;
  kid: string;
  privateKey: KeyObject;
  publicPem: string;
  keys: KeySource;
  /** A JWT of these claims; undefined ones are left out. */
  sign(claims: Members, header?: Members): Promise<string>;
}

const PAIRS = {
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
} as const;

export function makeIssuerKey(alg: SigningAlgorithm = 'EdDSA'): IssuerKey {
  const { publicKey, privateKey } = PAIRS[alg]();
  const publicPem = publicKey.export({ format: 'pem', type: 'spki' }).toString();
  const parsed = parsePublicKeys(publicPem);
  const kid = parsed[0]?.kid ?? '';
  return {
    alg,
    kid,
    privateKey,
    publicPem,
    keys: staticKeys(parsed),
    sign: (claims, header = {}) =>
      new CompactSign(new TextEncoder().encode(JSON.stringify(claims)))
        .setProtectedHeader({ alg, kid, typ: 'JWT', ...header })
        .sign(privateKey),
  };
}

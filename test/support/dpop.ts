import { createHash, generateKeyPairSync, type JsonWebKey, type KeyObject, randomUUID } from 'node:crypto';
import { calculateJwkThumbprint, CompactSign } from 'jose';

type Members = Readonly<Record<string, unknown>>;

export interface ProofOptions {
  method: string;
  url: string;
  /** When the proof is made. */
  at: Date;
  /** The token or handle that the proof goes with; absent for none, as when a session is opened. */
  credential?: string;
  /** Replaces claims; undefined removes one. */
  claims?: Members;
  header?: Members;
  /** Signs in the place of the key itself. */
  signer?: KeyObject;
}

/** A key as an agent holds it. */
export interface ProofKey {
  alg: 'ES256' | 'EdDSA' | 'Ed25519';
  thumbprint: string;
  publicJwk: JsonWebKey;
  privateKey: KeyObject;
  /** A fresh DPoP proof (RFC 9449 section 4.2). */
  proof(options: ProofOptions): Promise<string>;
}

export async function makeProofKey(alg: ProofKey['alg'] = 'ES256'): Promise<ProofKey> {
  const { publicKey, privateKey } =
    alg === 'ES256' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('ed25519');
  const publicJwk = publicKey.export({ format: 'jwk' });
  return {
    alg,
    thumbprint: await calculateJwkThumbprint(publicKey),
    publicJwk,
    privateKey,
    proof: ({ method, url, at, credential, claims = {}, header = {}, signer = privateKey }) =>
      new CompactSign(
        new TextEncoder().encode(
          JSON.stringify({
            jti: randomUUID(),
            htm: method,
            htu: url,
            iat: Math.floor(at.getTime() / 1000),
            ath: credential === undefined ? undefined : credentialHash(credential),
            ...claims,
          }),
        ),
      )
        .setProtectedHeader({ typ: 'dpop+jwt', alg, jwk: publicJwk, ...header })
        .sign(signer),
  };
}

/** `ath` of a token or handle. */
export const credentialHash = (credential: string): string =>
  createHash('sha256').update(credential, 'ascii').digest('base64url');

import { hash } from 'node:crypto';
import { calculateJwkThumbprint, type CryptoKey, decodeProtectedHeader, errors, importJWK, jwtVerify } from 'jose';
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import type { Clock } from '../domain/clock.ts';
import { unauthorized } from '../domain/errors.ts';
import type { IdSource } from '../domain/id-source.ts';
import type { PresentedProof, ProofVerifier } from '../domain/proof.ts';
import type { RuntimeStore } from '../domain/runtime-store.ts';
import { isCompactJws } from '../domain/compact-jws.ts';
import { loggableCause } from './presented-jwt.ts';

export interface ProofVerifierDeps {
  clock: Clock;
  /** Where the proofs that were used are marked. */
  runtime: Pick<RuntimeStore, 'claim'>;
  /** Gives every use a name of its own. */
  ids: Pick<IdSource, 'tokenId'>;
}

const PROOF_TYPE = 'dpop+jwt';
/**
 * The kind of key each takes. RSA is left out: its caller chooses the size of the key and the exponent, and with them what a
 * check costs; whoever can make a key for a run can make one of these.
 */
const KEY_TYPES: Readonly<Record<string, 'EC' | 'OKP'>> = { ES256: 'EC', EdDSA: 'OKP', Ed25519: 'OKP' };
/** A proof is about 500 bytes; the rest is room for long paths. */
const MAX_PROOF_LENGTH = 4 * 1024;
/** How old a proof may be: a slow network and a clock that is behind. */
const MAX_AGE_SECONDS = 60;
/** How far the caller's clock may be ahead of ours. */
const MAX_AHEAD_SECONDS = 5;
/** A mark outlives its proof by as much as the clocks of two replicas may be apart. */
const REPLICA_SKEW_SECONDS = 5;
const MAX_JTI_LENGTH = 128;
/** About 1 KiB each. */
const MAX_KEYS = 5000;

/** 32 bytes in base64url. The last letter's spare bits are nought, so that a key has one spelling and one thumbprint. */
const Coordinate = z.string().regex(/^[\w-]{42}[AEIMQUYcgkosw048]$/);
/** Members besides these are no part of the key (RFC 7517 section 4), and are dropped. */
const PublicJwk = z.discriminatedUnion('kty', [
  z.object({ kty: z.literal('EC'), crv: z.literal('P-256'), x: Coordinate, y: Coordinate }),
  z.object({ kty: z.literal('OKP'), crv: z.literal('Ed25519'), x: Coordinate }),
]);
/** RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1, RFC 8037 section 2. */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

const ProofClaims = z.object({
  jti: z.string().min(1).max(MAX_JTI_LENGTH),
  htm: z.string(),
  htu: z.string(),
  iat: z.number(),
  ath: z.string().optional(),
});
type ProofClaims = z.infer<typeof ProofClaims>;

/** The key of a proof, as its header gave it. */
interface ProofKey {
  alg: string;
  publicKey: CryptoKey;
  thumbprint: string;
}

/**
 * Checks DPoP proofs by the list of RFC 9449 section 4.3. A proof is good for one use within `MAX_AGE_SECONDS`; it is marked as used
 * only when all else about it is right, so that nobody can use up a proof that they could not have made.
 */
export function makeProofVerifier({ clock, runtime, ids }: ProofVerifierDeps): ProofVerifier {
  // Whoever holds a key sends the same header every time. Only keys that have made a valid signature are remembered.
  const knownKeys = new LRUCache<string, ProofKey>({ max: MAX_KEYS });
  return {
    async verify({ presented, credential }) {
      const proof = onlyProof(presented);
      const now = clock.now();
      const header = proof.slice(0, proof.indexOf('.'));
      const known = knownKeys.get(header);
      const key = known ?? (await readKey(proof));
      const claims = await readClaims(proof, key, now);
      if (known === undefined) knownKeys.set(header, key);
      requireSameRequest(claims, presented);
      requireFresh(claims, now);
      if (credential !== null) requireSameCredential(claims, credential);
      const mark = `dpop:${hash('sha256', `${key.thumbprint}.${claims.jti}`, 'base64url')}`;
      const forgettableAt = new Date((claims.iat + MAX_AGE_SECONDS + REPLICA_SKEW_SECONDS) * 1000);
      if (!(await runtime.claim('proof', mark, ids.tokenId(), forgettableAt, now))) {
        throw unauthorized('DPoP: the proof was used before; make a new one, with a new jti, for every request');
      }
      return key.thumbprint;
    },
  };
}

function onlyProof({ proofs }: PresentedProof): string {
  const [proof] = proofs;
  if (proof === undefined) throw unauthorized('DPoP: a proof is required; send it in the DPoP header');
  if (proofs.length > 1) throw unauthorized('DPoP: send exactly one DPoP header');
  if (!isCompactJws(proof, MAX_PROOF_LENGTH)) throw notAProof();
  return proof;
}

/** The key in the proof's header, and nothing else there: `kid`, `x5c`, `jku` and the like do not choose a key. */
async function readKey(proof: string): Promise<ProofKey> {
  const { typ, alg, jwk } = readHeader(proof);
  if (typ !== PROOF_TYPE) throw unauthorized(`DPoP: the proof's typ must be ${PROOF_TYPE}`);
  if (typeof alg !== 'string' || !Object.hasOwn(KEY_TYPES, alg)) {
    throw unauthorized(`DPoP: sign the proof with ${Object.keys(KEY_TYPES).join(' or ')}`);
  }
  if (typeof jwk === 'object' && jwk !== null && PRIVATE_MEMBERS.some((member) => Object.hasOwn(jwk, member))) {
    throw unauthorized("DPoP: the proof's jwk gives away a private key; make a new key and send its public part alone");
  }
  const parsed = PublicJwk.safeParse(jwk);
  if (!parsed.success) throw notAKey(alg);
  // Refuses a key of another kind than `alg` takes, and a point that is not on the curve.
  const publicKey = await importJWK(parsed.data, alg).catch(() => {
    throw notAKey(alg);
  });
  if (publicKey instanceof Uint8Array) throw notAKey(alg);
  return { alg, publicKey, thumbprint: await calculateJwkThumbprint(parsed.data) };
}

function readHeader(proof: string): { typ?: unknown; alg?: unknown; jwk?: unknown } {
  try {
    return decodeProtectedHeader(proof);
  } catch {
    throw notAProof();
  }
}

/** What the proof says, when the key has signed it. */
async function readClaims(proof: string, { alg, publicKey }: ProofKey, now: Date): Promise<ProofClaims> {
  let payload: unknown;
  try {
    ({ payload } = await jwtVerify(proof, publicKey, {
      algorithms: [alg],
      currentDate: now,
      clockTolerance: MAX_AHEAD_SECONDS,
    }));
  } catch (error) {
    throw refusal(error);
  }
  const parsed = ProofClaims.safeParse(payload);
  if (parsed.success) return parsed.data;
  const claim = String(parsed.error.issues[0]?.path[0] ?? 'payload');
  throw unauthorized(`DPoP: the proof's ${claim} claim is missing or malformed`, { cause: parsed.error });
}

function requireSameRequest({ htm, htu }: ProofClaims, { method, url }: PresentedProof): void {
  if (htm !== method) throw unauthorized("DPoP: the proof's htm must be the method of the request");
  if (htu === url) return;
  const target = normalised(htu);
  if (target === null || target !== normalised(url)) {
    throw unauthorized("DPoP: the proof's htu must be the URL of the request, without query and fragment");
  }
}

const ABSOLUTE_URL = /^https?:\/\/[^\s\\]+$/i;
const ENCODED_OCTET = /%[0-9a-f]{2}/gi;
const UNRESERVED = /[\w.~-]/;

/**
 * A URL without query and fragment, normalised by syntax and by scheme (RFC 3986 sections 6.2.2 and 6.2.3). The URL class leaves
 * percent-encoded octets as they were written. Null for what is no such URL.
 */
function normalised(text: string): string | null {
  const url = ABSOLUTE_URL.test(text) ? URL.parse(text) : null;
  if (url === null || url.username !== '' || url.password !== '') return null;
  const path = url.pathname.replaceAll(ENCODED_OCTET, (octet) => {
    const character = String.fromCharCode(Number.parseInt(octet.slice(1), 16));
    return UNRESERVED.test(character) ? character : octet.toUpperCase();
  });
  return url.origin + path;
}

function requireFresh({ iat }: ProofClaims, now: Date): void {
  const age = now.getTime() / 1000 - iat;
  if (age >= MAX_AGE_SECONDS) throw unauthorized('DPoP: the proof is too old; make a new one for every request');
  if (age < -MAX_AHEAD_SECONDS) throw unauthorized('DPoP: the proof is dated in the future; check the clock of its maker');
}

/** RFC 9449 section 7: a proof goes with one token. Here also with one handle. */
function requireSameCredential({ ath }: ProofClaims, credential: string): void {
  if (ath !== hash('sha256', credential, 'base64url')) {
    throw unauthorized(
      "DPoP: the proof's ath must be the SHA-256, base64url without padding, of the token or handle it goes with",
    );
  }
}

function refusal(error: unknown): unknown {
  const cause = loggableCause(error);
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return unauthorized('DPoP: the proof is not signed by the key in its header', { cause });
  }
  if (error instanceof errors.JWTExpired || error instanceof errors.JWTClaimValidationFailed) {
    return unauthorized(`DPoP: the proof's ${error.claim} is not acceptable; make a new proof for every request`, { cause });
  }
  return error instanceof errors.JOSEError ? notAProof(cause) : error;
}

const notAKey = (alg: string) =>
  unauthorized(
    `DPoP: the proof's jwk must be the public key that made it, ${KEY_TYPES[alg] === 'EC' ? 'EC P-256' : 'OKP Ed25519'}`,
  );
const notAProof = (cause?: unknown) =>
  unauthorized('DPoP: the header is not a proof; send one signed JWT as RFC 9449 section 4.2 describes', { cause });

import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from 'jose';
import type { AttestationVerifier } from '../domain/attestation-verifier.ts';
import type { Clock } from '../domain/clock.ts';
import { unauthorized } from '../domain/errors.ts';
import { identifyServiceAccount } from './k8s-claims.ts';
import { makeKnownWorkloads } from './known-workloads.ts';
import type { VerificationKey } from './pem-keys.ts';
import { isCompactJws, loggableCause } from './presented-jwt.ts';

export interface K8sAttestationConfig {
  /** The `iss` of the cluster's tokens, as `--service-account-issuer` gives it. */
  issuer: string;
  /** The `aud` that a token must have been projected for. */
  audience: string;
  keys: readonly VerificationKey[];
  clock: Clock;
  /** How far the cluster's clock may be from ours, in seconds. */
  maxSkewSeconds?: number;
}

const DEFAULT_SKEW_SECONDS = 30;
/** More would keep expired tokens alive for longer than a clock can excuse. */
const SKEW_LIMIT_SECONDS = 300;
/** A projected token is about 1 KiB; the rest is room for long names and RSA-8192. */
const MAX_TOKEN_LENGTH = 16 * 1024;

/**
 * Verifies Kubernetes service account tokens: signature, issuer, audience, time and the shape of the claims
 * (https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens).
 * A token without `exp` is refused: a session never outlives its attestation, so that attestation has to end.
 *
 * Throws an Error when the configuration would let nobody in, or too many.
 */
export function makeK8sAttestation(config: K8sAttestationConfig): AttestationVerifier {
  const { issuer, audience, clock, maxSkewSeconds = DEFAULT_SKEW_SECONDS } = config;
  if (issuer === '' || audience === '' || config.keys.length === 0) {
    throw new Error('k8s attestation needs an issuer, an audience and at least one key');
  }
  if (!(maxSkewSeconds >= 0 && maxSkewSeconds <= SKEW_LIMIT_SECONDS)) {
    throw new Error(`k8s attestation: the clock skew must be between 0 and ${SKEW_LIMIT_SECONDS} seconds`);
  }
  const rules = { ...config, maxSkewSeconds };
  const knownWorkload = makeKnownWorkloads();
  return {
    async verify({ token }) {
      if (!isCompactJws(token, MAX_TOKEN_LENGTH)) throw notAToken();
      const now = clock.now();
      const account = identifyServiceAccount(await verifyToken(rules, token, now));
      if (account.issuedAtSeconds !== null && account.issuedAtSeconds * 1000 > now.getTime() + maxSkewSeconds * 1000) {
        throw notYetValid();
      }
      const { subject, namespace, serviceAccount, attributes } = account;
      const workload = knownWorkload({
        type: 'k8s_sa',
        issuer,
        subject,
        audience,
        namespace,
        serviceAccount,
        attributes,
      });
      return { ...workload, expiresAt: new Date(account.expiresAtSeconds * 1000) };
    },
  };
}

type Rules = Required<K8sAttestationConfig>;

/** The claims of a token that is authentic, meant for us and in date. */
async function verifyToken(rules: Rules, token: string, now: Date): Promise<JWTPayload> {
  for (const { alg, publicKey } of candidateKeys(rules, token)) {
    try {
      const { payload } = await jwtVerify(token, publicKey, {
        algorithms: [alg],
        issuer: rules.issuer,
        audience: rules.audience,
        currentDate: now,
        clockTolerance: rules.maxSkewSeconds,
        requiredClaims: ['exp', 'sub'],
      });
      return payload;
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw refusal(rules, error);
    }
  }
  throw unauthorized(
    "attestation: token is not signed by a key of the cluster; use a token of the configured issuer's cluster",
  );
}

/** The key that the token names, or every key of its algorithm: the `kid` is only a hint until the signature is checked. */
function candidateKeys({ keys }: Rules, token: string): readonly VerificationKey[] {
  // With one key there is nothing to choose, and the header is read once instead of twice.
  if (keys.length === 1) return keys;
  const { alg, kid } = readHeader(token);
  const ofAlgorithm = keys.filter((key) => key.alg === alg);
  if (ofAlgorithm.length === 0) throw wrongAlgorithm(keys);
  const named = ofAlgorithm.filter((key) => key.kid === kid);
  return named.length > 0 ? named : ofAlgorithm;
}

function readHeader(token: string): { alg?: unknown; kid?: unknown } {
  try {
    return decodeProtectedHeader(token);
  } catch {
    throw notAToken();
  }
}

/** What the caller is told. Only a token whose signature is good gets as far as its claims. */
function refusal({ issuer, audience, keys }: Rules, error: unknown): unknown {
  const cause = loggableCause(error);
  if (error instanceof errors.JOSEAlgNotAllowed) return wrongAlgorithm(keys, cause);
  if (error instanceof errors.JWTExpired) {
    return unauthorized('attestation: token has expired; read the projected token again', { cause });
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    return unauthorized(`attestation: ${claimAdvice(error, issuer, audience)}`, { cause });
  }
  return error instanceof errors.JOSEError ? notAToken(cause) : error;
}

function claimAdvice({ claim, reason }: errors.JWTClaimValidationFailed, issuer: string, audience: string): string {
  if (claim === 'aud') return `audience must be ${audience}; project the token with that audience`;
  if (claim === 'iss') return `issuer must be ${issuer}`;
  if (claim === 'nbf' && reason === 'check_failed') return NOT_YET_VALID;
  if (claim === 'exp' && reason === 'missing')
    return 'token never expires; use a projected service account token, which does';
  return `token's ${claim} claim is missing or malformed`;
}

function wrongAlgorithm(keys: readonly VerificationKey[], cause?: unknown) {
  const accepted = [...new Set(keys.map((key) => key.alg))].sort();
  return unauthorized(`attestation: token must be signed with ${accepted.join(' or ')}`, { cause });
}

const NOT_YET_VALID = 'token is not valid yet; check the clocks of both machines';
const notYetValid = () => unauthorized(`attestation: ${NOT_YET_VALID}`);
const notAToken = (cause?: unknown) =>
  unauthorized(
    'attestation: token is not a service account token; send the projected token as it was read, without white space',
    {
      cause,
    },
  );

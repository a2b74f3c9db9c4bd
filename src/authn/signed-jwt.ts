import { errors, type JWTHeaderParameters, type JWTPayload, jwtVerify, type JWTVerifyOptions } from 'jose';
import type { Clock } from '../domain/clock.ts';
import { unauthorized } from '../domain/errors.ts';
import type { KeyHint, KeySource } from './key-source.ts';
import type { SigningAlgorithm, VerificationKey } from './pem-keys.ts';
import { isCompactJws } from '../domain/compact-jws.ts';
import { loggableCause } from './presented-jwt.ts';
import type { GoodJwt, RememberedJwts } from './remembered-jwts.ts';

/** What a token of a foreign issuer has to fulfil. */
export interface JwtRules {
  /** What the token is in the request, as the prefix of messages: `attestation`. */
  what: string;
  /** What it must be, in words: `a service account token`. */
  kind: string;
  /** What a refused caller can do, where the general advice does not say it best. */
  hints?: Partial<JwtHints>;
  keys: KeySource;
  /** The one `iss` that is accepted. */
  issuer: string;
  /** The `aud` that the token must carry; null asks for none. */
  audience: string | null;
  algorithms: readonly SigningAlgorithm[];
  clock: Clock;
  /** How far the issuer's clock may be from ours, in seconds. */
  maxSkewSeconds?: number;
  /** In characters. */
  maxLength?: number;
  /** The `typ` that the header must have (RFC 8725 section 3.11); absent asks for none. */
  typ?: string;
  /** Besides `exp`, which every token must have. */
  requiredClaims: readonly string[];
  /** Tokens that these rules have let through before; absent verifies each one anew. */
  remembered?: RememberedJwts;
}

export interface JwtHints {
  /** To whoever sends something else. */
  send: string;
  /** To whoever sends a token that has expired. */
  renew: string;
  /** To whoever sends a token for another audience. */
  audience: string;
  /** To whoever sends a token without an end. */
  expiring: string;
  /** Whose keys must have signed it: `the cluster`. */
  signer: string;
}

/** The claims of a verified token. `exp` is a date. */
export type VerifiedClaims = GoodJwt['claims'];

const DEFAULT_HINTS: JwtHints = {
  send: 'send it as it was issued, without white space',
  renew: 'get a new one',
  audience: 'get a token for that audience',
  expiring: 'use one that does',
  signer: 'the issuer',
};

const DEFAULT_SKEW_SECONDS = 30;
/** More would keep expired tokens alive for longer than a clock can excuse. */
const SKEW_LIMIT_SECONDS = 300;
/** A projected token is about 1 KiB, a GitHub Actions token 2 KiB; the rest is room for long names and RSA-8192. */
export const MAX_JWT_LENGTH = 16 * 1024;
/** The last second of the year 9999. */
const LAST_DATE_SECONDS = 253_402_300_799;

/** Throws an Error that begins with `whose`, to be called at start, when the rules would let nobody in, or too many. */
export function requireSoundRules(rules: JwtRules, whose: string): void {
  const { issuer, audience, algorithms, maxSkewSeconds = DEFAULT_SKEW_SECONDS } = rules;
  if (issuer === '' || audience === '' || algorithms.length === 0) {
    throw new Error(`${whose}: an issuer, an audience and an algorithm are needed`);
  }
  if (!(maxSkewSeconds >= 0 && maxSkewSeconds <= SKEW_LIMIT_SECONDS)) {
    throw new Error(`${whose}: the clock skew must be between 0 and ${SKEW_LIMIT_SECONDS} seconds`);
  }
  const useless = rules.keys.fixed?.find((key) => !algorithms.includes(key.alg));
  if (useless !== undefined) {
    throw new Error(`${whose}: a key is for ${useless.alg}; only keys for ${algorithms.join(' or ')} can be used`);
  }
}

/**
 * The claims of a token that is authentic, meant for us and in date: signature by a key of the issuer under the only algorithm
 * of that key, `iss`, `aud`, `exp`, `nbf`, `iat` (RFC 7519 section 7.2, RFC 8725). A token without `exp` is refused. Keys that the
 * header brings along (`jwk`, `jku`, `x5u`, `x5c`) are ignored; a critical header is refused.
 *
 * Rejects with `unauthorized`, and tells only the bearer of a token with a good signature what is wrong with its claims; with
 * `unavailable` when the keys cannot be had.
 */
export async function verifySignedJwt(rules: JwtRules, token: string): Promise<VerifiedClaims> {
  if (!isCompactJws(token, rules.maxLength ?? MAX_JWT_LENGTH)) throw notAToken(rules);
  const now = rules.clock.now();
  const known = (await rules.remembered?.claimsOf(token, rules.keys, now)) ?? null;
  if (known !== null) return known;
  const good = await verifyAnew(rules, token, now);
  rules.remembered?.remember(token, { ...good, checkedAt: now });
  return good.claims;
}

async function verifyAnew(rules: JwtRules, token: string, now: Date) {
  const only = onlyKey(rules);
  let candidates: readonly VerificationKey[] = only === null ? [] : [only];
  let hint: KeyHint = { alg: only?.alg ?? '', kid: null };
  const choose = async (header: JWTHeaderParameters) => {
    hint = { alg: header.alg, kid: typeof header.kid === 'string' ? header.kid : null };
    candidates = await rules.keys.find(hint);
    if (candidates[0] === undefined) throw unknownSigner(rules, header.alg);
    return candidates[0].publicKey;
  };
  for (let tried = 0; tried === 0 || tried < candidates.length; tried += 1) {
    const chosen = candidates[tried];
    // A key that the header did not choose brings its algorithm along.
    const options = optionsOf(rules, chosen === undefined ? rules.algorithms : [chosen.alg], now);
    try {
      const { payload } = await (chosen === undefined
        ? jwtVerify(token, choose, options)
        : jwtVerify(token, chosen.publicKey, options));
      const key = candidates[tried];
      if (key === undefined) throw new Error('verified without a key');
      return { claims: requireDates(rules, payload, now), key, hint };
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw refusal(rules, error);
    }
  }
  throw unknownSigner(rules);
}

/** With one key there is nothing to choose, and the header needs no look of ours. */
function onlyKey({ keys: { fixed }, algorithms }: JwtRules): VerificationKey | null {
  const [key] = fixed ?? [];
  return fixed?.length === 1 && key !== undefined && algorithms.includes(key.alg) ? key : null;
}

function optionsOf(rules: JwtRules, algorithms: readonly SigningAlgorithm[], now: Date): JWTVerifyOptions {
  return {
    algorithms: [...algorithms],
    issuer: rules.issuer,
    audience: rules.audience ?? undefined,
    typ: rules.typ,
    currentDate: now,
    clockTolerance: skewOf(rules),
    requiredClaims: ['exp', ...rules.requiredClaims],
  };
}

const skewOf = ({ maxSkewSeconds = DEFAULT_SKEW_SECONDS }: JwtRules) => maxSkewSeconds;

/** What jose leaves to us: an `exp` that is a date, an `iat` that is not to come. */
function requireDates(rules: JwtRules, payload: JWTPayload, now: Date): VerifiedClaims {
  if (!hasEnd(payload)) throw unauthorized(`${rules.what}: token's exp claim is malformed`);
  const { iat = 0 } = payload;
  if (iat * 1000 > now.getTime() + skewOf(rules) * 1000) throw unauthorized(`${rules.what}: ${NOT_YET_VALID}`);
  return payload;
}

function hasEnd(payload: JWTPayload): payload is VerifiedClaims {
  return Number.isInteger(payload.exp) && Number(payload.exp) <= LAST_DATE_SECONDS;
}

/** What the caller is told. Only a token whose signature is good gets as far as its claims. */
function refusal(rules: JwtRules, error: unknown): unknown {
  const cause = loggableCause(error);
  if (error instanceof errors.JOSEAlgNotAllowed) return wrongAlgorithm(rules, cause);
  if (error instanceof errors.JWTExpired) {
    return unauthorized(`${rules.what}: token has expired; ${hint(rules, 'renew')}`, { cause });
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    return unauthorized(`${rules.what}: ${claimAdvice(rules, error)}`, { cause });
  }
  return error instanceof errors.JOSEError ? notAToken(rules, cause) : error;
}

function claimAdvice(rules: JwtRules, { claim, reason }: errors.JWTClaimValidationFailed): string {
  if (claim === 'aud') return `audience must be ${rules.audience ?? 'absent'}; ${hint(rules, 'audience')}`;
  if (claim === 'iss') return `issuer must be ${rules.issuer}`;
  if (claim === 'typ') return `token's typ must be ${rules.typ ?? 'absent'}`;
  if (claim === 'nbf' && reason === 'check_failed') return NOT_YET_VALID;
  if (claim === 'exp' && reason === 'missing') return `token never expires; ${hint(rules, 'expiring')}`;
  return `token's ${claim} claim is missing or malformed`;
}

const NOT_YET_VALID = 'token is not valid yet; check the clocks of both machines';
const hint = ({ hints }: JwtRules, name: keyof JwtHints) => hints?.[name] ?? DEFAULT_HINTS[name];

function wrongAlgorithm({ what, keys: { fixed }, algorithms }: JwtRules, cause?: unknown) {
  const accepted = algorithms.filter((alg) => fixed === undefined || fixed.some((key) => key.alg === alg)).sort();
  return unauthorized(`${what}: token must be signed with ${accepted.join(' or ')}`, { cause });
}

function unknownSigner(rules: JwtRules, alg?: string) {
  const { what, keys } = rules;
  if (alg !== undefined && keys.fixed?.every((key) => key.alg !== alg) === true) return wrongAlgorithm(rules);
  return unauthorized(
    `${what}: token is not signed by a key of ${hint(rules, 'signer')}; use a token of the configured issuer`,
  );
}

const notAToken = (rules: JwtRules, cause?: unknown) =>
  unauthorized(`${rules.what}: token is not ${rules.kind}; ${hint(rules, 'send')}`, { cause });

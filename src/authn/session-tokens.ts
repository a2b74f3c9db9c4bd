import { CompactSign, decodeProtectedHeader, errors, type JWTHeaderParameters, type JWTPayload, jwtVerify } from 'jose';
import { z } from 'zod';
import type { Clock } from '../domain/clock.ts';
import { unauthorized } from '../domain/errors.ts';
import type { AgentId, RunId, SessionId, TenantId, WorkloadHash } from '../domain/ids.ts';
import type { KeyRing } from '../domain/key-ring.ts';
import type { SessionClaims, SessionTokens } from '../domain/session-tokens.ts';
import { isCompactJws } from '../domain/compact-jws.ts';
import { loggableCause } from './presented-jwt.ts';

export interface SessionTokensConfig {
  keys: KeyRing;
  /** The `iss` of our tokens. */
  issuer: string;
  clock: Clock;
}

/** A type of our own keeps other tokens by the same key from passing as sessions (RFC 8725 section 3.11). */
const TOKEN_TYPE = 'asb-session+jwt';
const ALGORITHM = 'EdDSA';
/** A token with a hundred tools is about 4 KiB. */
const MAX_TOKEN_LENGTH = 8 * 1024;
/** How far the clocks of two replicas may be apart; a token is used as soon as it is issued. */
const REPLICA_SKEW_SECONDS = 5;

/** SHA-256 in base64url. */
const Thumbprint = z.string().regex(/^[\w-]{43}$/);
const text = <T extends string>() => z.custom<T>((value) => typeof value === 'string' && value !== '');
/** Whole seconds, up to the end of the year 9999. */
const NumericDate = z.int().min(0).max(253_402_300_799);

/** Strict, because a claim that this version does not know may restrict the token. */
const TokenClaims = z.strictObject({
  sid: text<SessionId>(),
  tenant_id: text<TenantId>(),
  agent_id: text<AgentId>(),
  run_id: text<RunId>(),
  tool_context: z.array(z.string()),
  workload_hash: text<WorkloadHash>(),
  /** The key that every use of the token must prove (RFC 7800, RFC 9449 section 6.1); a bearer token has none. */
  cnf: z.strictObject({ jkt: Thumbprint }).optional(),
  iss: z.string(),
  /** The agent: whom the token speaks for (RFC 7519 section 4.1.2). */
  sub: z.string(),
  jti: text<string>(),
  iat: NumericDate,
  nbf: NumericDate,
  exp: NumericDate,
});
type TokenClaims = z.infer<typeof TokenClaims>;

/** Session tokens as JWTs signed with Ed25519 (RFC 8037). They are valid up to the second of their `exp`, no longer. */
export function makeSessionTokens({ keys, issuer, clock }: SessionTokensConfig): SessionTokens {
  if (issuer === '') throw new Error('session tokens need an issuer');
  const encoder = new TextEncoder();
  const header = { alg: ALGORITHM, kid: keys.signingKey.kid, typ: TOKEN_TYPE };
  const keyNamedBy = ({ kid }: JWTHeaderParameters) => {
    const key = kid === undefined ? null : keys.verificationKey(kid);
    if (key === null) throw unknownSigner();
    return key;
  };
  return {
    publicKeys: () => keys.publicKeys(),

    // SignJWT would deep-copy the claims first; we have just made them.
    sign: (claims) =>
      new CompactSign(encoder.encode(JSON.stringify(toTokenClaims(claims, issuer))))
        .setProtectedHeader(header)
        .sign(keys.signingKey.privateKey),

    claims: (token) => typeOf(token) === TOKEN_TYPE,

    async verify(token) {
      if (!isCompactJws(token, MAX_TOKEN_LENGTH)) throw notOurs();
      const currentDate = clock.now();
      let payload: JWTPayload;
      try {
        ({ payload } = await jwtVerify(token, keyNamedBy, {
          algorithms: [ALGORITHM],
          typ: TOKEN_TYPE,
          issuer,
          currentDate,
          clockTolerance: REPLICA_SKEW_SECONDS,
        }));
      } catch (error) {
        throw refusal(error);
      }
      const parsed = TokenClaims.safeParse(payload);
      if (!parsed.success) throw notOurs(parsed.error);
      const claims = fromTokenClaims(parsed.data);
      // The tolerance above is for `nbf` alone.
      if (claims.expiresAt <= currentDate) throw expired();
      return claims;
    },
  };
}

/** What the header says, or null where there is none to read. */
function typeOf(token: string): unknown {
  if (token.length > MAX_TOKEN_LENGTH) return null;
  try {
    return decodeProtectedHeader(token).typ;
  } catch {
    return null;
  }
}

function toTokenClaims(claims: SessionClaims, issuer: string): TokenClaims {
  const issuedAt = Math.floor(claims.issuedAt.getTime() / 1000);
  return {
    sid: claims.sessionId,
    tenant_id: claims.tenantId,
    agent_id: claims.agentId,
    run_id: claims.runId,
    tool_context: [...claims.toolContext],
    workload_hash: claims.workloadHash,
    // JSON leaves out what is undefined.
    cnf: claims.proofKeyThumbprint === null ? undefined : { jkt: claims.proofKeyThumbprint },
    iss: issuer,
    sub: claims.agentId,
    jti: claims.tokenId,
    iat: issuedAt,
    nbf: issuedAt,
    exp: Math.floor(claims.expiresAt.getTime() / 1000),
  };
}

function fromTokenClaims(claims: TokenClaims): SessionClaims {
  return {
    sessionId: claims.sid,
    tokenId: claims.jti,
    tenantId: claims.tenant_id,
    agentId: claims.agent_id,
    runId: claims.run_id,
    toolContext: claims.tool_context,
    workloadHash: claims.workload_hash,
    proofKeyThumbprint: claims.cnf?.jkt ?? null,
    issuedAt: new Date(claims.iat * 1000),
    expiresAt: new Date(claims.exp * 1000),
  };
}

function refusal(error: unknown): unknown {
  const cause = loggableCause(error);
  if (error instanceof errors.JWTExpired) return expired(cause);
  if (error instanceof errors.JWSSignatureVerificationFailed) return unknownSigner(cause);
  if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'nbf') {
    return unauthorized("session_token: is not valid yet; check the clocks of the broker's machines", { cause });
  }
  return error instanceof errors.JOSEError ? notOurs(cause) : error;
}

const expired = (cause?: unknown) => unauthorized('session_token: has expired; create a new session', { cause });
const unknownSigner = (cause?: unknown) =>
  unauthorized('session_token: is not signed by a key of this broker; create a new session', { cause });
const notOurs = (cause?: unknown) =>
  unauthorized('session_token: is not a session token of this broker; send the one that CreateSession answered', { cause });

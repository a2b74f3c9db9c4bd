import { decodeJwt, decodeProtectedHeader, errors, type JWTHeaderParameters, type JWTPayload, jwtVerify } from 'jose';
import { z } from 'zod';
import type { CallbackVerifier, VerifiedCallback } from '../domain/callback-verifier.ts';
import type { Clock } from '../domain/clock.ts';
import { isCompactJws } from '../domain/compact-jws.ts';
import { unauthorized } from '../domain/errors.ts';
import type { ApprovalId } from '../domain/ids.ts';
import type { KeyRing } from '../domain/key-ring.ts';
import { isStorable } from '../domain/storable-text.ts';
import { LINK_ALGORITHM, LINK_AUDIENCE, LINK_TYPE, LinkClaims } from './link-token.ts';
import { approverOf, type Receiver } from './receiver.ts';

export interface CallbackVerifierConfig {
  /** Who is configured at this moment; a reload changes it. */
  receivers: () => readonly Receiver[];
  keys: KeyRing;
  /** The `iss` of our own tokens, and the `aud` of what receivers sign. */
  issuer: string;
  clock: Clock;
}

/** What a receiver signs itself. */
export const CALLBACK_TYPE = 'asb-approval-callback+jwt';
const ALGORITHM = 'EdDSA';
/** A link's token is 3 KiB at most; a receiver's may hold a long comment. */
const MAX_LENGTH = 8 * 1024;
const MAX_LIFETIME_SECONDS = 10 * 60;
/** How far a receiver's clock may be ahead of ours. */
const SKEW_SECONDS = 30;

const NumericDate = z.int().min(0).max(253_402_300_799);
/** As in the body of a call: tabs and line ends are all the control characters there may be. */
const NO_CONTROL = /^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]*$/;

/** Strict, because a claim that this version does not know may restrict the token. */
const ReceiverClaims = z.strictObject({
  iss: z.string(),
  aud: z.union([z.string(), z.array(z.string())]),
  jti: z.string().regex(/^[\x21-\x7e]{8,200}$/),
  iat: NumericDate,
  nbf: NumericDate.optional(),
  exp: NumericDate,
  approval_id: z.custom<ApprovalId>((value) => typeof value === 'string' && /^ap_[0-9a-f-]{36}$/.test(value)),
  request_hash: z.string().regex(/^[0-9a-f]{64}$/),
  decision: z.enum(['approve', 'deny']),
  comment: z.string().max(1000).regex(NO_CONTROL).refine(isStorable).default(''),
});

/**
 * Reads the two kinds of signed decisions, told apart by the header's `typ`: the tokens of our own one-time links, and what a
 * receiver signed with its Ed25519 key (JWS compact, RFC 7515, RFC 8037).
 */
export function makeCallbackVerifier(config: CallbackVerifierConfig): CallbackVerifier {
  return {
    async verify(assertion) {
      switch (typeOf(assertion)) {
        case LINK_TYPE:
          return verifyLink(config, assertion);
        case CALLBACK_TYPE:
          return verifySigned(config, assertion);
        default:
          throw notAnAssertion();
      }
    },
  };
}

/** What the header says, which nobody has checked yet: each kind's own check asks for its type again. */
function typeOf(assertion: string): string | undefined {
  if (!isCompactJws(assertion, MAX_LENGTH)) throw notAnAssertion();
  try {
    return decodeProtectedHeader(assertion).typ;
  } catch (cause) {
    throw notAnAssertion(loggable(cause));
  }
}

async function verifyLink(
  { receivers, keys, issuer, clock }: CallbackVerifierConfig,
  token: string,
): Promise<VerifiedCallback> {
  const keyNamedBy = ({ kid }: JWTHeaderParameters) => {
    const key = kid === undefined ? null : keys.verificationKey(kid);
    if (key === null) throw notOurLink();
    return key;
  };
  const payload = await claimsOf(() =>
    jwtVerify(token, keyNamedBy, {
      algorithms: [LINK_ALGORITHM],
      typ: LINK_TYPE,
      issuer,
      audience: LINK_AUDIENCE,
      currentDate: clock.now(),
    }),
  );
  const parsed = LinkClaims.safeParse(payload);
  if (!parsed.success) throw notOurLink();
  const { data: claims } = parsed;
  const receiver = receivers().find(({ name }) => name === claims.receiver);
  if (receiver?.links !== true || !receiver.tenants.includes(claims.tenant_id)) {
    throw unauthorized('assertion: its receiver may not decide by links any more; decide with an operator token');
  }
  return { ...sharedOf(receiver, claims), tenants: [claims.tenant_id], comment: null };
}

async function verifySigned({ receivers, issuer, clock }: CallbackVerifierConfig, token: string): Promise<VerifiedCallback> {
  const claimed = claimedIssuer(token);
  const receiver = receivers().find(({ name }) => name === claimed);
  const key = receiver?.callbackKey ?? null;
  if (receiver === undefined || key === null) throw unknownSigner();
  const now = clock.now();
  const payload = await claimsOf(() =>
    jwtVerify(token, key, {
      algorithms: [ALGORITHM],
      typ: CALLBACK_TYPE,
      issuer: receiver.name,
      audience: issuer,
      currentDate: now,
      clockTolerance: SKEW_SECONDS,
    }),
  );
  const parsed = ReceiverClaims.safeParse(payload);
  if (!parsed.success) throw malformed(parsed.error);
  const { data: claims } = parsed;
  requireShortLife(claims, now);
  return { ...sharedOf(receiver, claims), tenants: receiver.tenants, comment: claims.comment };
}

/** The claims of what `verify` accepts. */
async function claimsOf(verify: () => Promise<{ payload: JWTPayload }>): Promise<JWTPayload> {
  try {
    return (await verify()).payload;
  } catch (error) {
    throw refusal(error);
  }
}

/** Which key to try; a lie here is found out by that key. */
function claimedIssuer(token: string): string | undefined {
  try {
    return decodeJwt(token).iss;
  } catch (cause) {
    throw notAnAssertion(loggable(cause));
  }
}

/** Whoever finds an old one gains nothing. The tolerance of the signature's check is for `iat` and `nbf` alone. */
function requireShortLife({ iat, exp }: { iat: number; exp: number }, now: Date): void {
  const nowSeconds = now.getTime() / 1000;
  if (exp <= nowSeconds) throw expired();
  if (iat > nowSeconds + SKEW_SECONDS)
    throw unauthorized('assertion: iat is in the future; check the clocks of both machines');
  if (exp - iat > MAX_LIFETIME_SECONDS || exp > nowSeconds + MAX_LIFETIME_SECONDS + SKEW_SECONDS) {
    throw unauthorized(`assertion: exp must be at most ${MAX_LIFETIME_SECONDS} seconds after iat`);
  }
}

type SharedClaims = Pick<LinkClaims, 'approval_id' | 'decision' | 'request_hash' | 'jti' | 'exp'>;

const sharedOf = (receiver: Receiver, claims: SharedClaims) => ({
  receiver: receiver.name,
  approver: approverOf(receiver),
  isNamed: receiver.approver !== null,
  approvalId: claims.approval_id,
  decision: claims.decision,
  requestHash: claims.request_hash,
  id: claims.jti,
  expiresAt: new Date(claims.exp * 1000),
});

function refusal(error: unknown): unknown {
  const cause = loggable(error);
  if (error instanceof errors.JWTExpired) return expired(cause);
  if (error instanceof errors.JWSSignatureVerificationFailed) return unknownSigner(cause);
  if (error instanceof errors.JWTClaimValidationFailed) {
    return unauthorized(`assertion: its ${error.claim} claim is missing or not the one that is expected here`, { cause });
  }
  return error instanceof errors.JOSEError ? notAnAssertion(cause) : error;
}

/** jose's own errors carry the whole claims set. */
const loggable = (error: unknown): unknown => (error instanceof errors.JOSEError ? new Error(error.code) : error);

function malformed(error: z.ZodError) {
  const [issue] = error.issues;
  const claim =
    issue?.code === 'unrecognized_keys' ? 'a claim that is not known here' : `its ${String(issue?.path[0])} claim`;
  return unauthorized(`assertion: ${claim} is missing or malformed`);
}

const expired = (cause?: unknown) =>
  unauthorized('assertion: has expired; sign a new one, or ask again for approval', { cause });
const unknownSigner = (cause?: unknown) =>
  unauthorized('assertion: is not signed by a key of a receiver that is configured here', { cause });
const notOurLink = () => unauthorized('assertion: is not a link of this broker; use the one that was sent');
const notAnAssertion = (cause?: unknown) =>
  unauthorized('assertion: is neither the token of an approval link nor an approval callback signed with EdDSA', { cause });

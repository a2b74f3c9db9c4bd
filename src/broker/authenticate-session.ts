import type { CallContext } from '../domain/call-context.ts';
import type { Clock } from '../domain/clock.ts';
import { unauthorized } from '../domain/errors.ts';
import type { ProofVerifier } from '../domain/proof.ts';
import type { SessionRepository } from '../domain/repository.ts';
import { type ActiveSession, isSessionLive, type Session } from '../domain/session.ts';
import type { SessionClaims, SessionTokens } from '../domain/session-tokens.ts';
import { sessionSubject, type Trail } from './audit-trail.ts';

export interface RequireProofDeps {
  proofs: ProofVerifier;
}

export interface AuthenticateSessionDeps extends RequireProofDeps {
  clock: Clock;
  tokens: SessionTokens;
  repository: SessionRepository;
}

/**
 * Who holds this session token, as the store has it now. Rejects with `unauthorized` when the token is missing, not ours, or
 * says other than the session on record, when that session was revoked or ran out, and when it is bound to a key that the caller
 * did not prove.
 */
export async function authenticateSession(
  deps: AuthenticateSessionDeps,
  token: string | null,
  trail: Trail,
  context: CallContext,
): Promise<ActiveSession> {
  const { session } = await authenticateSessionWith(deps, token, trail, context, () => null);
  return session;
}

/**
 * The same, and meanwhile looks up something else in the store that the token's claims lead to. What was found may be used only
 * with the session that comes with it.
 */
export async function authenticateSessionWith<Found>(
  deps: AuthenticateSessionDeps,
  token: string | null,
  trail: Trail,
  context: CallContext,
  lookUp: (claims: SessionClaims) => Promise<Found> | null,
): Promise<{ session: ActiveSession; found: Found | null }> {
  if (token === null) {
    throw unauthorized('session_token: is required, in the body or as Authorization: Bearer');
  }
  const claims = await deps.tokens.verify(token);
  trail.subject.tenantId = claims.tenantId;
  trail.subject.sessionId = claims.sessionId;
  const [session, found] = await Promise.all([
    deps.repository.findSession(claims.tenantId, claims.sessionId),
    lookUp(claims),
  ]);
  if (session === null || !agrees(session, claims)) {
    throw unauthorized('session_token: its session is not known here; create a new one');
  }
  trail.subject = sessionSubject(session);
  if (!isSessionLive(session, deps.clock.now())) {
    throw unauthorized('session_token: its session has ended; create a new one');
  }
  await requireProof(deps, session, token, context);
  return { session, found };
}

/** A session that is bound to a key needs a fresh proof of it with every use of its token and its handles (RFC 9449 section 7). */
export async function requireProof(
  deps: RequireProofDeps,
  session: Session,
  credential: string,
  context: CallContext,
): Promise<void> {
  if (session.proofKeyThumbprint === null) return;
  if (context.proof === null) throw unauthorized('DPoP: this session is bound to a key; send a proof made with it');
  const thumbprint = await deps.proofs.verify({ presented: context.proof, credential });
  if (thumbprint !== session.proofKeyThumbprint) {
    throw unauthorized('DPoP: the proof was made with another key than the one that the session is bound to');
  }
}

function agrees(session: Session, claims: SessionClaims): boolean {
  return (
    session.tokenId === claims.tokenId &&
    session.agentId === claims.agentId &&
    session.runId === claims.runId &&
    session.workloadHash === claims.workloadHash &&
    session.proofKeyThumbprint === claims.proofKeyThumbprint &&
    isSameList(session.toolContext, claims.toolContext)
  );
}

const isSameList = (one: readonly string[], other: readonly string[]): boolean =>
  one.length === other.length && one.every((item, index) => item === other[index]);

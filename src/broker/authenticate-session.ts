import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../domain/clock.ts';
import { unauthorized } from '../domain/errors.ts';
import type { SessionRepository } from '../domain/repository.ts';
import { type ActiveSession, isSessionLive, type Session } from '../domain/session.ts';
import type { SessionClaims, SessionTokens } from '../domain/session-tokens.ts';
import { sessionSubject, type Trail } from './audit-trail.ts';

export interface AuthenticateSessionDeps {
  clock: Clock;
  tokens: SessionTokens;
  repository: SessionRepository;
}

/**
 * Who holds this session token, as the store has it now. Rejects with `unauthorized` when the token is missing, not ours, or
 * says other than the session on record, and when that session was revoked or ran out.
 */
export async function authenticateSession(
  deps: AuthenticateSessionDeps,
  token: string | null,
  trail: Trail,
): Promise<ActiveSession> {
  if (token === null) {
    throw unauthorized('session_token: is required, in the body or as Authorization: Bearer');
  }
  const claims = await deps.tokens.verify(token);
  trail.subject.tenantId = claims.tenantId;
  trail.subject.sessionId = claims.sessionId;
  const session = await deps.repository.findSession(claims.tenantId, claims.sessionId);
  if (session === null || !agrees(session, claims)) {
    throw unauthorized('session_token: its session is not known here; create a new one');
  }
  trail.subject = sessionSubject(session);
  if (!isSessionLive(session, deps.clock.now())) {
    throw unauthorized('session_token: its session has ended; create a new one');
  }
  return session;
}

function agrees(session: Session, claims: SessionClaims): boolean {
  return (
    session.tokenId === claims.tokenId &&
    session.agentId === claims.agentId &&
    session.runId === claims.runId &&
    session.workloadHash === claims.workloadHash &&
    isDeepStrictEqual(session.toolContext, claims.toolContext)
  );
}

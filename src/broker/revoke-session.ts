import type { CallContext } from '../domain/call-context.ts';
import { conflict, notFound } from '../domain/errors.ts';
import type { SessionId } from '../domain/ids.ts';
import type { RuntimeStore } from '../domain/runtime-store.ts';
import type { ActiveSession } from '../domain/session.ts';
import { type AuditDeps, auditRefusals, sessionSubject, type Trail } from './audit-trail.ts';
import {
  authenticateOperator,
  type AuthenticateOperatorDeps,
  findForOperator,
  requireRole,
} from './authenticate-operator.ts';
import { authenticateSession, type AuthenticateSessionDeps } from './authenticate-session.ts';
import { markTokenRevoked, stageRevokedSession } from './end-session.ts';
import type { RevokeResponse } from './revoke-grant.ts';
import type { UseCase } from './use-case.ts';

export interface RevokeSessionRequest {
  /** The session's own token, or an operator's. */
  credential: string | null;
  sessionId: SessionId;
  reason: string;
}

export interface RevokeSessionDeps extends AuditDeps, AuthenticateSessionDeps, AuthenticateOperatorDeps {
  repository: AuditDeps['repository'] & AuthenticateSessionDeps['repository'];
  runtime: RuntimeStore;
}

/** Ends the caller's own session or, for an operator, one of a tenant of theirs; its token and its handles are dead then. */
export function revokeSession(deps: RevokeSessionDeps): UseCase<RevokeSessionRequest, RevokeResponse> {
  return (request, context) =>
    auditRefusals(deps, context, 'session_revoke.refused', async (trail) => {
      trail.details = { session_id: request.sessionId };
      const { session, by } = await sessionOfCaller(deps, request, trail, context);
      await deps.repository.transact((unit) =>
        stageRevokedSession(deps, context, unit, session, { reason: request.reason, by }),
      );
      await markTokenRevoked(deps, session);
      return { state: 'revoked' };
    });
}

/** The session, and the operator who asks; null when it is the session itself. */
async function sessionOfCaller(
  deps: RevokeSessionDeps,
  { credential, sessionId }: RevokeSessionRequest,
  trail: Trail,
  context: CallContext,
): Promise<{ session: ActiveSession; by: string | null }> {
  if (credential === null || deps.tokens.claims(credential)) {
    const session = await authenticateSession(deps, credential, trail, context);
    // Another session answers as an unknown one.
    if (session.id !== sessionId) throw noSuchSession();
    return { session, by: null };
  }
  const operator = await authenticateOperator(deps, credential, trail);
  const session = await findForOperator(operator, (tenantId) => deps.repository.findSession(tenantId, sessionId));
  if (session === null) throw noSuchSession();
  trail.subject = sessionSubject(session);
  requireRole(operator, session.tenantId, ['operator'], trail);
  if (session.state !== 'active') throw conflict(`session is already ${session.state}`);
  return { session, by: operator.subject };
}

const noSuchSession = () => notFound('session_id: no such session');

import { notFound } from '../domain/errors.ts';
import type { SessionId } from '../domain/ids.ts';
import { endSession } from '../domain/session.ts';
import { type AuditDeps, auditEvent, auditRefusals, sessionSubject } from './audit-trail.ts';
import { authenticateSession, type AuthenticateSessionDeps } from './authenticate-session.ts';
import { endedGrantEvents } from './ended-grant-events.ts';
import type { RevokeResponse } from './revoke-grant.ts';
import type { UseCase } from './use-case.ts';

export interface RevokeSessionRequest {
  sessionToken: string | null;
  sessionId: SessionId;
  reason: string;
}

export interface RevokeSessionDeps extends AuditDeps, AuthenticateSessionDeps {
  repository: AuditDeps['repository'] & AuthenticateSessionDeps['repository'];
}

/** Ends the caller's own session with all its grants; from then on its token and its handles are dead. */
export function revokeSession(deps: RevokeSessionDeps): UseCase<RevokeSessionRequest, RevokeResponse> {
  return (request, context) =>
    auditRefusals(deps, context, 'session_revoke.refused', async (trail) => {
      trail.details = { session_id: request.sessionId };
      const session = await authenticateSession(deps, request.sessionToken, trail);
      // Another session answers as an unknown one.
      if (session.id !== request.sessionId) throw notFound('session_id: no such session for this token');

      const at = deps.clock.now();
      const { tenantId, id: sessionId } = session;
      await deps.repository.transact((unit) => {
        unit.updateSession({ expected: 'active', next: endSession(session, 'revoked', at, request.reason) });
        unit.record(
          auditEvent(deps, context, 'session.revoked', sessionSubject(session), { details: { reason: request.reason } }),
        );
        unit.endGrantsOfSession({
          tenantId,
          sessionId,
          state: 'revoked',
          at,
          reason: 'session revoked',
          events: endedGrantEvents(deps, context),
        });
      });
      return { state: 'revoked' };
    });
}

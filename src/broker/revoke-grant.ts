import { endArtifact } from '../domain/artifact.ts';
import { notFound } from '../domain/errors.ts';
import { endGrant } from '../domain/grant.ts';
import type { GrantId } from '../domain/ids.ts';
import type { GrantRepository } from '../domain/repository.ts';
import { type AuditDeps, auditEvent, auditRefusals, grantSubject } from './audit-trail.ts';
import { authenticateSession, type AuthenticateSessionDeps } from './authenticate-session.ts';
import type { UseCase } from './use-case.ts';

export interface RevokeGrantRequest {
  sessionToken: string | null;
  grantId: GrantId;
  reason: string;
}

export interface RevokeResponse {
  state: 'revoked';
}

export interface RevokeGrantDeps extends AuditDeps, AuthenticateSessionDeps {
  repository: AuditDeps['repository'] & AuthenticateSessionDeps['repository'] & GrantRepository;
}

/** Ends one grant of the caller's own session, and what was issued for it. */
export function revokeGrant(deps: RevokeGrantDeps): UseCase<RevokeGrantRequest, RevokeResponse> {
  return (request, context) =>
    auditRefusals(deps, context, 'grant_revoke.refused', async (trail) => {
      trail.details = { grant_id: request.grantId };
      const session = await authenticateSession(deps, request.sessionToken, trail);
      const grant = await deps.repository.findGrant(session.tenantId, request.grantId);
      // Another session's grant answers as an unknown one.
      if (grant === null || grant.sessionId !== session.id) throw notFound('grant_id: no such grant in this session');

      const now = deps.clock.now();
      const revoked = endGrant(grant, 'revoked', now, request.reason);
      const artifact = 'artifactId' in grant ? await deps.repository.findArtifact(grant.tenantId, grant.artifactId) : null;
      await deps.repository.transact((unit) => {
        unit.updateGrant({ expected: grant.state, next: revoked });
        unit.record(
          auditEvent(deps, context, 'grant.revoked', grantSubject(grant), { details: { reason: request.reason } }),
        );
        if (artifact?.state === 'issued') {
          unit.updateArtifact({ expected: 'issued', next: endArtifact(artifact, 'revoked', now) });
          unit.record(auditEvent(deps, context, 'artifact.revoked', { ...grantSubject(grant), artifactId: artifact.id }));
        }
      });
      return { state: 'revoked' };
    });
}

import { withoutBearerSecrets } from '../domain/bearer-secrets.ts';
import { notFound } from '../domain/errors.ts';
import { type EndedGrant, endGrant, type Grant } from '../domain/grant.ts';
import type { CallContext } from '../domain/call-context.ts';
import type { GrantId } from '../domain/ids.ts';
import type { ApprovalRepository, GrantRepository } from '../domain/repository.ts';
import { type AuditDeps, auditRefusals, grantSubject, type Trail } from './audit-trail.ts';
import {
  authenticateOperator,
  type AuthenticateOperatorDeps,
  findForOperator,
  requireRole,
} from './authenticate-operator.ts';
import { authenticateSession, type AuthenticateSessionDeps } from './authenticate-session.ts';
import { stageEndedGrant } from './end-grant.ts';
import { endedGrantEvents } from './ended-grant-events.ts';
import type { UseCase } from './use-case.ts';

export interface RevokeGrantRequest {
  /** The session's own token, or an operator's. */
  credential: string | null;
  grantId: GrantId;
  reason: string;
}

export interface RevokeResponse {
  state: 'revoked';
}

export interface RevokeGrantDeps extends AuditDeps, AuthenticateSessionDeps, AuthenticateOperatorDeps {
  repository: AuditDeps['repository'] & AuthenticateSessionDeps['repository'] & GrantRepository & ApprovalRepository;
}

/** Ends one grant of the caller's own session or, for an operator, of a tenant of theirs, and what was issued for it. */
export function revokeGrant(deps: RevokeGrantDeps): UseCase<RevokeGrantRequest, RevokeResponse> {
  return (request, context) =>
    auditRefusals(deps, context, 'grant_revoke.refused', async (trail) => {
      trail.details = { grant_id: request.grantId };
      const { grant, by } = await grantOfCaller(deps, request, trail, context);
      const ended = endedBy(grant, request.reason, deps.clock.now());
      const artifact = 'artifactId' in grant ? await deps.repository.findArtifact(grant.tenantId, grant.artifactId) : null;
      const approval =
        grant.state === 'pending' ? await deps.repository.findApproval(grant.tenantId, grant.approvalId) : null;
      await deps.repository.transact((unit) =>
        stageEndedGrant(
          unit,
          { grant, artifact, approval },
          ended,
          endedGrantEvents(deps, context, by === null ? {} : { by }),
        ),
      );
      return { state: 'revoked' };
    });
}

/** The grant, and the operator who asks; null when it is the session itself. */
async function grantOfCaller(
  deps: RevokeGrantDeps,
  { credential, grantId }: RevokeGrantRequest,
  trail: Trail,
  context: CallContext,
): Promise<{ grant: Grant; by: string | null }> {
  if (credential === null || deps.tokens.claims(credential)) {
    const session = await authenticateSession(deps, credential, trail, context);
    const grant = await deps.repository.findGrant(session.tenantId, grantId);
    // Another session's grant answers as an unknown one.
    if (grant === null || grant.sessionId !== session.id) throw noSuchGrant();
    return { grant, by: null };
  }
  const operator = await authenticateOperator(deps, credential, trail);
  const grant = await findForOperator(operator, (tenantId) => deps.repository.findGrant(tenantId, grantId));
  if (grant === null) throw noSuchGrant();
  trail.subject = grantSubject(grant);
  requireRole(operator, grant.tenantId, ['operator'], trail);
  return { grant, by: operator.subject };
}

const noSuchGrant = () => notFound('grant_id: no such grant');

/** What still waits for a human gave nothing out, so there is nothing to revoke: it expires. */
function endedBy(grant: Grant, reason: string, at: Date): EndedGrant {
  return endGrant(grant, grant.state === 'pending' ? 'expired' : 'revoked', at, withoutBearerSecrets(reason));
}

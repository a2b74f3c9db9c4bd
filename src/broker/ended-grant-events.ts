import type { CallContext } from '../domain/call-context.ts';
import type { EndGrantsOfSession } from '../domain/unit-of-work.ts';
import { type AuditDeps, approvalSubject, auditEvent, grantSubject } from './audit-trail.ts';

/** The events of a grant that ended by revocation or by time, and of its artifact and its approval. */
export function endedGrantEvents(
  deps: Omit<AuditDeps, 'repository'>,
  context: Pick<CallContext, 'requestId'>,
  /** Who ended it, when it was an operator. */
  author: { by?: string } = {},
): EndGrantsOfSession['events'] {
  return (grant, artifact, approval) => {
    const details = { reason: grant.endReason, ...author };
    const type = grant.state === 'revoked' ? 'grant.revoked' : 'grant.expired';
    const events = [auditEvent(deps, context, type, grantSubject(grant), { details })];
    if (artifact !== null) {
      const artifactType = artifact.state === 'revoked' ? 'artifact.revoked' : 'artifact.expired';
      events.push(auditEvent(deps, context, artifactType, { ...grantSubject(grant), artifactId: artifact.id }));
    }
    if (approval !== null) events.push(auditEvent(deps, context, 'approval.expired', approvalSubject(approval)));
    return events;
  };
}

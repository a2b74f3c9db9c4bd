import type { CallContext } from '../domain/call-context.ts';
import type { EndGrantsOfSession } from '../domain/unit-of-work.ts';
import { type AuditDeps, auditEvent, grantSubject } from './audit-trail.ts';

/** The events of a grant that ended by revocation or by time, and of its artifact. */
export function endedGrantEvents(
  deps: Omit<AuditDeps, 'repository'>,
  context: Pick<CallContext, 'requestId'>,
): EndGrantsOfSession['events'] {
  return (grant, artifact) => {
    const details = { reason: grant.endReason };
    const type = grant.state === 'revoked' ? 'grant.revoked' : 'grant.expired';
    const events = [auditEvent(deps, context, type, grantSubject(grant), { details })];
    if (artifact !== null) {
      const artifactType = artifact.state === 'revoked' ? 'artifact.revoked' : 'artifact.expired';
      events.push(auditEvent(deps, context, artifactType, { ...grantSubject(grant), artifactId: artifact.id }));
    }
    return events;
  };
}

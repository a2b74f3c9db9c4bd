import { forbidden } from '../domain/errors.ts';
import type { Session } from '../domain/session.ts';
import type { SessionAuthorizer } from '../domain/session-authorizer.ts';

/**
 * Whether the configuration in force would still let this session open: a binding that was taken away ends what its workloads can
 * ask for, at once. Throws `forbidden`.
 */
export function requireStillBound({ sessions }: { sessions: SessionAuthorizer }, session: Session): void {
  const { workload: identity, tenantId, agentId, toolContext, delegation } = session;
  const decision = sessions.decide({ identity, tenantId, agentId, toolContext, delegation });
  if (!decision.allowed) throw forbidden(decision.reason, decision.message, { rule: decision.rule });
}

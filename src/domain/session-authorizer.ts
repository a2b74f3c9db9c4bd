import type { Delegation } from './delegation.ts';
import type { Denial, Verdict } from './grant-authorizer.ts';
import type { AgentId, TenantId } from './ids.ts';
import type { WorkloadIdentity } from './workload.ts';

export interface SessionQuestion {
  identity: WorkloadIdentity;
  /** The tenant and agent that the caller claims to be. */
  tenantId: TenantId;
  agentId: AgentId;
  toolContext: readonly string[];
  delegation: Delegation | null;
}

export type SessionDecision = { allowed: true } | Denial;

/** May this workload open a session as that agent of that tenant? */
export interface SessionAuthorizer {
  decide(question: SessionQuestion): SessionDecision;
  /** What every rule says, in the order in which they are asked. */
  explain(question: SessionQuestion): readonly Verdict[];
}

import type { RefusalReason } from './errors.ts';
import type { AgentId, TenantId } from './ids.ts';
import type { WorkloadIdentity } from './workload.ts';

export interface SessionQuestion {
  identity: WorkloadIdentity;
  /** The tenant and agent that the caller claims to be. */
  tenantId: TenantId;
  agentId: AgentId;
  toolContext: readonly string[];
}

export type SessionDecision = { allowed: true } | { allowed: false; reason: RefusalReason; message: string };

/** May this workload open a session as that agent of that tenant? */
export interface SessionAuthorizer {
  decide(question: SessionQuestion): SessionDecision;
}

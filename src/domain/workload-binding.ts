import type { AgentId, TenantId } from './ids.ts';
import type { WorkloadIdentity } from './workload.ts';

/** An operator's statement that an identity may act as agents of a tenant. */
export interface WorkloadBinding {
  tenantId: TenantId;
  identityType: WorkloadIdentity['type'];
  issuer: string;
  agents: 'any' | readonly AgentId[];
}

import type { TenantId } from './ids.ts';
import type { WorkloadIdentity } from './workload.ts';

/** An operator's statement that an identity may act as agents of a tenant. */
export interface WorkloadBinding {
  tenantId: TenantId;
  identityType: WorkloadIdentity['type'];
  issuer: string;
  /** Exact, or a prefix and a trailing `*`, as all patterns here; absent matches any. */
  subject?: string;
  namespace?: string;
  serviceAccount?: string;
  /** Each of these must be there and match. */
  attributes?: Readonly<Record<string, string>>;
  /** Patterns of the agent ids it may act as. */
  agents: readonly string[];
}

import type { DeliveryMode } from './grant.ts';
import type { TenantId } from './ids.ts';

/** A registered tool: code an operator has looked at and trusts with a capability. */
export interface Tool {
  tenantId: TenantId;
  name: string;
  manifestHash: string;
  runtimeClass: 'hosted' | 'sidecar' | 'browser';
  allowedDeliveryModes: readonly DeliveryMode[];
  /** Exact names, or a prefix and a trailing `*`. */
  allowedCapabilities: readonly string[];
  trustTags: readonly string[];
}

import type { DeliveryMode } from './grant.ts';
import type { TenantId } from './ids.ts';
import type { ResourceKind, ResourceRef } from './resource.ts';
import type { Session } from './session.ts';
import type { Tool } from './tool.ts';

/** What a policy's condition may look at. */
export interface ConditionInput {
  request: { tool: string; capability: string; resourceRef: string; deliveryMode: DeliveryMode; ttlSeconds: number };
  session: Session;
  resource: ResourceRef;
  tool: Tool;
}

/** A compiled condition. It may throw; a condition that throws denies. */
export interface Condition {
  source: string;
  holds(input: ConditionInput): boolean;
}

/** What a tenant allows for one capability. */
export interface Policy {
  tenantId: TenantId;
  capability: string;
  resourceKind: ResourceKind;
  allowedDeliveryModes: readonly DeliveryMode[];
  defaultTtlSeconds: number;
  maxTtlSeconds: number;
  approvalMode: 'none' | 'live_human';
  requiredToolTags: readonly string[];
  /** Null when the policy asks nothing more. */
  condition: Condition | null;
}

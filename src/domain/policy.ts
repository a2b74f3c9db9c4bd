import type { DeliveryMode } from './grant.ts';
import type { TenantId } from './ids.ts';
import type { ResourceKind, ResourceRef } from './resource.ts';
import type { Session } from './session.ts';
import type { Tool } from './tool.ts';

/** What a policy's condition may look at. */
export interface ConditionInput {
  request: { tool: string; capability: string; deliveryMode: DeliveryMode; ttlSeconds: number };
  session: Session;
  resource: ResourceRef;
  tool: Tool;
  now: Date;
}

/** A compiled condition. It may throw; a condition that throws denies. */
export interface Condition {
  source: string;
  holds(input: ConditionInput): boolean;
}

/** How humans decide. */
export interface ApprovalRule {
  /** How many different people must say yes; 1 at least. */
  requiredApprovers: number;
  /** How long they have. */
  ttlSeconds: number;
  /** Whether one yes also answers the same request of the same session when it comes again. */
  reuse: boolean;
}

/** What a tenant allows for one capability. */
export interface Policy {
  tenantId: TenantId;
  capability: string;
  resourceKind: ResourceKind;
  allowedDeliveryModes: readonly DeliveryMode[];
  defaultTtlSeconds: number;
  maxTtlSeconds: number;
  /** Null when no human is needed (`none`); otherwise how humans decide (`live_human`). */
  approval: ApprovalRule | null;
  /** Whether the session must be bound to a key of its holder. */
  requiresProof: boolean;
  requiredToolTags: readonly string[];
  /** What a minted token may do, in the downstream system's words; null leaves that to the connector. */
  permissions: Readonly<Record<string, string>> | null;
  /** Whether a browser relay without a key may have its values in the clear. */
  allowsPlainValues: boolean;
  /** Null when the policy asks nothing more. */
  condition: Condition | null;
}

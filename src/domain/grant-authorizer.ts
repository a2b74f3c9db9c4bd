import type { RefusalReason } from './errors.ts';
import type { DeliveryMode } from './grant.ts';
import type { ResourceRef } from './resource.ts';
import type { Session } from './session.ts';

export interface GrantQuestion {
  session: Session;
  tool: string;
  capability: string;
  resource: ResourceRef;
  deliveryMode: DeliveryMode;
  /** Null asks for the policy's default. */
  ttlSeconds: number | null;
  now: Date;
}

export type GrantDecision =
  | { allowed: true; expiresAt: Date; approvalMode: 'none' | 'live_human' }
  | { allowed: false; reason: RefusalReason; message: string };

/** May this session use that tool for that capability on that resource? Denies whatever no rule allows. */
export interface GrantAuthorizer {
  decide(question: GrantQuestion): GrantDecision;
  /** Names the configuration in force (SHA-256, hex); every event of a decision carries it. */
  readonly revision: string;
}

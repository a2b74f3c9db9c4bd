import type { RefusalReason } from './errors.ts';
import type { DeliveryMode } from './grant.ts';
import type { TenantId } from './ids.ts';
import type { ApprovalRule, Policy } from './policy.ts';
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
  | {
      allowed: true;
      /** The policy that said yes. */
      rule: string;
      /** Asked for, cut to the policy's maximum. */
      ttlSeconds: number;
      /** The least of now and `ttlSeconds`, the session's end and the delegation's. */
      expiresAt: Date;
      approval: ApprovalRule | null;
      /** What a minted token may do; null leaves that to the connector. */
      permissions: Policy['permissions'];
    }
  | Denial;

export interface Denial {
  allowed: false;
  reason: RefusalReason;
  /** The rule that said no, such as `policy:repo.read`, `tool:github`, `tool_context`, `delegation`. */
  rule: string;
  message: string;
}

/** What one rule says to a question. */
export type Verdict =
  { rule: string; outcome: 'allowed'; message: string } | (Omit<Denial, 'allowed'> & { outcome: 'denied' });

/** May this session use that tool for that capability on that resource? Denies whatever no rule allows. */
export interface GrantAuthorizer {
  decide(question: GrantQuestion): GrantDecision;
  /** What every rule says, in the order in which they are asked; the first that denies decides. Rules that hang on one that found nothing are left out. */
  explain(question: GrantQuestion): readonly Verdict[];
  /** Whether the policy for this capability lets values out that are sealed to nobody's key; false when there is no policy. */
  allowsPlainValues(of: { tenantId: TenantId; capability: string }): boolean;
  /** Names the configuration in force (SHA-256, hex); every event of a decision carries it. */
  readonly revision: string;
}

import type { ApprovalDecision, Approver } from './approval.ts';
import type { ApprovalId, TenantId } from './ids.ts';

/** A decision that came back from a receiver of notifications, signed. */
export interface VerifiedCallback {
  /** Name of the configured receiver. */
  receiver: string;
  /** The person that the receiver speaks for, or the receiver itself. */
  approver: Approver;
  /** Whether that is a person who is named, and so can be told apart from others. */
  isNamed: boolean;
  /** The approval is of one of these tenants, or it is none that the receiver may decide. */
  tenants: readonly TenantId[];
  approvalId: ApprovalId;
  decision: ApprovalDecision['decision'];
  /** What it was decided about; see `Approval`. */
  requestHash: string;
  /** One callback of a receiver has one id, however often it is sent. */
  id: string;
  expiresAt: Date;
  /** Null when whoever sends it may add a comment that is not signed. */
  comment: string | null;
}

/** Reads signed decisions. */
export interface CallbackVerifier {
  /**
   * Rejects with `unauthorized` unless the assertion is authentic, in date, and from a receiver that is configured to decide that
   * way. Whether it was used before is not looked at.
   */
  verify(assertion: string): Promise<VerifiedCallback>;
}

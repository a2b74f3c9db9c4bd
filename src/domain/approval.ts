import { conflict } from './errors.ts';
import type { AgentId, ApprovalId, GrantId, RunId, SessionId, TenantId } from './ids.ts';

/** A person, or the key that speaks for one. */
export interface Approver {
  issuer: string;
  subject: string;
}

/** One approver's word. */
export interface ApprovalDecision {
  approver: Approver;
  decision: 'approve' | 'deny';
  comment: string;
  at: Date;
}

/** What is asked of humans: fixed when the approval is made. */
export interface ApprovalTerms {
  id: ApprovalId;
  tenantId: TenantId;
  sessionId: SessionId;
  grantId: GrantId;
  agentId: AgentId;
  runId: RunId;
  /** SHA-256, hex, over the canonical request; see `Grant`. */
  requestHash: string;
  /** How many different people must say yes. */
  requiredApprovers: number;
  /** Whether one yes also answers the same request of the same session when it comes again. */
  reuse: boolean;
  /** Nobody of these decides: the requesting workload and whoever delegated to it. */
  excluded: readonly Approver[];
  createdAt: Date;
  expiresAt: Date;
}

export type PendingApproval = ApprovalTerms & { state: 'pending'; decisions: readonly ApprovalDecision[] };
export type DecidedApproval = ApprovalTerms & {
  state: 'approved' | 'denied';
  decisions: readonly ApprovalDecision[];
  endedAt: Date;
};
export type ExpiredApproval = ApprovalTerms & {
  state: 'expired';
  decisions: readonly ApprovalDecision[];
  endedAt: Date;
};
export type Approval = PendingApproval | DecidedApproval | ExpiredApproval;
export type ApprovalState = Approval['state'];

export const APPROVAL_TRANSITIONS: Readonly<Record<ApprovalState, readonly ApprovalState[]>> = {
  // A yes that is not yet the last leaves it pending.
  pending: ['pending', 'approved', 'denied', 'expired'],
  approved: [],
  denied: [],
  expired: [],
};

/**
 * Adds one person's word. A no decides at once, a yes when it is the last that was needed. Throws `conflict` when the
 * approval is decided or over, and for a second yes of one person.
 */
export function decideApproval(approval: Approval, word: ApprovalDecision): PendingApproval | DecidedApproval {
  if (approval.state !== 'pending') throw conflict(`approval is already ${approval.state}`);
  if (word.at >= approval.expiresAt) throw conflict('approval has expired');
  // Whoever said yes may still say no, and never yes twice.
  if (word.decision === 'approve' && approval.decisions.some(({ approver }) => isSamePerson(approver, word.approver))) {
    throw conflict('approval: you have approved it before; it waits for somebody else');
  }
  const decisions = [...approval.decisions, word];
  if (word.decision === 'deny') return { ...approval, state: 'denied', decisions, endedAt: word.at };
  if (decisions.length < approval.requiredApprovers) return { ...approval, decisions };
  return { ...approval, state: 'approved', decisions, endedAt: word.at };
}

/** Ends an approval that nobody decided. Throws `conflict` when it has ended before. */
export function expireApproval(approval: Approval, endedAt: Date): ExpiredApproval {
  if (approval.state !== 'pending') throw conflict(`approval is already ${approval.state}`);
  return { ...approval, state: 'expired', endedAt };
}

/** By subject alone: a person may come by more than one issuer, and must not count twice or approve for themselves that way. */
export const isSamePerson = (one: Approver, other: Approver): boolean => one.subject === other.subject;

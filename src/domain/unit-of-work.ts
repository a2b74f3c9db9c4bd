import type { Approval, ApprovalState, ExpiredApproval, PendingApproval } from './approval.ts';
import type { Block } from './block.ts';
import type { ApprovedGrant, EndedGrant, Grant, GrantState, PendingGrant } from './grant.ts';
import type { Artifact, ArtifactState, IssuedArtifact } from './artifact.ts';
import type { AuditEvent } from './audit-event.ts';
import type { ActiveSession, Session, SessionState } from './session.ts';
import type { DownstreamCall } from './downstream-call.ts';
import type { ApprovalId, ArtifactId, CallId, GrantId, RunId, SessionId, TenantId, WorkloadHash } from './ids.ts';
import type { Notification, WaitingNotification } from './notification.ts';
import type { RequestedRevocation, Revocation, RevocationState } from './revocation.ts';

/** Ends every open grant of a session, with the issued artifact or the pending approval of each; leases that were held become due at `at`. */
export interface EndGrantsOfSession {
  tenantId: TenantId;
  sessionId: SessionId;
  state: 'revoked' | 'expired';
  at: Date;
  reason: string;
  /** The events of one grant that ended, and of its artifact and its approval where they ended with it. */
  events(grant: EndedGrant, artifact: Artifact | null, approval: ExpiredApproval | null): readonly AuditEvent[];
}

/** Who must not have been stopped by an operator. */
export interface BlockQuestion {
  tenantId: TenantId;
  runId: RunId;
  workloadHash: WorkloadHash;
}

/** How many grants of one session may be open at once, those that wait for a human included. */
export interface OpenGrantLimit {
  tenantId: TenantId;
  sessionId: SessionId;
  maxOpen: number;
}

/** What one proxied call takes of its handle's budget before it is made. */
export interface RequestSpending {
  tenantId: TenantId;
  artifactId: ArtifactId;
  /** The call that is opened in the same unit. */
  callId: CallId;
  maxRequests: number;
  /** Counts the calls of the artifact that are open and whose deadline lies after `now`. */
  maxConcurrent: number;
  now: Date;
}

/** What a proxied call brought back. */
export interface ByteSpending {
  tenantId: TenantId;
  artifactId: ArtifactId;
  bytes: number;
  /** How many the handle may have brought back in all; null records them whatever they come to. */
  maxBytes: number | null;
}

/** Changes staged to commit together. Nothing is read or written until the unit commits. */
export interface UnitOfWork {
  insertSession(session: ActiveSession): void;
  /** Puts `next` in the place of the session with its id, which must be in state `expected`. */
  updateSession(change: { expected: SessionState; next: Session }): void;
  /** Ends the unit with `resource_budget_exceeded` when a session has `maxOpen` open grants already. */
  requireRoomForGrant(limit: OpenGrantLimit): void;
  /** The grant's session must be active. */
  insertGrant(grant: PendingGrant | ApprovedGrant): void;
  updateGrant(change: { expected: GrantState; next: Grant }): void;
  insertArtifact(artifact: IssuedArtifact): void;
  updateArtifact(change: { expected: ArtifactState; next: Artifact }): void;
  insertApproval(approval: PendingApproval): void;
  /**
   * Puts `next` in the place of the approval with its id, which must be in state `expected` and have as many decisions as the
   * decider saw, so that of two words at once one is a lost race.
   */
  updateApproval(change: { expected: ApprovalState; expectedDecisions: number; next: Approval }): void;
  endGrantsOfSession(change: EndGrantsOfSession): void;
  /** Puts a block on record. One that is there already for the same run or workload is kept, with the later end. */
  insertBlock(block: Block): void;
  /** Ends the unit with `forbidden` (`run_revoked`, `workload_revoked`) when a block stands against the caller. */
  requireNoBlock(question: BlockQuestion): void;
  /** Ends the unit with `conflict` unless the grant is issued and its session active, or both ended by their time where that may be. */
  requireIssuedGrant(of: { tenantId: TenantId; sessionId: SessionId; grantId: GrantId; orExpired: boolean }): void;
  /** Ends the unit with `conflict` when a grant that this approval allowed was revoked: its yes has been taken back. */
  requireStandingApproval(of: { tenantId: TenantId; sessionId: SessionId; approvalId: ApprovalId }): void;
  /** Puts a downstream call on record, before it is made. */
  openCall(call: DownstreamCall): void;
  /** Takes a call off the record, together with its outcome's event. Ends the unit with `conflict` when somebody else has done so. */
  closeCall(of: { tenantId: TenantId; callId: CallId }): void;
  /**
   * Counts a request against the handle's budget, for good. Ends the unit with `resource_budget_exceeded` when none is left or too
   * many calls are open. The count outlives every runtime store.
   */
  spendRequest(spending: RequestSpending): void;
  /** Counts bytes likewise. Ends the unit with `resource_budget_exceeded` when it comes to more than `maxBytes`. */
  spendBytes(spending: ByteSpending): void;
  insertRevocation(revocation: RequestedRevocation): void;
  /** Puts `next` in the place of the revocation with its id, which must be in state `expected` and, where it is due, tried as often as `next` says. */
  updateRevocation(change: { expected: RevocationState; next: Revocation }): void;
  /** Makes the lease that is held for a grant due; no error when there is none. Staged with the grant's end. */
  makeRevocationDue(of: { tenantId: TenantId; grantId: GrantId; at: Date }): void;
  insertNotification(notification: WaitingNotification): void;
  /** Puts `next` in the place of the waiting notification with its id, which must have been tried `expectedAttempts` times. */
  updateNotification(change: { expectedAttempts: number; next: Notification }): void;
  record(event: AuditEvent): void;
}

/** Commits units of work. */
export interface Transactor {
  /**
   * Runs `stage`, which must not wait, and commits all it staged, or nothing. Rejects with `conflict` when a state was not the
   * expected one (a lost race included), with what a staged requirement names, and with `unavailable` when the store or the
   * audit log cannot be written.
   */
  transact(stage: (unit: UnitOfWork) => void): Promise<void>;
}

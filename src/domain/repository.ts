import type { Approval, ApprovalState } from './approval.ts';
import type { Artifact, ProxyHandleArtifact } from './artifact.ts';
import type { AuditEvent } from './audit-event.ts';
import type { Grant, GrantState } from './grant.ts';
import type {
  AgentId,
  ApprovalId,
  ArtifactId,
  GrantId,
  HandleHash,
  RunId,
  SessionId,
  TenantId,
  WorkloadHash,
} from './ids.ts';
import type { DownstreamCall } from './downstream-call.ts';
import type { WaitingNotification } from './notification.ts';
import type { DueRevocation, Revocation, RevocationState } from './revocation.ts';
import type { HandleUsage } from './runtime-store.ts';
import type { Session, SessionState } from './session.ts';
import type { BlockQuestion, Transactor } from './unit-of-work.ts';

/** Look-ups answer null for what is not there, another tenant's rows included, and reject with `unavailable`. */
export interface SessionRepository {
  findSession(tenantId: TenantId, id: SessionId): Promise<Session | null>;
}

export interface GrantRepository {
  findGrant(tenantId: TenantId, id: GrantId): Promise<Grant | null>;
  findArtifact(tenantId: TenantId, id: ArtifactId): Promise<Artifact | null>;
  /** What stands behind a proxy handle, in whatever state; the handle itself names the tenant. */
  findByHandle(handleHash: HandleHash): Promise<{ session: Session; grant: Grant; artifact: ProxyHandleArtifact } | null>;
  /** The grant that a session asked for under this id of its own. */
  findGrantByRequestId(tenantId: TenantId, sessionId: SessionId, requestId: string): Promise<Grant | null>;
}

export interface ApprovalRepository {
  findApproval(tenantId: TenantId, id: ApprovalId): Promise<Approval | null>;
  /** The newest approval of a session for exactly this request that is pending or approved. */
  findApprovalOfRequest(tenantId: TenantId, sessionId: SessionId, requestHash: string): Promise<Approval | null>;
}

/** What an operator's kill switch ends. */
export interface RevocationRepository {
  /** Active sessions of a run, or of a workload, oldest first. */
  findActiveSessions(
    of: { tenantId: TenantId } & ({ runId: RunId } | { workloadHash: WorkloadHash }),
    limit: number,
  ): Promise<readonly Session[]>;
  /** The proxy handles of a run, or of a workload, whose grants ended at `endedAfter` or later. */
  findEndedHandles(
    of: { tenantId: TenantId } & ({ runId: RunId } | { workloadHash: WorkloadHash }),
    endedAfter: Date,
  ): Promise<readonly { grantId: GrantId; handleHash: HandleHash }[]>;
}

/** How many leases of one connector are in one state. Those that are due outlived their grants and may still be alive downstream. */
export interface OpenLeases {
  connector: string;
  state: 'requested' | 'held' | 'due';
  count: number;
}

/** What was begun downstream, and what has to be ended there. */
export interface DownstreamRepository {
  /** What a handle has used of its budget, its open calls included; null for a handle that is not known. */
  findHandleUsage(handleHash: HandleHash): Promise<HandleUsage | null>;
  /** Calls still open whose deadline was before `before`, oldest first: nobody will tell their outcome. */
  findOverdueCalls(before: Date, limit: number): Promise<readonly DownstreamCall[]>;
  findRevocationOfGrant(tenantId: TenantId, grantId: GrantId): Promise<Revocation | null>;
  /**
   * Takes revocations that are due at `now` for one more try, oldest first, none of those connectors that are `busy`. Counts the try
   * and puts the next one at `claimedUntil`, so that nobody else takes them before. Answers them as they are then.
   */
  claimDueRevocations(claim: {
    now: Date;
    claimedUntil: Date;
    limit: number;
    busy: readonly string[];
  }): Promise<readonly DueRevocation[]>;
  /** Grants of a run, or of a workload, whose leases are due and not revoked yet. */
  findUnrevokedGrants(
    of: { tenantId: TenantId } & ({ runId: RunId } | { workloadHash: WorkloadHash }),
  ): Promise<readonly GrantId[]>;
  /** Leases that are not done, by connector and state, of all tenants together. */
  countOpenLeases(): Promise<readonly OpenLeases[]>;
}

/** The messages that wait to be sent. */
export interface OutboxRepository {
  /** Waiting notifications whose next attempt is due at `now`, oldest first; none of those receivers that are `busy`. */
  findDueNotifications(now: Date, limit: number, busy: readonly string[]): Promise<readonly WaitingNotification[]>;
}

/** What the cleanup needs. */
export interface ExpiryRepository {
  /** Active sessions whose time is up at `now`, oldest first. */
  findExpiredSessions(now: Date, limit: number): Promise<readonly Session[]>;
  /** Open grants whose time is up at `now`, oldest first, with their artifacts, and their approvals while these are pending. */
  findExpiredGrants(
    now: Date,
    limit: number,
  ): Promise<readonly { grant: Grant; artifact: Artifact | null; approval: Approval | null }[]>;
  /**
   * Drops sessions that ended before `endedBefore` with their grants, approvals and artifacts, such grants of sessions that go
   * on, and blocks, notifications and revocations that ended before it. A revoked grant that people had approved stays with its session: it says
   * that their yes was taken back. Answers how many rows went.
   */
  forgetEnded(endedBefore: Date, limit: number): Promise<number>;
}

/** One page of a listing, newest first. */
export interface PageRequest {
  limit: number;
  /** What the page before ended with; null for the first. */
  after: string | null;
}

export interface Page<Row> {
  rows: readonly Row[];
  /** What to give as `after` for the next page; null when this is the last. */
  next: string | null;
}

export interface SessionFilter {
  state?: SessionState;
  agentId?: AgentId;
  runId?: RunId;
  workloadHash?: WorkloadHash;
}

export interface GrantFilter {
  state?: GrantState;
  sessionId?: SessionId;
  agentId?: AgentId;
  runId?: RunId;
  capability?: string;
}

export interface RevocationFilter {
  state?: RevocationState;
  grantId?: GrantId;
  connector?: string;
}

export interface ApprovalFilter {
  state?: ApprovalState;
  sessionId?: SessionId;
}

export interface AuditFilter {
  type?: AuditEvent['type'];
  sessionId?: SessionId;
  grantId?: GrantId;
  approvalId?: ApprovalId;
}

/** What operators look at: rows of one tenant, never secret data. */
export interface ReadRepository {
  listSessions(tenantId: TenantId, filter: SessionFilter, page: PageRequest): Promise<Page<Session>>;
  listGrants(tenantId: TenantId, filter: GrantFilter, page: PageRequest): Promise<Page<Grant>>;
  listApprovals(tenantId: TenantId, filter: ApprovalFilter, page: PageRequest): Promise<Page<Approval>>;
  listRevocations(tenantId: TenantId, filter: RevocationFilter, page: PageRequest): Promise<Page<Revocation>>;
  /** A store without a database keeps the newest events alone; all of them are in its audit log. */
  listAuditEvents(tenantId: TenantId, filter: AuditFilter, page: PageRequest): Promise<Page<AuditEvent>>;
}

/** Whether an operator has stopped a run or a workload. */
export interface BlockRepository {
  /** Which block stands against the caller; null when none does. */
  findBlock(question: BlockQuestion): Promise<'run' | 'workload' | null>;
}

export interface Repository
  extends
    Transactor,
    SessionRepository,
    GrantRepository,
    ApprovalRepository,
    RevocationRepository,
    DownstreamRepository,
    OutboxRepository,
    BlockRepository,
    ExpiryRepository,
    ReadRepository {
  /** Resolves when the store can be read and written; otherwise rejects with `unavailable`. */
  ping(): Promise<void>;
}

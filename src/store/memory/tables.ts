import type { Approval } from '../../domain/approval.ts';
import type { Artifact, ProxyHandleArtifact } from '../../domain/artifact.ts';
import { isGrantOpen, type Grant } from '../../domain/grant.ts';
import type {
  ApprovalId,
  ArtifactId,
  GrantId,
  HandleHash,
  RunId,
  SessionId,
  TenantId,
  WorkloadHash,
} from '../../domain/ids.ts';
import type { RevocationRepository, SessionFilter } from '../../domain/repository.ts';
import type { Session } from '../../domain/session.ts';
import { Blocks } from './blocks.ts';
import { DownstreamCalls } from './downstream-calls.ts';
import { IdIndex, PairIndex, pairKey } from './id-index.ts';
import { Outbox } from './outbox.ts';
import { Revocations } from './revocations.ts';
import { TimeQueue } from './time-queue.ts';

export type RunOrWorkload = Parameters<RevocationRepository['findActiveSessions']>[0];

/** How many entries each table and index holds. */
export type RowCounts = Readonly<Record<string, number>>;

/** What a handle has used of its budget, for good. */
export interface Spent {
  requests: number;
  bytes: number;
}

const NOTHING_SPENT: Spent = { requests: 0, bytes: 0 };

/** The committed rows with their indexes. Rows go in and out as they are: copying is the repository's part. */
export class Tables {
  readonly blocks = new Blocks();
  readonly outbox = new Outbox();
  readonly calls = new DownstreamCalls();
  readonly revocations = new Revocations();

  readonly #sessions = new Map<SessionId, Session>();
  readonly #grants = new Map<GrantId, Grant>();
  readonly #artifacts = new Map<ArtifactId, Artifact>();
  readonly #approvals = new Map<ApprovalId, Approval>();

  readonly #spent = new Map<ArtifactId, Spent>();

  readonly #sessionsByTenant = new IdIndex<TenantId, SessionId>();
  readonly #grantsByTenant = new IdIndex<TenantId, GrantId>();
  readonly #approvalsByTenant = new IdIndex<TenantId, ApprovalId>();

  readonly #activeByRun = new PairIndex<TenantId, RunId, SessionId>();
  readonly #activeByWorkload = new PairIndex<TenantId, WorkloadHash, SessionId>();

  readonly #artifactByHandle = new Map<HandleHash, ArtifactId>();
  readonly #artifactByGrant = new Map<GrantId, ArtifactId>();
  readonly #grantsBySession = new IdIndex<SessionId, GrantId>();
  readonly #openGrantsBySession = new Map<SessionId, number>();
  /** By session and the session's own id of the request. */
  readonly #grantByRequestId = new Map<string, GrantId>();
  readonly #approvalsBySession = new IdIndex<SessionId, ApprovalId>();
  /** The pending and the approved ones, by session and request. */
  readonly #approvalsByRequest = new IdIndex<string, ApprovalId>();

  readonly #activeSessions = new TimeQueue<SessionId>();
  readonly #openGrants = new TimeQueue<GrantId>();
  readonly #endedSessions = new TimeQueue<SessionId>();
  readonly #endedGrants = new TimeQueue<GrantId>();

  session(id: SessionId): Session | undefined {
    return this.#sessions.get(id);
  }

  grant(id: GrantId): Grant | undefined {
    return this.#grants.get(id);
  }

  artifact(id: ArtifactId): Artifact | undefined {
    return this.#artifacts.get(id);
  }

  approval(id: ApprovalId): Approval | undefined {
    return this.#approvals.get(id);
  }

  artifactByHandle(handleHash: HandleHash): ProxyHandleArtifact | undefined {
    const id = this.#artifactByHandle.get(handleHash);
    const artifact = id === undefined ? undefined : this.#artifacts.get(id);
    return artifact?.kind === 'proxy_handle' ? artifact : undefined;
  }

  spent(id: ArtifactId): Spent {
    return this.#spent.get(id) ?? NOTHING_SPENT;
  }

  artifactOfGrant(grantId: GrantId): Artifact | undefined {
    const id = this.#artifactByGrant.get(grantId);
    return id === undefined ? undefined : this.#artifacts.get(id);
  }

  grantByRequestId(sessionId: SessionId, requestId: string): Grant | undefined {
    const id = this.#grantByRequestId.get(pairKey(sessionId, requestId));
    return id === undefined ? undefined : this.#grants.get(id);
  }

  /** The newest approval of a session for a request that is pending or approved. */
  approvalOfRequest(sessionId: SessionId, requestHash: string): Approval | undefined {
    for (const id of this.#approvalsByRequest.descending(pairKey(sessionId, requestHash), null)) {
      return this.#approvals.get(id);
    }
    return undefined;
  }

  /** The ids of a session's grants, oldest first. */
  grantsOfSession(sessionId: SessionId): Iterable<GrantId> {
    return this.#grantsBySession.ascending(sessionId);
  }

  openGrantsOfSession(sessionId: SessionId): number {
    return this.#openGrantsBySession.get(sessionId) ?? 0;
  }

  /** Active sessions of a run or a workload, oldest first. */
  activeSessions(of: RunOrWorkload, limit: number): Session[] {
    const found: Session[] = [];
    const ids =
      'runId' in of
        ? this.#activeByRun.ascending(of.tenantId, of.runId)
        : this.#activeByWorkload.ascending(of.tenantId, of.workloadHash);
    for (const session of rowsOf(ids, this.#sessions)) {
      if (found.length === limit) break;
      found.push(session);
    }
    return found;
  }

  /** The handles of a run or a workload whose grants ended at `endedAfter` or later. Looks at every grant: it is rarely asked. */
  endedHandles(of: RunOrWorkload, endedAfter: Date): { grantId: GrantId; handleHash: HandleHash }[] {
    const found: { grantId: GrantId; handleHash: HandleHash }[] = [];
    for (const grant of this.#grants.values()) {
      if (isGrantOpen(grant) || grant.endedAt < endedAfter || grant.tenantId !== of.tenantId) continue;
      const isOf =
        'runId' in of ? grant.runId === of.runId : this.#sessions.get(grant.sessionId)?.workloadHash === of.workloadHash;
      const artifact = isOf ? this.artifactOfGrant(grant.id) : undefined;
      if (artifact?.kind === 'proxy_handle') found.push({ grantId: grant.id, handleHash: artifact.handleHash });
    }
    return found;
  }

  /** A tenant's sessions before `below`, newest first: all that pass the filter, and others where no index tells them apart. */
  sessionsNewestFirst(
    tenantId: TenantId,
    { state, runId, workloadHash }: SessionFilter,
    below: string | null,
  ): Generator<Session, void> {
    let ids = this.#sessionsByTenant.descending(tenantId, below);
    if (state === 'active') {
      if (runId !== undefined) ids = this.#activeByRun.descending(tenantId, runId, below);
      else if (workloadHash !== undefined) ids = this.#activeByWorkload.descending(tenantId, workloadHash, below);
    }
    return rowsOf(ids, this.#sessions);
  }

  /** Newest first, those before `below`: a tenant's or, where one is given, a session's alone. */
  grantsNewestFirst(tenantId: TenantId, sessionId: SessionId | undefined, below: string | null): Generator<Grant, void> {
    const ids =
      sessionId === undefined
        ? this.#grantsByTenant.descending(tenantId, below)
        : this.#grantsBySession.descending(sessionId, below);
    return rowsOf(ids, this.#grants);
  }

  /** The same for approvals. */
  approvalsNewestFirst(
    tenantId: TenantId,
    sessionId: SessionId | undefined,
    below: string | null,
  ): Generator<Approval, void> {
    const ids =
      sessionId === undefined
        ? this.#approvalsByTenant.descending(tenantId, below)
        : this.#approvalsBySession.descending(sessionId, below);
    return rowsOf(ids, this.#approvals);
  }

  /** Active sessions whose time is up, oldest first. */
  expiredSessions(now: Date, limit: number): SessionId[] {
    return this.#activeSessions.until(now, limit);
  }

  /** Open grants whose time is up, oldest first. */
  expiredGrants(now: Date, limit: number): GrantId[] {
    return this.#openGrants.until(now, limit);
  }

  putSession(session: Session): void {
    const { id, tenantId, runId, workloadHash } = session;
    this.#sessions.set(id, session);
    this.#sessionsByTenant.add(tenantId, id);
    if (session.state === 'active') {
      this.#activeSessions.put(id, session.expiresAt);
      this.#activeByRun.add(tenantId, runId, id);
      this.#activeByWorkload.add(tenantId, workloadHash, id);
    } else {
      this.#removeActive(session);
      this.#endedSessions.put(id, session.endedAt);
    }
  }

  putGrant(grant: Grant): void {
    const { id, tenantId, sessionId, requestId } = grant;
    const previous = this.#grants.get(id);
    this.#countOpen(sessionId, Number(isGrantOpen(grant)) - openOf(previous));
    this.#grants.set(id, grant);
    if (isGrantOpen(grant)) {
      this.#openGrants.put(id, grant.expiresAt);
    } else {
      this.#openGrants.remove(id);
      // A yes that was taken back must not be forgotten before its session.
      if (!(grant.state === 'revoked' && grant.approvalId !== null)) this.#endedGrants.put(id, grant.endedAt);
    }
    if (previous !== undefined) return;
    this.#grantsByTenant.add(tenantId, id);
    this.#grantsBySession.add(sessionId, id);
    if (requestId !== null) this.#grantByRequestId.set(pairKey(sessionId, requestId), id);
  }

  putArtifact(artifact: Artifact): void {
    this.#artifacts.set(artifact.id, artifact);
    if (artifact.kind === 'proxy_handle') this.#artifactByHandle.set(artifact.handleHash, artifact.id);
    this.#artifactByGrant.set(artifact.grantId, artifact.id);
  }

  putSpent(id: ArtifactId, spent: Spent): void {
    this.#spent.set(id, spent);
  }

  putApproval(approval: Approval): void {
    const { id, tenantId, sessionId, requestHash, state } = approval;
    this.#approvals.set(id, approval);
    this.#approvalsByTenant.add(tenantId, id);
    this.#approvalsBySession.add(sessionId, id);
    const request = pairKey(sessionId, requestHash);
    if (state === 'pending' || state === 'approved') this.#approvalsByRequest.add(request, id);
    else this.#approvalsByRequest.remove(request, id);
  }

  /**
   * Drops up to `limit` rows that ended before `endedBefore`, each with all that hangs on it: sessions first, then with what is
   * left of `limit` grants of other sessions, notifications, revocations and blocks. Answers how many rows went.
   */
  forgetEnded(endedBefore: Date, limit: number): number {
    const sessions = this.#endedSessions.before(endedBefore, limit);
    let left = limit - sessions.length;
    let rows = 0;
    for (const id of sessions) rows += this.#dropSession(id);
    const grants = this.#endedGrants.before(endedBefore, left);
    left -= grants.length;
    for (const id of grants) rows += this.#dropGrant(id);
    for (const table of [this.outbox, this.revocations, this.blocks]) {
      const gone = table.forgetEnded(endedBefore, left);
      left -= gone;
      rows += gone;
    }
    return rows;
  }

  counts(): RowCounts {
    return {
      sessions: this.#sessions.size,
      grants: this.#grants.size,
      artifacts: this.#artifacts.size,
      approvals: this.#approvals.size,
      spent: this.#spent.size,
      sessionsByTenant: this.#sessionsByTenant.size,
      grantsByTenant: this.#grantsByTenant.size,
      approvalsByTenant: this.#approvalsByTenant.size,
      activeByRun: this.#activeByRun.size,
      activeByWorkload: this.#activeByWorkload.size,
      artifactByHandle: this.#artifactByHandle.size,
      artifactByGrant: this.#artifactByGrant.size,
      grantsBySession: this.#grantsBySession.size,
      openGrantsBySession: this.#openGrantsBySession.size,
      grantByRequestId: this.#grantByRequestId.size,
      approvalsBySession: this.#approvalsBySession.size,
      approvalsByRequest: this.#approvalsByRequest.size,
      activeSessions: this.#activeSessions.size,
      openGrants: this.#openGrants.size,
      endedSessions: this.#endedSessions.size,
      endedGrants: this.#endedGrants.size,
      ...this.blocks.counts(),
      ...this.outbox.counts(),
      ...this.calls.counts(),
      ...this.revocations.counts(),
    };
  }

  #countOpen(sessionId: SessionId, change: number): void {
    if (change === 0) return;
    const open = this.openGrantsOfSession(sessionId) + change;
    if (open === 0) this.#openGrantsBySession.delete(sessionId);
    else this.#openGrantsBySession.set(sessionId, open);
  }

  #removeActive({ id, tenantId, runId, workloadHash }: Session): void {
    this.#activeSessions.remove(id);
    this.#activeByRun.remove(tenantId, runId, id);
    this.#activeByWorkload.remove(tenantId, workloadHash, id);
  }

  #dropSession(id: SessionId): number {
    const session = this.#sessions.get(id);
    if (session === undefined) return 0;
    let rows = 1;
    for (const grantId of [...this.grantsOfSession(id)]) rows += this.#dropGrant(grantId);
    this.#sessions.delete(id);
    this.#sessionsByTenant.remove(session.tenantId, id);
    this.#endedSessions.remove(id);
    return rows;
  }

  #dropGrant(id: GrantId): number {
    const grant = this.#grants.get(id);
    if (grant === undefined) return 0;
    const { tenantId, sessionId, requestId } = grant;
    this.#countOpen(sessionId, -openOf(grant));
    this.#grants.delete(id);
    this.#openGrants.remove(id);
    this.#endedGrants.remove(id);
    this.#grantsByTenant.remove(tenantId, id);
    this.#grantsBySession.remove(sessionId, id);
    if (requestId !== null) this.#grantByRequestId.delete(pairKey(sessionId, requestId));
    return 1 + this.#dropArtifactOf(id) + this.#dropApprovalOf(grant);
  }

  #dropArtifactOf(grantId: GrantId): number {
    const artifact = this.artifactOfGrant(grantId);
    if (artifact === undefined) return 0;
    this.#artifacts.delete(artifact.id);
    this.#spent.delete(artifact.id);
    if (artifact.kind === 'proxy_handle') this.#artifactByHandle.delete(artifact.handleHash);
    this.#artifactByGrant.delete(grantId);
    return 1;
  }

  #dropApprovalOf(grant: Grant): number {
    const approval = grant.approvalId === null ? undefined : this.#approvals.get(grant.approvalId);
    // One that answered this request again stays with the grant that it was given for.
    if (approval?.grantId !== grant.id) return 0;
    const { id, tenantId, sessionId, requestHash } = approval;
    this.#approvals.delete(id);
    this.#approvalsByTenant.remove(tenantId, id);
    this.#approvalsBySession.remove(sessionId, id);
    this.#approvalsByRequest.remove(pairKey(sessionId, requestHash), id);
    return 1;
  }
}

const openOf = (grant: Grant | undefined): 0 | 1 => (grant !== undefined && isGrantOpen(grant) ? 1 : 0);

function* rowsOf<Id, Row>(ids: Iterable<Id>, table: ReadonlyMap<Id, Row>): Generator<Row, void> {
  for (const id of ids) {
    const row = table.get(id);
    if (row !== undefined) yield row;
  }
}

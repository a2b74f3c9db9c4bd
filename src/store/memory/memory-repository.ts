import type { Approval } from '../../domain/approval.ts';
import type { Artifact, ProxyHandleArtifact } from '../../domain/artifact.ts';
import type { AuditEvent } from '../../domain/audit-event.ts';
import type { AuditLog } from '../../domain/audit-log.ts';
import type { Block } from '../../domain/block.ts';
import type { DownstreamCall } from '../../domain/downstream-call.ts';
import { BrokerError, unavailable } from '../../domain/errors.ts';
import type { Grant } from '../../domain/grant.ts';
import type { ApprovalId, ArtifactId, GrantId, HandleHash, SessionId, TenantId } from '../../domain/ids.ts';
import type { WaitingNotification } from '../../domain/notification.ts';
import type {
  ApprovalFilter,
  AuditFilter,
  GrantFilter,
  OpenLeases,
  Page,
  PageRequest,
  Repository,
  RevocationFilter,
  SessionFilter,
} from '../../domain/repository.ts';
import type { DueRevocation, Revocation } from '../../domain/revocation.ts';
import type { HandleUsage } from '../../domain/runtime-store.ts';
import type { Session } from '../../domain/session.ts';
import type { BlockQuestion, UnitOfWork } from '../../domain/unit-of-work.ts';
import { ChangeSet } from './change-set.ts';
import { listApprovals, listGrants, listRevocations, listSessions } from './listings.ts';
import { RecentEvents } from './recent-events.ts';
import { copyRow } from './row-copy.ts';
import { StagedUnit } from './staged-unit.ts';
import { Tables, type RowCounts, type RunOrWorkload } from './tables.ts';

/** For tests that look whether anything is left behind. */
export interface CountsRows {
  rowCounts(): RowCounts;
}

export interface MemoryRepositoryConfig {
  auditLog: AuditLog;
  /** How many audit events can be listed, those of all tenants together; every one is in the audit log. */
  recentEvents?: number;
}

/** A few megabytes. */
const RECENT_EVENTS = 2000;
/** Of a batch a unit that fails costs the others once more. */
const MAX_BATCH = 64;

/** A unit of work that is to be committed, and who waits for that. */
interface WaitingUnit {
  staged: StagedUnit;
  resolve(): void;
  reject(error: unknown): void;
}

/**
 * Keeps everything in this process, for development and for a single broker. Units of work commit in the order in which they were staged,
 * and none ever sees half of another; their events are in the audit log before their changes can be seen. Those that were staged in one turn
 * of the event loop are written to it together: the write costs as much for all of them as for one.
 */
export class MemoryRepository implements Repository, CountsRows {
  readonly #auditLog: AuditLog;
  readonly #tables = new Tables();
  readonly #recentEvents: RecentEvents;
  #waiting: WaitingUnit[] = [];

  constructor({ auditLog, recentEvents = RECENT_EVENTS }: MemoryRepositoryConfig) {
    this.#auditLog = auditLog;
    this.#recentEvents = new RecentEvents(recentEvents);
  }

  transact(stage: (unit: UnitOfWork) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ staged: runStage(stage), resolve, reject });
      if (this.#waiting.length === 1) setImmediate(() => this.#commitWaiting());
    });
  }

  findSession(tenantId: TenantId, id: SessionId): Promise<Session | null> {
    return Promise.resolve(ownCopy(tenantId, this.#tables.session(id)));
  }

  findGrant(tenantId: TenantId, id: GrantId): Promise<Grant | null> {
    return Promise.resolve(ownCopy(tenantId, this.#tables.grant(id)));
  }

  findArtifact(tenantId: TenantId, id: ArtifactId): Promise<Artifact | null> {
    return Promise.resolve(ownCopy(tenantId, this.#tables.artifact(id)));
  }

  findByHandle(handleHash: HandleHash): Promise<{ session: Session; grant: Grant; artifact: ProxyHandleArtifact } | null> {
    const artifact = this.#tables.artifactByHandle(handleHash);
    const grant = artifact && this.#tables.grant(artifact.grantId);
    const session = grant && this.#tables.session(grant.sessionId);
    if (artifact === undefined || grant === undefined || session === undefined) return Promise.resolve(null);
    return Promise.resolve(copyRow({ session, grant, artifact }));
  }

  findGrantByRequestId(tenantId: TenantId, sessionId: SessionId, requestId: string): Promise<Grant | null> {
    return Promise.resolve(ownCopy(tenantId, this.#tables.grantByRequestId(sessionId, requestId)));
  }

  findApproval(tenantId: TenantId, id: ApprovalId): Promise<Approval | null> {
    return Promise.resolve(ownCopy(tenantId, this.#tables.approval(id)));
  }

  findApprovalOfRequest(tenantId: TenantId, sessionId: SessionId, requestHash: string): Promise<Approval | null> {
    return Promise.resolve(ownCopy(tenantId, this.#tables.approvalOfRequest(sessionId, requestHash)));
  }

  findActiveSessions(of: RunOrWorkload, limit: number): Promise<readonly Session[]> {
    return Promise.resolve(this.#tables.activeSessions(of, limit).map((session) => copyRow(session)));
  }

  findEndedHandles(of: RunOrWorkload, endedAfter: Date): ReturnType<Repository['findEndedHandles']> {
    return Promise.resolve(this.#tables.endedHandles(of, endedAfter));
  }

  findHandleUsage(handleHash: HandleHash): Promise<HandleUsage | null> {
    const artifact = this.#tables.artifactByHandle(handleHash);
    if (artifact === undefined) return Promise.resolve(null);
    const slots: HandleUsage['slots'][number][] = [];
    for (const { id, deadline } of this.#tables.calls.ofArtifact(artifact.tenantId, artifact.id)) {
      slots.push({ slotId: id, lapsesAt: new Date(deadline) });
    }
    return Promise.resolve({ ...this.#tables.spent(artifact.id), slots });
  }

  findOverdueCalls(before: Date, limit: number): Promise<readonly DownstreamCall[]> {
    return Promise.resolve(this.#tables.calls.overdue(before, limit).map((call) => copyRow(call)));
  }

  findRevocationOfGrant(tenantId: TenantId, grantId: GrantId): Promise<Revocation | null> {
    return Promise.resolve(ownCopy(tenantId, this.#tables.revocations.ofGrant(grantId)));
  }

  claimDueRevocations(claim: Parameters<Repository['claimDueRevocations']>[0]): Promise<readonly DueRevocation[]> {
    return Promise.resolve(this.#tables.revocations.claimDue(claim).map((revocation) => copyRow(revocation)));
  }

  findUnrevokedGrants(of: RunOrWorkload): Promise<readonly GrantId[]> {
    return Promise.resolve(this.#tables.revocations.unrevokedGrants(of));
  }

  countOpenLeases(): Promise<readonly OpenLeases[]> {
    return Promise.resolve(this.#tables.revocations.countOpen());
  }

  findDueNotifications(now: Date, limit: number, busy: readonly string[]): Promise<readonly WaitingNotification[]> {
    return Promise.resolve(this.#tables.outbox.due(now, limit, busy).map((notification) => copyRow(notification)));
  }

  findBlock(question: BlockQuestion): Promise<Block['kind'] | null> {
    return Promise.resolve(this.#tables.blocks.against(question));
  }

  findExpiredSessions(now: Date, limit: number): Promise<readonly Session[]> {
    const found: Session[] = [];
    for (const id of this.#tables.expiredSessions(now, limit)) {
      const session = this.#tables.session(id);
      if (session !== undefined) found.push(copyRow(session));
    }
    return Promise.resolve(found);
  }

  findExpiredGrants(now: Date, limit: number): Promise<readonly ExpiredGrant[]> {
    const found: ExpiredGrant[] = [];
    for (const id of this.#tables.expiredGrants(now, limit)) {
      const grant = this.#tables.grant(id);
      if (grant === undefined) continue;
      const artifact = this.#tables.artifactOfGrant(id) ?? null;
      const waitsFor = grant.state === 'pending' ? this.#tables.approval(grant.approvalId) : undefined;
      const approval = waitsFor?.state === 'pending' ? waitsFor : null;
      found.push(copyRow({ grant, artifact, approval }));
    }
    return Promise.resolve(found);
  }

  forgetEnded(endedBefore: Date, limit: number): Promise<number> {
    return Promise.resolve(this.#tables.forgetEnded(endedBefore, limit));
  }

  listSessions(tenantId: TenantId, filter: SessionFilter, page: PageRequest): Promise<Page<Session>> {
    return settled(() => listSessions(this.#tables, tenantId, filter, page));
  }

  listGrants(tenantId: TenantId, filter: GrantFilter, page: PageRequest): Promise<Page<Grant>> {
    return settled(() => listGrants(this.#tables, tenantId, filter, page));
  }

  listApprovals(tenantId: TenantId, filter: ApprovalFilter, page: PageRequest): Promise<Page<Approval>> {
    return settled(() => listApprovals(this.#tables, tenantId, filter, page));
  }

  listRevocations(tenantId: TenantId, filter: RevocationFilter, page: PageRequest): Promise<Page<Revocation>> {
    return settled(() => listRevocations(this.#tables, tenantId, filter, page));
  }

  listAuditEvents(tenantId: TenantId, filter: AuditFilter, page: PageRequest): Promise<Page<AuditEvent>> {
    return settled(() => this.#recentEvents.list(tenantId, filter, page));
  }

  ping(): Promise<void> {
    return Promise.resolve();
  }

  rowCounts(): RowCounts {
    return this.#tables.counts();
  }

  /** What is staged meanwhile, as by the callbacks of a unit, waits for the next turn. */
  #commitWaiting(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (let first = 0; first < waiting.length; first += MAX_BATCH) this.#commit(waiting.slice(first, first + MAX_BATCH));
  }

  #commit(batch: readonly WaitingUnit[]): void {
    const { changes, units } = this.#check(batch);
    try {
      this.#append(changes.events);
    } catch (error) {
      for (const unit of units) unit.reject(error);
      return;
    }
    changes.apply();
    this.#recentEvents.add(changes.events);
    for (const unit of units) unit.resolve();
  }

  /** The changes of all units that can be made, each checked as those before it leave the rows. The others are rejected. */
  #check(batch: readonly WaitingUnit[]): { changes: ChangeSet; units: readonly WaitingUnit[] } {
    const units = [...batch];
    for (;;) {
      const changes = new ChangeSet(this.#tables);
      const failed = units.findIndex((unit) => !isReplayed(unit, changes));
      if (failed === -1) return { changes, units };
      // What it had changed before it failed is not to be seen by the others.
      units.splice(failed, 1);
    }
  }

  #append(events: readonly AuditEvent[]): void {
    if (events.length === 0) return;
    try {
      this.#auditLog.append(events);
    } catch (cause) {
      if (cause instanceof BrokerError && cause.code === 'unavailable') throw cause;
      throw unavailable('audit log cannot be written', { cause });
    }
  }
}

interface ExpiredGrant {
  grant: Grant;
  artifact: Artifact | null;
  approval: Approval | null;
}

/** A promise also of what throws. */
const settled = <T>(read: () => T): Promise<T> => new Promise((resolve) => resolve(read()));

/** Rejects the unit when it cannot be made. */
function isReplayed(unit: WaitingUnit, changes: ChangeSet): boolean {
  try {
    unit.staged.replayOn(changes);
    return true;
  } catch (error) {
    unit.reject(error);
    return false;
  }
}

/** The type of `stage` lets an async function through; its answer tells. */
function runStage(stage: (unit: UnitOfWork) => unknown): StagedUnit {
  const staged = new StagedUnit();
  try {
    const answer = stage(staged);
    if (answer instanceof Promise) {
      answer.catch(() => undefined);
      throw new Error('the staging function of a unit of work must not be async');
    }
  } finally {
    staged.close();
  }
  return staged;
}

function ownCopy<Row extends { tenantId: TenantId }>(tenantId: TenantId, row: Row | undefined): Row | null {
  return row?.tenantId === tenantId ? copyRow(row) : null;
}

import type { Pool } from 'pg';
import type { Approval } from '../../domain/approval.ts';
import type { Artifact, ProxyHandleArtifact } from '../../domain/artifact.ts';
import type { AuditEvent } from '../../domain/audit-event.ts';
import type { Block } from '../../domain/block.ts';
import type { DownstreamCall } from '../../domain/downstream-call.ts';
import { unavailable } from '../../domain/errors.ts';
import type { Grant } from '../../domain/grant.ts';
import type { ApprovalId, ArtifactId, CallId, GrantId, HandleHash, SessionId, TenantId } from '../../domain/ids.ts';
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
import { commitUnit } from './commit-unit.ts';
import { Database, type Row, type Statement, type Value } from './database.ts';
import * as find from './find-statements.ts';
import * as lists from './list-statements.ts';
import { pageOf, readCursor } from './page.ts';
import {
  readApproval,
  readArtifact,
  readCall,
  readDueRevocation,
  readEvent,
  readGrant,
  readRevocation,
  readSession,
  readWaitingNotification,
} from './read-rows.ts';
import { RowReader } from './row-reader.ts';
import { StagedUnit } from './staged-unit.ts';
import * as worker from './worker-statements.ts';

type RunOrWorkload = Parameters<Repository['findActiveSessions']>[0];
type ExpiredGrant = Awaited<ReturnType<Repository['findExpiredGrants']>>[number];

export interface PostgresRepositoryConfig {
  /** Connections as `openPool` makes them. Whoever made the pool ends it. */
  pool: Pool;
  /** Told of the events of each unit once they have committed. */
  onCommitted?: (events: readonly AuditEvent[]) => void;
}

/** Keeps everything in Postgres, for any number of processes. Events are written in the transaction of the change that they record. */
export class PostgresRepository implements Repository {
  readonly #database: Database;
  readonly #onCommitted: (events: readonly AuditEvent[]) => void;

  constructor({ pool, onCommitted = () => undefined }: PostgresRepositoryConfig) {
    this.#database = new Database(pool);
    this.#onCommitted = onCommitted;
  }

  async transact(stage: (unit: UnitOfWork) => void): Promise<void> {
    this.#onCommitted(await commitUnit(this.#database, runStage(stage)));
  }

  findSession(tenantId: TenantId, id: SessionId): Promise<Session | null> {
    return this.#one(readSession, find.FIND_SESSION, [tenantId, id]);
  }

  findGrant(tenantId: TenantId, id: GrantId): Promise<Grant | null> {
    return this.#one(readGrant, find.FIND_GRANT, [tenantId, id]);
  }

  findArtifact(tenantId: TenantId, id: ArtifactId): Promise<Artifact | null> {
    return this.#one(readArtifact, find.FIND_ARTIFACT, [tenantId, id]);
  }

  findByHandle(handleHash: HandleHash): Promise<{ session: Session; grant: Grant; artifact: ProxyHandleArtifact } | null> {
    const read = (row: Row) => ({
      session: readSession(row, 'session_'),
      grant: readGrant(row, 'grant_'),
      artifact: requireHandle(readArtifact(row, 'artifact_')),
    });
    return this.#one(read, find.FIND_BY_HANDLE, [handleHash]);
  }

  findGrantByRequestId(tenantId: TenantId, sessionId: SessionId, requestId: string): Promise<Grant | null> {
    return this.#one(readGrant, find.FIND_GRANT_BY_REQUEST_ID, [tenantId, sessionId, requestId]);
  }

  findApproval(tenantId: TenantId, id: ApprovalId): Promise<Approval | null> {
    return this.#one(readApproval, find.FIND_APPROVAL, [tenantId, id]);
  }

  findApprovalOfRequest(tenantId: TenantId, sessionId: SessionId, requestHash: string): Promise<Approval | null> {
    return this.#one(readApproval, find.FIND_APPROVAL_OF_REQUEST, [tenantId, sessionId, requestHash]);
  }

  findActiveSessions(of: RunOrWorkload, limit: number): Promise<readonly Session[]> {
    const { tenantId } = of;
    if ('runId' in of) return this.#all(readSession, find.FIND_ACTIVE_SESSIONS_OF_RUN, [tenantId, of.runId, limit]);
    return this.#all(readSession, find.FIND_ACTIVE_SESSIONS_OF_WORKLOAD, [tenantId, of.workloadHash, limit]);
  }

  findEndedHandles(of: RunOrWorkload, endedAfter: Date): Promise<readonly { grantId: GrantId; handleHash: HandleHash }[]> {
    const { tenantId } = of;
    const read = (row: Row) => {
      const columns = new RowReader(row, '');
      return { grantId: columns.id('id', 'gr_') as GrantId, handleHash: columns.text('handle_hash') as HandleHash };
    };
    if ('runId' in of) return this.#all(read, find.FIND_ENDED_HANDLES_OF_RUN, [tenantId, of.runId, endedAfter]);
    return this.#all(read, find.FIND_ENDED_HANDLES_OF_WORKLOAD, [tenantId, of.workloadHash, endedAfter]);
  }

  async findHandleUsage(handleHash: HandleHash): Promise<HandleUsage | null> {
    const rows = await this.#all((row) => new RowReader(row, ''), find.FIND_HANDLE_USAGE, [handleHash]);
    const [first] = rows;
    if (first === undefined) return null;
    const slots = rows.flatMap((row) =>
      row.isNull('call_id') ? [] : [{ slotId: row.id('call_id', 'call_') as CallId, lapsesAt: row.date('deadline') }],
    );
    return { requests: first.number('requests_used'), bytes: first.number('bytes_used'), slots };
  }

  findOverdueCalls(before: Date, limit: number): Promise<readonly DownstreamCall[]> {
    return this.#all(readCall, worker.FIND_OVERDUE_CALLS, [before, limit]);
  }

  findRevocationOfGrant(tenantId: TenantId, grantId: GrantId): Promise<Revocation | null> {
    return this.#one(readRevocation, find.FIND_REVOCATION_OF_GRANT, [tenantId, grantId]);
  }

  claimDueRevocations(claim: Parameters<Repository['claimDueRevocations']>[0]): Promise<readonly DueRevocation[]> {
    const { now, claimedUntil, limit, busy } = claim;
    return this.#all(readDueRevocation, worker.CLAIM_DUE_REVOCATIONS, [now, claimedUntil, limit, busy]);
  }

  findUnrevokedGrants(of: RunOrWorkload): Promise<readonly GrantId[]> {
    const { tenantId } = of;
    const read = (row: Row) => new RowReader(row, '').id('grant_id', 'gr_') as GrantId;
    if ('runId' in of) return this.#all(read, find.FIND_UNREVOKED_GRANTS_OF_RUN, [tenantId, of.runId]);
    return this.#all(read, find.FIND_UNREVOKED_GRANTS_OF_WORKLOAD, [tenantId, of.workloadHash]);
  }

  countOpenLeases(): Promise<readonly OpenLeases[]> {
    const read = (row: Row): OpenLeases => {
      const columns = new RowReader(row, '');
      const state = columns.oneOf('state', ['requested', 'held', 'due']);
      return { connector: columns.text('connector'), state, count: columns.number('leases') };
    };
    return this.#all(read, worker.COUNT_OPEN_LEASES, []);
  }

  findDueNotifications(now: Date, limit: number, busy: readonly string[]): Promise<readonly WaitingNotification[]> {
    return this.#all(readWaitingNotification, worker.FIND_DUE_NOTIFICATIONS, [now, limit, busy]);
  }

  findBlock({ tenantId, runId, workloadHash }: BlockQuestion): Promise<Block['kind'] | null> {
    const read = (row: Row) => new RowReader(row, '').oneOf('kind', ['run', 'workload']);
    return this.#one(read, find.FIND_BLOCK, [tenantId, runId, workloadHash]);
  }

  findExpiredSessions(now: Date, limit: number): Promise<readonly Session[]> {
    return this.#all(readSession, worker.FIND_EXPIRED_SESSIONS, [now, limit]);
  }

  findExpiredGrants(now: Date, limit: number): Promise<readonly ExpiredGrant[]> {
    const read = (row: Row): ExpiredGrant => ({
      grant: readGrant(row, 'grant_'),
      artifact: row.artifact_id === null ? null : readArtifact(row, 'artifact_'),
      approval: row.approval_id === null ? null : readApproval(row, 'approval_'),
    });
    return this.#all(read, worker.FIND_EXPIRED_GRANTS, [now, limit]);
  }

  async forgetEnded(endedBefore: Date, limit: number): Promise<number> {
    const [forgotten] = await this.#all((row) => new RowReader(row, '').number('forgotten'), worker.FORGET_ENDED, [
      endedBefore,
      limit,
    ]);
    return forgotten ?? 0;
  }

  listSessions(tenantId: TenantId, filter: SessionFilter, page: PageRequest): Promise<Page<Session>> {
    const { state, agentId, runId, workloadHash } = filter;
    return this.#page(readSession, lists.LIST_SESSIONS, [tenantId, state, agentId, runId, workloadHash], page, 'sess_');
  }

  listGrants(tenantId: TenantId, filter: GrantFilter, page: PageRequest): Promise<Page<Grant>> {
    const { state, sessionId, agentId, runId, capability } = filter;
    const values = [tenantId, state, sessionId, agentId, runId, capability];
    return this.#page(readGrant, lists.LIST_GRANTS, values, page, 'gr_');
  }

  listApprovals(tenantId: TenantId, { state, sessionId }: ApprovalFilter, page: PageRequest): Promise<Page<Approval>> {
    return this.#page(readApproval, lists.LIST_APPROVALS, [tenantId, state, sessionId], page, 'ap_');
  }

  listRevocations(tenantId: TenantId, filter: RevocationFilter, page: PageRequest): Promise<Page<Revocation>> {
    const { state, grantId, connector } = filter;
    return this.#page(readRevocation, lists.LIST_REVOCATIONS, [tenantId, state, grantId, connector], page, 'rev_');
  }

  listAuditEvents(tenantId: TenantId, filter: AuditFilter, page: PageRequest): Promise<Page<AuditEvent>> {
    const { type, sessionId, grantId, approvalId } = filter;
    const values = [tenantId, type, sessionId, grantId, approvalId];
    return this.#page(readEvent, lists.LIST_AUDIT_EVENTS, values, page, 'evt_');
  }

  async ping(): Promise<void> {
    const [isWritable] = await this.#all((row) => new RowReader(row, '').boolean('is_writable'), find.PING, []);
    if (isWritable !== true) throw unavailable('the database takes no writes');
  }

  async #all<T>(read: (row: Row) => T, statement: Statement, values: readonly Value[]): Promise<T[]> {
    const rows = await this.#database.query(statement, values);
    return rows.map((row) => read(row));
  }

  async #one<T>(read: (row: Row) => T, statement: Statement, values: readonly Value[]): Promise<T | null> {
    const [found] = await this.#all(read, statement, values);
    return found ?? null;
  }

  /** A page of a list whose last parameters are the row to begin below, and the limit. */
  async #page<T extends { id: string }>(
    read: (row: Row) => T,
    statement: Statement,
    filter: readonly (string | undefined)[],
    { limit, after }: PageRequest,
    idPrefix: string,
  ): Promise<Page<T>> {
    const values = [...filter.map((value) => value ?? null), readCursor(after, idPrefix), limit + 1];
    return pageOf(await this.#all(read, statement, values), limit);
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

function requireHandle(artifact: Artifact): ProxyHandleArtifact {
  if (artifact.kind !== 'proxy_handle') throw new Error('a row of the database makes no sense: a secret with a handle');
  return artifact;
}

import type { Artifact } from '../../domain/artifact.ts';
import type { AuditEvent } from '../../domain/audit-event.ts';
import type { AuditLog } from '../../domain/audit-log.ts';
import { BrokerError, unavailable } from '../../domain/errors.ts';
import type { Grant } from '../../domain/grant.ts';
import type { ArtifactId, GrantId, HandleHash, SessionId, TenantId } from '../../domain/ids.ts';
import type { Repository } from '../../domain/repository.ts';
import type { Session } from '../../domain/session.ts';
import type { UnitOfWork } from '../../domain/unit-of-work.ts';
import { ChangeSet } from './change-set.ts';
import { copyRow } from './row-copy.ts';
import { StagedUnit } from './staged-unit.ts';
import { Tables, type RowCounts } from './tables.ts';

/** For tests that look whether anything is left behind. */
export interface CountsRows {
  rowCounts(): RowCounts;
}

/**
 * Keeps everything in this process, for development and for a single broker. A unit of work commits without waiting, so
 * none ever sees half of another; its events are in the audit log before its changes can be seen.
 */
export class MemoryRepository implements Repository, CountsRows {
  readonly #auditLog: AuditLog;
  readonly #tables = new Tables();
  #committing = false;

  constructor({ auditLog }: { auditLog: AuditLog }) {
    this.#auditLog = auditLog;
  }

  transact(stage: (unit: UnitOfWork) => void): Promise<void> {
    return new Promise((resolve) => {
      this.#commit(runStage(stage));
      resolve();
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

  findByHandle(handleHash: HandleHash): Promise<{ session: Session; grant: Grant; artifact: Artifact } | null> {
    const artifact = this.#tables.artifactByHandle(handleHash);
    const grant = artifact && this.#tables.grant(artifact.grantId);
    const session = grant && this.#tables.session(grant.sessionId);
    if (artifact === undefined || grant === undefined || session === undefined) return Promise.resolve(null);
    return Promise.resolve(copyRow({ session, grant, artifact }));
  }

  findExpiredSessions(now: Date, limit: number): Promise<readonly Session[]> {
    const found: Session[] = [];
    for (const id of this.#tables.expiredSessions(now, limit)) {
      const session = this.#tables.session(id);
      if (session !== undefined) found.push(copyRow(session));
    }
    return Promise.resolve(found);
  }

  findExpiredGrants(now: Date, limit: number): Promise<readonly { grant: Grant; artifact: Artifact | null }[]> {
    const found: { grant: Grant; artifact: Artifact | null }[] = [];
    for (const id of this.#tables.expiredGrants(now, limit)) {
      const grant = this.#tables.grant(id);
      if (grant !== undefined) found.push(copyRow({ grant, artifact: this.#tables.artifactOfGrant(id) ?? null }));
    }
    return Promise.resolve(found);
  }

  forgetEnded(endedBefore: Date, limit: number): Promise<number> {
    return Promise.resolve(this.#tables.forgetEnded(endedBefore, limit));
  }

  ping(): Promise<void> {
    return Promise.resolve();
  }

  rowCounts(): RowCounts {
    return this.#tables.counts();
  }

  #commit(staged: StagedUnit): void {
    // Callbacks run while a unit commits (events of ended grants, the audit log); one that commits another would slip
    // in between this unit's checks and its changes.
    if (this.#committing) throw new Error('a unit of work was started while another commits');
    this.#committing = true;
    try {
      const changes = new ChangeSet(this.#tables);
      staged.replayOn(changes);
      this.#append(changes.events);
      changes.apply();
    } finally {
      this.#committing = false;
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

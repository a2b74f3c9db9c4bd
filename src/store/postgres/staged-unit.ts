import { APPROVAL_TRANSITIONS } from '../../domain/approval.ts';
import { ARTIFACT_TRANSITIONS } from '../../domain/artifact.ts';
import { GRANT_TRANSITIONS, type Grant } from '../../domain/grant.ts';
import type { GrantId, SessionId, TenantId } from '../../domain/ids.ts';
import { REVOCATION_TRANSITIONS } from '../../domain/revocation.ts';
import { SESSION_TRANSITIONS } from '../../domain/session.ts';
import type { EndGrantsOfSession, UnitOfWork } from '../../domain/unit-of-work.ts';
import { LockOrder } from './lock-order.ts';
import { RecordedEvents } from './recorded-events.ts';
import { storableJson } from './storable-text.ts';
import {
  approvalRow,
  artifactRow,
  blockRow,
  callRow,
  GRANT_TERM_COLUMNS,
  grantRow,
  notificationRow,
  revocationRow,
  sessionRow,
} from './write-rows.ts';

type Call<Name extends keyof UnitOfWork> = Parameters<UnitOfWork[Name]>[0];

/** A stretch of a unit: changes and events, and the end of a session's grants that comes after them, whose events are not known yet. */
export interface UnitPart {
  /** As `commit_unit` reads them. */
  readonly changes: string[];
  readonly events: RecordedEvents;
  end: { readonly change: string; readonly events: EndGrantsOfSession['events'] } | null;
}

interface NewGrant {
  tenantId: TenantId;
  sessionId: SessionId;
  /** What is written of it, and where in the part. */
  row: ReturnType<typeof grantRow>;
  place: number;
  maxOpen: number | null;
  /** Whether it may still be made another, since nobody has asked for its state. */
  isAsMade: boolean;
}

/** A requirement of room, and where in the part. */
interface Room {
  sessionId: SessionId;
  maxOpen: number;
  place: number;
}

/** Writes down what a unit of work is to do, as the database reads it, at the moment at which it is staged. */
export class StagedUnit implements UnitOfWork {
  readonly #parts: [UnitPart, ...UnitPart[]] = [aPart()];
  #part: UnitPart = this.#parts[0];
  readonly #locks = new LockOrder();
  /** Grants that the unit makes, while they are as they were made. */
  readonly #newGrants = new Map<GrantId, NewGrant>();
  #room: Room | null = null;
  #closed = false;

  insertSession(session: Call<'insertSession'>): void {
    this.#locks.made(session.id);
    this.#add({ do: 'insert_session', row: sessionRow(session) });
  }

  updateSession({ expected, next }: Call<'updateSession'>): void {
    requireTransition('session', SESSION_TRANSITIONS, expected, next.state);
    this.#locks.take('sessions', next.id, false);
    this.#add({ do: 'update_session', expected, row: sessionRow(next) });
  }

  requireRoomForGrant({ sessionId, maxOpen }: Call<'requireRoomForGrant'>): void {
    this.#locks.take('sessions', sessionId, false);
    this.#room = { sessionId, maxOpen, place: this.#part.changes.length };
    this.#add({ do: 'require_room_for_grant', session_id: sessionId, max_open: maxOpen });
  }

  insertGrant(grant: Call<'insertGrant'>): void {
    this.#locks.take('sessions', grant.sessionId, true);
    this.#locks.made(grant.id);
    const row = grantRow(grant);
    const maxOpen = this.#takeRoom(grant.sessionId);
    const { tenantId, sessionId } = grant;
    this.#newGrants.set(grant.id, { tenantId, sessionId, row, maxOpen, place: this.#part.changes.length, isAsMade: true });
    this.#write(newGrantChange(row, maxOpen));
  }

  updateGrant({ expected, next }: Call<'updateGrant'>): void {
    requireTransition('grant', GRANT_TRANSITIONS, expected, next.state);
    if (this.#isMadeIssued(expected, next)) return;
    this.#newGrants.delete(next.id);
    this.#locks.take('grants', next.id, false);
    this.#add({ do: 'update_grant', expected, row: grantRow(next) });
  }

  requireIssuedGrant({ tenantId, sessionId, grantId, orExpired }: Call<'requireIssuedGrant'>): void {
    this.#locks.take('sessions', sessionId, true);
    this.#locks.take('grants', grantId, true);
    const made = this.#newGrants.get(grantId);
    if (made !== undefined) made.isAsMade = false;
    const change = { tenant_id: tenantId, session_id: sessionId, grant_id: grantId, or_expired: orExpired };
    this.#add({ do: 'require_issued_grant', ...change });
  }

  requireStandingApproval({ tenantId, sessionId, approvalId }: Call<'requireStandingApproval'>): void {
    this.#locks.take('sessions', sessionId, false);
    this.#locks.takeSome('grants');
    const change = { tenant_id: tenantId, session_id: sessionId, approval_id: approvalId };
    this.#add({ do: 'require_standing_approval', ...change });
  }

  insertArtifact(artifact: Call<'insertArtifact'>): void {
    this.#locks.take('grants', artifact.grantId, true);
    this.#locks.made(artifact.id);
    const made = this.#newGrants.get(artifact.grantId);
    const isForNewGrant = made?.tenantId === artifact.tenantId && made.sessionId === artifact.sessionId;
    this.#add({ do: 'insert_artifact', row: artifactRow(artifact), ...(isForNewGrant ? { is_for_new_grant: true } : {}) });
  }

  updateArtifact({ expected, next }: Call<'updateArtifact'>): void {
    requireTransition('artifact', ARTIFACT_TRANSITIONS, expected, next.state);
    this.#locks.take('artifacts', next.id, false);
    this.#add({ do: 'update_artifact', expected, row: artifactRow(next) });
  }

  insertApproval(approval: Call<'insertApproval'>): void {
    this.#locks.take('grants', approval.grantId, true);
    this.#locks.made(approval.id);
    this.#add({ do: 'insert_approval', row: approvalRow(approval) });
  }

  updateApproval({ expected, expectedDecisions, next }: Call<'updateApproval'>): void {
    requireTransition('approval', APPROVAL_TRANSITIONS, expected, next.state);
    this.#locks.take('approvals', next.id, false);
    this.#add({ do: 'update_approval', expected, expected_decisions: expectedDecisions, row: approvalRow(next) });
  }

  endGrantsOfSession(end: Call<'endGrantsOfSession'>): void {
    const { tenantId, sessionId, state, at, reason } = end;
    this.#requireOpen();
    this.#newGrants.clear();
    this.#room = null;
    this.#locks.takeSome('grants');
    this.#part.end = {
      change: storableJson({ tenant_id: tenantId, session_id: sessionId, state, at, reason }),
      events: (grant, artifact, approval) => end.events(grant, artifact, approval),
    };
    this.#part = aPart();
    this.#parts.push(this.#part);
  }

  insertBlock(block: Call<'insertBlock'>): void {
    const row = blockRow(block);
    this.#locks.takeBlock(row.kind, row.tenant_id, row.target, false);
    this.#add({ do: 'insert_block', row });
  }

  requireNoBlock({ tenantId, runId, workloadHash }: Call<'requireNoBlock'>): void {
    this.#locks.takeBlock('run', tenantId, runId, true);
    this.#locks.takeBlock('workload', tenantId, workloadHash, true);
    this.#add({ do: 'require_no_block', tenant_id: tenantId, run_id: runId, workload_hash: workloadHash });
  }

  openCall(call: Call<'openCall'>): void {
    this.#add({ do: 'open_call', row: callRow(call) });
  }

  closeCall({ tenantId, callId }: Call<'closeCall'>): void {
    this.#locks.takeLast();
    this.#add({ do: 'close_call', tenant_id: tenantId, call_id: callId });
  }

  spendRequest(spending: Call<'spendRequest'>): void {
    const { tenantId, artifactId, callId, maxRequests, maxConcurrent, now } = spending;
    this.#locks.take('artifacts', artifactId, false);
    const of = { tenant_id: tenantId, artifact_id: artifactId, call_id: callId };
    this.#add({ do: 'spend_request', ...of, max_requests: maxRequests, max_concurrent: maxConcurrent, now });
  }

  spendBytes({ tenantId, artifactId, bytes, maxBytes }: Call<'spendBytes'>): void {
    if (!Number.isSafeInteger(bytes) || bytes < 0)
      throw new RangeError('bytes are a whole number, and never less than none');
    this.#locks.take('artifacts', artifactId, false);
    this.#add({ do: 'spend_bytes', tenant_id: tenantId, artifact_id: artifactId, bytes, max_bytes: maxBytes });
  }

  insertRevocation(revocation: Call<'insertRevocation'>): void {
    this.#add({ do: 'insert_revocation', row: revocationRow(revocation) });
  }

  updateRevocation({ expected, next }: Call<'updateRevocation'>): void {
    requireTransition('revocation', REVOCATION_TRANSITIONS, expected, next.state);
    this.#locks.takeLast();
    this.#add({ do: 'update_revocation', expected, row: revocationRow(next) });
  }

  makeRevocationDue({ tenantId, grantId, at }: Call<'makeRevocationDue'>): void {
    this.#locks.takeLast();
    this.#add({ do: 'make_revocation_due', tenant_id: tenantId, grant_id: grantId, at });
  }

  insertNotification(notification: Call<'insertNotification'>): void {
    this.#add({ do: 'insert_notification', row: notificationRow(notification) });
  }

  updateNotification({ expectedAttempts, next }: Call<'updateNotification'>): void {
    this.#locks.takeLast();
    this.#add({ do: 'update_notification', expected_attempts: expectedAttempts, row: notificationRow(next) });
  }

  record(event: Call<'record'>): void {
    this.#requireOpen();
    this.#part.events.add(event);
  }

  /** Ends the staging; whoever kept the unit and calls it later gets an error instead of a change that never commits. */
  close(): void {
    this.#closed = true;
  }

  /** What was staged, in order. Every part but the last ends with the end of a session's grants. */
  get parts(): readonly [UnitPart, ...UnitPart[]] {
    return this.#parts;
  }

  /** What is to be locked ahead of the changes; null for nothing. */
  get locks(): string | null {
    return this.#locks.toBeTakenFirst();
  }

  /**
   * Whether a grant that this unit makes was made an issued one at once, which saves the database a change of its row. Nothing in
   * between can tell the difference.
   */
  #isMadeIssued(expected: string, next: Grant): boolean {
    const made = this.#newGrants.get(next.id);
    if (made?.isAsMade !== true || expected !== 'approved' || next.state !== 'issued') return false;
    const row = grantRow(next);
    if (!isIssueOf(made.row, row)) return false;
    this.#requireOpen();
    this.#part.changes[made.place] = newGrantChange(row, made.maxOpen);
    made.isAsMade = false;
    return true;
  }

  /** The limit that was required right before a grant of the session, now that the grant's own change requires it; null for none. */
  #takeRoom(sessionId: SessionId): number | null {
    const room = this.#room;
    if (room?.sessionId !== sessionId || room.place !== this.#part.changes.length - 1) return null;
    this.#part.changes.pop();
    this.#room = null;
    return room.maxOpen;
  }

  #add(change: Readonly<Record<string, unknown>>): void {
    this.#write(storableJson(change));
  }

  #write(change: string): void {
    this.#requireOpen();
    this.#part.changes.push(change);
  }

  #requireOpen(): void {
    if (this.#closed) throw new Error('the unit of work was used after its staging function returned');
  }
}

const aPart = (): UnitPart => ({ changes: [], events: new RecordedEvents(), end: null });

const newGrantChange = (row: ReturnType<typeof grantRow>, maxOpen: number | null): string =>
  storableJson({ do: 'insert_grant', ...(maxOpen === null ? {} : { max_open: maxOpen }), row });

/** Whether one row is the other but for what its issue changes. */
function isIssueOf(before: ReturnType<typeof grantRow>, after: ReturnType<typeof grantRow>): boolean {
  for (const column of GRANT_TERM_COLUMNS) if (before[column] !== after[column]) return false;
  return true;
}

function requireTransition<State extends string>(
  entity: string,
  transitions: Readonly<Record<State, readonly State[]>>,
  from: State,
  to: State,
): void {
  if (!transitions[from].includes(to)) throw new Error(`${entity}: there is no transition from ${from} to ${to}`);
}

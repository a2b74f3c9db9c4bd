import { APPROVAL_TRANSITIONS } from '../../domain/approval.ts';
import { ARTIFACT_TRANSITIONS } from '../../domain/artifact.ts';
import type { AuditEvent } from '../../domain/audit-event.ts';
import { GRANT_TRANSITIONS, type Grant } from '../../domain/grant.ts';
import type { GrantId } from '../../domain/ids.ts';
import { REVOCATION_TRANSITIONS } from '../../domain/revocation.ts';
import { SESSION_TRANSITIONS } from '../../domain/session.ts';
import type { EndGrantsOfSession, UnitOfWork } from '../../domain/unit-of-work.ts';
import { LockOrder } from './lock-order.ts';
import { storableJson } from './storable-text.ts';
import {
  approvalRow,
  artifactRow,
  blockRow,
  callRow,
  eventRow,
  grantRow,
  notificationRow,
  revocationRow,
  sessionRow,
} from './write-rows.ts';

type Call<Name extends keyof UnitOfWork> = Parameters<UnitOfWork[Name]>[0];

/** A stretch of a unit: changes and events, and the end of a session's grants that comes after them, whose events are not known yet. */
export interface UnitPart {
  /** As `apply_changes` reads them. */
  readonly changes: string[];
  readonly events: RecordedEvents;
  end: { readonly change: string; readonly events: EndGrantsOfSession['events'] } | null;
}

/** Events, and what is written of each. */
export class RecordedEvents {
  readonly events: AuditEvent[] = [];
  readonly json: string[] = [];

  add(event: AuditEvent): void {
    this.events.push(event);
    this.json.push(storableJson(eventRow(event)));
  }

  addAll(others: RecordedEvents): void {
    this.events.push(...others.events);
    this.json.push(...others.json);
  }
}

/** Writes down what a unit of work is to do, as the database reads it, at the moment at which it is staged. */
export class StagedUnit implements UnitOfWork {
  readonly #parts: [UnitPart, ...UnitPart[]] = [aPart()];
  #part: UnitPart = this.#parts[0];
  readonly #locks = new LockOrder();
  /** Where each new grant's change is, while it can still be made another. */
  readonly #newGrants = new Map<GrantId, { part: UnitPart; place: number; row: string }>();
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
    this.#add({ do: 'require_room_for_grant', session_id: sessionId, max_open: maxOpen });
  }

  insertGrant(grant: Call<'insertGrant'>): void {
    this.#locks.take('sessions', grant.sessionId, true);
    this.#locks.made(grant.id);
    const row = storableJson(grantRow(grant));
    this.#newGrants.set(grant.id, { part: this.#part, place: this.#part.changes.length, row });
    this.#write(insertGrantChange(row));
  }

  updateGrant({ expected, next }: Call<'updateGrant'>): void {
    requireTransition('grant', GRANT_TRANSITIONS, expected, next.state);
    if (this.#isMadeIssued(expected, next)) return;
    this.#locks.take('grants', next.id, false);
    this.#add({ do: 'update_grant', expected, row: grantRow(next) });
  }

  requireIssuedGrant({ tenantId, sessionId, grantId, orExpired }: Call<'requireIssuedGrant'>): void {
    this.#locks.take('sessions', sessionId, true);
    this.#locks.take('grants', grantId, true);
    this.#newGrants.delete(grantId);
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
    this.#add({ do: 'insert_artifact', row: artifactRow(artifact) });
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

  /** A part as `commit_unit` reads it, with these events. The first part of a unit takes the unit's locks. */
  toJson(part: UnitPart, events: readonly string[]): string {
    const locks = part === this.#parts[0] ? this.#locks.toBeTakenFirst() : null;
    const first = locks === null ? '' : `"locks":${locks},`;
    return `{${first}"changes":[${part.changes.join(',')}],"events":[${events.join(',')}]}`;
  }

  /**
   * Whether a grant that this unit makes was made an issued one at once, which saves the database a change of its row. Nothing in
   * between can tell the difference, or the grant would not be among the new ones any more.
   */
  #isMadeIssued(expected: string, next: Grant): boolean {
    const made = this.#newGrants.get(next.id);
    if (made?.part !== this.#part || expected !== 'approved' || next.state !== 'issued') return false;
    const { artifact_id, issued_at, ...row } = grantRow(next);
    if (storableJson({ ...row, state: expected }) !== made.row) return false;
    this.#requireOpen();
    this.#part.changes[made.place] = insertGrantChange(storableJson({ ...row, artifact_id, issued_at }));
    this.#newGrants.delete(next.id);
    return true;
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

const insertGrantChange = (row: string): string => `{"do":"insert_grant","row":${row}}`;

function requireTransition<State extends string>(
  entity: string,
  transitions: Readonly<Record<State, readonly State[]>>,
  from: State,
  to: State,
): void {
  if (!transitions[from].includes(to)) throw new Error(`${entity}: there is no transition from ${from} to ${to}`);
}

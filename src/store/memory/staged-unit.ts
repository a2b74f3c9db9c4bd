import { APPROVAL_TRANSITIONS } from '../../domain/approval.ts';
import { ARTIFACT_TRANSITIONS } from '../../domain/artifact.ts';
import { GRANT_TRANSITIONS } from '../../domain/grant.ts';
import { REVOCATION_TRANSITIONS } from '../../domain/revocation.ts';
import { SESSION_TRANSITIONS } from '../../domain/session.ts';
import type { UnitOfWork } from '../../domain/unit-of-work.ts';
import { copyRow } from './row-copy.ts';

type Step = (unit: UnitOfWork) => void;
type Call<Name extends keyof UnitOfWork> = Parameters<UnitOfWork[Name]>[0];

/** Takes down what a unit of work is to do, without looking at any row. */
export class StagedUnit implements UnitOfWork {
  readonly #steps: Step[] = [];
  #closed = false;

  insertSession(session: Call<'insertSession'>): void {
    const row = copyRow(session);
    this.#add((unit) => unit.insertSession(row));
  }

  updateSession({ expected, next }: Call<'updateSession'>): void {
    requireTransition('session', SESSION_TRANSITIONS, expected, next.state);
    const change = { expected, next: copyRow(next) };
    this.#add((unit) => unit.updateSession(change));
  }

  requireRoomForGrant(limit: Call<'requireRoomForGrant'>): void {
    const kept = { ...limit };
    this.#add((unit) => unit.requireRoomForGrant(kept));
  }

  insertGrant(grant: Call<'insertGrant'>): void {
    const row = copyRow(grant);
    this.#add((unit) => unit.insertGrant(row));
  }

  updateGrant({ expected, next }: Call<'updateGrant'>): void {
    requireTransition('grant', GRANT_TRANSITIONS, expected, next.state);
    const change = { expected, next: copyRow(next) };
    this.#add((unit) => unit.updateGrant(change));
  }

  requireIssuedGrant(of: Call<'requireIssuedGrant'>): void {
    const kept = { ...of };
    this.#add((unit) => unit.requireIssuedGrant(kept));
  }

  requireStandingApproval(of: Call<'requireStandingApproval'>): void {
    const kept = { ...of };
    this.#add((unit) => unit.requireStandingApproval(kept));
  }

  insertArtifact(artifact: Call<'insertArtifact'>): void {
    const row = copyRow(artifact);
    this.#add((unit) => unit.insertArtifact(row));
  }

  updateArtifact({ expected, next }: Call<'updateArtifact'>): void {
    requireTransition('artifact', ARTIFACT_TRANSITIONS, expected, next.state);
    const change = { expected, next: copyRow(next) };
    this.#add((unit) => unit.updateArtifact(change));
  }

  insertApproval(approval: Call<'insertApproval'>): void {
    const row = copyRow(approval);
    this.#add((unit) => unit.insertApproval(row));
  }

  updateApproval({ expected, expectedDecisions, next }: Call<'updateApproval'>): void {
    requireTransition('approval', APPROVAL_TRANSITIONS, expected, next.state);
    const change = { expected, expectedDecisions, next: copyRow(next) };
    this.#add((unit) => unit.updateApproval(change));
  }

  endGrantsOfSession(change: Call<'endGrantsOfSession'>): void {
    const { tenantId, sessionId, state, reason } = change;
    const at = new Date(change.at);
    this.#add((unit) =>
      unit.endGrantsOfSession({
        tenantId,
        sessionId,
        state,
        at,
        reason,
        events: (grant, artifact, approval) => change.events(grant, artifact, approval),
      }),
    );
  }

  insertBlock(block: Call<'insertBlock'>): void {
    const row = copyRow(block);
    this.#add((unit) => unit.insertBlock(row));
  }

  requireNoBlock({ tenantId, runId, workloadHash }: Call<'requireNoBlock'>): void {
    this.#add((unit) => unit.requireNoBlock({ tenantId, runId, workloadHash }));
  }

  openCall(call: Call<'openCall'>): void {
    const row = copyRow(call);
    this.#add((unit) => unit.openCall(row));
  }

  closeCall({ tenantId, callId }: Call<'closeCall'>): void {
    this.#add((unit) => unit.closeCall({ tenantId, callId }));
  }

  spendRequest(spending: Call<'spendRequest'>): void {
    const kept = { ...spending, now: new Date(spending.now) };
    this.#add((unit) => unit.spendRequest(kept));
  }

  spendBytes(spending: Call<'spendBytes'>): void {
    if (!Number.isSafeInteger(spending.bytes) || spending.bytes < 0) {
      throw new RangeError('bytes must be a whole number, not below zero');
    }
    const kept = { ...spending };
    this.#add((unit) => unit.spendBytes(kept));
  }

  insertRevocation(revocation: Call<'insertRevocation'>): void {
    const row = copyRow(revocation);
    this.#add((unit) => unit.insertRevocation(row));
  }

  updateRevocation({ expected, next }: Call<'updateRevocation'>): void {
    requireTransition('revocation', REVOCATION_TRANSITIONS, expected, next.state);
    const change = { expected, next: copyRow(next) };
    this.#add((unit) => unit.updateRevocation(change));
  }

  makeRevocationDue({ tenantId, grantId, at }: Call<'makeRevocationDue'>): void {
    const kept = { tenantId, grantId, at: new Date(at) };
    this.#add((unit) => unit.makeRevocationDue(kept));
  }

  insertNotification(notification: Call<'insertNotification'>): void {
    const row = copyRow(notification);
    this.#add((unit) => unit.insertNotification(row));
  }

  updateNotification({ expectedAttempts, next }: Call<'updateNotification'>): void {
    const change = { expectedAttempts, next: copyRow(next) };
    this.#add((unit) => unit.updateNotification(change));
  }

  record(event: Call<'record'>): void {
    this.#add((unit) => unit.record(event));
  }

  /** Ends the staging; whoever kept the unit and calls it later gets an error instead of a change that never commits. */
  close(): void {
    this.#closed = true;
  }

  /** Does everything that was staged, in order, on another unit. */
  replayOn(unit: UnitOfWork): void {
    for (const step of this.#steps) step(unit);
  }

  #add(step: Step): void {
    if (this.#closed) throw new Error('the unit of work was used after its staging function returned');
    this.#steps.push(step);
  }
}

function requireTransition<State extends string>(
  entity: string,
  transitions: Readonly<Record<State, readonly State[]>>,
  from: State,
  to: State,
): void {
  if (!transitions[from].includes(to)) throw new Error(`${entity}: there is no transition from ${from} to ${to}`);
}

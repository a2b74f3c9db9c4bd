import type { ApprovedGrant, EndedGrant, Grant, GrantState, PendingGrant } from './grant.ts';
import type { Artifact, ArtifactState, IssuedArtifact } from './artifact.ts';
import type { AuditEvent } from './audit-event.ts';
import type { ActiveSession, Session, SessionState } from './session.ts';
import type { SessionId, TenantId } from './ids.ts';

/** Ends every open grant and issued artifact of a session. */
export interface EndGrantsOfSession {
  tenantId: TenantId;
  sessionId: SessionId;
  state: 'revoked' | 'expired';
  at: Date;
  reason: string;
  /** The events of one grant that ended, and of its artifact when that ended with it. */
  events(grant: EndedGrant, artifact: Artifact | null): readonly AuditEvent[];
}

/** How many grants of one session may be open at once, those that wait for a human included. */
export interface OpenGrantLimit {
  tenantId: TenantId;
  sessionId: SessionId;
  maxOpen: number;
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
  endGrantsOfSession(change: EndGrantsOfSession): void;
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

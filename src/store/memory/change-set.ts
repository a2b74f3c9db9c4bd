import { expireApproval, type Approval, type ApprovalTerms } from '../../domain/approval.ts';
import { endArtifact, type Artifact } from '../../domain/artifact.ts';
import type { AuditEvent } from '../../domain/audit-event.ts';
import type { Block } from '../../domain/block.ts';
import { budgetExceeded, conflict, forbidden } from '../../domain/errors.ts';
import {
  endGrant,
  GRANT_TRANSITIONS,
  isGrantOpen,
  type EndedGrant,
  type Grant,
  type GrantTerms,
} from '../../domain/grant.ts';
import type { ApprovalId, ArtifactId, GrantId, HandleHash, NotificationId, SessionId, TenantId } from '../../domain/ids.ts';
import type { Notification, NotificationTerms } from '../../domain/notification.ts';
import type { Session, SessionTerms } from '../../domain/session.ts';
import type { EndGrantsOfSession, UnitOfWork } from '../../domain/unit-of-work.ts';
import { blockAgainst, keyOf } from './blocks.ts';
import { DownstreamChanges } from './downstream-changes.ts';
import { requireExpected } from './expected-state.ts';
import {
  APPROVAL_TERMS,
  ARTIFACT_TERMS,
  type ArtifactTerms,
  GRANT_TERMS,
  NOTIFICATION_TERMS,
  requireSameTerms,
  SESSION_TERMS,
} from './fixed-terms.ts';
import { pairKey } from './id-index.ts';
import { copyRow } from './row-copy.ts';
import type { Tables } from './tables.ts';

type Call<Name extends keyof UnitOfWork> = Parameters<UnitOfWork[Name]>[0];

/**
 * The changes of one unit, checked one after the other against the committed rows as the earlier changes of the unit leave
 * them. The tables stay untouched until `apply`, which cannot fail.
 */
export class ChangeSet implements UnitOfWork {
  readonly events: AuditEvent[] = [];
  readonly #tables: Tables;
  readonly #sessions = new Map<SessionId, Session>();
  readonly #grants = new Map<GrantId, Grant>();
  readonly #artifacts = new Map<ArtifactId, Artifact>();
  // A session may end with many grants, so what is staged is looked up and never searched.
  readonly #artifactByGrant = new Map<GrantId, ArtifactId>();
  readonly #handles = new Set<HandleHash>();
  // Most units have none of these.
  #requestIds: Set<string> | null = null;
  #approvals: Map<ApprovalId, Approval> | null = null;
  #blocks: Map<string, Block> | null = null;
  #notifications: Map<NotificationId, Notification> | null = null;
  #downstream: DownstreamChanges | null = null;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  insertSession(session: Call<'insertSession'>): void {
    if (this.#session(session.id) !== undefined) throw conflict('session id is taken');
    this.#sessions.set(session.id, session);
  }

  updateSession({ expected, next }: Call<'updateSession'>): void {
    const current = this.#session(next.id);
    requireExpected('session', current, expected, next);
    requireSameTerms<SessionTerms>('session', SESSION_TERMS, current, next);
    this.#sessions.set(next.id, next);
  }

  requireRoomForGrant({ sessionId, maxOpen }: Call<'requireRoomForGrant'>): void {
    let open = this.#tables.openGrantsOfSession(sessionId);
    for (const [id, grant] of this.#grants) {
      if (grant.sessionId !== sessionId) continue;
      const committed = this.#tables.grant(id);
      open += Number(isGrantOpen(grant)) - Number(committed !== undefined && isGrantOpen(committed));
    }
    if (open >= maxOpen) {
      throw budgetExceeded(`the session has ${maxOpen} grants open already; revoke one or let one run out`);
    }
  }

  insertGrant(grant: Call<'insertGrant'>): void {
    if (this.#grant(grant.id) !== undefined) throw conflict('grant id is taken');
    const session = this.#session(grant.sessionId);
    if (session?.tenantId !== grant.tenantId || session.state !== 'active') throw conflict('session is not active any more');
    if (grant.requestId !== null) this.#takeRequestId(grant.sessionId, grant.requestId);
    this.#grants.set(grant.id, grant);
  }

  updateGrant({ expected, next }: Call<'updateGrant'>): void {
    const current = this.#grant(next.id);
    requireExpected('grant', current, expected, next);
    // The lifetime of what waited for a human starts when it is approved.
    const except = current.state === 'pending' && next.state === 'approved' ? 'expiresAt' : null;
    requireSameTerms<GrantTerms>('grant', GRANT_TERMS, current, next, except);
    this.#grants.set(next.id, next);
  }

  requireIssuedGrant({ tenantId, sessionId, grantId, orExpired }: Call<'requireIssuedGrant'>): void {
    const grant = this.#grant(grantId);
    const session = this.#session(sessionId);
    const fits = (state: string | undefined, live: string) => state === live || (orExpired && state === 'expired');
    if (grant?.tenantId !== tenantId || grant.sessionId !== sessionId || !fits(grant.state, 'issued')) {
      throw conflict('grant is not issued any more');
    }
    if (!fits(session?.state, 'active')) throw conflict('session is not active any more');
  }

  requireStandingApproval({ tenantId, sessionId, approvalId }: Call<'requireStandingApproval'>): void {
    for (const grant of this.#grantsOfSession(sessionId)) {
      if (grant.tenantId === tenantId && grant.approvalId === approvalId && grant.state === 'revoked') {
        throw conflict('a grant of this approval was revoked');
      }
    }
  }

  insertArtifact(artifact: Call<'insertArtifact'>): void {
    if (this.#artifact(artifact.id) !== undefined) throw conflict('artifact id is taken');
    if (this.#isHandleTaken(artifact)) throw conflict('handle is taken');
    if (this.#artifactOfGrant(artifact.grantId) !== undefined) throw conflict('grant has its artifact already');
    const grant = this.#grant(artifact.grantId);
    if (grant?.tenantId !== artifact.tenantId || grant.sessionId !== artifact.sessionId || !isGrantOpen(grant)) {
      throw conflict('grant is not open any more');
    }
    this.#artifacts.set(artifact.id, artifact);
    this.#artifactByGrant.set(artifact.grantId, artifact.id);
    if (artifact.kind === 'proxy_handle') this.#handles.add(artifact.handleHash);
  }

  updateArtifact({ expected, next }: Call<'updateArtifact'>): void {
    const current = this.#artifact(next.id);
    requireExpected('artifact', current, expected, next);
    requireSameTerms<ArtifactTerms>('artifact', ARTIFACT_TERMS, current, next);
    this.#artifacts.set(next.id, withoutSecret(next));
  }

  insertApproval(approval: Call<'insertApproval'>): void {
    if (this.#approval(approval.id) !== undefined) throw conflict('approval id is taken');
    const grant = this.#grant(approval.grantId);
    if (grant?.tenantId !== approval.tenantId || grant.sessionId !== approval.sessionId || grant.state !== 'pending') {
      throw conflict('grant is not pending any more');
    }
    if (grant.approvalId !== approval.id) throw conflict('grant waits for another approval');
    this.#putApproval(approval);
  }

  updateApproval({ expected, expectedDecisions, next }: Call<'updateApproval'>): void {
    const current = this.#approval(next.id);
    requireExpected('approval', current, expected, next);
    if (current.decisions.length !== expectedDecisions) throw conflict('somebody else has decided meanwhile; look again');
    requireSameTerms<ApprovalTerms>('approval', APPROVAL_TERMS, current, next);
    this.#putApproval(next);
  }

  endGrantsOfSession(change: Call<'endGrantsOfSession'>): void {
    for (const grant of this.#grantsOfSession(change.sessionId)) {
      if (grant.tenantId === change.tenantId && isGrantOpen(grant)) this.#endGrant(grant, change);
    }
  }

  insertBlock(block: Call<'insertBlock'>): void {
    const key = keyOf(block);
    const present = this.#blocks?.get(key) ?? this.#tables.blocks.get(key);
    if (present !== undefined && present.expiresAt >= block.expiresAt) return;
    const kept = present === undefined ? block : { ...present, expiresAt: block.expiresAt };
    (this.#blocks ??= new Map()).set(key, kept);
  }

  requireNoBlock(question: Call<'requireNoBlock'>): void {
    const staged = this.#blocks === null ? null : blockAgainst(this.#blocks, question);
    const kind = staged ?? this.#tables.blocks.against(question);
    if (kind === null) return;
    const reason = kind === 'run' ? 'run_revoked' : 'workload_revoked';
    throw forbidden(reason, `an operator has revoked this ${kind}; it gets nothing any more`, { rule: 'revocation' });
  }

  openCall(call: Call<'openCall'>): void {
    this.#begun().openCall(call);
  }

  closeCall(of: Call<'closeCall'>): void {
    this.#begun().closeCall(of);
  }

  spendRequest(spending: Call<'spendRequest'>): void {
    this.#requireArtifact(spending);
    this.#begun().spendRequest(spending);
  }

  spendBytes(spending: Call<'spendBytes'>): void {
    this.#requireArtifact(spending);
    this.#begun().spendBytes(spending);
  }

  insertRevocation(revocation: Call<'insertRevocation'>): void {
    this.#begun().insertRevocation(revocation);
  }

  updateRevocation(change: Call<'updateRevocation'>): void {
    this.#begun().updateRevocation(change);
  }

  makeRevocationDue(of: Call<'makeRevocationDue'>): void {
    // Most grants have no lease, and their end costs no more than this look.
    if (this.#downstream === null && this.#tables.revocations.ofGrant(of.grantId) === undefined) return;
    this.#begun().makeRevocationDue(of);
  }

  insertNotification(notification: Call<'insertNotification'>): void {
    if (this.#notification(notification.id) !== undefined) throw conflict('notification id is taken');
    (this.#notifications ??= new Map()).set(notification.id, notification);
  }

  updateNotification({ expectedAttempts, next }: Call<'updateNotification'>): void {
    const current = this.#notification(next.id);
    requireExpected('notification', current, 'waiting', next);
    if (current.attempts !== expectedAttempts) throw conflict('notification was tried by somebody else meanwhile');
    requireSameTerms<NotificationTerms>('notification', NOTIFICATION_TERMS, current, next);
    (this.#notifications ??= new Map()).set(next.id, next);
  }

  record(event: AuditEvent): void {
    this.events.push(event);
  }

  /** Puts the changes into the tables. */
  apply(): void {
    for (const session of this.#sessions.values()) this.#tables.putSession(session);
    for (const grant of this.#grants.values()) this.#tables.putGrant(grant);
    for (const artifact of this.#artifacts.values()) this.#tables.putArtifact(artifact);
    for (const approval of this.#approvals?.values() ?? []) this.#tables.putApproval(approval);
    for (const block of this.#blocks?.values() ?? []) this.#tables.blocks.put(block);
    for (const notification of this.#notifications?.values() ?? []) this.#tables.outbox.put(notification);
    this.#downstream?.apply();
  }

  #endGrant(grant: Grant, change: EndGrantsOfSession): void {
    const ended = endedGrant(grant, change);
    this.#grants.set(grant.id, ended);
    const artifact = this.#artifactOfGrant(grant.id);
    // An artifact that was used before does not end here, and gets no event.
    const endedArtifact = artifact?.state === 'issued' ? endArtifact(artifact, change.state, change.at) : null;
    if (endedArtifact !== null) this.#artifacts.set(endedArtifact.id, endedArtifact);
    const approval = grant.state === 'pending' ? this.#approval(grant.approvalId) : undefined;
    const endedApproval = approval?.state === 'pending' ? expireApproval(approval, change.at) : null;
    if (endedApproval !== null) this.#putApproval(endedApproval);
    this.makeRevocationDue({ tenantId: grant.tenantId, grantId: grant.id, at: change.at });
    for (const event of change.events(copyRow(ended), copyRow(endedArtifact), copyRow(endedApproval))) this.record(event);
  }

  #takeRequestId(sessionId: SessionId, requestId: string): void {
    const key = pairKey(sessionId, requestId);
    const isTaken = this.#requestIds?.has(key) === true || this.#tables.grantByRequestId(sessionId, requestId) !== undefined;
    if (isTaken) throw conflict('request_id is taken: another grant of the session was asked for under it');
    (this.#requestIds ??= new Set()).add(key);
  }

  #putApproval(approval: Approval): void {
    (this.#approvals ??= new Map()).set(approval.id, approval);
  }

  #session(id: SessionId): Session | undefined {
    return this.#sessions.get(id) ?? this.#tables.session(id);
  }

  #grant(id: GrantId): Grant | undefined {
    return this.#grants.get(id) ?? this.#tables.grant(id);
  }

  #artifact(id: ArtifactId): Artifact | undefined {
    return this.#artifacts.get(id) ?? this.#tables.artifact(id);
  }

  #approval(id: ApprovalId): Approval | undefined {
    return this.#approvals?.get(id) ?? this.#tables.approval(id);
  }

  #notification(id: NotificationId): Notification | undefined {
    return this.#notifications?.get(id) ?? this.#tables.outbox.get(id);
  }

  #artifactOfGrant(grantId: GrantId): Artifact | undefined {
    const staged = this.#artifactByGrant.get(grantId);
    if (staged !== undefined) return this.#artifacts.get(staged);
    const committed = this.#tables.artifactOfGrant(grantId);
    return committed === undefined ? undefined : this.#artifact(committed.id);
  }

  #isHandleTaken(artifact: Artifact): boolean {
    if (artifact.kind !== 'proxy_handle') return false;
    const { handleHash } = artifact;
    return this.#handles.has(handleHash) || this.#tables.artifactByHandle(handleHash) !== undefined;
  }

  #requireArtifact({ tenantId, artifactId }: { tenantId: TenantId; artifactId: ArtifactId }): void {
    if (this.#artifact(artifactId)?.tenantId !== tenantId) throw conflict('artifact is not there any more');
  }

  #begun(): DownstreamChanges {
    return (this.#downstream ??= new DownstreamChanges(this.#tables));
  }

  #grantsOfSession(sessionId: SessionId): Grant[] {
    const grants = new Map<GrantId, Grant>();
    for (const id of this.#tables.grantsOfSession(sessionId)) {
      const grant = this.#grant(id);
      if (grant !== undefined) grants.set(id, grant);
    }
    for (const grant of this.#grants.values()) {
      if (grant.sessionId === sessionId) grants.set(grant.id, grant);
    }
    return [...grants.values()];
  }
}

/** A grant that still waits for a human gave nothing out, so there is nothing to revoke: it expires. */
function endedGrant(grant: Grant, change: EndGrantsOfSession): EndedGrant {
  const state = GRANT_TRANSITIONS[grant.state].includes(change.state) ? change.state : 'expired';
  return endGrant(grant, state, change.at, change.reason);
}

/** What has ended holds no secret, whatever the change that ended it still carried. */
function withoutSecret(artifact: Artifact): Artifact {
  if (artifact.state === 'issued' || !('sealed' in artifact)) return artifact;
  const { sealed: _erased, ...ended } = artifact;
  return ended;
}

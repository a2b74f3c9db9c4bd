import { isDeepStrictEqual } from 'node:util';
import { endArtifact, type Artifact, type ArtifactTerms } from '../../domain/artifact.ts';
import type { AuditEvent } from '../../domain/audit-event.ts';
import { budgetExceeded, conflict } from '../../domain/errors.ts';
import {
  endGrant,
  GRANT_TRANSITIONS,
  isGrantOpen,
  type EndedGrant,
  type Grant,
  type GrantTerms,
} from '../../domain/grant.ts';
import type { ArtifactId, GrantId, HandleHash, SessionId } from '../../domain/ids.ts';
import type { Session, SessionTerms } from '../../domain/session.ts';
import type { EndGrantsOfSession, UnitOfWork } from '../../domain/unit-of-work.ts';
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
    requireSameTerms('session', SESSION_TERMS, current, next);
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
    this.#grants.set(grant.id, grant);
  }

  updateGrant({ expected, next }: Call<'updateGrant'>): void {
    const current = this.#grant(next.id);
    requireExpected('grant', current, expected, next);
    requireSameTerms('grant', GRANT_TERMS, current, next);
    this.#grants.set(next.id, next);
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
    this.#handles.add(artifact.handleHash);
  }

  updateArtifact({ expected, next }: Call<'updateArtifact'>): void {
    const current = this.#artifact(next.id);
    requireExpected('artifact', current, expected, next);
    requireSameTerms('artifact', ARTIFACT_TERMS, current, next);
    this.#artifacts.set(next.id, next);
  }

  endGrantsOfSession(change: Call<'endGrantsOfSession'>): void {
    for (const grant of this.#grantsOfSession(change.sessionId)) {
      if (grant.tenantId === change.tenantId && isGrantOpen(grant)) this.#endGrant(grant, change);
    }
  }

  record(event: AuditEvent): void {
    this.events.push(event);
  }

  /** Puts the changes into the tables. */
  apply(): void {
    for (const session of this.#sessions.values()) this.#tables.putSession(session);
    for (const grant of this.#grants.values()) this.#tables.putGrant(grant);
    for (const artifact of this.#artifacts.values()) this.#tables.putArtifact(artifact);
  }

  #endGrant(grant: Grant, change: EndGrantsOfSession): void {
    const ended = endedGrant(grant, change);
    this.#grants.set(grant.id, ended);
    const artifact = this.#artifactOfGrant(grant.id);
    // An artifact that was used before does not end here, and gets no event.
    const endedArtifact = artifact?.state === 'issued' ? endArtifact(artifact, change.state, change.at) : null;
    if (endedArtifact !== null) this.#artifacts.set(endedArtifact.id, endedArtifact);
    for (const event of change.events(copyRow(ended), copyRow(endedArtifact))) this.record(event);
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

  #artifactOfGrant(grantId: GrantId): Artifact | undefined {
    const staged = this.#artifactByGrant.get(grantId);
    if (staged !== undefined) return this.#artifacts.get(staged);
    const committed = this.#tables.artifactOfGrant(grantId);
    return committed === undefined ? undefined : this.#artifact(committed.id);
  }

  #isHandleTaken({ handleHash }: Artifact): boolean {
    return this.#handles.has(handleHash) || this.#tables.artifactByHandle(handleHash) !== undefined;
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

const SESSION_TERMS = [
  'agentId',
  'runId',
  'toolContext',
  'workload',
  'workloadHash',
  'tokenId',
  'createdAt',
  'expiresAt',
] as const satisfies readonly (keyof SessionTerms)[];

const GRANT_TERMS = [
  'sessionId',
  'agentId',
  'runId',
  'tool',
  'capability',
  'resourceRef',
  'deliveryMode',
  'reason',
  'createdAt',
  'expiresAt',
] as const satisfies readonly (keyof GrantTerms)[];

const ARTIFACT_TERMS = [
  'sessionId',
  'grantId',
  'kind',
  'handleHash',
  'createdAt',
  'expiresAt',
] as const satisfies readonly (keyof ArtifactTerms)[];

/** Another tenant's row answers like one that is not there. */
function requireExpected<Row extends { tenantId: string; state: string }>(
  entity: string,
  current: Row | undefined,
  expected: string,
  next: Row,
): asserts current is Row {
  if (current?.tenantId !== next.tenantId || current.state !== expected) {
    throw conflict(`${entity} is not ${expected} any more`);
  }
}

/** What was fixed at the start stays; a change of it is a mistake in the caller, not a lost race. */
function requireSameTerms<Row>(entity: string, terms: readonly (keyof Row & string)[], current: Row, next: Row): void {
  const changed = terms.find((term) => !isDeepStrictEqual(current[term], next[term]));
  if (changed !== undefined) throw new Error(`${entity}: ${changed} cannot be changed`);
}

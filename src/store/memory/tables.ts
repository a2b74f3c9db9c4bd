import type { Artifact } from '../../domain/artifact.ts';
import { isGrantOpen, type Grant } from '../../domain/grant.ts';
import type { ArtifactId, GrantId, HandleHash, SessionId } from '../../domain/ids.ts';
import type { Session } from '../../domain/session.ts';
import { TimeQueue } from './time-queue.ts';

/** How many entries each table and index holds. */
export type RowCounts = Readonly<Record<string, number>>;

/** The committed rows with their indexes. Rows go in and out as they are: copying is the repository's part. */
export class Tables {
  readonly #sessions = new Map<SessionId, Session>();
  readonly #grants = new Map<GrantId, Grant>();
  readonly #artifacts = new Map<ArtifactId, Artifact>();

  readonly #artifactByHandle = new Map<HandleHash, ArtifactId>();
  readonly #artifactByGrant = new Map<GrantId, ArtifactId>();
  readonly #grantsBySession = new Map<SessionId, Set<GrantId>>();
  readonly #openGrantsBySession = new Map<SessionId, number>();

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

  artifactByHandle(handleHash: HandleHash): Artifact | undefined {
    const id = this.#artifactByHandle.get(handleHash);
    return id === undefined ? undefined : this.#artifacts.get(id);
  }

  artifactOfGrant(grantId: GrantId): Artifact | undefined {
    const id = this.#artifactByGrant.get(grantId);
    return id === undefined ? undefined : this.#artifacts.get(id);
  }

  grantsOfSession(sessionId: SessionId): Iterable<GrantId> {
    return this.#grantsBySession.get(sessionId) ?? [];
  }

  openGrantsOfSession(sessionId: SessionId): number {
    return this.#openGrantsBySession.get(sessionId) ?? 0;
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
    this.#sessions.set(session.id, session);
    if (session.state === 'active') {
      this.#activeSessions.put(session.id, session.expiresAt);
    } else {
      this.#activeSessions.remove(session.id);
      this.#endedSessions.put(session.id, session.endedAt);
    }
  }

  putGrant(grant: Grant): void {
    this.#countOpen(grant.sessionId, Number(isGrantOpen(grant)) - this.#openNow(grant.id));
    this.#grants.set(grant.id, grant);
    if (isGrantOpen(grant)) {
      this.#openGrants.put(grant.id, grant.expiresAt);
    } else {
      this.#openGrants.remove(grant.id);
      this.#endedGrants.put(grant.id, grant.endedAt);
    }
    const siblings = this.#grantsBySession.get(grant.sessionId);
    if (siblings === undefined) this.#grantsBySession.set(grant.sessionId, new Set([grant.id]));
    else siblings.add(grant.id);
  }

  putArtifact(artifact: Artifact): void {
    this.#artifacts.set(artifact.id, artifact);
    this.#artifactByHandle.set(artifact.handleHash, artifact.id);
    this.#artifactByGrant.set(artifact.grantId, artifact.id);
  }

  /**
   * Drops up to `limit` sessions that ended before `endedBefore`, each with all that hangs on it, then with what is left of
   * `limit` such grants of other sessions. Answers how many rows went.
   */
  forgetEnded(endedBefore: Date, limit: number): number {
    const sessions = this.#endedSessions.before(endedBefore, limit);
    let rows = 0;
    for (const id of sessions) rows += this.#dropSession(id);
    for (const id of this.#endedGrants.before(endedBefore, limit - sessions.length)) rows += this.#dropGrant(id);
    return rows;
  }

  counts(): RowCounts {
    return {
      sessions: this.#sessions.size,
      grants: this.#grants.size,
      artifacts: this.#artifacts.size,
      artifactByHandle: this.#artifactByHandle.size,
      artifactByGrant: this.#artifactByGrant.size,
      grantsBySession: this.#grantsBySession.size,
      openGrantsBySession: this.#openGrantsBySession.size,
      activeSessions: this.#activeSessions.size,
      openGrants: this.#openGrants.size,
      endedSessions: this.#endedSessions.size,
      endedGrants: this.#endedGrants.size,
    };
  }

  #openNow(id: GrantId): 0 | 1 {
    const grant = this.#grants.get(id);
    return grant !== undefined && isGrantOpen(grant) ? 1 : 0;
  }

  #countOpen(sessionId: SessionId, change: number): void {
    if (change === 0) return;
    const open = this.openGrantsOfSession(sessionId) + change;
    if (open === 0) this.#openGrantsBySession.delete(sessionId);
    else this.#openGrantsBySession.set(sessionId, open);
  }

  #dropSession(id: SessionId): number {
    let rows = 1;
    for (const grantId of [...this.grantsOfSession(id)]) rows += this.#dropGrant(grantId);
    this.#sessions.delete(id);
    this.#endedSessions.remove(id);
    return rows;
  }

  #dropGrant(id: GrantId): number {
    const grant = this.#grants.get(id);
    if (grant === undefined) return 0;
    this.#countOpen(grant.sessionId, -this.#openNow(id));
    this.#grants.delete(id);
    this.#openGrants.remove(id);
    this.#endedGrants.remove(id);
    const siblings = this.#grantsBySession.get(grant.sessionId);
    siblings?.delete(id);
    if (siblings?.size === 0) this.#grantsBySession.delete(grant.sessionId);
    return 1 + this.#dropArtifactOf(id);
  }

  #dropArtifactOf(grantId: GrantId): number {
    const artifact = this.artifactOfGrant(grantId);
    if (artifact === undefined) return 0;
    this.#artifacts.delete(artifact.id);
    this.#artifactByHandle.delete(artifact.handleHash);
    this.#artifactByGrant.delete(grantId);
    return 1;
  }
}

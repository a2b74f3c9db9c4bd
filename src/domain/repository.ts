import type { Artifact } from './artifact.ts';
import type { Grant } from './grant.ts';
import type { ArtifactId, GrantId, HandleHash, SessionId, TenantId } from './ids.ts';
import type { Session } from './session.ts';
import type { Transactor } from './unit-of-work.ts';

/** Look-ups answer null for what is not there, another tenant's rows included, and reject with `unavailable`. */
export interface SessionRepository {
  findSession(tenantId: TenantId, id: SessionId): Promise<Session | null>;
}

export interface GrantRepository {
  findGrant(tenantId: TenantId, id: GrantId): Promise<Grant | null>;
  findArtifact(tenantId: TenantId, id: ArtifactId): Promise<Artifact | null>;
  /** What stands behind a proxy handle, in whatever state; the handle itself names the tenant. */
  findByHandle(handleHash: HandleHash): Promise<{ session: Session; grant: Grant; artifact: Artifact } | null>;
}

/** What the cleanup needs. */
export interface ExpiryRepository {
  /** Active sessions whose time is up at `now`, oldest first. */
  findExpiredSessions(now: Date, limit: number): Promise<readonly Session[]>;
  /** Open grants whose time is up at `now`, oldest first, with their artifacts. */
  findExpiredGrants(now: Date, limit: number): Promise<readonly { grant: Grant; artifact: Artifact | null }[]>;
  /** Drops sessions that ended before `endedBefore`, with their grants and artifacts, and such grants of sessions that go on. Answers how many rows went. */
  forgetEnded(endedBefore: Date, limit: number): Promise<number>;
}

export interface Repository extends Transactor, SessionRepository, GrantRepository, ExpiryRepository {
  /** Resolves when the store can be read and written; otherwise rejects with `unavailable`. */
  ping(): Promise<void>;
}

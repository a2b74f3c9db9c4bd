import { afterEach, beforeEach, expect } from 'vitest';
import type { AuditEvent } from '../../src/domain/audit-event.ts';
import type { PendingApproval } from '../../src/domain/approval.ts';
import { issueGrant, type PendingGrant } from '../../src/domain/grant.ts';
import type { Repository } from '../../src/domain/repository.ts';
import { type HeldRevocation, holdLease, type RequestedRevocation, type Revocation } from '../../src/domain/revocation.ts';
import { type ActiveSession, endSession } from '../../src/domain/session.ts';
import {
  aGrant,
  aLeaseGrant,
  anApproval,
  anArtifact,
  anArtifactId,
  aPendingGrant,
  aRevocation,
  aSession,
  aWrappedSecret,
  after,
} from '../support/entities.ts';

/** A repository without rows, and what the suite needs besides the port. */
export interface RepositoryUnderTest {
  repository: Repository;
  /** The events committed so far, in the order in which they were recorded. */
  events: () => Promise<readonly AuditEvent[]>;
  /** Makes the audit events of the next unit of work fail to be written; absent where that cannot be brought about. */
  failNextAudit?: () => void;
  close: () => Promise<void>;
}

export type OpenRepository = () => Promise<RepositoryUnderTest>;

/** Commits a session with one issued grant and its artifact. */
export async function givenIssuedGrant(repository: Repository, session: ActiveSession = aSession()) {
  const approved = aGrant(session);
  const grant = issueGrant(approved, anArtifactId(), after(1));
  const artifact = anArtifact(grant);
  await repository.transact((unit) => {
    unit.insertSession(session);
    unit.insertGrant(approved);
    unit.updateGrant({ expected: 'approved', next: grant });
    unit.insertArtifact(artifact);
  });
  return { session, approved, grant, artifact };
}

/** Commits a grant of a session that is on record, with the wrapped secret that was issued for it and the lease that is held. */
export async function givenLease(repository: Repository, session: ActiveSession) {
  const approved = aLeaseGrant(session);
  const grant = issueGrant(approved, anArtifactId(), after(1));
  const artifact = aWrappedSecret(grant);
  const requested = aRevocation(session, { grantId: grant.id });
  const revocation: HeldRevocation = holdLease(requested, { leaseId: `lease of ${grant.id}`, expiresAt: after(900) });
  await repository.transact((unit) => {
    unit.insertGrant(approved);
    unit.insertRevocation(requested);
    unit.updateRevocation({ expected: 'requested', next: revocation });
    unit.insertArtifact(artifact);
    unit.updateGrant({ expected: 'approved', next: grant });
  });
  return { session, approved, grant, artifact, revocation };
}

/** Commits a revocation and the states that it passes through, one after the other. Answers the last. */
export async function givenRevocation(
  repository: Repository,
  requested: RequestedRevocation,
  ...states: readonly Revocation[]
): Promise<Revocation> {
  await repository.transact((unit) => unit.insertRevocation(requested));
  let current: Revocation = requested;
  for (const next of states) {
    const { state: expected } = current;
    await repository.transact((unit) => unit.updateRevocation({ expected, next }));
    current = next;
  }
  return current;
}

/** Commits a session. */
export async function givenSession(repository: Repository, session: ActiveSession = aSession()): Promise<ActiveSession> {
  await repository.transact((unit) => unit.insertSession(session));
  return session;
}

/** Commits a grant of a session that is on record, with the approval that it waits for. */
export async function givenPendingGrant(
  repository: Repository,
  session: ActiveSession,
  overrides: { grant?: Partial<PendingGrant>; approval?: Partial<PendingApproval> } = {},
) {
  const grant = aPendingGrant(session, overrides.grant);
  const approval = anApproval(grant, overrides.approval);
  await repository.transact((unit) => {
    unit.insertGrant(grant);
    unit.insertApproval(approval);
  });
  return { grant, approval };
}

/** Ends a session with its grants, `seconds` after the start. */
export function endSessionAfter(repository: Repository, session: ActiveSession, seconds: number): Promise<void> {
  const { tenantId, id: sessionId } = session;
  const at = after(seconds);
  return repository.transact((unit) => {
    unit.updateSession({ expected: 'active', next: endSession(session, 'expired', at, 'time is up') });
    unit.endGrantsOfSession({ tenantId, sessionId, state: 'expired', at, reason: 'time is up', events: () => [] });
  });
}

/** Of attempts at the same thing, the places of those that won; each other one must have failed with `code`. */
export async function winnersOf(attempts: readonly Promise<unknown>[], code = 'conflict'): Promise<number[]> {
  const outcomes = await Promise.allSettled(attempts);
  return outcomes.flatMap((outcome, place) => {
    if (outcome.status === 'fulfilled') return [place];
    expect(outcome.reason).toMatchObject({ code });
    return [];
  });
}

/** Opens a repository for each test of the calling `describe`. */
export function eachWithRepository(open: OpenRepository): { readonly current: RepositoryUnderTest } {
  const opened: RepositoryUnderTest[] = [];
  beforeEach(async () => void opened.push(await open()));
  afterEach(async () => opened.pop()?.close());
  return {
    get current() {
      const [current] = opened;
      if (current === undefined) throw new Error('no repository is open');
      return current;
    },
  };
}

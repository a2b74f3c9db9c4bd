import { afterEach, beforeEach } from 'vitest';
import type { AuditEvent } from '../../src/domain/audit-event.ts';
import { issueGrant } from '../../src/domain/grant.ts';
import type { Repository } from '../../src/domain/repository.ts';
import type { ActiveSession } from '../../src/domain/session.ts';
import { aGrant, anArtifact, anArtifactId, aSession, after } from '../support/entities.ts';

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

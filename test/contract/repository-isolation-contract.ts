import { describe, expect, it } from 'vitest';
import { endGrant, issueGrant } from '../../src/domain/grant.ts';
import type { TenantId } from '../../src/domain/ids.ts';
import type { Repository } from '../../src/domain/repository.ts';
import { dueRevocation } from '../../src/domain/revocation.ts';
import {
  aBlock,
  aGrant,
  anArtifact,
  anArtifactId,
  anEvent,
  aRevocation,
  aSession,
  after,
  OTHER_TENANT,
  TENANT,
} from '../support/entities.ts';
import {
  eachWithRepository,
  givenPendingGrant,
  givenRevocation,
  givenSession,
  type OpenRepository,
} from './repository-under-test.ts';

type Given = Awaited<ReturnType<typeof givenEverything>>;

/** One row of each kind, and a grant that has ended, in one tenant. */
async function givenEverything(repository: Repository) {
  const session = await givenSession(repository, aSession());
  const approved = aGrant(session, { requestId: 'one' });
  const grant = issueGrant(approved, anArtifactId(), after(1));
  const artifact = anArtifact(grant);
  const event = anEvent({ subject: { tenantId: TENANT, sessionId: session.id } });
  const { approval } = await givenPendingGrant(repository, session);
  const opened = aGrant(session);
  const live = issueGrant(opened, anArtifactId(), after(1));
  await repository.transact((unit) => {
    unit.insertGrant(approved);
    unit.updateGrant({ expected: 'approved', next: grant });
    unit.insertArtifact(artifact);
    unit.insertGrant(opened);
    unit.updateGrant({ expected: 'approved', next: live });
    unit.insertArtifact(anArtifact(live));
    unit.updateGrant({ expected: 'issued', next: endGrant(live, 'revoked', after(2), 'stop') });
    unit.insertBlock(aBlock({ runId: session.runId }));
    unit.record(event);
  });
  const requested = aRevocation(session, { grantId: grant.id });
  const revocation = await givenRevocation(repository, requested, dueRevocation(requested, after(2)));
  return { session, grant, artifact, approval, revocation };
}

const PAGE = { limit: 10, after: null };

const reads: [string, (repository: Repository, tenantId: TenantId, given: Given) => Promise<unknown>][] = [
  ['finding a session', (repository, tenant, { session }) => repository.findSession(tenant, session.id)],
  ['finding a grant', (repository, tenant, { grant }) => repository.findGrant(tenant, grant.id)],
  ['finding an artifact', (repository, tenant, { artifact }) => repository.findArtifact(tenant, artifact.id)],
  ['finding an approval', (repository, tenant, { approval }) => repository.findApproval(tenant, approval.id)],
  [
    'finding a grant by its request id',
    (repository, tenant, { session }) => repository.findGrantByRequestId(tenant, session.id, 'one'),
  ],
  [
    'finding the approval of a request',
    (repository, tenant, { session, approval }) =>
      repository.findApprovalOfRequest(tenant, session.id, approval.requestHash),
  ],
  [
    'finding the active sessions of a run',
    (repository, tenantId, { session: { runId } }) => repository.findActiveSessions({ tenantId, runId }, 10),
  ],
  [
    'finding the active sessions of a workload',
    (repository, tenantId, { session: { workloadHash } }) => repository.findActiveSessions({ tenantId, workloadHash }, 10),
  ],
  [
    'finding the ended handles of a run',
    (repository, tenantId, { session: { runId } }) => repository.findEndedHandles({ tenantId, runId }, after(0)),
  ],
  [
    'finding the ended handles of a workload',
    (repository, tenantId, { session: { workloadHash } }) =>
      repository.findEndedHandles({ tenantId, workloadHash }, after(0)),
  ],
  [
    'finding the revocation of a grant',
    (repository, tenant, { revocation }) => repository.findRevocationOfGrant(tenant, revocation.grantId),
  ],
  [
    'finding the grants of a run that are not revoked downstream',
    (repository, tenantId, { session: { runId } }) => repository.findUnrevokedGrants({ tenantId, runId }),
  ],
  [
    'finding the grants of a workload that are not revoked downstream',
    (repository, tenantId, { session: { workloadHash } }) => repository.findUnrevokedGrants({ tenantId, workloadHash }),
  ],
  ['listing revocations', (repository, tenant) => repository.listRevocations(tenant, {}, PAGE)],
  [
    'listing the revocations of a grant',
    (repository, tenant, { grant }) => repository.listRevocations(tenant, { grantId: grant.id }, PAGE),
  ],
  [
    'listing the revocations of a connector',
    (repository, tenant, { revocation: { connector } }) => repository.listRevocations(tenant, { connector }, PAGE),
  ],
  [
    'asking for a block',
    (repository, tenantId, { session: { runId, workloadHash } }) => repository.findBlock({ tenantId, runId, workloadHash }),
  ],
  ['listing sessions', (repository, tenant) => repository.listSessions(tenant, {}, PAGE)],
  [
    'listing the active sessions of a run',
    (repository, tenant, { session: { runId } }) => repository.listSessions(tenant, { state: 'active', runId }, PAGE),
  ],
  ['listing grants', (repository, tenant) => repository.listGrants(tenant, {}, PAGE)],
  [
    'listing the grants of a session',
    (repository, tenant, { session }) => repository.listGrants(tenant, { sessionId: session.id }, PAGE),
  ],
  ['listing approvals', (repository, tenant) => repository.listApprovals(tenant, {}, PAGE)],
  [
    'listing the approvals of a session',
    (repository, tenant, { session }) => repository.listApprovals(tenant, { sessionId: session.id }, PAGE),
  ],
  ['listing audit events', (repository, tenant) => repository.listAuditEvents(tenant, {}, PAGE)],
  [
    'listing the audit events of a session',
    (repository, tenant, { session }) => repository.listAuditEvents(tenant, { sessionId: session.id }, PAGE),
  ],
];

/** That nothing crosses from one tenant to another. */
export function repositoryIsolationContract(open: OpenRepository): void {
  describe('another tenant', () => {
    const under = eachWithRepository(open);

    it.each(reads)('learns by %s what it learns where there is nothing', async (_, read) => {
      const { repository } = under.current;
      const given = await givenEverything(repository);
      const nothing = await read(repository, 't_none' as TenantId, given);
      expect(await read(repository, OTHER_TENANT, given)).toEqual(nothing);
      expect(await read(repository, TENANT, given)).not.toEqual(nothing);
    });
  });
}

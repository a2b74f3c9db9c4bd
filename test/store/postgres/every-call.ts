import { decideApproval } from '../../../src/domain/approval.ts';
import { endArtifact } from '../../../src/domain/artifact.ts';
import { endGrant, issueGrant } from '../../../src/domain/grant.ts';
import type {
  AgentId,
  ApprovalId,
  ArtifactId,
  GrantId,
  HandleHash,
  RunId,
  SessionId,
  TenantId,
  WorkloadHash,
} from '../../../src/domain/ids.ts';
import type { Repository } from '../../../src/domain/repository.ts';
import { dueRevocation } from '../../../src/domain/revocation.ts';
import { endSession } from '../../../src/domain/session.ts';
import type { UnitOfWork } from '../../../src/domain/unit-of-work.ts';
import { givenIssuedGrant, givenPendingGrant } from '../../contract/repository-under-test.ts';
import {
  aBlock,
  aCall,
  aGrant,
  anApproval,
  anArtifact,
  anArtifactId,
  anEvent,
  aNotification,
  aPendingGrant,
  aRevocation,
  aSession,
  aWord,
  after,
} from '../../support/entities.ts';
import { rowNamed } from './many-rows.ts';

export type Call = (repository: Repository) => Promise<unknown>;
const each = <Filter>(filters: readonly Filter[], list: (filter: Filter) => Call): Call[] => filters.map(list);

const PAGE = { limit: 50, after: null };

export type Calls = Readonly<Record<Exclude<keyof Repository, 'transact'>, readonly Call[]>>;

/** Every call of the port, with all that its plan depends on, in tables of `rows` rows (many-rows.ts). */
export function everyCall(rows: number): Calls {
  // A row in the middle, of a tenant, run and workload that have many more.
  const middle = Math.floor(rows / 2);
  const tenantId = `t_${middle % 10}` as TenantId;
  const runId = `run_${Math.floor(middle / 50)}` as RunId;
  const workloadHash = String(middle % 100).padStart(64, '0') as WorkloadHash;
  const agentId = `agent_${middle % 50}` as AgentId;
  const sessionId = rowNamed('sess', middle) as SessionId;
  const grantId = rowNamed('gr', middle) as GrantId;
  const approvalId = rowNamed('ap', middle) as ApprovalId;
  const handleHash = String(middle).padStart(64, '0') as HandleHash;
  const requestHash = String(middle % 1000).padStart(64, '0');
  const cursor = (prefix: string) => ({ limit: 50, after: Buffer.from(rowNamed(prefix, middle)).toString('base64url') });
  return {
    ping: [(repository) => repository.ping()],
    findSession: [(repository) => repository.findSession(tenantId, sessionId)],
    findGrant: [(repository) => repository.findGrant(tenantId, grantId)],
    findArtifact: [(repository) => repository.findArtifact(tenantId, rowNamed('art', middle) as ArtifactId)],
    findByHandle: [(repository) => repository.findByHandle(handleHash)],
    findGrantByRequestId: [(repository) => repository.findGrantByRequestId(tenantId, sessionId, `request ${middle}`)],
    findApproval: [(repository) => repository.findApproval(tenantId, approvalId)],
    findApprovalOfRequest: [(repository) => repository.findApprovalOfRequest(tenantId, sessionId, requestHash)],
    findActiveSessions: each(
      [{ runId }, { workloadHash }],
      (of) => (repository) => repository.findActiveSessions({ tenantId, ...of }, 200),
    ),
    findEndedHandles: each(
      [{ runId }, { workloadHash }],
      (of) => (repository) => repository.findEndedHandles({ tenantId, ...of }, after(-60)),
    ),
    findHandleUsage: [(repository) => repository.findHandleUsage(handleHash)],
    findOverdueCalls: [(repository) => repository.findOverdueCalls(after(0), 100)],
    findRevocationOfGrant: [(repository) => repository.findRevocationOfGrant(tenantId, grantId)],
    claimDueRevocations: each(
      [[], ['connector 1']],
      (busy) => (repository) => repository.claimDueRevocations({ now: after(0), claimedUntil: after(60), limit: 100, busy }),
    ),
    findUnrevokedGrants: each(
      [{ runId }, { workloadHash }],
      (of) => (repository) => repository.findUnrevokedGrants({ tenantId, ...of }),
    ),
    countOpenLeases: [(repository) => repository.countOpenLeases()],
    findDueNotifications: each(
      [[], ['receiver 1']],
      (busy) => (repository) => repository.findDueNotifications(after(0), 100, busy),
    ),
    findBlock: [(repository) => repository.findBlock({ tenantId, runId, workloadHash })],
    findExpiredSessions: [(repository) => repository.findExpiredSessions(after(0), 100)],
    findExpiredGrants: [(repository) => repository.findExpiredGrants(after(0), 100)],
    forgetEnded: [(repository) => repository.forgetEnded(after(-rows + 700), 200)],
    listSessions: each(
      [
        {},
        { state: 'active' },
        { state: 'revoked' },
        { agentId },
        { runId },
        { workloadHash },
        { runId, state: 'active' },
      ] as const,
      (filter) => async (repository) => {
        await repository.listSessions(tenantId, filter, PAGE);
        await repository.listSessions(tenantId, filter, cursor('sess'));
      },
    ),
    listGrants: each(
      [
        {},
        { state: 'issued' },
        { state: 'pending' },
        { sessionId },
        { agentId },
        { runId },
        { capability: 'capability.5' },
      ] as const,
      (filter) => async (repository) => {
        await repository.listGrants(tenantId, filter, PAGE);
        await repository.listGrants(tenantId, filter, cursor('gr'));
      },
    ),
    listApprovals: each([{}, { state: 'pending' }, { sessionId }] as const, (filter) => async (repository) => {
      await repository.listApprovals(tenantId, filter, PAGE);
      await repository.listApprovals(tenantId, filter, cursor('ap'));
    }),
    listRevocations: each(
      [{}, { state: 'due' }, { state: 'requested' }, { grantId }, { connector: 'connector 1' }] as const,
      (filter) => async (repository) => {
        await repository.listRevocations(tenantId, filter, PAGE);
        await repository.listRevocations(tenantId, filter, cursor('rev'));
      },
    ),
    listAuditEvents: each(
      [{}, { type: 'run.revoked' }, { sessionId }, { grantId }, { approvalId }] as const,
      (filter) => async (repository) => {
        await repository.listAuditEvents(tenantId, filter, PAGE);
        await repository.listAuditEvents(tenantId, filter, cursor('evt'));
      },
    ),
  };
}

export type Given = Awaited<ReturnType<typeof given>>;
export const given = async (repository: Repository) => {
  const issued = await givenIssuedGrant(repository);
  const waiting = await givenPendingGrant(repository, issued.session);
  const call = aCall(issued.artifact);
  const requested = aRevocation(issued.session);
  const notification = aNotification(waiting.approval);
  await repository.transact((unit) => {
    unit.openCall(call);
    unit.insertRevocation(requested);
    unit.insertNotification(notification);
  });
  return { ...issued, waiting, call, requested, notification };
};

/** Every change that a unit can hold, as it goes through. */
export const CHANGES: Readonly<Record<keyof UnitOfWork, (unit: UnitOfWork, given: Given) => void>> = {
  insertSession: (unit) => unit.insertSession(aSession()),
  updateSession: (unit, { session }) =>
    unit.updateSession({ expected: 'active', next: endSession(session, 'revoked', after(2), 'stop') }),
  requireRoomForGrant: (unit, { session }) =>
    unit.requireRoomForGrant({ tenantId: session.tenantId, sessionId: session.id, maxOpen: 9 }),
  insertGrant: (unit, { session }) => unit.insertGrant(aGrant(session)),
  updateGrant: (unit, { grant }) =>
    unit.updateGrant({ expected: 'issued', next: endGrant(grant, 'revoked', after(2), 'stop') }),
  insertArtifact: (unit, { session }) => {
    const approved = aGrant(session);
    unit.insertGrant(approved);
    unit.insertArtifact(anArtifact(issueGrant(approved, anArtifactId(), after(1))));
  },
  updateArtifact: (unit, { artifact }) =>
    unit.updateArtifact({ expected: 'issued', next: endArtifact(artifact, 'used', after(2)) }),
  insertApproval: (unit, { session }) => {
    const grant = aPendingGrant(session);
    unit.insertGrant(grant);
    unit.insertApproval(anApproval(grant));
  },
  updateApproval: (unit, { waiting }) =>
    unit.updateApproval({
      expected: 'pending',
      expectedDecisions: 0,
      next: decideApproval(waiting.approval, aWord('alice')),
    }),
  endGrantsOfSession: (unit, { session }) =>
    unit.endGrantsOfSession({
      tenantId: session.tenantId,
      sessionId: session.id,
      state: 'revoked',
      at: after(2),
      reason: 'stop',
      events: () => [anEvent()],
    }),
  insertBlock: (unit) => unit.insertBlock(aBlock({ runId: 'run_to_stop' as RunId })),
  requireNoBlock: (unit, { session }) => unit.requireNoBlock({ ...session, runId: 'run_of_nobody' as RunId }),
  requireIssuedGrant: (unit, { grant }) => {
    const { sessionId, id: grantId } = grant;
    unit.requireIssuedGrant({ tenantId: grant.tenantId, sessionId, grantId, orExpired: false });
  },
  requireStandingApproval: (unit, { waiting: { approval } }) =>
    unit.requireStandingApproval({ tenantId: approval.tenantId, sessionId: approval.sessionId, approvalId: approval.id }),
  openCall: (unit, { artifact }) => unit.openCall(aCall(artifact)),
  closeCall: (unit, { call }) => unit.closeCall({ tenantId: call.subject.tenantId, callId: call.id }),
  spendRequest: (unit, { artifact, call }) =>
    unit.spendRequest({
      tenantId: artifact.tenantId,
      artifactId: artifact.id,
      callId: call.id,
      maxRequests: 9,
      maxConcurrent: 9,
      now: after(0),
    }),
  spendBytes: (unit, { artifact }) =>
    unit.spendBytes({ tenantId: artifact.tenantId, artifactId: artifact.id, bytes: 1, maxBytes: 9 }),
  insertRevocation: (unit, { session }) => unit.insertRevocation(aRevocation(session)),
  updateRevocation: (unit, { requested }) =>
    unit.updateRevocation({ expected: 'requested', next: dueRevocation(requested, after(2)) }),
  makeRevocationDue: (unit, { requested }) =>
    unit.makeRevocationDue({ tenantId: requested.tenantId, grantId: requested.grantId, at: after(2) }),
  insertNotification: (unit, { waiting }) => unit.insertNotification(aNotification(waiting.approval)),
  updateNotification: (unit, { notification }) =>
    unit.updateNotification({ expectedAttempts: 0, next: { ...notification, attempts: 1 } }),
  record: (unit) => unit.record(anEvent()),
};

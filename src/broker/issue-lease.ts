import type { AuditEventType } from '../domain/audit-event.ts';
import type { CallContext } from '../domain/call-context.ts';
import { type IssuedLease, type LeaseConnector, wasNotCalled } from '../domain/connector.ts';
import type { DownstreamCall } from '../domain/downstream-call.ts';
import type { BrokerError } from '../domain/errors.ts';
import { conflict, type ErrorCode } from '../domain/errors.ts';
import { type ApprovedGrant, endGrant, issueGrant } from '../domain/grant.ts';
import { parseResourceRef } from '../domain/resource.ts';
import { dueRevocation, endRevocation, holdLease, type RequestedRevocation, type Revocation } from '../domain/revocation.ts';
import type { BlockQuestion, UnitOfWork } from '../domain/unit-of-work.ts';
import { auditEvent, codeOf, grantSubject, leaseDetails, leaseSubject } from './audit-trail.ts';
import { unlessAway } from './best-effort.ts';
import { stageEndedGrant } from './end-grant.ts';
import { endedGrantEvents } from './ended-grant-events.ts';
import type { Issue, Issued, IssueGrantDeps, Way } from './issue-grant.ts';
import { isConflict, unlessLost } from './lost-race.ts';
import { withinTime } from './within-time.ts';

/** For the connector alone. It is not cut short when the caller goes away: whatever it made must become known. */
export const ISSUE_TIMEOUT_SECONDS = 10;
/** The connector, the sealing and the commit after it, with room. Who is not done by then has died. */
const CALL_SECONDS = 60;
export const COULD_NOT_BE_ISSUED = 'could not be issued';

// What a connector rejects with when it has issued nothing for sure.
const NOTHING_ISSUED: ReadonlySet<ErrorCode> = new Set(['invalid_request', 'forbidden', 'not_found', 'rate_limited']);

type LeaseWay = Extract<Way, { leases: LeaseConnector }>;

/** One lease that is asked for: what stands on record before the connector hears of it. */
interface Asked {
  approved: ApprovedGrant;
  session: BlockQuestion;
  connector: LeaseConnector;
  permissions: LeaseWay['permissions'];
  requested: RequestedRevocation;
  call: DownstreamCall;
}

/**
 * Has a credential made for a grant. That it may exist is on record before the connector is called, and that it does before
 * anybody can open it, so that a crash at any point leaves behind a call that is overdue or a lease that is due.
 */
export function leaseIssue(
  deps: IssueGrantDeps,
  context: Pick<CallContext, 'requestId'>,
  approved: ApprovedGrant,
  session: BlockQuestion,
  way: LeaseWay,
): Issue {
  const asked = askedFor(deps, context, approved, session, way);
  return {
    stage(unit) {
      unit.insertRevocation(asked.requested);
      unit.openCall(asked.call);
      unit.record(leaseEvent(deps, context, asked, 'lease.requested'));
    },
    finish: () => finish(deps, context, asked),
  };
}

function askedFor(
  deps: IssueGrantDeps,
  { requestId }: Pick<CallContext, 'requestId'>,
  approved: ApprovedGrant,
  session: BlockQuestion,
  { leases: connector, permissions }: LeaseWay,
): Asked {
  const createdAt = deps.clock.now();
  const { id: grantId, tenantId, sessionId, agentId, runId, resourceRef } = approved;
  const leaseExpiresAt = lastMoment(approved.expiresAt, connector, createdAt);
  const of = { tenantId, sessionId, grantId, agentId, runId, workloadHash: session.workloadHash };
  const id = deps.ids.revocationId();
  const requested: RequestedRevocation = {
    ...{ ...of, id, connector: connector.name, resourceRef, createdAt },
    state: 'requested',
    leaseExpiresAt,
  };
  const call: DownstreamCall = {
    id: deps.ids.callId(),
    kind: 'lease',
    subject: leaseSubject(requested),
    requestId,
    startedAt: createdAt,
    deadline: new Date(createdAt.getTime() + CALL_SECONDS * 1000),
  };
  return { approved, session, connector, permissions, requested, call };
}

/** When whatever the connector issues is over for sure, also when its answer is lost. */
function lastMoment(grantEnds: Date, { longestLeaseSeconds = 0 }: LeaseConnector, now: Date): Date {
  return new Date(Math.max(grantEnds.getTime(), now.getTime() + longestLeaseSeconds * 1000));
}

async function finish(deps: IssueGrantDeps, context: Pick<CallContext, 'requestId'>, asked: Asked): Promise<Issued> {
  const lease = await askConnector(deps, context, asked);
  const held = holdLease(asked.requested, lease);
  const issued = leaseEvent(deps, context, asked, 'lease.issued');
  try {
    const now = deps.clock.now();
    const artifact = await deps.deliveries.secret.wrap(asked.approved, lease, now);
    const grant = issueGrant(asked.approved, artifact.id, now);
    const subject = { ...grantSubject(grant), artifactId: artifact.id };
    await deps.repository.transact((unit) => {
      unit.requireNoBlock(asked.session);
      stageOutcome(unit, asked, held);
      unit.record(issued);
      unit.insertArtifact(artifact);
      unit.record(auditEvent(deps, context, 'artifact.issued', subject));
      unit.updateGrant({ expected: 'approved', next: grant });
      unit.record(auditEvent(deps, context, 'grant.issued', subject));
    });
    return artifact.kind === 'minted_token'
      ? { grant, delivery: null, artifact }
      : { grant, delivery: { kind: artifact.kind, artifactId: artifact.id } };
  } catch (error) {
    // Nobody will ever open it, so it is taken back at once.
    await comeToNothing(deps, context, asked, dueRevocation(held, deps.clock.now()), issued);
    throw isConflict(error) ? conflict('the grant was ended while it was being issued; request a new one') : error;
  }
}

async function askConnector(
  deps: IssueGrantDeps,
  context: Pick<CallContext, 'requestId'>,
  asked: Asked,
): Promise<IssuedLease> {
  const { approved, connector, permissions, requested, call } = asked;
  const { capability, resourceRef, expiresAt } = approved;
  const resource = parseResourceRef(resourceRef);
  const revocationId = requested.id;
  const late = `${connector.name} did not issue within ${ISSUE_TIMEOUT_SECONDS} seconds`;
  try {
    return await withinTime(deps.clock, ISSUE_TIMEOUT_SECONDS, late, (signal) =>
      connector.issue({ revocationId, capability, resource, expiresAt, permissions, signal }),
    );
  } catch (error) {
    const code = codeOf(error);
    const next =
      NOTHING_ISSUED.has(code) || wasNotCalled(error)
        ? endRevocation(requested, { outcome: 'not_issued', endedAt: deps.clock.now() })
        : // Not before the call is over for sure: what arrives downstream after it was revoked would stay.
          dueRevocation(requested, call.deadline);
    await comeToNothing(deps, context, asked, next, leaseEvent(deps, context, asked, 'lease.failed', code));
    throw error;
  }
}

/**
 * Ends a grant that could not be issued and puts on record what becomes of its lease. What somebody else has put on record by
 * now, or what cannot be written, is left to them and to the worker, who finds the call overdue.
 */
async function comeToNothing(
  deps: IssueGrantDeps,
  context: Pick<CallContext, 'requestId'>,
  asked: Asked,
  next: Revocation,
  event: ReturnType<typeof auditEvent>,
): Promise<void> {
  const { approved } = asked;
  const ended = endGrant(approved, 'expired', deps.clock.now(), COULD_NOT_BE_ISSUED);
  const stageLease = (unit: UnitOfWork): void => {
    stageOutcome(unit, asked, next);
    unit.record(event);
  };
  const settle = async (): Promise<void> => {
    const isGrantEnded = await unlessLost(deps, (unit) => {
      stageLease(unit);
      const events = endedGrantEvents(deps, context);
      stageEndedGrant(unit, { grant: approved, artifact: null, approval: null }, ended, events);
    });
    // Somebody has ended the grant before, and could not know about the lease.
    if (!isGrantEnded) await unlessLost(deps, stageLease);
  };
  await unlessAway(settle());
}

function stageOutcome(unit: UnitOfWork, { call, requested }: Asked, next: Revocation): void {
  unit.closeCall({ tenantId: requested.tenantId, callId: call.id });
  unit.updateRevocation({ expected: 'requested', next });
}

function leaseEvent(
  deps: IssueGrantDeps,
  context: Pick<CallContext, 'requestId'>,
  { requested }: Asked,
  type: AuditEventType,
  code?: BrokerError['code'],
) {
  const details = leaseDetails(requested);
  return auditEvent(deps, context, type, leaseSubject(requested), code === undefined ? { details } : { code, details });
}

import type { AuditEvent, AuditEventType } from '../domain/audit-event.ts';
import type { ConnectorResolver, LeaseConnector } from '../domain/connector.ts';
import type { DownstreamCall } from '../domain/downstream-call.ts';
import { BrokerError, type ErrorCode } from '../domain/errors.ts';
import type { DownstreamRepository } from '../domain/repository.ts';
import { parseResourceRef } from '../domain/resource.ts';
import { type DueRevocation, endRevocation, postponeRevocation, type Revocation } from '../domain/revocation.ts';
import type { UnitOfWork } from '../domain/unit-of-work.ts';
import { type AuditDeps, auditEvent, codeOf, leaseDetails, leaseSubject } from './audit-trail.ts';
import { backoffSeconds, secondsFrom } from './backoff.ts';
import { inLanes } from './in-lanes.ts';
import { unlessLost } from './lost-race.ts';
import { withinTime } from './within-time.ts';

export interface RevokeDueDeps extends AuditDeps {
  repository: AuditDeps['repository'] & Pick<DownstreamRepository, 'claimDueRevocations'>;
  connectors: () => Pick<ConnectorResolver, 'findLeaseConnector'>;
  /** Uniform, from 0 up to 1 and never 1. */
  random: () => number;
}

/** How many leases came to which end in a pass. */
export interface RevokeReport {
  revoked: number;
  /** Ran out by themselves before they could be revoked. */
  expired: number;
  retried: number;
}

/** Revokes what is due, `limit` leases at most. Once the signal aborts it takes up nothing new. */
export type RevokeDue = (limit: number, requestId: string, stop: AbortSignal) => Promise<RevokeReport>;

/** How many leases one connector is asked to revoke at a time. */
const LANES_PER_CONNECTOR = 8;
const REVOKE_TIMEOUT_SECONDS = 15;
/** How long a claim lasts. Whoever dies meanwhile delays the next try by as much. */
const CLAIM_SECONDS = 60;
/** What a try and its two commits may take of it: one that would end later is not begun. */
const TRY_SECONDS = REVOKE_TIMEOUT_SECONDS + 10;
const BACKOFF = { firstSeconds: 2, maxSeconds: 300 };
/** What a connector may ask for at most. */
const MAX_RETRY_AFTER_SECONDS = 120;

/** Why a try came to nothing. */
interface Failure {
  code: ErrorCode;
  why: string;
  retryAfterSeconds: number | null;
}

// After these it is no use to ask the connector anything more now.
const CONNECTOR_DOWN: ReadonlySet<ErrorCode> = new Set(['unavailable', 'deadline_exceeded', 'rate_limited']);

/** One pass, as each of its leases sees it. */
interface Pass {
  requestId: string;
  stop: AbortSignal;
  report: RevokeReport;
  failures: unknown[];
}

/**
 * Works off the queue of leases that outlived their grants, each connector's by itself. Passes may overlap: a connector that
 * another pass is busy with is left to it, so that one that hangs holds up nobody else. What cannot be revoked is tried again
 * until the lease runs out by itself. Rejects at its end with the first failure.
 */
export function revokeDue(deps: RevokeDueDeps): RevokeDue {
  const busy = new Set<string>();
  let isClaiming = false;
  return async (limit, requestId, stop) => {
    const pass: Pass = { requestId, stop, report: { revoked: 0, expired: 0, retried: 0 }, failures: [] };
    // Two that claim at once would both be busy with a connector.
    if (isClaiming) return pass.report;
    isClaiming = true;
    const lanes: Promise<void>[] = [];
    try {
      const now = deps.clock.now();
      const claimedUntil = secondsFrom(now, CLAIM_SECONDS);
      const due = await deps.repository.claimDueRevocations({ now, claimedUntil, limit, busy: [...busy] });
      for (const [connector, revocations] of Map.groupBy(due, (revocation) => revocation.connector)) {
        busy.add(connector);
        lanes.push(revokeAll(deps, pass, connector, revocations).finally(() => busy.delete(connector)));
      }
    } finally {
      isClaiming = false;
    }
    await Promise.all(lanes);
    if (pass.failures.length > 0) throw pass.failures[0];
    return pass.report;
  };
}

async function revokeAll(
  deps: RevokeDueDeps,
  pass: Pass,
  name: string,
  revocations: readonly DueRevocation[],
): Promise<void> {
  const connector = deps.connectors().findLeaseConnector(name);
  let down: Failure | null = connector === null ? NOT_CONFIGURED : null;
  await inLanes(revocations, LANES_PER_CONNECTOR, async (revocation) => {
    try {
      down = (await handle(deps, pass, connector, revocation, down)) ?? down;
    } catch (error) {
      pass.failures.push(error);
    }
  });
}

const NOT_CONFIGURED: Failure = {
  code: 'unavailable',
  why: 'its connector is not configured any more',
  retryAfterSeconds: null,
};

/** Answers how the connector failed when it is no use to ask it anything more now. */
async function handle(
  deps: RevokeDueDeps,
  pass: Pass,
  connector: LeaseConnector | null,
  revocation: DueRevocation,
  down: Failure | null,
): Promise<Failure | null> {
  const now = deps.clock.now();
  if (now >= revocation.leaseExpiresAt) {
    const ended = endRevocation(revocation, { outcome: 'expired', endedAt: now });
    const event = leaseEvent(deps, pass, 'lease.expired', revocation);
    if (await unlessLost(deps, (unit) => stageOutcome(unit, null, ended, event))) pass.report.expired += 1;
    return null;
  }
  if (pass.stop.aborted || secondsFrom(now, TRY_SECONDS) > revocation.nextAttemptAt) {
    // Nobody has tried it, so it need not wait until the claim is over.
    await unlessLost(deps, (unit) =>
      unit.updateRevocation({ expected: 'due', next: { ...revocation, nextAttemptAt: now } }),
    );
    return null;
  }
  if (connector === null || down !== null) {
    // The rest would only wait in line for the same failure.
    const next = postponed(deps, revocation, down ?? NOT_CONFIGURED);
    if (await unlessLost(deps, (unit) => stageOutcome(unit, null, next, null))) pass.report.retried += 1;
    return null;
  }
  return attempt(deps, pass, connector, revocation);
}

async function attempt(
  deps: RevokeDueDeps,
  pass: Pass,
  connector: LeaseConnector,
  revocation: DueRevocation,
): Promise<Failure | null> {
  const call: DownstreamCall = {
    id: deps.ids.callId(),
    kind: 'revocation',
    subject: leaseSubject(revocation),
    requestId: pass.requestId,
    startedAt: deps.clock.now(),
    deadline: revocation.nextAttemptAt,
  };
  const isOurs = await unlessLost(deps, (unit) => {
    // As it is: what somebody else has taken up meanwhile is a conflict.
    unit.updateRevocation({ expected: 'due', next: revocation });
    unit.openCall(call);
    unit.record(leaseEvent(deps, pass, 'lease.revocation_requested', revocation));
  });
  if (!isOurs) return null;
  const failure = await askConnector(deps, pass, connector, revocation);
  if (failure === null) {
    const ended = endRevocation(revocation, { outcome: 'revoked', endedAt: deps.clock.now() });
    await settle(deps, call, ended, leaseEvent(deps, pass, 'lease.revoked', revocation));
    pass.report.revoked += 1;
    return null;
  }
  const { code, why } = failure;
  const next = postponed(deps, revocation, failure);
  await settle(deps, call, next, leaseEvent(deps, pass, 'lease.revocation_failed', revocation, { code, why }));
  pass.report.retried += 1;
  return CONNECTOR_DOWN.has(code) ? failure : null;
}

/** Null when the lease is dead. */
async function askConnector(
  deps: RevokeDueDeps,
  pass: Pass,
  connector: LeaseConnector,
  { id: revocationId, leaseId, resourceRef }: DueRevocation,
): Promise<Failure | null> {
  const resource = parseResourceRef(resourceRef);
  try {
    await withinTime(deps.clock, REVOKE_TIMEOUT_SECONDS, 'no answer in time', (signal) =>
      connector.revoke({ revocationId, leaseId, resource, signal }),
    );
    return null;
  } catch (error) {
    const code = codeOf(error);
    if (error instanceof BrokerError) return { code, why: error.message, retryAfterSeconds: error.retryAfterSeconds };
    // A defect; its own words are for the log alone.
    pass.failures.push(error);
    return { code, why: 'could not be revoked', retryAfterSeconds: null };
  }
}

/** Puts the outcome on record, also when the revocation has moved on without it. Whoever has closed the call has said that it is unknown. */
async function settle(deps: RevokeDueDeps, call: DownstreamCall, next: Revocation, event: AuditEvent): Promise<void> {
  if (await unlessLost(deps, (unit) => stageOutcome(unit, call, next, event))) return;
  await unlessLost(deps, (unit) => stageOutcome(unit, call, null, event));
}

function stageOutcome(
  unit: UnitOfWork,
  call: DownstreamCall | null,
  next: Revocation | null,
  event: AuditEvent | null,
): void {
  if (call !== null) unit.closeCall({ tenantId: call.subject.tenantId, callId: call.id });
  if (next !== null) unit.updateRevocation({ expected: 'due', next });
  if (event !== null) unit.record(event);
}

/** Puts the next try off, but never past the lease's own end. */
function postponed(deps: RevokeDueDeps, revocation: DueRevocation, { why, retryAfterSeconds }: Failure): DueRevocation {
  const delay = backoffSeconds(revocation.attempts, { ...BACKOFF, random: deps.random });
  const asked = Math.min(retryAfterSeconds ?? 0, MAX_RETRY_AFTER_SECONDS);
  const next = secondsFrom(deps.clock.now(), Math.max(delay, asked));
  const { leaseExpiresAt } = revocation;
  return postponeRevocation(revocation, next < leaseExpiresAt ? next : leaseExpiresAt, why);
}

function leaseEvent(
  deps: RevokeDueDeps,
  pass: Pass,
  type: AuditEventType,
  revocation: DueRevocation,
  failure?: { code: ErrorCode; why: string },
): AuditEvent {
  const details = { ...leaseDetails(revocation), attempt: revocation.attempts };
  const facts = failure === undefined ? { details } : { code: failure.code, details: { ...details, why: failure.why } };
  return auditEvent(deps, pass, type, leaseSubject(revocation), facts);
}

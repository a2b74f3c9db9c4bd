import type { AuditEventType } from '../domain/audit-event.ts';
import type { CallContext } from '../domain/call-context.ts';
import type { DownstreamCall, DownstreamCallKind } from '../domain/downstream-call.ts';
import { endGrant } from '../domain/grant.ts';
import type { GrantId } from '../domain/ids.ts';
import type { DownstreamRepository, GrantRepository } from '../domain/repository.ts';
import { dueRevocation } from '../domain/revocation.ts';
import type { UnitOfWork } from '../domain/unit-of-work.ts';
import { type AuditDeps, auditEvent } from './audit-trail.ts';
import { secondsFrom } from './backoff.ts';
import { stageEndedGrant } from './end-grant.ts';
import { endedGrantEvents } from './ended-grant-events.ts';
import { inLanes } from './in-lanes.ts';
import { COULD_NOT_BE_ISSUED } from './issue-lease.ts';
import { unlessLost } from './lost-race.ts';

export interface EndOverdueCallsDeps extends AuditDeps {
  repository: AuditDeps['repository'] & DownstreamRepository & GrantRepository;
}

/** How many calls of each kind were found whose outcome nobody will tell. */
export type OverdueReport = Record<DownstreamCallKind, number>;

/** Whoever makes a call is done by its deadline; this is for their last commit, and for clocks that differ. */
const GRACE_SECONDS = 30;
const LANES = 8;

const UNKNOWN_OUTCOME = {
  proxy: 'proxy.unknown',
  lease: 'lease.unknown',
  revocation: 'lease.revocation_unknown',
} as const satisfies Record<DownstreamCallKind, AuditEventType>;

/**
 * Closes calls whose maker died, `limit` at most, and says on record that their outcome is not known. What may have been issued
 * becomes due to be revoked. Rejects at its end with the first failure.
 */
export function endOverdueCalls(deps: EndOverdueCallsDeps): (limit: number, requestId: string) => Promise<OverdueReport> {
  return async (limit, requestId) => {
    const report: OverdueReport = { proxy: 0, lease: 0, revocation: 0 };
    const failures: unknown[] = [];
    const before = secondsFrom(deps.clock.now(), -GRACE_SECONDS);
    await inLanes(await deps.repository.findOverdueCalls(before, limit), LANES, async (call) => {
      try {
        if (await endOne(deps, requestId, call)) report[call.kind] += 1;
      } catch (error) {
        failures.push(error);
      }
    });
    if (failures.length > 0) throw failures[0];
    return report;
  };
}

/** Answers false when somebody else was first, or something has changed meanwhile; it is found again then if it is still open. */
async function endOne(deps: EndOverdueCallsDeps, passId: string, call: DownstreamCall): Promise<boolean> {
  const { kind, subject, requestId, startedAt } = call;
  const context = { requestId };
  const stageLoss = kind === 'lease' ? await lostLease(deps, context, call) : null;
  const details = { started_at: startedAt.toISOString(), found_by: passId };
  return unlessLost(deps, (unit) => {
    unit.closeCall({ tenantId: subject.tenantId, callId: call.id });
    unit.record(auditEvent(deps, context, UNKNOWN_OUTCOME[kind], subject, { details }));
    stageLoss?.(unit);
  });
}

/** What becomes of a grant whose lease was being issued, and of whatever was issued. */
async function lostLease(
  deps: EndOverdueCallsDeps,
  context: Pick<CallContext, 'requestId'>,
  { subject: { tenantId, grantId: id } }: DownstreamCall,
): Promise<(unit: UnitOfWork) => void> {
  if (id === undefined) throw new Error('a call for a lease names no grant');
  const grantId = id as GrantId;
  const [revocation, grant] = await Promise.all([
    deps.repository.findRevocationOfGrant(tenantId, grantId),
    deps.repository.findGrant(tenantId, grantId),
  ]);
  const now = deps.clock.now();
  return (unit) => {
    if (revocation?.state === 'requested') {
      unit.updateRevocation({ expected: 'requested', next: dueRevocation(revocation, now) });
    }
    if (grant?.state === 'approved') {
      const ended = endGrant(grant, 'expired', now, COULD_NOT_BE_ISSUED);
      stageEndedGrant(unit, { grant, artifact: null, approval: null }, ended, endedGrantEvents(deps, context));
    }
  };
}

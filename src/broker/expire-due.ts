import { BrokerError } from '../domain/errors.ts';
import { endGrant } from '../domain/grant.ts';
import type { ExpiryRepository } from '../domain/repository.ts';
import type { RuntimeStore } from '../domain/runtime-store.ts';
import { endSession } from '../domain/session.ts';
import type { UnitOfWork } from '../domain/unit-of-work.ts';
import { type AuditDeps, auditEvent, sessionSubject } from './audit-trail.ts';
import { stageEndedGrant } from './end-grant.ts';
import { endedGrantEvents } from './ended-grant-events.ts';

export interface ExpireDueDeps extends AuditDeps {
  repository: AuditDeps['repository'] & ExpiryRepository;
  runtime: RuntimeStore;
  /** How long what has ended stays readable. */
  retentionSeconds: number;
}

export interface ExpireDueReport {
  sessions: number;
  grants: number;
  forgotten: number;
}

const EXPIRED = 'its time was up';
const NOBODY_DECIDED = 'nobody approved it in time';

/** Ends what has run out and drops what ended long ago, `limit` of each kind at most. Rejects at its end with the first failure. */
export function expireDue(deps: ExpireDueDeps): (limit: number, requestId: string) => Promise<ExpireDueReport> {
  return async (limit, requestId) => {
    const now = deps.clock.now();
    const context = { requestId };
    const events = endedGrantEvents(deps, context);
    const failures: unknown[] = [];
    // One that cannot be ended must not keep all others alive.
    const attempt = async (stage: (unit: UnitOfWork) => void): Promise<0 | 1> => {
      try {
        return await unlessLost(deps, stage);
      } catch (error) {
        failures.push(error);
        return 0;
      }
    };
    let sessions = 0;
    for (const session of await deps.repository.findExpiredSessions(now, limit)) {
      const { tenantId, id: sessionId } = session;
      sessions += await attempt((unit) => {
        unit.updateSession({ expected: 'active', next: endSession(session, 'expired', now, EXPIRED) });
        unit.record(auditEvent(deps, context, 'session.expired', sessionSubject(session)));
        unit.endGrantsOfSession({ tenantId, sessionId, state: 'expired', at: now, reason: 'session expired', events });
      });
    }
    let grants = 0;
    for (const { grant, artifact, approval } of await deps.repository.findExpiredGrants(now, limit)) {
      grants += await attempt((unit) => {
        const ended = endGrant(grant, 'expired', now, grant.state === 'pending' ? NOBODY_DECIDED : EXPIRED);
        stageEndedGrant(unit, { grant, artifact, approval }, ended, events);
      });
    }
    await deps.runtime.forgetExpired(now);
    const forgotten = await deps.repository.forgetEnded(new Date(now.getTime() - deps.retentionSeconds * 1000), limit);
    if (failures.length > 0) throw failures[0];
    return { sessions, grants, forgotten };
  };
}

/** Commits, and counts 0 when somebody else was first. */
async function unlessLost(deps: ExpireDueDeps, stage: (unit: UnitOfWork) => void): Promise<0 | 1> {
  try {
    await deps.repository.transact(stage);
    return 1;
  } catch (error) {
    if (error instanceof BrokerError && error.code === 'conflict') return 0;
    throw error;
  }
}

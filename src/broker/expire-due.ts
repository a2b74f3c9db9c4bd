import { endGrant } from '../domain/grant.ts';
import type { ExpiryRepository, Repository } from '../domain/repository.ts';
import type { RuntimeStore } from '../domain/runtime-store.ts';
import { endSession, type Session } from '../domain/session.ts';
import type { UnitOfWork } from '../domain/unit-of-work.ts';
import { type AuditDeps, auditEvent, sessionSubject } from './audit-trail.ts';
import { isAway } from './best-effort.ts';
import { type GrantToEnd, stageEndedGrant } from './end-grant.ts';
import { endedGrantEvents } from './ended-grant-events.ts';
import { inLanes } from './in-lanes.ts';
import { isConflict, unlessLost } from './lost-race.ts';

export interface ExpireDueDeps extends AuditDeps {
  repository: AuditDeps['repository'] & ExpiryRepository & Pick<Repository, 'ping'>;
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
/** A session ends with all its grants, which may be many: one unit each, so many at a time. */
const SESSION_LANES = 8;
/** A unit this size shares its round trip and its commit among many, and holds its locks for milliseconds. */
const GRANTS_A_UNIT = 50;
/** A database has more than one core. */
const GRANT_LANES = 4;

/** One pass. */
interface Pass {
  requestId: string;
  now: Date;
  limit: number;
  failures: unknown[];
}

/** Ends what has run out and drops what ended long ago, `limit` of each kind at most. Rejects at its end with the first failure. */
export function expireDue(deps: ExpireDueDeps): (limit: number, requestId: string) => Promise<ExpireDueReport> {
  return async (limit, requestId) => {
    const now = deps.clock.now();
    const pass: Pass = { requestId, now, limit, failures: [] };
    const sessions = await expireSessions(deps, pass);
    const grants = await expireGrants(deps, pass);
    await deps.runtime.forgetExpired(now);
    const forgotten = await deps.repository.forgetEnded(new Date(now.getTime() - deps.retentionSeconds * 1000), limit);
    if (pass.failures.length > 0) throw pass.failures[0];
    return { sessions, grants, forgotten };
  };
}

async function expireSessions(deps: ExpireDueDeps, pass: Pass): Promise<number> {
  let ended = 0;
  await inLanes(await deps.repository.findExpiredSessions(pass.now, pass.limit), SESSION_LANES, async (session) => {
    // One that cannot be ended must not keep all others alive.
    try {
      if (await unlessLost(deps, (unit) => stageExpiredSession(deps, pass, unit, session))) ended += 1;
    } catch (error) {
      pass.failures.push(error);
    }
  });
  return ended;
}

function stageExpiredSession(deps: ExpireDueDeps, pass: Pass, unit: UnitOfWork, session: Session): void {
  const { now: at } = pass;
  const { tenantId, id: sessionId } = session;
  const events = endedGrantEvents(deps, pass);
  unit.updateSession({ expected: 'active', next: endSession(session, 'expired', at, EXPIRED) });
  unit.record(auditEvent(deps, pass, 'session.expired', sessionSubject(session)));
  unit.endGrantsOfSession({ tenantId, sessionId, state: 'expired', at, reason: 'session expired', events });
}

async function expireGrants(deps: ExpireDueDeps, pass: Pass): Promise<number> {
  const found = await deps.repository.findExpiredGrants(pass.now, pass.limit);
  const units = Array.from({ length: Math.ceil(found.length / GRANTS_A_UNIT) }, (_, index) =>
    found.slice(index * GRANTS_A_UNIT, (index + 1) * GRANTS_A_UNIT),
  );
  let ended = 0;
  await inLanes(units, GRANT_LANES, async (grants) => {
    try {
      const count = await expireTogether(deps, pass, grants);
      ended += count;
    } catch (error) {
      pass.failures.push(error);
    }
  });
  return ended;
}

/** Ends these grants in one unit. What cannot be ended together is halved, until the one that stands in the way stands alone. */
async function expireTogether(deps: ExpireDueDeps, pass: Pass, grants: readonly GrantToEnd[]): Promise<number> {
  try {
    await deps.repository.transact((unit) => {
      for (const grant of grants) stageExpiredGrant(deps, pass, unit, grant);
    });
    return grants.length;
  } catch (error) {
    if (grants.length > 1 && (await isAboutRows(deps, error))) {
      const left = isConflict(error) ? await stillExpired(deps, pass, grants) : grants;
      const half = Math.ceil(left.length / 2);
      let ended = 0;
      for (const part of [left.slice(0, half), left.slice(half)]) {
        if (part.length > 0) ended += await expireTogether(deps, pass, part);
      }
      return ended;
    }
    // Somebody else was first.
    if (!isConflict(error)) pass.failures.push(error);
    return 0;
  }
}

function stageExpiredGrant(deps: ExpireDueDeps, pass: Pass, unit: UnitOfWork, { grant, ...rest }: GrantToEnd): void {
  const ended = endGrant(grant, 'expired', pass.now, grant.state === 'pending' ? NOBODY_DECIDED : EXPIRED);
  stageEndedGrant(unit, { grant, ...rest }, ended, endedGrantEvents(deps, pass));
}

/** Whether fewer rows may do better; where the store is away, asking it again for each would only take time. */
async function isAboutRows({ repository }: ExpireDueDeps, error: unknown): Promise<boolean> {
  if (!isAway(error)) return true;
  return repository.ping().then(
    () => true,
    () => false,
  );
}

/** Those of the grants that nobody else has ended by now, as they are now: another worker often has done the same ones. */
async function stillExpired(deps: ExpireDueDeps, pass: Pass, grants: readonly GrantToEnd[]): Promise<readonly GrantToEnd[]> {
  const ids = new Set(grants.map(({ grant }) => grant.id));
  const found = await deps.repository.findExpiredGrants(pass.now, pass.limit);
  return found.filter(({ grant }) => ids.has(grant.id));
}

import type { CallContext } from '../domain/call-context.ts';
import type { Clock } from '../domain/clock.ts';
import { notFound, unauthorized } from '../domain/errors.ts';
import type { Grant } from '../domain/grant.ts';
import type { GrantId, TenantId } from '../domain/ids.ts';
import type { RuntimeStore } from '../domain/runtime-store.ts';
import { auditRefusals, grantSubject, type Trail } from './audit-trail.ts';
import { authenticateOperator, type AuthenticateOperatorDeps, findForOperator } from './authenticate-operator.ts';
import { authenticateSession, type AuthenticateSessionDeps } from './authenticate-session.ts';
import { unlessAway } from './best-effort.ts';
import { collectGrant, type CollectGrantDeps, type GrantAnswer, statusOf } from './collect-grant.ts';
import { requireReader } from './read-records.ts';
import type { UseCase } from './use-case.ts';

export interface GetGrantRequest {
  /** The session's own token, or an operator's. */
  credential: string | null;
  grantId: GrantId;
  /** How long to wait for a pending grant to be decided: 0 to 30. */
  waitSeconds: number;
}

export interface GetGrantResponse extends GrantAnswer {
  grant: Grant;
}

export interface GetGrantDeps extends CollectGrantDeps, AuthenticateSessionDeps, AuthenticateOperatorDeps {
  repository: CollectGrantDeps['repository'] & AuthenticateSessionDeps['repository'];
  runtime: RuntimeStore;
}

/** Short enough that nobody minds, long enough that a thousand waiting agents do not weigh. */
const LOOK_AGAIN_MS = 500;

/**
 * Tells how a grant stands, and waits a while for one that is pending. Its own session also gets what it delivers; an operator
 * never does.
 */
export function getGrant(deps: GetGrantDeps): UseCase<GetGrantRequest, GetGrantResponse> {
  return (request, context) =>
    auditRefusals(deps, context, 'grant_read.refused', async (trail) => {
      trail.details = { grant_id: request.grantId };
      const { credential } = request;
      if (credential !== null && !deps.tokens.claims(credential)) return readAsOperator(deps, request, context, trail);
      const session = await authenticateSession(deps, credential, trail, context);
      const find = async () => {
        const grant = await deps.repository.findGrant(session.tenantId, request.grantId);
        // Another session's grant answers as an unknown one.
        if (grant === null || grant.sessionId !== session.id) throw noSuchGrant();
        return grant;
      };
      const findAgain = async () => {
        const grant = await find();
        // Whoever waits was let in a while ago. Where the marks are away, it must do that a revoked session's grants have ended.
        if (await unlessAway(deps.runtime.isTokenRevoked(session.tokenId, deps.clock.now()))) {
          throw unauthorized('session_token: its session was revoked; create a new one');
        }
        return grant;
      };
      const grant = await whenDecided(deps, context, request.waitSeconds, find, findAgain);
      return { ...(await collectGrant(deps, context, session, grant)), grant };
    });
}

async function readAsOperator(
  deps: GetGrantDeps,
  { credential, grantId, waitSeconds }: GetGrantRequest,
  context: CallContext,
  trail: Trail,
): Promise<GetGrantResponse> {
  const operator = await authenticateOperator(deps, credential, trail);
  const find = async () => {
    const grant = await findForOperator(operator, (tenantId: TenantId) => deps.repository.findGrant(tenantId, grantId));
    if (grant === null) throw noSuchGrant();
    trail.subject = grantSubject(grant);
    requireReader(operator, grant.tenantId, trail);
    return grant;
  };
  const grant = await whenDecided(deps, context, waitSeconds, find);
  return { ...statusOf(grant), grant };
}

const noSuchGrant = () => notFound('grant_id: no such grant');

/** Looks until the grant is no longer undecided, or the time is up. */
async function whenDecided(
  { clock }: { clock: Clock },
  context: CallContext,
  waitSeconds: number,
  find: () => Promise<Grant>,
  findAgain = find,
): Promise<Grant> {
  const end = clock.now().getTime() + waitSeconds * 1000;
  let grant = await find();
  for (;;) {
    const leftMs = end - clock.now().getTime();
    if ((grant.state !== 'pending' && grant.state !== 'approved') || leftMs <= 0) return grant;
    await pause(clock, Math.min(leftMs, LOOK_AGAIN_MS), context.signal);
    grant = await findAgain();
  }
}

/** Rejects with the signal's reason when the caller goes away meanwhile. */
async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  const over = Promise.withResolvers<undefined>();
  const onAbort = (): void => over.reject(signal.reason);
  const cancel = clock.schedule(ms, () => over.resolve(undefined));
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    await over.promise;
  } finally {
    cancel();
    signal.removeEventListener('abort', onAbort);
  }
}

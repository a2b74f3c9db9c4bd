import { withoutBearerSecrets } from '../domain/bearer-secrets.ts';
import type { Block } from '../domain/block.ts';
import type { CallContext } from '../domain/call-context.ts';
import type { GrantId, RunId, TenantId, WorkloadHash } from '../domain/ids.ts';
import type { DownstreamRepository, RevocationRepository } from '../domain/repository.ts';
import type { RuntimeStore } from '../domain/runtime-store.ts';
import type { Session } from '../domain/session.ts';
import { type AuditDeps, auditEvent, auditRefusals } from './audit-trail.ts';
import { authenticateOperator, type AuthenticateOperatorDeps, requireRole } from './authenticate-operator.ts';
import { markTokenRevoked, stageRevokedSession } from './end-session.ts';
import { unlessLost } from './lost-race.ts';
import type { UseCase } from './use-case.ts';

interface Common {
  /** An operator token. */
  credential: string | null;
  tenantId: TenantId;
  reason: string;
}
export type RevokeRunRequest = Common & { runId: RunId };
export type RevokeWorkloadRequest = Common & { workloadHash: WorkloadHash };

export interface RevokeAllResponse {
  /** How many sessions ended, and how many grants with them. */
  sessions: number;
  grants: number;
  /** Grants that are dead here and not yet downstream: a call that was under way is not back yet, or a lease is not revoked yet. */
  stillRevoking: readonly GrantId[];
}

export interface RevokeAllDeps extends AuditDeps, AuthenticateOperatorDeps {
  repository: AuditDeps['repository'] & RevocationRepository & Pick<DownstreamRepository, 'findUnrevokedGrants'>;
  runtime: RuntimeStore;
}

type Target = { runId: RunId } | { workloadHash: WorkloadHash };

const SESSIONS_A_TIME = 200;
/** More than any slot lives: what ended before has nothing under way. */
const LONGEST_CALL_SECONDS = 60;
/** Longer than any run, and than any workload's token. */
const BLOCK_DAYS = 365;
const DAY_MS = 86_400_000;

/** Ends every session of a run with all that hangs on it, and refuses new ones. */
export const revokeRun = (deps: RevokeAllDeps): UseCase<RevokeRunRequest, RevokeAllResponse> =>
  revokeAll(deps, ({ runId }) => ({ runId }));

/** The same for one workload identity, whatever its runs. */
export const revokeWorkload = (deps: RevokeAllDeps): UseCase<RevokeWorkloadRequest, RevokeAllResponse> =>
  revokeAll(deps, ({ workloadHash }) => ({ workloadHash }));

function revokeAll<Request extends Common>(
  deps: RevokeAllDeps,
  targetOf: (request: Request) => Target,
): UseCase<Request, RevokeAllResponse> {
  return (request, context) =>
    auditRefusals(deps, context, 'operator.refused', async (trail) => {
      const { tenantId } = request;
      const reason = withoutBearerSecrets(request.reason);
      const target = targetOf(request);
      const subject = { tenantId, ...target };
      const operator = await authenticateOperator(deps, request.credential, trail);
      requireRole(operator, tenantId, ['operator'], trail);
      const details = { reason, by: operator.subject, by_issuer: operator.issuer };
      // First of all, so that nothing new comes while the old is ended.
      await deps.repository.transact((unit) => {
        unit.insertBlock(blockOf(deps, tenantId, target, reason));
        const type = 'runId' in target ? 'run.revoked' : 'workload.revoked';
        unit.record(auditEvent(deps, context, type, subject, { details }));
      });
      return endSessions(deps, context, subject, { reason, by: operator.subject });
    });
}

async function endSessions(
  deps: RevokeAllDeps,
  context: CallContext,
  of: { tenantId: TenantId } & Target,
  revocation: { reason: string; by: string },
): Promise<RevokeAllResponse> {
  const ended = { sessions: 0, grants: 0 };
  for (;;) {
    const found = await deps.repository.findActiveSessions(of, SESSIONS_A_TIME);
    if (found.length === 0) return { ...ended, stillRevoking: await notDeadDownstream(deps, of) };
    for (const session of found) await endOne(deps, context, session, revocation, ended);
  }
}

/** Ends one session and counts what ended, unless somebody else was first. */
async function endOne(
  deps: RevokeAllDeps,
  context: CallContext,
  session: Session,
  revocation: { reason: string; by: string },
  ended: { sessions: number; grants: number },
): Promise<void> {
  if (session.state !== 'active') return;
  let grants = 0;
  const onGrant = (): void => void (grants += 1);
  const isOurs = await unlessLost(deps, (unit) =>
    stageRevokedSession(deps, context, unit, session, { ...revocation, onGrant }),
  );
  if (!isOurs) return;
  ended.sessions += 1;
  ended.grants += grants;
  await markTokenRevoked(deps, session);
}

async function notDeadDownstream(deps: RevokeAllDeps, of: { tenantId: TenantId } & Target): Promise<GrantId[]> {
  const [calls, leases] = await Promise.all([underWay(deps, of), deps.repository.findUnrevokedGrants(of)]);
  return [...new Set([...calls, ...leases])];
}

/** Grants of which a call has not come back yet, whoever ended them. */
async function underWay(deps: RevokeAllDeps, of: { tenantId: TenantId } & Target): Promise<GrantId[]> {
  const now = deps.clock.now();
  const endedAfter = new Date(now.getTime() - LONGEST_CALL_SECONDS * 1000);
  const busy: GrantId[] = [];
  for (const { grantId, handleHash } of await deps.repository.findEndedHandles(of, endedAfter)) {
    if ((await deps.runtime.slotsHeld(handleHash, now)) > 0) busy.push(grantId);
  }
  return busy;
}

function blockOf(deps: RevokeAllDeps, tenantId: TenantId, target: Target, reason: string): Block {
  const createdAt = deps.clock.now();
  const expiresAt = new Date(createdAt.getTime() + BLOCK_DAYS * DAY_MS);
  const kind = 'runId' in target ? { kind: 'run' as const, ...target } : { kind: 'workload' as const, ...target };
  return { tenantId, reason, createdAt, expiresAt, ...kind };
}

import type { ProxyHandleArtifact } from '../domain/artifact.ts';
import type { CallContext } from '../domain/call-context.ts';
import type { ConnectorResolver, PreparedCall, ProxyAnswer } from '../domain/connector.ts';
import type { BrokerError } from '../domain/errors.ts';
import { budgetExceeded, deadlineExceeded, unauthorized, unavailable } from '../domain/errors.ts';
import type { Grant } from '../domain/grant.ts';
import type { CallId } from '../domain/ids.ts';
import type { MemoryGauge } from '../domain/memory-gauge.ts';
import type { DownstreamRepository, GrantRepository } from '../domain/repository.ts';
import { parseResourceRef } from '../domain/resource.ts';
import type { ProxyBudget, RuntimeStore } from '../domain/runtime-store.ts';
import { isSessionLive, type Session } from '../domain/session.ts';
import type { UnitOfWork } from '../domain/unit-of-work.ts';
import { type AuditDeps, auditEvent, auditRefusals, codeOf, grantSubject, type Trail } from './audit-trail.ts';
import { requireProof, type RequireProofDeps } from './authenticate-session.ts';
import { unlessAway } from './best-effort.ts';
import { isConflict, unlessLost } from './lost-race.ts';
import type { UseCase } from './use-case.ts';

export interface ExecuteGitHubProxyRequest {
  proxyHandle: string;
  operation: string;
  params: Readonly<Record<string, unknown>>;
}

export interface ExecuteGitHubProxyDeps extends AuditDeps, RequireProofDeps {
  repository: AuditDeps['repository'] & GrantRepository & Pick<DownstreamRepository, 'findHandleUsage'>;
  runtime: RuntimeStore;
  connectors: ConnectorResolver;
  budget: ProxyBudget;
  memory: MemoryGauge;
  /** Beyond this, large answers are refused. Budgets bound each handle; this bounds all of them together. */
  maxBufferedBytes: number;
}

/** A call that may be made: its handle is live, its parameters are checked, its slot is taken. */
interface AdmittedCall {
  call: PreparedCall;
  grant: Grant;
  artifact: ProxyHandleArtifact;
  callId: CallId;
  details: Trail['details'];
}

const CONCURRENCY_RETRY_SECONDS = 1;
const MEMORY_RETRY_SECONDS = 5;
/** Answers up to this size are never refused for memory: looking costs more than they do. */
const SMALL_ANSWER_BYTES = 256 * 1024;

/**
 * Makes one allowed GitHub call for the holder of a live handle, within that handle's budget. The runtime store refuses what is
 * over it at once; what the repository has counted holds even when that store lost its data.
 */
export function executeGitHubProxy(deps: ExecuteGitHubProxyDeps): UseCase<ExecuteGitHubProxyRequest, ProxyAnswer> {
  return async (request, context) => {
    const admitted = await auditRefusals(deps, context, 'proxy.refused', (trail) => admit(deps, request, trail, context));
    try {
      await auditRefusals(deps, context, 'proxy.refused', (trail) => begin(deps, context, admitted, trail));
      return await run(deps, context, admitted);
    } finally {
      // It lapses by itself, and is no reason to keep an answer back.
      await unlessAway(deps.runtime.releaseSlot(admitted.artifact.handleHash, admitted.callId));
    }
  };
}

async function admit(
  deps: ExecuteGitHubProxyDeps,
  request: ExecuteGitHubProxyRequest,
  trail: Trail,
  context: CallContext,
): Promise<AdmittedCall> {
  trail.details = { operation: request.operation };
  const found = await deps.repository.findByHandle(deps.ids.hashHandle(request.proxyHandle));
  if (found !== null) {
    trail.subject = { ...grantSubject(found.grant), artifactId: found.artifact.id };
    trail.details = { ...trail.details, session_state: found.session.state, grant_state: found.grant.state };
  }
  // One answer for unknown and dead handles: whoever guesses learns nothing.
  if (found === null || !isLive(found, deps.clock.now())) {
    throw deadHandle();
  }
  await requireProof(deps, found.session, request.proxyHandle, context);
  const { grant, artifact } = found;
  const resource = parseResourceRef(grant.resourceRef);
  trail.details.resource_ref = grant.resourceRef;
  const connector = deps.connectors.resolveProxy(grant.capability, resource.kind);
  if (connector === null) throw unavailable('no connector for this grant is configured any more');
  const { operation, params } = request;
  const call = connector.prepare({ capability: grant.capability, resource, operation, params });

  const callId = deps.ids.callId();
  const { handleHash } = artifact;
  const slot = await deps.runtime.acquireSlot({
    handleHash,
    slotId: callId,
    budget: deps.budget,
    now: deps.clock.now(),
    handleExpiresAt: artifact.expiresAt,
  });
  if (!slot.granted) throw exhausted(slot.exhausted, deps.budget);
  return { call, grant, artifact, callId, details: trail.details };
}

const deadHandle = () => unauthorized('proxy_handle: is not, or no longer, live; request a new grant');

/** Puts the call on record before it is made, unless its grant or its session has ended since it was looked at. */
async function begin(
  deps: ExecuteGitHubProxyDeps,
  context: CallContext,
  { grant, artifact, callId, details }: AdmittedCall,
  trail: Trail,
): Promise<void> {
  const subject = { ...grantSubject(grant), artifactId: artifact.id };
  trail.subject = subject;
  trail.details = details;
  const { tenantId, sessionId, id: grantId } = grant;
  const { maxRequests, maxConcurrent, timeoutSeconds } = deps.budget;
  const now = deps.clock.now();
  const deadline = new Date(now.getTime() + timeoutSeconds * 1000);
  try {
    await deps.repository.transact((unit) => {
      unit.requireIssuedGrant({ tenantId, sessionId, grantId, orExpired: false });
      unit.openCall({ id: callId, kind: 'proxy', subject, requestId: context.requestId, startedAt: now, deadline });
      unit.spendRequest({ tenantId, artifactId: artifact.id, callId, maxRequests, maxConcurrent, now });
      unit.record(auditEvent(deps, context, 'proxy.requested', subject, { details }));
    });
  } catch (error) {
    if (isConflict(error)) throw deadHandle();
    throw isExhausted(error) ? exhausted(await usedUp(deps, artifact), deps.budget) : error;
  }
}

const isExhausted = (error: unknown): boolean => codeOf(error) === 'resource_budget_exceeded';

/** Why the repository lets no more calls begin. */
async function usedUp(
  { repository, budget }: ExecuteGitHubProxyDeps,
  { handleHash }: ProxyHandleArtifact,
): Promise<'requests' | 'concurrency'> {
  const usage = await repository.findHandleUsage(handleHash);
  return usage !== null && usage.requests < budget.maxRequests ? 'concurrency' : 'requests';
}

function isLive(
  { session, grant, artifact }: { session: Session; grant: Grant; artifact: ProxyHandleArtifact },
  now: Date,
): boolean {
  return (
    isSessionLive(session, now) &&
    grant.state === 'issued' &&
    now < grant.expiresAt &&
    artifact.state === 'issued' &&
    now < artifact.expiresAt
  );
}

function exhausted(what: 'requests' | 'concurrency' | 'bytes', budget: ProxyBudget): BrokerError {
  switch (what) {
    case 'concurrency':
      return budgetExceeded(`the handle already has ${budget.maxConcurrent} calls under way; wait for one to end`, {
        retryAfterSeconds: CONCURRENCY_RETRY_SECONDS,
      });
    case 'requests':
      return budgetExceeded(`the handle's ${budget.maxRequests} requests are used up; request a new grant`);
    case 'bytes':
      return budgetExceeded(`the handle's ${budget.maxBytes} bytes are used up; request a new grant`);
  }
}

async function run(deps: ExecuteGitHubProxyDeps, context: CallContext, admitted: AdmittedCall): Promise<ProxyAnswer> {
  const { details, grant, artifact } = admitted;
  const subject = { ...grantSubject(grant), artifactId: artifact.id };
  const { tenantId, sessionId, id: grantId } = grant;
  const received: Received = { bytes: 0 };
  try {
    const answer = await sendWithinDeadline(deps, context, admitted, received);
    const { redactions = 0 } = answer;
    const known = { ...details, bytes: answer.payload.byteLength };
    const facts = { details: redactions > 0 ? { ...known, redactions } : known };
    await deps.repository.transact((unit) => {
      // What was revoked while the call was under way gets no answer any more; what only ran out had begun in time.
      unit.requireIssuedGrant({ tenantId, sessionId, grantId, orExpired: true });
      stageEndOfCall(unit, admitted, received, deps.budget.maxBytes);
      unit.record(auditEvent(deps, context, 'proxy.completed', subject, facts));
    });
    return answer;
  } catch (caught) {
    const error = outcomeOf(caught, deps.budget);
    // Whoever has closed the call by now has said that its outcome is unknown.
    await unlessLost(deps, (unit) => {
      stageEndOfCall(unit, admitted, received, null);
      unit.record(auditEvent(deps, context, 'proxy.failed', subject, { code: codeOf(error), details }));
    });
    throw error;
  }
}

/** What a call has brought back so far, also when it fails. */
interface Received {
  bytes: number;
}

function stageEndOfCall(
  unit: UnitOfWork,
  { grant: { tenantId }, artifact, callId }: AdmittedCall,
  { bytes }: Received,
  maxBytes: number | null,
): void {
  unit.closeCall({ tenantId, callId });
  if (bytes > 0) unit.spendBytes({ tenantId, artifactId: artifact.id, bytes, maxBytes });
}

/** What the caller hears of a call that failed, or whose answer could not be given. */
function outcomeOf(error: unknown, budget: ProxyBudget): unknown {
  if (isConflict(error)) return deadHandle();
  return isExhausted(error) ? exhausted('bytes', budget) : error;
}

async function sendWithinDeadline(
  deps: ExecuteGitHubProxyDeps,
  context: CallContext,
  { call, artifact: { handleHash } }: AdmittedCall,
  received: Received,
): Promise<ProxyAnswer> {
  const { timeoutSeconds } = deps.budget;
  // One controller and a listener: AbortSignal.any costs a tenth of the whole call.
  const ended = new AbortController();
  const onCallerGone = () => ended.abort(context.signal.reason);
  context.signal.addEventListener('abort', onCallerGone, { once: true });
  if (context.signal.aborted) onCallerGone();
  const cancel = deps.clock.schedule(timeoutSeconds * 1000, () =>
    ended.abort(deadlineExceeded(`GitHub did not finish within ${timeoutSeconds} seconds`)),
  );
  try {
    return await call.send({
      signal: ended.signal,
      spendBytes: async (bytes) => {
        received.bytes += bytes;
        if (received.bytes > SMALL_ANSWER_BYTES) requireMemory(deps, bytes);
        if (!(await deps.runtime.spendBytes(handleHash, bytes))) throw exhausted('bytes', deps.budget);
      },
    });
  } finally {
    cancel();
    context.signal.removeEventListener('abort', onCallerGone);
  }
}

function requireMemory({ memory, maxBufferedBytes }: ExecuteGitHubProxyDeps, bytes: number): void {
  if (memory.bufferedBytes() + bytes <= maxBufferedBytes) return;
  throw unavailable('the broker holds as many answers as it can; ask for fewer or smaller pages, or try again later', {
    retryAfterSeconds: MEMORY_RETRY_SECONDS,
  });
}

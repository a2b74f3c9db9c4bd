import type { Artifact } from '../domain/artifact.ts';
import type { AuditEvent } from '../domain/audit-event.ts';
import type { CallContext } from '../domain/call-context.ts';
import type { ConnectorResolver, PreparedCall, ProxyAnswer } from '../domain/connector.ts';
import { BrokerError, budgetExceeded, deadlineExceeded, unauthorized, unavailable } from '../domain/errors.ts';
import type { Grant } from '../domain/grant.ts';
import type { HandleHash } from '../domain/ids.ts';
import type { MemoryGauge } from '../domain/memory-gauge.ts';
import type { GrantRepository } from '../domain/repository.ts';
import { parseResourceRef } from '../domain/resource.ts';
import type { ProxyBudget, RuntimeStore } from '../domain/runtime-store.ts';
import { isSessionLive, type Session } from '../domain/session.ts';
import { type AuditDeps, auditEvent, auditRefusals, grantSubject, type Trail } from './audit-trail.ts';
import { requireProof, type RequireProofDeps } from './authenticate-session.ts';
import type { UseCase } from './use-case.ts';

export interface ExecuteGitHubProxyRequest {
  proxyHandle: string;
  operation: string;
  params: Readonly<Record<string, unknown>>;
}

export interface ExecuteGitHubProxyDeps extends AuditDeps, RequireProofDeps {
  repository: AuditDeps['repository'] & GrantRepository;
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
  artifact: Artifact;
  slotId: string;
  details: Trail['details'];
}

const CONCURRENCY_RETRY_SECONDS = 1;
const MEMORY_RETRY_SECONDS = 5;
/** Answers up to this size are never refused for memory: looking costs more than they do. */
const SMALL_ANSWER_BYTES = 256 * 1024;

/** Makes one allowed GitHub call for the holder of a live handle, within that handle's budget. */
export function executeGitHubProxy(deps: ExecuteGitHubProxyDeps): UseCase<ExecuteGitHubProxyRequest, ProxyAnswer> {
  return async (request, context) => {
    const admitted = await auditRefusals(deps, context, 'proxy.refused', (trail) => admit(deps, request, trail, context));
    try {
      await auditRefusals(deps, context, 'proxy.refused', (trail) => begin(deps, context, admitted, trail));
      return await run(deps, context, admitted);
    } finally {
      await deps.runtime.releaseSlot(admitted.artifact.handleHash, admitted.slotId);
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
  const call = connector.prepare({ resource, operation: request.operation, params: request.params });

  const slotId = deps.ids.slotId();
  const { handleHash } = artifact;
  const slot = await deps.runtime.acquireSlot({
    handleHash,
    slotId,
    budget: deps.budget,
    now: deps.clock.now(),
    handleExpiresAt: artifact.expiresAt,
  });
  if (!slot.granted) throw exhausted(slot.exhausted, deps.budget);
  return { call, grant, artifact, slotId, details: trail.details };
}

const deadHandle = () => unauthorized('proxy_handle: is not, or no longer, live; request a new grant');

/** Puts the call on record before it is made, unless its grant or its session has ended since it was looked at. */
async function begin(
  deps: ExecuteGitHubProxyDeps,
  context: CallContext,
  { grant, artifact, details }: AdmittedCall,
  trail: Trail,
): Promise<void> {
  trail.subject = { ...grantSubject(grant), artifactId: artifact.id };
  trail.details = details;
  const event = auditEvent(deps, context, 'proxy.requested', trail.subject, { details });
  await whileIssued(deps, grant, event, { orExpired: false });
}

/** Records an event, unless the grant or its session has been ended by then. */
async function whileIssued(
  { repository }: ExecuteGitHubProxyDeps,
  { tenantId, sessionId, id: grantId }: Grant,
  event: AuditEvent,
  { orExpired }: { orExpired: boolean },
): Promise<void> {
  try {
    await repository.transact((unit) => {
      unit.requireIssuedGrant({ tenantId, sessionId, grantId, orExpired });
      unit.record(event);
    });
  } catch (error) {
    throw error instanceof BrokerError && error.code === 'conflict' ? deadHandle() : error;
  }
}

function isLive({ session, grant, artifact }: { session: Session; grant: Grant; artifact: Artifact }, now: Date): boolean {
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
  const { call, artifact, details } = admitted;
  const subject = { ...grantSubject(admitted.grant), artifactId: artifact.id };
  try {
    const answer = await sendWithinDeadline(deps, context, call, artifact.handleHash);
    const bytes = answer.payload.byteLength;
    // What was revoked while the call was under way gets no answer any more; what only ran out had begun in time.
    const completed = auditEvent(deps, context, 'proxy.completed', subject, { details: { ...details, bytes } });
    await whileIssued(deps, admitted.grant, completed, { orExpired: true });
    return answer;
  } catch (error) {
    const code = error instanceof BrokerError ? error.code : 'internal';
    await deps.repository.transact((unit) =>
      unit.record(auditEvent(deps, context, 'proxy.failed', subject, { code, details })),
    );
    throw error;
  }
}

async function sendWithinDeadline(
  deps: ExecuteGitHubProxyDeps,
  context: CallContext,
  call: PreparedCall,
  handleHash: HandleHash,
): Promise<ProxyAnswer> {
  const { timeoutSeconds } = deps.budget;
  let received = 0;
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
        received += bytes;
        if (received > SMALL_ANSWER_BYTES) requireMemory(deps, bytes);
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

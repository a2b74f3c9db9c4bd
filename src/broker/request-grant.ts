import type { Approval, PendingApproval } from '../domain/approval.ts';
import type { CallContext } from '../domain/call-context.ts';
import { withoutBearerSecrets } from '../domain/bearer-secrets.ts';
import { conflict, forbidden, invalidRequest } from '../domain/errors.ts';
import type { ApprovedGrant, DeliveryMode, Grant, GrantTerms, PendingGrant } from '../domain/grant.ts';
import type { GrantAuthorizer, GrantDecision } from '../domain/grant-authorizer.ts';
import type { ApprovalRule } from '../domain/policy.ts';
import type { ApprovalRepository, GrantRepository } from '../domain/repository.ts';
import { parseResourceRef, type ResourceRef } from '../domain/resource.ts';
import type { ActiveSession } from '../domain/session.ts';
import type { SessionAuthorizer } from '../domain/session-authorizer.ts';
import type { UnitOfWork } from '../domain/unit-of-work.ts';
import { approvalSubject, auditEvent, auditRefusals, grantSubject, type Trail } from './audit-trail.ts';
import { type AuthenticateSessionDeps, authenticateSessionWith } from './authenticate-session.ts';
import { collectGrant, issuedAnswer, type GrantAnswer, statusOf } from './collect-grant.ts';
import { giveOutToken } from './give-out.ts';
import { issue, type Issue, type IssueGrantDeps, type Issued, type Way, wayOf } from './issue-grant.ts';
import { isConflict } from './lost-race.ts';
import { requestHash } from './request-hash.ts';
import { requireStillBound } from './require-still-bound.ts';
import type { UseCase } from './use-case.ts';

export interface RequestGrantRequest {
  sessionToken: string | null;
  tool: string;
  capability: string;
  resourceRef: string;
  deliveryMode: DeliveryMode;
  /** Null asks for the policy's default. */
  ttlSeconds: number | null;
  reason: string;
  /** The agent's own id of this request: asked again under it, the answer is about the same grant. Null for none. */
  requestId: string | null;
}

export interface RequestGrantDeps extends IssueGrantDeps, AuthenticateSessionDeps {
  repository: IssueGrantDeps['repository'] & AuthenticateSessionDeps['repository'] & GrantRepository & ApprovalRepository;
  sessions: SessionAuthorizer;
  grants: GrantAuthorizer;
  maxOpenGrantsPerSession: number;
  notifications: ApprovalNotifications;
}

/** Tells people that something waits for them. */
export interface ApprovalNotifications {
  /** Stages what is to be sent, to commit together with the approval. */
  enqueue(unit: UnitOfWork, approval: PendingApproval, now: Date): void;
  /** Called when it has committed. */
  wake(): void;
}

/** A request that has been read and whose session is known. */
interface Asked {
  request: RequestGrantRequest;
  session: ActiveSession;
  resource: ResourceRef;
  hash: string;
  details: Record<string, string>;
}

type Allowed = Extract<GrantDecision, { allowed: true }>;

/**
 * Decides on one capability, on one resource, through one tool. Issues what was decided, or puts it before humans where the
 * policy says so; the session then learns of the outcome by asking again.
 */
export function requestGrant(deps: RequestGrantDeps): UseCase<RequestGrantRequest, GrantAnswer> {
  return (request, context) =>
    auditRefusals(deps, context, 'grant.refused', async (trail) => {
      const { tool, capability, resourceRef, deliveryMode } = request;
      const details = { tool, capability, resource_ref: resourceRef, delivery_mode: deliveryMode };
      trail.details = { ...details };
      const { session, found } = await whoAsks(deps, request, trail, context);
      const resource = parseResourceRef(resourceRef);
      deps.connectors.resolve(capability, resource.kind)?.checkResource(resource);
      const { tenantId, id: sessionId, runId } = session;
      const hash = requestHash({ ...request, tenantId, sessionId, runId });
      const asked = { request, session, resource, hash, details };

      if (found !== null) return collectAgain(deps, context, found, asked);
      try {
        return await decide(deps, context, asked);
      } catch (error) {
        // The same request, sent twice at once: the other one was first.
        if (request.requestId === null || !isConflict(error)) throw error;
        const first = await deps.repository.findGrantByRequestId(tenantId, sessionId, request.requestId);
        if (first === null) throw error;
        return collectAgain(deps, context, first, asked);
      }
    });
}

/** The caller's session and, looked up meanwhile, the grant that the request's id stands for already. */
async function whoAsks(
  deps: RequestGrantDeps,
  { sessionToken, requestId }: RequestGrantRequest,
  trail: Trail,
  context: CallContext,
): Promise<{ session: ActiveSession; found: Grant | null }> {
  const isAnId = requestId === null || withoutBearerSecrets(requestId) === requestId;
  const known = await authenticateSessionWith(deps, sessionToken, trail, context, ({ tenantId, sessionId }) =>
    requestId !== null && isAnId ? deps.repository.findGrantByRequestId(tenantId, sessionId, requestId) : null,
  );
  if (!isAnId) throw invalidRequest('request_id: must be an id of your own, not a handle or token');
  return known;
}

async function decide(deps: RequestGrantDeps, context: CallContext, asked: Asked): Promise<GrantAnswer> {
  const { request, session, resource, hash } = asked;
  const { tool, capability, deliveryMode, ttlSeconds } = request;
  requireStillBound(deps, session);
  const question = { session, tool, capability, resource, deliveryMode, ttlSeconds, now: deps.clock.now() };
  const decision = deps.grants.decide(question);
  if (!decision.allowed) throw forbidden(decision.reason, decision.message, { rule: decision.rule });
  const way = wayOf(deps, capability, resource, deliveryMode, decision.permissions);
  if (decision.approval === null) {
    const issuing = await putOnRecord(deps, context, asked, decision, way, null);
    return answerTo(deps, context, session, await issuing.finish());
  }

  const approval = await deps.repository.findApprovalOfRequest(session.tenantId, session.id, hash);
  if (approval !== null && mayReuse(approval, decision.approval)) {
    const issuing = await approveAgain(deps, context, asked, decision, way, approval);
    if (issuing !== null) return answerTo(deps, context, session, await issuing.finish());
  }
  const stillWaits = approval?.state === 'pending' && question.now < approval.expiresAt;
  if (stillWaits && (request.requestId === null || decision.approval.reuse)) {
    const waiting = await deps.repository.findGrant(session.tenantId, approval.grantId);
    if (waiting !== null) return statusOf(waiting);
  }
  return askHumans(deps, context, asked, decision, decision.approval);
}

/** The grant that a request id stands for already. Throws `conflict` when it was given to another request. */
function sameRequest(grant: Grant, { hash }: Asked): Grant {
  if (grant.requestHash === hash) return grant;
  throw conflict('request_id: stands for another request of this session; use a new one');
}

/** One yes may answer the same request again, when the policy says so, then and now, and asks for no more people than have said it. */
function mayReuse(approval: Approval, rule: ApprovalRule): boolean {
  return (
    approval.state === 'approved' && approval.reuse && rule.reuse && approval.decisions.length >= rule.requiredApprovers
  );
}

/** Who asks again gets what was issued, but a token that was given out: the answer that held it is not to be had a second time. */
async function collectAgain(deps: RequestGrantDeps, context: CallContext, grant: Grant, asked: Asked): Promise<GrantAnswer> {
  const same = sameRequest(grant, asked);
  if (same.state === 'delivered') {
    throw conflict('request_id: the token of this grant was given out already; ask anew, with another request_id');
  }
  return collectGrant(deps, context, asked.session, same);
}

async function answerTo(
  deps: RequestGrantDeps,
  context: CallContext,
  session: ActiveSession,
  issued: Issued,
): Promise<GrantAnswer> {
  return issuedAnswer(issued.delivery === null ? await giveOutToken(deps, context, { session, ...issued }) : issued);
}

/** Approves by a yes that was given before, for no longer than it was given for. Null when it was taken back since, by a revocation. */
async function approveAgain(
  deps: RequestGrantDeps,
  context: CallContext,
  asked: Asked,
  decision: Allowed,
  way: Way,
  approval: Approval,
): Promise<Issue | null> {
  const first = await deps.repository.findGrant(approval.tenantId, approval.grantId);
  if (first === null || first.state === 'revoked') return null;
  const ttlSeconds = Math.min(decision.ttlSeconds, first.ttlSeconds);
  const end = Math.min(decision.expiresAt.getTime(), deps.clock.now().getTime() + ttlSeconds * 1000);
  try {
    return await putOnRecord(deps, context, asked, { ...decision, ttlSeconds, expiresAt: new Date(end) }, way, approval);
  } catch (error) {
    if (isConflict(error)) return null;
    throw error;
  }
}

/** Puts an approved grant on record; what is left to do for it is the answer's to finish. */
async function putOnRecord(
  deps: RequestGrantDeps,
  context: CallContext,
  asked: Asked,
  decision: Allowed,
  way: Way,
  reused: Approval | null,
): Promise<Issue> {
  const approved: ApprovedGrant = {
    ...termsOf(deps, asked, decision),
    state: 'approved',
    approvalId: reused?.id ?? null,
    expiresAt: decision.expiresAt,
  };
  const issuing = issue(deps, context, approved, asked.session, way);
  const details = { ...asked.details, expires_at: approved.expiresAt.toISOString(), reason: approved.reason };
  await deps.repository.transact((unit) => {
    stageNewGrant(deps, unit, asked.session, approved);
    if (reused !== null) {
      const { tenantId, sessionId, id: approvalId } = reused;
      unit.requireStandingApproval({ tenantId, sessionId, approvalId });
      unit.record(auditEvent(deps, context, 'approval.reused', approvalSubject(reused)));
    }
    unit.record(auditEvent(deps, context, 'grant.approved', grantSubject(approved), { details }));
    issuing.stage(unit);
  });
  return issuing;
}

async function askHumans(
  deps: RequestGrantDeps,
  context: CallContext,
  asked: Asked,
  decision: Allowed,
  rule: ApprovalRule,
): Promise<GrantAnswer> {
  const { session } = asked;
  const now = deps.clock.now();
  const end = Math.min(now.getTime() + rule.ttlSeconds * 1000, session.expiresAt.getTime());
  const expiresAt = new Date(end);
  const approvalId = deps.ids.approvalId();
  const pending: PendingGrant = { ...termsOf(deps, asked, decision), state: 'pending', approvalId, expiresAt };
  const approval: PendingApproval = {
    id: approvalId,
    tenantId: pending.tenantId,
    sessionId: pending.sessionId,
    grantId: pending.id,
    agentId: pending.agentId,
    runId: pending.runId,
    requestHash: asked.hash,
    requiredApprovers: rule.requiredApprovers,
    reuse: rule.reuse,
    excluded: excludedFrom(session),
    state: 'pending',
    decisions: [],
    createdAt: now,
    expiresAt,
  };
  const details = { ...asked.details, ttl_seconds: decision.ttlSeconds, reason: pending.reason, request_hash: asked.hash };
  await deps.repository.transact((unit) => {
    stageNewGrant(deps, unit, session, pending);
    unit.record(auditEvent(deps, context, 'grant.requested', grantSubject(pending), { details }));
    unit.insertApproval(approval);
    unit.record(auditEvent(deps, context, 'approval.requested', approvalSubject(approval)));
    deps.notifications.enqueue(unit, approval, now);
  });
  deps.notifications.wake();
  return statusOf(pending);
}

function stageNewGrant(
  deps: RequestGrantDeps,
  unit: UnitOfWork,
  session: ActiveSession,
  grant: ApprovedGrant | PendingGrant,
): void {
  const { tenantId, id: sessionId } = session;
  unit.requireNoBlock(session);
  unit.requireRoomForGrant({ tenantId, sessionId, maxOpen: deps.maxOpenGrantsPerSession });
  unit.insertGrant(grant);
}

function termsOf(
  deps: RequestGrantDeps,
  { request, session, hash }: Asked,
  decision: Allowed,
): Omit<GrantTerms, 'approvalId' | 'expiresAt'> {
  return {
    id: deps.ids.grantId(),
    tenantId: session.tenantId,
    sessionId: session.id,
    agentId: session.agentId,
    runId: session.runId,
    tool: request.tool,
    capability: request.capability,
    resourceRef: request.resourceRef,
    deliveryMode: request.deliveryMode,
    ttlSeconds: decision.ttlSeconds,
    // People will read it.
    reason: withoutBearerSecrets(request.reason),
    requestId: request.requestId,
    requestHash: hash,
    createdAt: deps.clock.now(),
  };
}

/** Nobody approves for a run of their own: neither the workload itself nor whoever delegated to it. */
function excludedFrom({ workload, delegation }: ActiveSession): PendingApproval['excluded'] {
  const itself = { issuer: workload.issuer, subject: workload.subject };
  return delegation === null ? [itself] : [itself, { issuer: delegation.issuer, subject: delegation.subject }];
}

import { withoutBearerSecrets } from '../domain/bearer-secrets.ts';
import { type Approval, type ApprovalDecision, type Approver, decideApproval, isSamePerson } from '../domain/approval.ts';
import type { CallContext } from '../domain/call-context.ts';
import { conflict, forbidden, notFound } from '../domain/errors.ts';
import { approveGrant as approve, endGrant, type Grant, type GrantState, type PendingGrant } from '../domain/grant.ts';
import type { GrantAuthorizer } from '../domain/grant-authorizer.ts';
import type { ApprovalId, GrantId } from '../domain/ids.ts';
import type { ApprovalRepository, GrantRepository, SessionRepository } from '../domain/repository.ts';
import { parseResourceRef } from '../domain/resource.ts';
import { isSessionLive } from '../domain/session.ts';
import type { SessionAuthorizer } from '../domain/session-authorizer.ts';
import type { UnitOfWork } from '../domain/unit-of-work.ts';
import { approvalSubject, auditEvent, auditRefusals, grantSubject, type Trail } from './audit-trail.ts';
import {
  authenticateOperator,
  type AuthenticateOperatorDeps,
  findForOperator,
  requireRole,
} from './authenticate-operator.ts';
import { issue, type IssueGrantDeps, wayOf } from './issue-grant.ts';
import { requireStillBound } from './require-still-bound.ts';
import type { UseCase } from './use-case.ts';

export interface DecideApprovalRequest {
  /** An operator token. */
  credential: string | null;
  approvalId: ApprovalId;
  /** Empty, or the subject of the operator token. */
  approver: string;
  comment: string;
}

export interface ApproveGrantResponse {
  grantId: GrantId;
  state: GrantState;
  approvalId: ApprovalId;
  expiresAt: Date;
}

export interface DenyGrantResponse {
  state: GrantState;
}

export interface RecordDecisionDeps extends IssueGrantDeps {
  repository: IssueGrantDeps['repository'] & ApprovalRepository & GrantRepository & SessionRepository;
  sessions: SessionAuthorizer;
  grants: GrantAuthorizer;
}

export interface DecideApprovalDeps extends RecordDecisionDeps, AuthenticateOperatorDeps {}

/** One person's word on one approval. Whoever calls has made sure who that person is. */
export interface Word {
  approval: Approval;
  approver: Approver;
  decision: ApprovalDecision['decision'];
  comment: string;
}

export type RecordDecision = (context: CallContext, trail: Trail, word: Word) => Promise<Grant>;

/** Records an operator's yes; with the last that is needed the grant is issued. The agent collects its delivery itself. */
export function approveGrant(deps: DecideApprovalDeps): UseCase<DecideApprovalRequest, ApproveGrantResponse> {
  const decide = decideAsOperator(deps, 'approve');
  return async (request, context) => {
    const { id: grantId, state, expiresAt } = await decide(request, context);
    return { grantId, state, approvalId: request.approvalId, expiresAt };
  };
}

/** Records an operator's no. The grant ends, and the comment reaches the agent. */
export function denyGrant(deps: DecideApprovalDeps): UseCase<DecideApprovalRequest, DenyGrantResponse> {
  const decide = decideAsOperator(deps, 'deny');
  return async (request, context) => {
    const { state } = await decide(request, context);
    return { state };
  };
}

function decideAsOperator(deps: DecideApprovalDeps, decision: Word['decision']): UseCase<DecideApprovalRequest, Grant> {
  const record = recordDecision(deps);
  return (request, context) =>
    auditRefusals(deps, context, 'approval.refused', async (trail) => {
      trail.details = { approval_id: request.approvalId, decision };
      const operator = await authenticateOperator(deps, request.credential, trail);
      const approval = await findForOperator(operator, (tenantId) =>
        deps.repository.findApproval(tenantId, request.approvalId),
      );
      if (approval === null) throw noSuchApproval();
      trail.subject = approvalSubject(approval);
      requireRole(operator, approval.tenantId, ['approver'], trail);
      if (request.approver !== '' && request.approver !== operator.subject) {
        throw forbidden('approver_mismatch', 'approver: is not the subject of your token; leave it out', {
          rule: 'operator',
        });
      }
      const approver = { issuer: operator.issuer, subject: operator.subject };
      return record(context, trail, { approval, approver, decision, comment: request.comment });
    });
}

export const noSuchApproval = () => notFound('approval_id: no such approval');

/**
 * Puts a word on record, and with the last one that is needed the decision. Policy and session are asked again at that
 * moment, and only then is anything issued. Answers the grant as it stands. Rejects with `forbidden` (`self_approval`, or what
 * the policy says now), with `conflict` when the approval was decided, has run out, or lost a race, and with what the connector
 * said: the decision stands then, and its grant has come to nothing.
 */
export function recordDecision(deps: RecordDecisionDeps): RecordDecision {
  return async (context, trail, { approval, approver, decision, comment: words }) => {
    const comment = withoutBearerSecrets(words);
    trail.subject = approvalSubject(approval);
    trail.details = { ...trail.details, approver: approver.subject, approver_issuer: approver.issuer };
    if (approval.excluded.some((person) => isSamePerson(person, approver))) {
      throw forbidden('self_approval', 'nobody approves for a run of their own; ask somebody else', { rule: 'approval' });
    }
    const grant = await deps.repository.findGrant(approval.tenantId, approval.grantId);
    if (grant === null) throw noSuchApproval();
    const at = deps.clock.now();
    const decided = decideApproval(approval, { approver, decision, comment, at });
    if (grant.state !== 'pending') throw conflict(`grant is already ${grant.state}`);
    const details = { approver: approver.subject, approver_issuer: approver.issuer, ...(comment === '' ? {} : { comment }) };
    const event = (type: 'approval.given' | 'approval.approved' | 'approval.denied') =>
      auditEvent(deps, context, type, approvalSubject(approval), { details });
    const stageApproval = (unit: UnitOfWork): void =>
      unit.updateApproval({ expected: 'pending', expectedDecisions: approval.decisions.length, next: decided });

    if (decided.state === 'pending') {
      await deps.repository.transact((unit) => {
        stageApproval(unit);
        unit.record(event('approval.given'));
      });
      return grant;
    }
    if (decided.state === 'denied') {
      const denied = endGrant(grant, 'denied', at, comment === '' ? 'denied by an approver' : comment);
      await deps.repository.transact((unit) => {
        stageApproval(unit);
        unit.record(event('approval.denied'));
        unit.updateGrant({ expected: 'pending', next: denied });
        unit.record(auditEvent(deps, context, 'grant.denied', grantSubject(denied), { details }));
      });
      return denied;
    }
    const { approved, way, session } = await askAgain(deps, grant, decided.decisions.length);
    const issuing = issue(deps, context, approved, session, way);
    await deps.repository.transact((unit) => {
      unit.requireNoBlock(session);
      stageApproval(unit);
      unit.record(event('approval.approved'));
      unit.updateGrant({ expected: 'pending', next: approved });
      unit.record(auditEvent(deps, context, 'grant.approved', grantSubject(approved), { details }));
      issuing.stage(unit);
    });
    return (await issuing.finish()).grant;
  };
}

/** Whether the session lives and the policy still says yes, to no more than was asked for. */
async function askAgain(deps: RecordDecisionDeps, grant: PendingGrant, approvers: number) {
  const { tenantId, sessionId, tool, capability, deliveryMode, ttlSeconds } = grant;
  const session = await deps.repository.findSession(tenantId, sessionId);
  const now = deps.clock.now();
  if (session === null || !isSessionLive(session, now)) {
    throw conflict('the session that asked has ended; there is nothing left to approve');
  }
  requireStillBound(deps, session);
  const resource = parseResourceRef(grant.resourceRef);
  const decision = deps.grants.decide({ session, tool, capability, resource, deliveryMode, ttlSeconds, now });
  if (!decision.allowed) throw forbidden(decision.reason, decision.message, { rule: decision.rule });
  if (approvers < (decision.approval?.requiredApprovers ?? 0)) {
    throw conflict('the policy asks for more approvers than when this was requested; the agent must ask again');
  }
  const way = wayOf(deps, capability, resource, deliveryMode, decision.permissions);
  return { approved: approve(grant, decision.expiresAt), way, session };
}

import type { Approval } from '../domain/approval.ts';
import type { AuditEvent } from '../domain/audit-event.ts';
import { notFound } from '../domain/errors.ts';
import type { Grant } from '../domain/grant.ts';
import type { ApprovalId, SessionId, TenantId } from '../domain/ids.ts';
import type { Operator } from '../domain/operator.ts';
import type {
  ApprovalFilter,
  ApprovalRepository,
  AuditFilter,
  GrantFilter,
  GrantRepository,
  Page,
  PageRequest,
  ReadRepository,
  RevocationFilter,
  SessionFilter,
  SessionRepository,
} from '../domain/repository.ts';
import type { Revocation } from '../domain/revocation.ts';
import type { Session } from '../domain/session.ts';
import { approvalSubject, type AuditDeps, auditRefusals, sessionSubject, type Trail } from './audit-trail.ts';
import {
  authenticateOperator,
  type AuthenticateOperatorDeps,
  findForOperator,
  requireRole,
} from './authenticate-operator.ts';
import { noSuchApproval } from './decide-approval.ts';
import type { UseCase } from './use-case.ts';

export interface ListRequest<Filter> {
  /** An operator token. */
  credential: string | null;
  tenantId: TenantId;
  filter: Filter;
  page: PageRequest;
}

/** An approval with all that it is about. */
export interface ApprovalRecord {
  approval: Approval;
  grant: Grant;
}

export interface ReadRecordsDeps extends AuditDeps, AuthenticateOperatorDeps {
  repository: AuditDeps['repository'] & ReadRepository & SessionRepository & GrantRepository & ApprovalRepository;
}

/** Throws `forbidden` unless the operator may look at the tenant's sessions, grants and approvals: every role may. */
export const requireReader = (operator: Operator, tenantId: TenantId, trail: Trail): void =>
  requireRole(operator, tenantId, ['viewer', 'auditor', 'operator', 'approver'], trail);

/** A tenant's sessions, newest first. */
export const listSessions = (deps: ReadRecordsDeps): UseCase<ListRequest<SessionFilter>, Page<Session>> =>
  asReader(deps, ({ tenantId, filter, page }) => deps.repository.listSessions(tenantId, filter, page));

/** A tenant's grants, newest first. */
export const listGrants = (deps: ReadRecordsDeps): UseCase<ListRequest<GrantFilter>, Page<Grant>> =>
  asReader(deps, ({ tenantId, filter, page }) => deps.repository.listGrants(tenantId, filter, page));

/** A tenant's approvals, newest first. */
export const listApprovals = (deps: ReadRecordsDeps): UseCase<ListRequest<ApprovalFilter>, Page<ApprovalRecord>> =>
  asReader(deps, async ({ tenantId, filter, page }) => {
    const { rows, next } = await deps.repository.listApprovals(tenantId, filter, page);
    const records = await Promise.all(rows.map((approval) => recordOf(deps, approval)));
    return { rows: records.filter((record) => record !== null), next };
  });

/** A tenant's leases, those that were revoked and those that still have to be, newest first. */
export const listRevocations = (deps: ReadRecordsDeps): UseCase<ListRequest<RevocationFilter>, Page<Revocation>> =>
  asReader(deps, ({ tenantId, filter, page }) => deps.repository.listRevocations(tenantId, filter, page));

/** A tenant's audit events, newest first; for auditors alone. */
export function listAuditEvents(deps: ReadRecordsDeps): UseCase<ListRequest<AuditFilter>, Page<AuditEvent>> {
  return ({ credential, tenantId, filter, page }, context) =>
    auditRefusals(deps, context, 'operator.refused', async (trail) => {
      const operator = await authenticateOperator(deps, credential, trail);
      requireRole(operator, tenantId, ['auditor'], trail);
      return deps.repository.listAuditEvents(tenantId, filter, page);
    });
}

/** One session. */
export function getSession(deps: ReadRecordsDeps): UseCase<{ credential: string | null; sessionId: SessionId }, Session> {
  return ({ credential, sessionId }, context) =>
    auditRefusals(deps, context, 'operator.refused', async (trail) => {
      trail.details = { session_id: sessionId };
      const operator = await authenticateOperator(deps, credential, trail);
      const session = await findForOperator(operator, (tenantId) => deps.repository.findSession(tenantId, sessionId));
      if (session === null) throw notFound('session_id: no such session');
      trail.subject = sessionSubject(session);
      requireReader(operator, session.tenantId, trail);
      return session;
    });
}

/** One approval, with everything that an approver decides about. */
export function getApproval(
  deps: ReadRecordsDeps,
): UseCase<{ credential: string | null; approvalId: ApprovalId }, ApprovalRecord> {
  return ({ credential, approvalId }, context) =>
    auditRefusals(deps, context, 'operator.refused', async (trail) => {
      trail.details = { approval_id: approvalId };
      const operator = await authenticateOperator(deps, credential, trail);
      const approval = await findForOperator(operator, (tenantId) => deps.repository.findApproval(tenantId, approvalId));
      if (approval === null) throw noSuchApproval();
      trail.subject = approvalSubject(approval);
      requireReader(operator, approval.tenantId, trail);
      const record = await recordOf(deps, approval);
      if (record === null) throw noSuchApproval();
      return record;
    });
}

function asReader<Filter, Answer>(
  deps: ReadRecordsDeps,
  read: (request: ListRequest<Filter>) => Promise<Answer>,
): UseCase<ListRequest<Filter>, Answer> {
  return (request, context) =>
    auditRefusals(deps, context, 'operator.refused', async (trail) => {
      const operator = await authenticateOperator(deps, request.credential, trail);
      requireReader(operator, request.tenantId, trail);
      return read(request);
    });
}

/** Null when its grant was forgotten in between. */
async function recordOf({ repository }: ReadRecordsDeps, approval: Approval): Promise<ApprovalRecord | null> {
  const grant = await repository.findGrant(approval.tenantId, approval.grantId);
  return grant === null ? null : { approval, grant };
}

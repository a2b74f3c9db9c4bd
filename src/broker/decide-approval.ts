import { notFound } from '../domain/errors.ts';
import type { ApprovalId, GrantId } from '../domain/ids.ts';
import { type AuditDeps, auditRefusals } from './audit-trail.ts';
import type { UseCase } from './use-case.ts';

export interface DecideApprovalRequest {
  approvalId: ApprovalId;
  approver: string;
  comment: string;
}

export interface ApproveGrantResponse {
  grantId: GrantId;
  state: 'issued';
  approvalId: ApprovalId;
  expiresAt: Date;
}

export interface DenyGrantResponse {
  state: 'denied';
}

// No policy that asks for a human can be met yet, so no approval exists that anybody could decide.
const noSuchApproval =
  (deps: AuditDeps) => (request: DecideApprovalRequest, context: Parameters<UseCase<never, never>>[1]) =>
    auditRefusals(deps, context, 'approval.refused', (trail) => {
      trail.details = { approval_id: request.approvalId };
      return Promise.reject(notFound('approval_id: no such approval'));
    });

/** Records a human's yes. Rejects with `not_found` for an approval that is not known. */
export const approveGrant: (deps: AuditDeps) => UseCase<DecideApprovalRequest, ApproveGrantResponse> = noSuchApproval;

/** Records a human's no. Rejects with `not_found` for an approval that is not known. */
export const denyGrant: (deps: AuditDeps) => UseCase<DecideApprovalRequest, DenyGrantResponse> = noSuchApproval;

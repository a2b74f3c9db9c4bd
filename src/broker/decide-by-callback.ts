import type { Approval } from '../domain/approval.ts';
import type { CallbackVerifier, VerifiedCallback } from '../domain/callback-verifier.ts';
import { conflict, forbidden, invalidRequest, unauthorized } from '../domain/errors.ts';
import type { ApprovalId } from '../domain/ids.ts';
import type { ApprovalRepository } from '../domain/repository.ts';
import type { RuntimeStore } from '../domain/runtime-store.ts';
import { approvalSubject, auditRefusals } from './audit-trail.ts';
import { type ApproveGrantResponse, noSuchApproval, recordDecision, type RecordDecisionDeps } from './decide-approval.ts';
import type { UseCase } from './use-case.ts';

export interface DecideByCallbackRequest {
  approvalId: ApprovalId;
  /** The token of a one-time link, or what a receiver signed itself. */
  assertion: string;
  /** Empty, unless a person who followed a link wrote one. */
  comment: string;
}

export interface DecideByCallbackDeps extends RecordDecisionDeps {
  callbacks: CallbackVerifier;
  runtime: RuntimeStore;
}

/**
 * Records the word of a receiver of notifications. Each callback counts once: the approval keeps who has said what, and answers a
 * repeat with `conflict`; what failed on the way for a reason that passes may be sent again.
 */
export function decideByCallback(deps: DecideByCallbackDeps): UseCase<DecideByCallbackRequest, ApproveGrantResponse> {
  const record = recordDecision(deps);
  return (request, context) =>
    auditRefusals(deps, context, 'approval.refused', async (trail) => {
      const { approvalId } = request;
      trail.details = { approval_id: approvalId };
      const callback = await deps.callbacks.verify(request.assertion);
      const { receiver, decision, approver, id } = callback;
      trail.details = { ...trail.details, decision, receiver, callback_id: id };
      if (callback.approvalId !== approvalId) {
        throw unauthorized('assertion: is for another approval than the one in the path');
      }
      const approval = await findForReceiver(deps.repository, callback);
      if (approval === null) throw noSuchApproval();
      trail.subject = approvalSubject(approval);
      if (callback.requestHash !== approval.requestHash) {
        throw unauthorized('assertion: request_hash is not the one of this approval; sign the one that was sent with it');
      }
      requireKnownPerson(approval, callback);
      const comment = commentOf(request, callback);
      await bindId(deps, callback);
      const { id: grantId, state, expiresAt } = await record(context, trail, { approval, approver, decision, comment });
      return { grantId, state, approvalId, expiresAt };
    });
}

/** Another tenant's approval answers as an unknown one. */
async function findForReceiver(
  repository: ApprovalRepository,
  { tenants, approvalId }: VerifiedCallback,
): Promise<Approval | null> {
  for (const tenantId of tenants) {
    const approval = await repository.findApproval(tenantId, approvalId);
    if (approval !== null) return approval;
  }
  return null;
}

/**
 * Who stands behind a receiver without a named approver cannot be told from others: it may say no, and yes where one yes is enough
 * and nobody delegated. One receiver says yes once, whoever it is said to speak for by then. Throws `forbidden` or `conflict`.
 */
function requireKnownPerson(approval: Approval, { decision, approver, isNamed }: VerifiedCallback): void {
  if (decision === 'deny') return;
  // Besides the workload itself there is whoever delegated to it.
  if (!isNamed && (approval.requiredApprovers > 1 || approval.excluded.length > 1)) {
    throw forbidden(
      'approver_not_named',
      'this approval needs to know who gives it; use an operator token, or a receiver whose approver is named in the configuration',
      { rule: 'receiver' },
    );
  }
  if (approval.decisions.some((word) => word.decision === 'approve' && word.approver.issuer === approver.issuer)) {
    throw conflict('approval: this receiver has approved it before; it waits for somebody else');
  }
}

/** What a receiver signed is its whole word: whoever carries it adds nothing. */
function commentOf({ comment }: DecideByCallbackRequest, callback: VerifiedCallback): string {
  if (callback.comment === null) return comment;
  if (comment !== '') throw invalidRequest("comment: put it into the assertion's comment claim");
  return callback.comment;
}

/**
 * Ties an id to what was decided under it, so that it never stands for anything else. The same again passes here, since it may
 * have failed later on; if it has not, the approval itself knows.
 */
async function bindId({ runtime, clock }: DecideByCallbackDeps, callback: VerifiedCallback): Promise<void> {
  const { receiver, id, approvalId, requestHash, decision, expiresAt } = callback;
  const key = JSON.stringify([receiver, id]);
  if (!(await runtime.claim('callback', key, JSON.stringify([approvalId, requestHash, decision]), expiresAt, clock.now()))) {
    throw conflict('assertion: its jti was used for another decision; sign one with a new jti');
  }
}

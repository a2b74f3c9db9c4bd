import type { IssuedArtifact } from '../domain/artifact.ts';
import type { CallContext } from '../domain/call-context.ts';
import type { Deliveries, Delivery } from '../domain/delivery.ts';
import type { Grant, GrantState, LiveGrant } from '../domain/grant.ts';
import type { ApprovalId, GrantId } from '../domain/ids.ts';
import type { GrantRepository } from '../domain/repository.ts';
import type { BlockQuestion } from '../domain/unit-of-work.ts';
import { type AuditDeps, auditEvent, grantSubject } from './audit-trail.ts';
import { giveOutToken } from './give-out.ts';

/** A grant as its own session is told of it. */
export interface GrantAnswer {
  grantId: GrantId;
  state: GrantState;
  approvalId: ApprovalId | null;
  /** Null while there is nothing to deliver, and when it is over. */
  delivery: Delivery | null;
  expiresAt: Date;
  /** Why it ended, in the words of who ended it; null while it goes on. */
  endReason: string | null;
}

export interface CollectGrantDeps extends AuditDeps {
  repository: AuditDeps['repository'] & GrantRepository;
  deliveries: Deliveries;
}

/** How a grant stands, without what it delivers. */
export const statusOf = (grant: Grant): GrantAnswer => ({
  grantId: grant.id,
  state: grant.state,
  approvalId: grant.approvalId,
  delivery: null,
  expiresAt: grant.expiresAt,
  endReason: 'endReason' in grant ? grant.endReason : null,
});

/**
 * Tells a session how its grant stands, with what it delivers once that was issued. Each time that leaves is on record, and a minted token
 * leaves once. Rejects as `giveOutToken` does.
 */
export async function collectGrant(
  deps: CollectGrantDeps,
  context: CallContext,
  session: BlockQuestion,
  grant: Grant,
): Promise<GrantAnswer> {
  const status = statusOf(grant);
  const now = deps.clock.now();
  if (grant.state !== 'issued' || now >= grant.expiresAt) return status;
  const artifact = await deps.repository.findArtifact(grant.tenantId, grant.artifactId);
  if (artifact?.state !== 'issued' || now >= artifact.expiresAt) return status;
  if (artifact.kind === 'minted_token') return issuedAnswer(await giveOutToken(deps, context, { session, grant, artifact }));
  const delivery = deliver(deps.deliveries, artifact);
  const subject = { ...grantSubject(grant), artifactId: artifact.id };
  await deps.repository.transact((unit) => unit.record(auditEvent(deps, context, 'grant.collected', subject)));
  return { ...status, delivery };
}

const deliver = ({ proxy }: Deliveries, artifact: IssuedArtifact): Delivery =>
  artifact.kind === 'proxy_handle' ? proxy.deliver(artifact) : { kind: 'wrapped_secret', artifactId: artifact.id };

/** What was issued, with what it delivers. */
export const issuedAnswer = ({ grant, delivery }: { grant: LiveGrant; delivery: Delivery }): GrantAnswer => ({
  ...statusOf(grant),
  delivery,
});

import { endArtifact, type IssuedSecret } from '../domain/artifact.ts';
import type { CallContext } from '../domain/call-context.ts';
import type { Deliveries, Delivery } from '../domain/delivery.ts';
import { deliverGrant, type LiveGrant, useGrant } from '../domain/grant.ts';
import { Secret } from '../domain/secret.ts';
import type { BlockQuestion } from '../domain/unit-of-work.ts';
import { type AuditDeps, auditEvent, grantSubject } from './audit-trail.ts';

export interface GiveOutDeps extends AuditDeps {
  deliveries: Pick<Deliveries, 'secret'>;
}

/** A secret that may leave, and whose it is. */
export interface ToGiveOut {
  session: BlockQuestion;
  grant: LiveGrant;
  artifact: IssuedSecret;
}

/** What a minted token's artifact holds, as connectors name it. */
const TOKEN_FIELD = 'token';

/**
 * Gives a minted token out, once: of all who try at once, one gets it. Rejects with `conflict` when it was given out before, or its grant or
 * its session has ended, with `forbidden` when an operator has stopped the run, and with `unavailable`.
 */
export async function giveOutToken(
  deps: GiveOutDeps,
  context: Pick<CallContext, 'requestId'>,
  toGive: ToGiveOut,
): Promise<{ grant: LiveGrant; delivery: Delivery }> {
  // Before it is marked as given out: a key service that is away must not cost the only time.
  const fields = await deps.deliveries.secret.open(toGive.artifact);
  const [field] = fields;
  if (field?.name !== TOKEN_FIELD || fields.length > 1) throw new Error('a minted token was opened and is not one token');
  const grant = deliverGrant(toGive.grant);
  await erase(deps, context, toGive, grant);
  return { grant, delivery: { kind: 'minted_token', token: new Secret(field.value), artifactId: toGive.artifact.id } };
}

/** Marks a wrapped secret as opened. Rejects as `giveOutToken` does. */
export async function markOpened(
  deps: AuditDeps,
  context: Pick<CallContext, 'requestId'>,
  toGive: ToGiveOut,
  /** To whom, where that is not the session alone. */
  details: Readonly<Record<string, string>> = {},
): Promise<void> {
  await erase(deps, context, toGive, useGrant(toGive.grant), details);
}

async function erase(
  deps: AuditDeps,
  context: Pick<CallContext, 'requestId'>,
  { session, grant, artifact }: ToGiveOut,
  next: LiveGrant,
  details: Readonly<Record<string, string>> = {},
): Promise<void> {
  const subject = { ...grantSubject(grant), artifactId: artifact.id };
  const { tenantId, sessionId, id: grantId } = grant;
  await deps.repository.transact((unit) => {
    unit.requireNoBlock(session);
    unit.requireIssuedGrant({ tenantId, sessionId, grantId, orExpired: false });
    unit.updateArtifact({ expected: 'issued', next: endArtifact(artifact, 'used', deps.clock.now()) });
    const facts = Object.keys(details).length === 0 ? {} : { details };
    unit.record(auditEvent(deps, context, 'artifact.used', subject, facts));
    unit.updateGrant({ expected: 'issued', next });
    unit.record(auditEvent(deps, context, next.state === 'used' ? 'grant.used' : 'grant.delivered', subject));
  });
}

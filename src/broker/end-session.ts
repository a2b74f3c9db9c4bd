import { withoutBearerSecrets } from '../domain/bearer-secrets.ts';
import type { CallContext } from '../domain/call-context.ts';
import type { RuntimeStore } from '../domain/runtime-store.ts';
import { type ActiveSession, endSession } from '../domain/session.ts';
import type { UnitOfWork } from '../domain/unit-of-work.ts';
import { type AuditDeps, auditEvent, sessionSubject } from './audit-trail.ts';
import { unlessAway } from './best-effort.ts';
import { endedGrantEvents } from './ended-grant-events.ts';

/** Why a session is revoked, and by whom when it was not the session itself. */
export interface SessionRevocation {
  reason: string;
  by: string | null;
  /** Called for each grant that ends with it, while the unit commits. */
  onGrant?: () => void;
}

/** Stages the end of a session with every grant of it: from then on its token and its handles are dead. */
export function stageRevokedSession(
  deps: Omit<AuditDeps, 'repository'>,
  context: Pick<CallContext, 'requestId'>,
  unit: UnitOfWork,
  session: ActiveSession,
  { reason: words, by, onGrant }: SessionRevocation,
): void {
  const at = deps.clock.now();
  const { tenantId, id: sessionId } = session;
  const author: Record<string, string> = by === null ? {} : { by };
  const reason = withoutBearerSecrets(words);
  unit.updateSession({ expected: 'active', next: endSession(session, 'revoked', at, reason) });
  const details = { reason, ...author };
  unit.record(auditEvent(deps, context, 'session.revoked', sessionSubject(session), { details }));
  const events = endedGrantEvents(deps, context, author);
  unit.endGrantsOfSession({
    tenantId,
    sessionId,
    state: 'revoked',
    at,
    reason: 'session revoked',
    events(grant, artifact, approval) {
      onGrant?.();
      return events(grant, artifact, approval);
    },
  });
}

/** Tells those who wait with the token of a session that was revoked. The repository knows already, so this may fail. */
export async function markTokenRevoked(
  { runtime, clock }: { runtime: RuntimeStore; clock: AuditDeps['clock'] },
  { tokenId, expiresAt }: ActiveSession,
): Promise<void> {
  await unlessAway(runtime.revokeToken(tokenId, expiresAt, clock.now()));
}

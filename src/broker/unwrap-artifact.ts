import type { IssuedSecret } from '../domain/artifact.ts';
import type { CallContext } from '../domain/call-context.ts';
import type { Deliveries, UnwrappedField } from '../domain/delivery.ts';
import { conflict, invalidRequest, notFound } from '../domain/errors.ts';
import type { LiveGrant } from '../domain/grant.ts';
import type { ArtifactId } from '../domain/ids.ts';
import type { GrantRepository } from '../domain/repository.ts';
import type { ActiveSession } from '../domain/session.ts';
import { type AuditDeps, auditRefusals, type Trail } from './audit-trail.ts';
import { type AuthenticateSessionDeps, authenticateSessionWith } from './authenticate-session.ts';
import { markOpened } from './give-out.ts';
import type { UseCase } from './use-case.ts';

export interface UnwrapArtifactRequest {
  sessionToken: string | null;
  artifactId: ArtifactId;
  /** Empty, all three, unless a browser relay opens it. */
  keyId: string;
  origin: string;
  tabId: string;
}

export interface UnwrapArtifactResponse {
  artifactId: ArtifactId;
  origin: string;
  fields: readonly { name: string; selector: string; value: string }[];
}

export interface UnwrapArtifactDeps extends AuditDeps, AuthenticateSessionDeps {
  repository: AuditDeps['repository'] & AuthenticateSessionDeps['repository'] & GrantRepository;
  deliveries: Deliveries;
}

/** A wrapped secret that may be opened. */
interface Openable {
  session: ActiveSession;
  grant: LiveGrant;
  artifact: IssuedSecret;
}

/**
 * Opens a wrapped secret, once, for the session that it was issued to. Rejects with `not_found` for an artifact that is not one of
 * the caller's, with `conflict` when it was opened before, has run out or was revoked, and with `unavailable`; the secret is still
 * there then, unless the store took the change and failed to say so.
 */
export function unwrapArtifact(deps: UnwrapArtifactDeps): UseCase<UnwrapArtifactRequest, UnwrapArtifactResponse> {
  return (request, context) =>
    auditRefusals(deps, context, 'unwrap.refused', async (trail) => {
      const openable = await findOpenable(deps, request, trail, context);
      // Before it is marked as used: a key service that is away must not cost the only time.
      const fields = await deps.deliveries.secret.open(openable.artifact);
      await markOpened(deps, context, openable);
      return answerOf(openable.artifact, fields);
    });
}

async function findOpenable(
  deps: UnwrapArtifactDeps,
  { sessionToken, artifactId, keyId, origin, tabId }: UnwrapArtifactRequest,
  trail: Trail,
  context: CallContext,
): Promise<Openable> {
  trail.details = { artifact_id: artifactId };
  const { session, found: artifact } = await authenticateSessionWith(deps, sessionToken, trail, context, ({ tenantId }) =>
    deps.repository.findArtifact(tenantId, artifactId),
  );
  // A proxy handle holds no secret, and another session's artifact answers as an unknown one.
  if (artifact?.sessionId !== session.id || artifact.kind !== 'wrapped_secret') {
    throw notFound('artifact_id: no such wrapped secret in this session');
  }
  trail.subject = { ...trail.subject, grantId: artifact.grantId, artifactId: artifact.id };
  if (keyId !== '' || origin !== '' || tabId !== '') {
    throw invalidRequest('key_id, origin, tab_id: no browser relay is bound to this artifact; leave them out');
  }
  if (artifact.state !== 'issued') throw conflict(`artifact is already ${artifact.state}; request a new grant`);
  const grant = await deps.repository.findGrant(artifact.tenantId, artifact.grantId);
  const now = deps.clock.now();
  if (now >= artifact.expiresAt) throw conflict('artifact has expired; request a new grant');
  if (grant?.state !== 'issued' || now >= grant.expiresAt) throw conflict('grant is not issued any more; request a new one');
  return { session, grant, artifact };
}

const answerOf = ({ id }: IssuedSecret, fields: readonly UnwrappedField[]): UnwrapArtifactResponse => ({
  artifactId: id,
  origin: '',
  fields: fields.map(({ name, value }) => ({ name, selector: '', value })),
});

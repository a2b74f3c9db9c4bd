import type { Artifact, IssuedSecret } from '../domain/artifact.ts';
import type { CallContext } from '../domain/call-context.ts';
import type { Deliveries } from '../domain/delivery.ts';
import { conflict, invalidRequest, notFound } from '../domain/errors.ts';
import type { Grant, LiveGrant } from '../domain/grant.ts';
import type { ArtifactId } from '../domain/ids.ts';
import type { GrantRepository } from '../domain/repository.ts';
import { parseResourceRef, type ResourceRef } from '../domain/resource.ts';
import type { ActiveSession } from '../domain/session.ts';
import { type AuditDeps, auditRefusals, type Trail } from './audit-trail.ts';
import { type AuthenticateSessionDeps, authenticateSessionWith } from './authenticate-session.ts';
import { fillForm, type FillFormDeps, findFilling } from './fill-form.ts';
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

export interface UnwrapArtifactDeps extends AuditDeps, AuthenticateSessionDeps, FillFormDeps {
  repository: AuditDeps['repository'] & AuthenticateSessionDeps['repository'] & GrantRepository;
  deliveries: Deliveries;
}

/** A wrapped secret of the caller's. */
interface Found {
  session: ActiveSession;
  grant: Grant;
  artifact: Extract<Artifact, { kind: 'wrapped_secret' | 'minted_token' }>;
  resource: ResourceRef;
}

/** The same, when it may be opened. */
interface Openable extends Found {
  grant: LiveGrant;
  artifact: IssuedSecret;
}

/**
 * Opens a wrapped secret, once, for the session that it was issued to; what fills a form, for the relay that waits at that form. Rejects with
 * `not_found` for an artifact or a relay that is not one of the caller's, with `conflict` when it was opened before, has run out or was
 * revoked, with `forbidden` when the relay is bound elsewhere or may not have it, and with `unavailable`; the secret is still there then,
 * unless the store took the change and failed to say so.
 */
export function unwrapArtifact(deps: UnwrapArtifactDeps): UseCase<UnwrapArtifactRequest, UnwrapArtifactResponse> {
  return (request, context) =>
    auditRefusals(deps, context, 'unwrap.refused', async (trail) => {
      const found = await findArtifact(deps, request, trail, context);
      const openable = requireOpenable(found, deps.clock.now());
      const filling =
        found.resource.kind === 'browser_origin' ? await findFilling(deps, openable, request, trail) : withoutRelay(request);
      // Before it is marked as used: a key service that is away must not cost the only time.
      const values = await deps.deliveries.secret.open(openable.artifact);
      const { id: artifactId } = openable.artifact;
      if (filling === null) {
        await markOpened(deps, context, openable);
        return { artifactId, origin: '', fields: values.map((value) => ({ ...value, selector: '' })) };
      }
      const fields = await fillForm(deps, filling, artifactId, values);
      await markOpened(deps, context, openable, filling.details);
      return { artifactId, origin: filling.relay.origin, fields };
    });
}

async function findArtifact(
  deps: UnwrapArtifactDeps,
  { sessionToken, artifactId }: UnwrapArtifactRequest,
  trail: Trail,
  context: CallContext,
): Promise<Found> {
  trail.details = { artifact_id: artifactId };
  const { session, found: artifact } = await authenticateSessionWith(deps, sessionToken, trail, context, ({ tenantId }) =>
    deps.repository.findArtifact(tenantId, artifactId),
  );
  // A proxy handle holds no secret, and another session's artifact answers as an unknown one.
  if (artifact?.sessionId !== session.id || artifact.kind !== 'wrapped_secret') throw noSuchSecret();
  trail.subject = { ...trail.subject, grantId: artifact.grantId, artifactId: artifact.id };
  const grant = await deps.repository.findGrant(artifact.tenantId, artifact.grantId);
  if (grant === null) throw noSuchSecret();
  return { session, grant, artifact, resource: parseResourceRef(grant.resourceRef) };
}

const noSuchSecret = () => notFound('artifact_id: no such wrapped secret in this session');

function requireOpenable(found: Found, now: Date): Openable {
  const { grant, artifact } = found;
  if (artifact.state !== 'issued') throw conflict(`artifact is already ${artifact.state}; request a new grant`);
  if (now >= artifact.expiresAt) throw conflict('artifact has expired; request a new grant');
  if (grant.state !== 'issued' || now >= grant.expiresAt) throw conflict('grant is not issued any more; request a new one');
  return { ...found, grant, artifact };
}

function withoutRelay({ keyId, origin, tabId }: UnwrapArtifactRequest): null {
  if (keyId === '' && origin === '' && tabId === '') return null;
  throw invalidRequest('key_id, origin, tab_id: no browser relay is bound to this artifact; leave them out');
}

import { notFound } from '../domain/errors.ts';
import type { ArtifactId } from '../domain/ids.ts';
import { type AuditDeps, auditRefusals } from './audit-trail.ts';
import { authenticateSession, type AuthenticateSessionDeps } from './authenticate-session.ts';
import type { UseCase } from './use-case.ts';

export interface UnwrapArtifactRequest {
  sessionToken: string | null;
  artifactId: ArtifactId;
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
  repository: AuditDeps['repository'] & AuthenticateSessionDeps['repository'];
}

/** Opens a wrapped secret, once. Rejects with `not_found` for an artifact that is not one of the caller's. */
export function unwrapArtifact(deps: UnwrapArtifactDeps): UseCase<UnwrapArtifactRequest, UnwrapArtifactResponse> {
  return (request, context) =>
    auditRefusals(deps, context, 'unwrap.refused', async (trail) => {
      trail.details = { artifact_id: request.artifactId };
      await authenticateSession(deps, request.sessionToken, trail, context);
      // A proxy handle's artifact holds no secret, and nothing else is issued yet.
      throw notFound('artifact_id: no such wrapped secret in this session');
    });
}

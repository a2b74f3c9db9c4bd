import type { ArtifactId, GrantId, HandleHash, SessionId, TenantId } from './ids.ts';
import { conflict } from './errors.ts';

/** What was issued for a grant. A proxy handle is known by its hash alone. */
export interface ArtifactTerms {
  id: ArtifactId;
  tenantId: TenantId;
  sessionId: SessionId;
  grantId: GrantId;
  kind: 'proxy_handle';
  handleHash: HandleHash;
  createdAt: Date;
  expiresAt: Date;
}

export type IssuedArtifact = ArtifactTerms & { state: 'issued' };
export type EndedArtifact = ArtifactTerms & { state: 'used' | 'revoked' | 'expired'; endedAt: Date };
export type Artifact = IssuedArtifact | EndedArtifact;
export type ArtifactState = Artifact['state'];

export const ARTIFACT_TRANSITIONS: Readonly<Record<ArtifactState, readonly ArtifactState[]>> = {
  issued: ['used', 'revoked', 'expired'],
  used: [],
  revoked: [],
  expired: [],
};

/** Ends an artifact. Throws `conflict` when it has ended before. */
export function endArtifact(artifact: Artifact, state: EndedArtifact['state'], endedAt: Date): EndedArtifact {
  if (!ARTIFACT_TRANSITIONS[artifact.state].includes(state)) {
    throw conflict(`artifact is already ${artifact.state}`);
  }
  return { ...artifact, state, endedAt };
}

import { conflict } from './errors.ts';
import type { ArtifactId, GrantId, HandleHash, SessionId, TenantId } from './ids.ts';
import type { SealedSecret } from './sealing.ts';

interface CommonTerms {
  id: ArtifactId;
  tenantId: TenantId;
  sessionId: SessionId;
  grantId: GrantId;
  createdAt: Date;
  expiresAt: Date;
}

/** What a tool holds instead of a credential, known by its hash alone. */
export type ProxyHandleTerms = CommonTerms & { kind: 'proxy_handle'; handleHash: HandleHash };
/** A credential that is handed out once: opened by its session, or given with the answer to it. */
export type SecretTerms = CommonTerms & { kind: 'wrapped_secret' | 'minted_token' };
/** What was issued for a grant. */
export type ArtifactTerms = ProxyHandleTerms | SecretTerms;

export type IssuedProxyHandle = ProxyHandleTerms & { state: 'issued' };
/** Only while it is issued is the secret there. */
export type IssuedSecret = SecretTerms & { state: 'issued'; sealed: SealedSecret };
export type IssuedArtifact = IssuedProxyHandle | IssuedSecret;
export type EndedArtifact = ArtifactTerms & { state: 'used' | 'revoked' | 'expired'; endedAt: Date };
export type Artifact = IssuedArtifact | EndedArtifact;
/** An artifact that is found by its handle. */
export type ProxyHandleArtifact = Extract<Artifact, { kind: 'proxy_handle' }>;
export type ArtifactState = Artifact['state'];

export const ARTIFACT_TRANSITIONS: Readonly<Record<ArtifactState, readonly ArtifactState[]>> = {
  issued: ['used', 'revoked', 'expired'],
  used: [],
  revoked: [],
  expired: [],
};

/** Ends an artifact, and with it the secret that it held. Throws `conflict` when it has ended before. */
export function endArtifact(artifact: Artifact, state: EndedArtifact['state'], endedAt: Date): EndedArtifact {
  if (artifact.state !== 'issued') throw conflict(`artifact is already ${artifact.state}`);
  if (artifact.kind === 'proxy_handle') return { ...artifact, state, endedAt };
  const { sealed: _erased, ...terms } = artifact;
  return { ...terms, state, endedAt };
}

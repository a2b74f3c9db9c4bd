import type { AgentId, RunId, SessionId, TenantId, WorkloadHash } from './ids.ts';

/** What a session token says. */
export interface SessionClaims {
  sessionId: SessionId;
  tokenId: string;
  tenantId: TenantId;
  agentId: AgentId;
  runId: RunId;
  toolContext: readonly string[];
  workloadHash: WorkloadHash;
  /** `cnf.jkt` (RFC 9449 section 6.1); null for a bearer token. */
  proofKeyThumbprint: string | null;
  issuedAt: Date;
  expiresAt: Date;
}

/** A JSON Web Key Set of public keys (RFC 7517 section 5). */
export interface PublicKeySet {
  keys: readonly Readonly<Record<string, unknown>>[];
}

/** Signs and reads session tokens. */
export interface SessionTokens {
  sign(claims: SessionClaims): Promise<string>;
  /** Whether a token says that it is one of ours; nothing about it is checked. */
  claims(token: string): boolean;
  /** Rejects with `unauthorized` when the token is not one of ours, altered or out of date. */
  verify(token: string): Promise<SessionClaims>;
  /** The public keys that verify our tokens. */
  publicKeys(): PublicKeySet;
}

import { isDeepStrictEqual } from 'node:util';
import type { ApprovalTerms } from '../../domain/approval.ts';
import type { ProxyHandleTerms, SecretTerms } from '../../domain/artifact.ts';
import type { GrantTerms } from '../../domain/grant.ts';
import type { NotificationTerms } from '../../domain/notification.ts';
import type { RevocationTerms } from '../../domain/revocation.ts';
import type { SessionTerms } from '../../domain/session.ts';

/** Every term of a kind of row: the compiler asks for those that a list would forget. */
type Every<Terms> = Readonly<Record<keyof Terms, true>>;

/** The terms of whichever kind of artifact: a kind has none that are another's. */
export type ArtifactTerms = Partial<Record<keyof ProxyHandleTerms | keyof SecretTerms, unknown>>;

export const SESSION_TERMS: Every<SessionTerms> = {
  id: true,
  tenantId: true,
  agentId: true,
  runId: true,
  toolContext: true,
  workload: true,
  workloadHash: true,
  tokenId: true,
  delegation: true,
  proofKeyThumbprint: true,
  createdAt: true,
  expiresAt: true,
};

export const GRANT_TERMS: Every<GrantTerms> = {
  id: true,
  tenantId: true,
  sessionId: true,
  agentId: true,
  runId: true,
  tool: true,
  capability: true,
  resourceRef: true,
  deliveryMode: true,
  ttlSeconds: true,
  reason: true,
  requestId: true,
  requestHash: true,
  approvalId: true,
  createdAt: true,
  expiresAt: true,
};

export const ARTIFACT_TERMS: Every<ArtifactTerms> = {
  id: true,
  tenantId: true,
  sessionId: true,
  grantId: true,
  kind: true,
  handleHash: true,
  createdAt: true,
  expiresAt: true,
};

export const APPROVAL_TERMS: Every<ApprovalTerms> = {
  reuse: true,
  id: true,
  tenantId: true,
  sessionId: true,
  grantId: true,
  agentId: true,
  runId: true,
  requestHash: true,
  requiredApprovers: true,
  excluded: true,
  createdAt: true,
  expiresAt: true,
};

export const NOTIFICATION_TERMS: Every<NotificationTerms> = {
  id: true,
  tenantId: true,
  approvalId: true,
  receiver: true,
  createdAt: true,
  expiresAt: true,
};

export const REVOCATION_TERMS: Every<RevocationTerms> = {
  id: true,
  tenantId: true,
  sessionId: true,
  grantId: true,
  agentId: true,
  runId: true,
  workloadHash: true,
  connector: true,
  resourceRef: true,
  createdAt: true,
};

/** What was fixed at the start stays; a change of it is a mistake in the caller, not a lost race. */
export function requireSameTerms<Terms extends object>(
  entity: string,
  terms: Every<Terms>,
  current: Terms,
  next: Terms,
  except: keyof Terms | null = null,
): void {
  for (const term in terms) {
    if (term === except || current[term] === next[term] || isDeepStrictEqual(current[term], next[term])) continue;
    throw new Error(`${entity}: ${term} cannot be changed`);
  }
}

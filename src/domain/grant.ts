import type { AgentId, ApprovalId, ArtifactId, GrantId, RunId, SessionId, TenantId } from './ids.ts';
import { conflict } from './errors.ts';

export const DELIVERY_MODES = ['proxy', 'wrapped_secret', 'minted_token'] as const;
export type DeliveryMode = (typeof DELIVERY_MODES)[number];

/** What was granted: fixed when the grant is made, never widened. */
export interface GrantTerms {
  id: GrantId;
  tenantId: TenantId;
  sessionId: SessionId;
  agentId: AgentId;
  runId: RunId;
  tool: string;
  capability: string;
  resourceRef: string;
  deliveryMode: DeliveryMode;
  /** How long the grant may live once it is issued. */
  ttlSeconds: number;
  /** The agent's own words, for those who review. */
  reason: string;
  /** The agent's own id of the request, so that it may ask again; null when it gave none. */
  requestId: string | null;
  /** SHA-256, hex, over the canonical request: what an approval is bound to. */
  requestHash: string;
  /** Null when no human is needed. */
  approvalId: ApprovalId | null;
  createdAt: Date;
  /** While it is pending, when the approval runs out; afterwards, when the access does. */
  expiresAt: Date;
}

/** Waits for a human. */
export type PendingGrant = GrantTerms & { state: 'pending'; approvalId: ApprovalId };
/** The intent on record while the connector is being called. */
export type ApprovedGrant = GrantTerms & { state: 'approved' };
/** Has its artifact: a live proxy handle, a token given out, a wrapped secret opened. */
export type LiveGrant = GrantTerms & { state: 'issued' | 'delivered' | 'used'; artifactId: ArtifactId; issuedAt: Date };
export type EndedGrant = GrantTerms & { state: 'denied' | 'revoked' | 'expired'; endedAt: Date; endReason: string };
export type Grant = PendingGrant | ApprovedGrant | LiveGrant | EndedGrant;
export type GrantState = Grant['state'];

export const GRANT_TRANSITIONS: Readonly<Record<GrantState, readonly GrantState[]>> = {
  pending: ['approved', 'denied', 'expired'],
  approved: ['issued', 'revoked', 'expired'],
  issued: ['delivered', 'used', 'revoked', 'expired'],
  delivered: ['revoked', 'expired'],
  used: ['revoked', 'expired'],
  denied: [],
  revoked: [],
  expired: [],
};

function requireTransition(grant: Grant, to: GrantState): void {
  if (!GRANT_TRANSITIONS[grant.state].includes(to)) {
    throw conflict(`grant is ${grant.state}; it cannot become ${to}`);
  }
}

/** `pending -> approved`, with a lifetime that starts now. Throws `conflict` from any other state. */
export function approveGrant(grant: PendingGrant, expiresAt: Date): ApprovedGrant {
  requireTransition(grant, 'approved');
  return { ...grant, state: 'approved', expiresAt };
}

/** `approved -> issued`. Throws `conflict` from any other state. */
export function issueGrant(grant: Grant, artifactId: ArtifactId, issuedAt: Date): LiveGrant {
  requireTransition(grant, 'issued');
  return { ...grant, state: 'issued', artifactId, issuedAt };
}

/** `issued -> used`: its wrapped secret was opened. Throws `conflict` from any other state. */
export function useGrant(grant: Grant): LiveGrant {
  if (grant.state !== 'issued') throw conflict(`grant is ${grant.state}; it cannot become used`);
  return { ...grant, state: 'used' };
}

/** `issued -> delivered`: its token was given out. Throws `conflict` from any other state. */
export function deliverGrant(grant: Grant): LiveGrant {
  if (grant.state !== 'issued') throw conflict(`grant is ${grant.state}; it cannot become delivered`);
  return { ...grant, state: 'delivered' };
}

/** Ends a grant. Throws `conflict` when its state does not lead there. */
export function endGrant(grant: Grant, state: EndedGrant['state'], endedAt: Date, endReason: string): EndedGrant {
  requireTransition(grant, state);
  return { ...grant, state, endedAt, endReason };
}

/** Whether anything can still be done under this grant or come of it. */
export function isGrantOpen(grant: Grant): grant is PendingGrant | ApprovedGrant | LiveGrant {
  return GRANT_TRANSITIONS[grant.state].length > 0;
}

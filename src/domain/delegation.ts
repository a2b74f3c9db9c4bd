import type { AgentId, TenantId } from './ids.ts';
import type { ResourceKind } from './resource.ts';

/** What somebody let an agent do for them. It only ever narrows what policies allow. */
export interface Delegation {
  issuer: string;
  /** Who delegates; may never approve what the agent asks for. */
  subject: string;
  /** The assertion's `jti`: one agent's, whoever else presents it. */
  id: string;
  tenantId: TenantId;
  agentId: AgentId;
  /** Exact names, or a prefix and a trailing `*`. */
  allowedCapabilities: readonly string[];
  /** The names that may be used of a kind of resource. A kind that is not listed is not restricted. */
  resourceFilters: Readonly<Partial<Record<ResourceKind, readonly string[]>>>;
  expiresAt: Date;
}

/** Reads delegation assertions. */
export interface DelegationVerifier {
  /**
   * Rejects with `unauthorized` when the assertion is not valid, with `forbidden` (`delegation_not_accepted`) when nobody is
   * configured whose delegations count here, with `unavailable` when the keys to check it cannot be had.
   */
  verify(assertion: string): Promise<Delegation>;
}

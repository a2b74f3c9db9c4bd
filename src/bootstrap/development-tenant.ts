import { hash } from 'node:crypto';
import type { TenantId } from '../domain/ids.ts';
import type { Policy } from '../domain/policy.ts';
import type { Tool } from '../domain/tool.ts';
import type { WorkloadBinding } from '../domain/workload-binding.ts';

/** What decisions are made from. */
export interface AuthorizationData {
  tenants: readonly TenantId[];
  bindings: readonly WorkloadBinding[];
  tools: readonly Tool[];
  policies: readonly Policy[];
}

const TEN_MINUTES = 600;

/** The one tenant that the environment sets up: any workload of the configured issuer may act in it, as any agent. */
export function developmentTenant(tenantId: TenantId, issuer: string): AuthorizationData {
  return {
    tenants: [tenantId],
    bindings: [{ tenantId, identityType: 'k8s_sa', issuer, agents: 'any' }],
    tools: [
      {
        tenantId,
        name: 'github',
        manifestHash: 'sha256:dev',
        runtimeClass: 'hosted',
        allowedDeliveryModes: ['proxy'],
        allowedCapabilities: ['repo.read'],
        trustTags: ['trusted', 'github'],
      },
    ],
    policies: [
      {
        tenantId,
        capability: 'repo.read',
        resourceKind: 'github_repo',
        allowedDeliveryModes: ['proxy'],
        defaultTtlSeconds: TEN_MINUTES,
        maxTtlSeconds: TEN_MINUTES,
        approvalMode: 'none',
        requiredToolTags: ['trusted', 'github'],
        condition: null,
      },
    ],
  };
}

/** Names a configuration: SHA-256, hex. The same data in the same order has the same name. */
export function revisionOf(data: AuthorizationData): string {
  const plain = {
    ...data,
    policies: data.policies.map((policy) => ({ ...policy, condition: policy.condition?.source ?? null })),
  };
  return hash('sha256', JSON.stringify(plain));
}

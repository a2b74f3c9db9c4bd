import type { RefusalReason } from '../domain/errors.ts';
import type { SessionAuthorizer, SessionDecision, SessionQuestion } from '../domain/session-authorizer.ts';
import type { WorkloadBinding } from '../domain/workload-binding.ts';
import type { ToolRegistry } from './tool-registry.ts';

export interface WorkloadBindingsConfig {
  bindings: readonly WorkloadBinding[];
  tools: ToolRegistry;
}

/** Lets a workload act only as the tenants and agents it is bound to. */
export function makeSessionAuthorizer({ bindings, tools }: WorkloadBindingsConfig): SessionAuthorizer {
  return {
    decide(question) {
      // A tenant that does not exist answers as one that is not ours.
      if (!bindings.some((binding) => matches(binding, question))) {
        return deny('workload_not_bound', 'this workload is not bound to that tenant_id and agent_id');
      }
      const unknown = question.toolContext.find((name) => tools.find(question.tenantId, name) === null);
      if (unknown !== undefined) return deny('tool_not_registered', `tool_context: tool ${unknown} is not registered`);
      return { allowed: true };
    },
  };
}

const deny = (reason: RefusalReason, message: string): SessionDecision => ({ allowed: false, reason, message });

function matches(binding: WorkloadBinding, { identity, tenantId, agentId }: SessionQuestion): boolean {
  return (
    binding.tenantId === tenantId &&
    binding.identityType === identity.type &&
    binding.issuer === identity.issuer &&
    (binding.agents === 'any' || binding.agents.includes(agentId))
  );
}

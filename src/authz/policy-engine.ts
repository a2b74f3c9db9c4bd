import type { ConditionInput, Policy } from '../domain/policy.ts';
import type { GrantAuthorizer, GrantDecision, GrantQuestion } from '../domain/grant-authorizer.ts';
import type { RefusalReason } from '../domain/errors.ts';
import type { TenantId } from '../domain/ids.ts';
import type { Tool } from '../domain/tool.ts';
import { allowsCapability, type ToolRegistry } from './tool-registry.ts';

export interface PolicyEngineConfig {
  tools: ToolRegistry;
  policies: readonly Policy[];
  /** Names the configuration these came from (SHA-256, hex). */
  revision: string;
}

/**
 * Decides by policy, tool and tool context: what no rule allows is denied, and the expiry is the least of what was asked,
 * the policy's maximum and the session's end. Throws when a tenant has two policies for one capability, or one with
 * impossible times.
 */
export function makePolicyEngine({ tools, policies, revision }: PolicyEngineConfig): GrantAuthorizer {
  const byKey = new Map<string, Policy>();
  for (const policy of policies) {
    const key = keyOf(policy.tenantId, policy.capability);
    if (byKey.has(key)) throw new Error(`tenant ${policy.tenantId} has two policies for ${policy.capability}`);
    if (!(policy.defaultTtlSeconds > 0 && policy.defaultTtlSeconds <= policy.maxTtlSeconds)) {
      throw new Error(`policy for ${policy.capability}: the default TTL must be above 0 and at most the maximum`);
    }
    byKey.set(key, policy);
  }
  return {
    revision,
    decide(question) {
      const { tenantId } = question.session;
      const tool = tools.find(tenantId, question.tool);
      if (tool === null) return deny('tool_not_registered', `tool ${question.tool} is not registered`);
      const denial = denialByTool(question, tool);
      if (denial !== null) return denial;
      const policy = byKey.get(keyOf(tenantId, question.capability));
      if (policy === undefined) return deny('policy_missing', `no policy allows capability ${question.capability}`);
      return denialByPolicy(question, policy, tool) ?? allow(question, policy);
    },
  };
}

type Denial = Extract<GrantDecision, { allowed: false }>;

const deny = (reason: RefusalReason, message: string): Denial => ({ allowed: false, reason, message });

function denialByTool(question: GrantQuestion, tool: Tool): Denial | null {
  const { capability, deliveryMode, session } = question;
  if (!session.toolContext.includes(tool.name)) {
    return deny('tool_not_in_context', `tool ${tool.name} is not in this session's tool_context`);
  }
  if (!allowsCapability(tool, capability)) {
    return deny('capability_not_allowed', `tool ${tool.name} may not use capability ${capability}`);
  }
  if (!tool.allowedDeliveryModes.includes(deliveryMode)) {
    return deny('delivery_mode_not_allowed', `tool ${tool.name} may not receive ${deliveryMode} deliveries`);
  }
  return null;
}

function denialByPolicy(question: GrantQuestion, policy: Policy, tool: Tool): Denial | null {
  const { capability, resource, deliveryMode } = question;
  if (policy.resourceKind !== resource.kind) {
    return deny('resource_kind_mismatch', `capability ${capability} is for resources of kind ${policy.resourceKind}`);
  }
  if (!policy.allowedDeliveryModes.includes(deliveryMode)) {
    return deny('delivery_mode_not_allowed', `capability ${capability} is not delivered as ${deliveryMode}`);
  }
  const missing = policy.requiredToolTags.filter((tag) => !tool.trustTags.includes(tag));
  if (missing.length > 0) {
    return deny('tool_tags_missing', `tool ${tool.name} lacks the trust tags ${missing.join(', ')}`);
  }
  return denialByCondition(question, policy, tool);
}

function denialByCondition(question: GrantQuestion, policy: Policy, tool: Tool): Denial | null {
  if (policy.condition === null) return null;
  const { capability, resource, deliveryMode, session } = question;
  const input: ConditionInput = {
    request: {
      tool: tool.name,
      capability,
      resourceRef: resource.ref,
      deliveryMode,
      ttlSeconds: ttlSeconds(question, policy),
    },
    session,
    resource,
    tool,
  };
  try {
    if (policy.condition.holds(input)) return null;
  } catch {
    return deny('condition_failed', `the condition on capability ${capability} could not be evaluated`);
  }
  return deny('condition_not_met', `the condition on capability ${capability} does not hold for this request`);
}

const ttlSeconds = (question: GrantQuestion, policy: Policy): number =>
  Math.min(question.ttlSeconds ?? policy.defaultTtlSeconds, policy.maxTtlSeconds);

function allow(question: GrantQuestion, policy: Policy): GrantDecision {
  const byTtl = question.now.getTime() + ttlSeconds(question, policy) * 1000;
  const expiresAt = new Date(Math.min(byTtl, question.session.expiresAt.getTime()));
  return { allowed: true, expiresAt, approvalMode: policy.approvalMode };
}

const keyOf = (tenantId: TenantId, capability: string): string => `${tenantId}\0${capability}`;

import type { Delegation } from '../domain/delegation.ts';
import type { GrantQuestion } from '../domain/grant-authorizer.ts';
import type { Policy } from '../domain/policy.ts';
import type { Tool } from '../domain/tool.ts';
import { matchesAny } from './patterns.ts';
import { namesResource } from './resource-names.ts';
import type { Refusal, Rule } from './rules.ts';

/** A question, and what of its own tenant it is about. */
export interface GrantCase {
  question: GrantQuestion;
  /** Null when no such tool is registered. */
  tool: Tool | null;
  /** Null when no policy is for the capability. */
  policy: Policy | null;
}

/** How long is asked for, cut to what the policy lets. */
export const ttlOf = ({ ttlSeconds }: GrantQuestion, policy: Policy): number =>
  Math.min(ttlSeconds ?? policy.defaultTtlSeconds, policy.maxTtlSeconds);

const toolName = ({ question }: GrantCase): string => `tool:${question.tool}`;
const policyName = ({ question }: GrantCase): string => `policy:${question.capability}`;

type Answer = Refusal | 'moot' | null;

const ofTool = (passes: string, ask: (tool: Tool, question: GrantQuestion) => Answer): Rule<GrantCase> => ({
  nameOf: toolName,
  passes,
  ask: ({ tool, question }) => (tool === null ? 'moot' : ask(tool, question)),
});

const ofPolicy = (passes: string, ask: (policy: Policy, asked: GrantCase) => Answer): Rule<GrantCase> => ({
  nameOf: policyName,
  passes,
  ask: (asked) => (asked.policy === null ? 'moot' : ask(asked.policy, asked)),
});

const ofDelegation = (passes: string, ask: (from: Delegation, question: GrantQuestion) => Answer): Rule<GrantCase> => ({
  nameOf: () => 'delegation',
  passes,
  ask: ({ question }) => (question.session.delegation === null ? 'moot' : ask(question.session.delegation, question)),
});

const toolIsRegistered: Rule<GrantCase> = {
  nameOf: toolName,
  passes: 'the tool is registered',
  ask: ({ tool, question }) =>
    tool === null ? { reason: 'tool_not_registered', message: `tool ${question.tool} is not registered` } : null,
};

const toolIsInContext: Rule<GrantCase> = {
  nameOf: () => 'tool_context',
  passes: "the tool is in this session's tool_context",
  ask({ question: { tool, session } }) {
    if (session.toolContext.includes(tool)) return null;
    return { reason: 'tool_not_in_context', message: `tool ${tool} is not in this session's tool_context` };
  },
};

const toolMayUseCapability = ofTool('the tool may use this capability', (tool, { capability }) => {
  if (matchesAny(tool.allowedCapabilities, capability)) return null;
  return { reason: 'capability_not_allowed', message: `tool ${tool.name} may not use capability ${capability}` };
});

const toolMayReceive = ofTool('the tool may receive this delivery', (tool, { deliveryMode }) => {
  if (tool.allowedDeliveryModes.includes(deliveryMode)) return null;
  return { reason: 'delivery_mode_not_allowed', message: `tool ${tool.name} may not receive ${deliveryMode} deliveries` };
});

/** The denial of a capability that no policy is for. */
export const policyMissing = (capability: string) =>
  ({
    rule: `policy:${capability}`,
    reason: 'policy_missing',
    message: `no policy allows capability ${capability}`,
  }) as const;

const policyExists: Rule<GrantCase> = {
  nameOf: policyName,
  passes: 'a policy is for this capability',
  ask: ({ policy, question }) => (policy === null ? policyMissing(question.capability) : null),
};

const resourceIsOfKind = ofPolicy('the policy is for resources of this kind', (policy, { question }) => {
  if (policy.resourceKind === question.resource.kind) return null;
  const message = `capability ${policy.capability} is for resources of kind ${policy.resourceKind}`;
  return { reason: 'resource_kind_mismatch', message };
});

const policyDelivers = ofPolicy('the policy allows this delivery', (policy, { question: { deliveryMode } }) => {
  if (policy.allowedDeliveryModes.includes(deliveryMode)) return null;
  const message = `capability ${policy.capability} is not delivered as ${deliveryMode}`;
  return { reason: 'delivery_mode_not_allowed', message };
});

const toolHasTags = ofPolicy('the tool has the trust tags that the policy requires', (policy, { tool }) => {
  if (tool === null) return 'moot';
  if (policy.requiredToolTags.every((tag) => tool.trustTags.includes(tag))) return null;
  const missing = policy.requiredToolTags.filter((tag) => !tool.trustTags.includes(tag));
  return { reason: 'tool_tags_missing', message: `tool ${tool.name} lacks the trust tags ${missing.join(', ')}` };
});

const sessionHasKey = ofPolicy('the policy asks for no more proof than the session gives', (policy, { question }) => {
  if (!policy.requiresProof || question.session.proofKeyThumbprint !== null) return null;
  const message = `capability ${policy.capability} is only for sessions bound to a key; open one with a DPoP proof`;
  return { reason: 'proof_required', message };
});

const delegationIsInForce = ofDelegation('the delegation is in force', (delegation, { now }) => {
  if (now < delegation.expiresAt) return null;
  return { reason: 'delegation_not_accepted', message: 'the delegation has run out; open a session with a new one' };
});

const capabilityIsDelegated = ofDelegation('the capability is delegated', (delegation, { capability }) => {
  if (matchesAny(delegation.allowedCapabilities, capability)) return null;
  return { reason: 'capability_not_delegated', message: `capability ${capability} was not delegated to this session` };
});

const resourceIsDelegated = ofDelegation('the resource is delegated', (delegation, { resource }) => {
  const names = delegation.resourceFilters[resource.kind];
  if (names === undefined || namesResource(names, resource)) return null;
  return { reason: 'resource_not_delegated', message: 'resource_ref: this resource was not delegated to this session' };
});

const conditionHolds = ofPolicy("the policy's condition holds", (policy, { tool, question }) => {
  if (policy.condition === null || tool === null) return 'moot';
  const { session, capability, resource, deliveryMode, now } = question;
  const ttlSeconds = ttlOf(question, policy);
  const request = { tool: tool.name, capability, deliveryMode, ttlSeconds };
  try {
    if (policy.condition.holds({ request, session, resource, tool, now })) return null;
  } catch {
    const message = `the condition on capability ${capability} could not be evaluated for this request`;
    return { reason: 'condition_failed', message };
  }
  return {
    reason: 'condition_not_met',
    message: `the condition on capability ${capability} does not hold for this request`,
  };
});

/** Everything that a grant must pass, in the order in which it is asked. */
export const GRANT_RULES: readonly Rule<GrantCase>[] = [
  toolIsRegistered,
  toolIsInContext,
  toolMayUseCapability,
  toolMayReceive,
  policyExists,
  resourceIsOfKind,
  policyDelivers,
  toolHasTags,
  sessionHasKey,
  delegationIsInForce,
  capabilityIsDelegated,
  resourceIsDelegated,
  conditionHolds,
];

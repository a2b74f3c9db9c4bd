import { makePolicyEngine } from '../../src/authz/policy-engine.ts';
import { makeToolRegistry } from '../../src/authz/tool-registry.ts';
import type { Delegation } from '../../src/domain/delegation.ts';
import type { GrantQuestion } from '../../src/domain/grant-authorizer.ts';
import type { AgentId, TenantId } from '../../src/domain/ids.ts';
import type { ConditionInput, Policy } from '../../src/domain/policy.ts';
import { parseResourceRef } from '../../src/domain/resource.ts';
import type { ActiveSession } from '../../src/domain/session.ts';
import type { Tool } from '../../src/domain/tool.ts';
import { after, aSession, START } from '../support/entities.ts';

export const TENANT = 't_dev' as TenantId;
export const OTHER_TENANT = 't_other' as TenantId;
export const AGENT = 'reviewer' as AgentId;

export const TOOL: Tool = {
  tenantId: TENANT,
  name: 'github',
  manifestHash: 'sha256:dev',
  runtimeClass: 'hosted',
  allowedDeliveryModes: ['proxy'],
  allowedCapabilities: ['repo.read'],
  trustTags: ['trusted', 'github'],
};

export const POLICY: Policy = {
  tenantId: TENANT,
  capability: 'repo.read',
  resourceKind: 'github_repo',
  allowedDeliveryModes: ['proxy'],
  defaultTtlSeconds: 300,
  maxTtlSeconds: 600,
  approval: null,
  requiresProof: false,
  requiredToolTags: ['trusted'],
  permissions: null,
  allowsPlainValues: false,
  condition: null,
};

/** Lets through what POLICY does, for ten minutes. */
export const DELEGATION: Delegation = {
  issuer: 'https://idp.example',
  subject: 'alice',
  id: 'del_1',
  tenantId: TENANT,
  agentId: AGENT,
  allowedCapabilities: ['repo.read'],
  resourceFilters: { github_repo: ['acme/widgets'] },
  expiresAt: after(600),
};

export const APPROVAL = { requiredApprovers: 1, ttlSeconds: 300, reuse: false };

/** A session of 15 minutes, without a key and without a delegation. */
export const openSession = (overrides: Partial<ActiveSession> = {}): ActiveSession =>
  aSession({
    tenantId: TENANT,
    agentId: AGENT,
    toolContext: ['github'],
    delegation: null,
    proofKeyThumbprint: null,
    ...overrides,
  });

/** What differs from a world in which the question is allowed. */
export interface World {
  tool?: Partial<Tool>;
  policy?: Partial<Policy>;
  session?: Partial<ActiveSession>;
  question?: Partial<GrantQuestion>;
  /** Besides the one tool and the one policy. */
  others?: { tools: readonly Tool[]; policies: readonly Policy[] };
}

export const engineOf = ({ tool, policy, others }: World) =>
  makePolicyEngine({
    tools: makeToolRegistry([{ ...TOOL, ...tool }, ...(others?.tools ?? [])]),
    policies: [{ ...POLICY, ...policy }, ...(others?.policies ?? [])],
    revision: 'r1',
  });

export const questionOf = ({ session, question }: World): GrantQuestion => ({
  session: openSession(session),
  tool: 'github',
  capability: 'repo.read',
  resource: parseResourceRef('github:repo:acme/widgets'),
  deliveryMode: 'proxy',
  ttlSeconds: null,
  now: START,
  ...question,
});

export const decide = (world: World = {}) => engineOf(world).decide(questionOf(world));
export const explain = (world: World = {}) => engineOf(world).explain(questionOf(world));

/** What a condition would look at. */
export function conditionInput({ tool, session, question }: Omit<World, 'policy'> = {}): ConditionInput {
  const asked = questionOf({ session, question });
  const { capability, deliveryMode, resource, now } = asked;
  const request = { tool: asked.tool, capability, deliveryMode, ttlSeconds: asked.ttlSeconds ?? 300 };
  return { request, session: asked.session, resource, tool: { ...TOOL, ...tool }, now };
}

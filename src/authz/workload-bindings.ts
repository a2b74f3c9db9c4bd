import type { Delegation } from '../domain/delegation.ts';
import type { TenantId } from '../domain/ids.ts';
import type { SessionAuthorizer, SessionQuestion } from '../domain/session-authorizer.ts';
import type { WorkloadIdentity } from '../domain/workload.ts';
import type { WorkloadBinding } from '../domain/workload-binding.ts';
import { type ConfigProblem, refuseProblems } from './config-problem.ts';
import { matchesAny, matchesPattern, patternProblem } from './patterns.ts';
import { allVerdicts, firstDenial, type Rule } from './rules.ts';
import type { ToolRegistry } from './tool-registry.ts';

export interface WorkloadBindingsConfig {
  bindings: readonly WorkloadBinding[];
  tools: ToolRegistry;
}

/** Lets a workload act only as the tenants and agents it is bound to. Throws when `findBindingProblems` finds any. */
export function makeSessionAuthorizer({ bindings, tools }: WorkloadBindingsConfig): SessionAuthorizer {
  refuseProblems(findBindingProblems(bindings));
  const rules = [bindingRule(bindingsByTenant(bindings)), toolContextRule(tools), delegationRule];
  return {
    decide: (question) => firstDenial(rules, question) ?? { allowed: true },
    explain: (question) => allVerdicts(rules, question),
  };
}

/** What makes bindings useless: patterns that cannot be meant, nobody to act as, what no such identity has. */
export function findBindingProblems(bindings: readonly WorkloadBinding[]): readonly ConfigProblem[] {
  return bindings.flatMap((binding, index) => {
    const { tenantId, identityType, agents, namespace, serviceAccount } = binding;
    const at = `workload binding of tenant ${tenantId}`;
    const problems: ConfigProblem[] = patternsOf(binding).flatMap(({ path, pattern }) => {
      const problem = patternProblem(pattern);
      return problem === null ? [] : [{ index, path, message: `${at}: "${pattern}" ${problem}` }];
    });
    if (agents.length === 0)
      problems.push({ index, path: ['agents'], message: `${at}: agents is empty; name at least one` });
    if (identityType !== 'k8s_sa' && (namespace !== undefined || serviceAccount !== undefined)) {
      const path = [namespace === undefined ? 'serviceAccount' : 'namespace'];
      problems.push({ index, path, message: `${at}: only k8s_sa identities have a namespace and a service account` });
    }
    return problems;
  });
}

function patternsOf(binding: WorkloadBinding): { path: ConfigProblem['path']; pattern: string }[] {
  const { subject, namespace, serviceAccount, attributes = {}, agents } = binding;
  const single = Object.entries({ subject, namespace, serviceAccount });
  return [
    ...single.flatMap(([name, pattern]) => (pattern === undefined ? [] : [{ path: [name], pattern }])),
    ...Object.entries(attributes).map(([name, pattern]) => ({ path: ['attributes', name], pattern })),
    ...agents.map((pattern, at) => ({ path: ['agents', at], pattern })),
  ];
}

type BindingsByTenant = ReadonlyMap<TenantId, readonly WorkloadBinding[]>;

const bindingsByTenant = (bindings: readonly WorkloadBinding[]): BindingsByTenant =>
  Map.groupBy(bindings, ({ tenantId }) => tenantId);

const bindingRule = (bindings: BindingsByTenant): Rule<SessionQuestion> => ({
  nameOf: () => 'binding',
  passes: 'a binding lets this workload act as this agent of this tenant',
  ask(question) {
    if (bindings.get(question.tenantId)?.some((binding) => binds(binding, question))) return null;
    // A tenant that does not exist answers as one that is not theirs.
    return { reason: 'workload_not_bound', message: 'this workload is not bound to that tenant_id and agent_id' };
  },
});

const toolContextRule = (tools: ToolRegistry): Rule<SessionQuestion> => ({
  nameOf: () => 'tool_context',
  passes: 'every tool of tool_context is registered',
  ask({ tenantId, toolContext }) {
    const unknown = toolContext.find((name) => tools.find(tenantId, name) === null);
    if (unknown === undefined) return null;
    return { reason: 'tool_not_registered', message: `tool_context: tool ${unknown} is not registered` };
  },
});

const delegationRule: Rule<SessionQuestion> = {
  nameOf: () => 'delegation',
  passes: 'the delegation names this tenant and agent',
  ask({ delegation, tenantId, agentId }) {
    if (delegation === null) return 'moot';
    if (isFor(delegation, tenantId, agentId)) return null;
    const message = 'delegation_assertion: is for another tenant_id or agent_id; ask for one of your own';
    return { reason: 'delegation_not_yours', message };
  },
};

const isFor = (delegation: Delegation, tenantId: string, agentId: string): boolean =>
  delegation.tenantId === tenantId && delegation.agentId === agentId;

function binds(binding: WorkloadBinding, { identity, agentId }: SessionQuestion): boolean {
  return (
    binding.issuer === identity.issuer &&
    binding.identityType === identity.type &&
    mayBe(binding.subject, identity.subject) &&
    mayBe(binding.namespace, identity.namespace) &&
    mayBe(binding.serviceAccount, identity.serviceAccount) &&
    hasAttributes(binding.attributes, identity) &&
    matchesAny(binding.agents, agentId)
  );
}

/** A pattern that is absent asks for nothing; one that is there asks for a value. */
const mayBe = (pattern: string | undefined, value: string | null): boolean =>
  pattern === undefined || (value !== null && matchesPattern(pattern, value));

function hasAttributes(wanted: WorkloadBinding['attributes'], { attributes }: WorkloadIdentity): boolean {
  if (wanted === undefined) return true;
  return Object.entries(wanted).every(([name, pattern]) => {
    const value = Object.hasOwn(attributes, name) ? attributes[name] : undefined;
    return value !== undefined && matchesPattern(pattern, value);
  });
}

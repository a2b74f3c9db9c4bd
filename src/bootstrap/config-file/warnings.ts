import { matchesAny } from '../../authz/patterns.ts';
import type { Report } from './entries.ts';
import type { FieldPath } from './problem.ts';
import type { ConfigFile } from './schema.ts';

type Tenant = ConfigFile['tenants'][number];
type Policy = Tenant['policies'][number];

/**
 * What can be meant and most likely is not: rules that allow nothing, questions that nobody can answer.
 * None of it stops a start, because a file is often built up, or taken down, rule by rule.
 */
export function reportWarnings(file: ConfigFile, report: Report): void {
  for (const [index, tenant] of file.tenants.entries()) {
    const path = ['tenants', index];
    if (tenant.workload_bindings.length === 0) {
      report([...path, 'id'], 'has no workload_bindings, so that nobody can open a session in it');
    }
    for (const [at, policy] of tenant.policies.entries())
      warnOfPolicy(policy, tenant, file, [...path, 'policies', at], report);
  }
}

function warnOfPolicy(policy: Policy, tenant: Tenant, file: ConfigFile, path: FieldPath, report: Report): void {
  const needed = isServed(policy, file.connectors) ? null : SECTION_OF[policy.resource_kind];
  if (needed !== null) {
    const message = `${needed} does not serve ${policy.capability}, and the API does not start with a policy that nothing serves`;
    report([...path, 'resource_kind'], message);
  }
  const unusable = whyUnusable(policy, tenant.tools);
  if (unusable !== null) report([...path, unusable.field], `allows nothing: ${unusable.why}`);
  if (policy.approval !== 'none' && !hasApprover(file, tenant.id)) {
    const message = 'nobody can approve: no operator has the role approver for this tenant, and no receiver may decide';
    report([...path, 'approval'], message);
  }
}

const SECTION_OF: Readonly<Record<Policy['resource_kind'], string | null>> = {
  // The environment may have it.
  github_repo: null,
  db_role: 'connectors.vault.database',
  browser_origin: 'connectors.browser',
};

function isServed({ capability, resource_kind: kind }: Policy, { vault, browser }: ConfigFile['connectors']): boolean {
  const serving = { github_repo: undefined, db_role: vault?.database, browser_origin: browser }[kind];
  return serving?.capabilities.includes(capability) ?? false;
}

function whyUnusable(policy: Policy, tools: Tenant['tools']): { field: string; why: string } | null {
  const able = tools.filter(({ capabilities }) => matchesAny(capabilities, policy.capability));
  if (able.length === 0) return { field: 'capability', why: 'no tool of this tenant may use this capability' };
  const trusted = able.filter(({ trust_tags: tags }) => policy.required_tool_tags.every((tag) => tags.includes(tag)));
  if (trusted.length === 0) {
    return { field: 'required_tool_tags', why: 'no tool that may use this capability has all of these tags' };
  }
  const reachable = trusted.some(({ delivery_modes: modes }) => policy.delivery_modes.some((mode) => modes.includes(mode)));
  return reachable ? null : { field: 'delivery_modes', why: 'no tool that may use this capability takes any of these' };
}

function hasApprover({ operators, notifications }: ConfigFile, tenantId: string): boolean {
  const byRole = operators
    .flatMap(({ role_mappings: mappings }) => mappings)
    .some(({ roles, tenants }) => roles.includes('approver') && tenants.includes(tenantId));
  if (byRole) return true;
  return notifications.receivers.some((receiver) => {
    const decides = receiver.links || (receiver.kind === 'webhook' && receiver.callback_key_file !== undefined);
    return decides && receiver.tenants.includes(tenantId);
  });
}

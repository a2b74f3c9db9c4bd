import { compileCondition } from '../../authz/condition.ts';
import { secondsOf } from './duration.ts';
import { entriesOf, type Report, reportRepeats } from './entries.ts';
import type { KnownIssuers } from './known-issuers.ts';
import type { Suggest } from './nearest-name.ts';
import type { FieldPath } from './problem.ts';
import type { SalvagedFile } from './salvage.ts';

type Tenant = NonNullable<NonNullable<SalvagedFile['tenants']>[number]>;
type Binding = NonNullable<NonNullable<Tenant['workload_bindings']>[number]>;
type Policy = NonNullable<NonNullable<Tenant['policies']>[number]>;

interface Checking {
  issuers: KnownIssuers;
  report: Report;
  suggest: Suggest;
}

/** What a schema cannot see in tenants: names that are there twice, issuers that are nobody's, times and conditions that cannot be. */
export function checkTenants(file: SalvagedFile, checking: Checking): void {
  const { report } = checking;
  const tenants = entriesOf(file.tenants);
  const ids = tenants.map(([index, { id }]) => [['tenants', index, 'id'], id] as const);
  reportRepeats(ids, 'another tenant has this id; ids must differ', report);
  for (const [index, tenant] of tenants) checkTenant(tenant, ['tenants', index], checking);
}

function checkTenant(tenant: Tenant, path: FieldPath, checking: Checking): void {
  const { report } = checking;
  const tools = entriesOf(tenant.tools).map(([index, { name }]) => [[...path, 'tools', index, 'name'], name] as const);
  reportRepeats(tools, 'another tool of this tenant has this name; names must differ', report);
  const policies = entriesOf(tenant.policies);
  const capabilities = policies.map(
    ([index, { capability }]) => [[...path, 'policies', index, 'capability'], capability] as const,
  );
  reportRepeats(capabilities, 'another policy of this tenant is about this capability; write one for each', report);
  for (const [index, policy] of policies) checkPolicy(policy, [...path, 'policies', index], report);
  for (const [index, binding] of entriesOf(tenant.workload_bindings)) {
    checkBinding(binding, [...path, 'workload_bindings', index], checking);
  }
}

function checkBinding(binding: Binding, path: FieldPath, { issuers, report, suggest }: Checking): void {
  const { type, issuer } = binding;
  if (type === undefined || issuer === undefined) return;
  const [own, other, section] =
    type === 'k8s_sa'
      ? [issuers.kubernetes, issuers.oidc, 'attestation.kubernetes']
      : [issuers.oidc, issuers.kubernetes, 'attestation.oidc'];
  if (own.has(issuer) || !issuers.complete) return;
  const hint = other.has(issuer) ? '; it is configured for the other type of binding' : suggest(issuer, own);
  report([...path, 'issuer'], `is not an issuer of ${section} nor of the environment${hint}`);
}

function checkPolicy(policy: Policy, path: FieldPath, report: Report): void {
  const { default_ttl: byDefault, max_ttl: max, condition } = policy;
  if (byDefault !== undefined && max !== undefined && secondsOf(byDefault) > secondsOf(max)) {
    report([...path, 'default_ttl'], 'is longer than max_ttl; it must be at most that');
  }
  if (condition === undefined) return;
  try {
    compileCondition(condition);
  } catch (error) {
    report([...path, 'condition'], `does not compile: ${error instanceof Error ? error.message : 'unknown error'}`);
  }
}

import type { ApprovalRule, Policy } from '../domain/policy.ts';
import { findRepeats } from './by-tenant.ts';
import type { ConfigProblem } from './config-problem.ts';

/** A grant never outlives a day, nor does a question to people. */
const MAX_TTL_SECONDS = 86_400;

/**
 * What makes policies impossible: two for one capability of a tenant, times that cannot be, nobody to approve, no way to
 * deliver. The engine refuses to start with any.
 */
export function findPolicyProblems(policies: readonly Policy[]): readonly ConfigProblem[] {
  const repeats = findRepeats(policies, ({ capability }) => capability).map((index) => {
    const { tenantId, capability } = policies[index] ?? { tenantId: '', capability: '' };
    return { index, path: ['capability'], message: `tenant ${tenantId} has two policies for ${capability}` };
  });
  const ofEach = policies.flatMap((policy, index) =>
    problemsOf(policy).map(([path, problem]) => ({ index, path, message: `policy for ${policy.capability}: ${problem}` })),
  );
  return [...repeats, ...ofEach];
}

type Problem = readonly [path: ConfigProblem['path'], problem: string];

function problemsOf(policy: Policy): readonly Problem[] {
  const { capability, defaultTtlSeconds, maxTtlSeconds, allowedDeliveryModes, approval, permissions } = policy;
  const problems: Problem[] = [];
  if (capability === '' || capability.includes('*')) {
    problems.push([['capability'], 'a policy is for one capability; name it in full, without *']);
  }
  if (!isDuration(maxTtlSeconds)) {
    problems.push([['maxTtlSeconds'], `the maximum TTL must be whole seconds from 1 to ${MAX_TTL_SECONDS}`]);
  }
  if (!isDuration(defaultTtlSeconds) || defaultTtlSeconds > maxTtlSeconds) {
    problems.push([['defaultTtlSeconds'], 'the default TTL must be whole seconds, at least 1 and at most the maximum']);
  }
  if (allowedDeliveryModes.length === 0) {
    problems.push([['allowedDeliveryModes'], 'no delivery mode is allowed; name at least one']);
  }
  if (permissions !== null && !allowedDeliveryModes.includes('minted_token')) {
    problems.push([['permissions'], 'permissions are of minted tokens; allow minted_token, or name none']);
  }
  return approval === null ? problems : [...problems, ...approvalProblems(approval)];
}

function approvalProblems({ requiredApprovers, ttlSeconds }: ApprovalRule): readonly Problem[] {
  const problems: Problem[] = [];
  if (!Number.isSafeInteger(requiredApprovers) || requiredApprovers < 1) {
    problems.push([['approval', 'requiredApprovers'], 'at least 1 approver is required; for none, ask for no approval']);
  }
  if (!isDuration(ttlSeconds)) {
    problems.push([['approval', 'ttlSeconds'], `the approval TTL must be whole seconds from 1 to ${MAX_TTL_SECONDS}`]);
  }
  return problems;
}

const isDuration = (seconds: number): boolean => Number.isSafeInteger(seconds) && seconds >= 1 && seconds <= MAX_TTL_SECONDS;

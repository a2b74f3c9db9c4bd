import type { GrantAuthorizer, GrantDecision, GrantQuestion } from '../domain/grant-authorizer.ts';
import type { Policy } from '../domain/policy.ts';
import { indexByTenant } from './by-tenant.ts';
import { refuseProblems } from './config-problem.ts';
import { type GrantCase, GRANT_RULES, policyMissing, ttlOf } from './grant-rules.ts';
import { findPolicyProblems } from './policy-problems.ts';
import { allVerdicts, firstDenial } from './rules.ts';
import type { ToolRegistry } from './tool-registry.ts';

export interface PolicyEngineConfig {
  tools: ToolRegistry;
  policies: readonly Policy[];
  /** Names the configuration these came from (SHA-256, hex). */
  revision: string;
}

/**
 * Decides by tool, tool context, policy and delegation: what no rule allows is denied, and the expiry is the least of what was
 * asked, the policy's maximum, the session's end and the delegation's. Throws when `findPolicyProblems` finds any.
 */
export function makePolicyEngine({ tools, policies, revision }: PolicyEngineConfig): GrantAuthorizer {
  refuseProblems(findPolicyProblems(policies));
  const index = indexByTenant(policies, ({ capability }) => capability);
  const caseOf = (question: GrantQuestion): GrantCase => ({
    question,
    tool: tools.find(question.session.tenantId, question.tool),
    policy: index.get(question.session.tenantId)?.get(question.capability) ?? null,
  });
  return {
    revision,
    decide(question) {
      const asked = caseOf(question);
      const denial = firstDenial(GRANT_RULES, asked);
      if (denial !== null) return denial;
      // The rules have said this already; nothing is allowed by their silence.
      if (asked.policy === null) return { allowed: false, ...policyMissing(question.capability) };
      return allow(question, asked.policy);
    },
    allowsPlainValues: ({ tenantId, capability }) => index.get(tenantId)?.get(capability)?.allowsPlainValues ?? false,
    explain: (question) => allVerdicts(GRANT_RULES, caseOf(question)),
  };
}

function allow(question: GrantQuestion, policy: Policy): GrantDecision {
  const { session, now } = question;
  const ttlSeconds = ttlOf(question, policy);
  const end = Math.min(
    now.getTime() + ttlSeconds * 1000,
    session.expiresAt.getTime(),
    session.delegation?.expiresAt.getTime() ?? Infinity,
  );
  return {
    allowed: true,
    rule: `policy:${policy.capability}`,
    ttlSeconds,
    expiresAt: new Date(end),
    approval: policy.approval,
    permissions: policy.permissions,
  };
}

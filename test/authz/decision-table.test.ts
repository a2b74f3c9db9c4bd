import { isDeepStrictEqual } from 'node:util';
import { describe, expect, test } from 'vitest';
import { compileCondition } from '../../src/authz/condition.ts';
import { makePolicyEngine } from '../../src/authz/policy-engine.ts';
import { makeToolRegistry } from '../../src/authz/tool-registry.ts';
import { makeSessionAuthorizer } from '../../src/authz/workload-bindings.ts';
import type { Delegation } from '../../src/domain/delegation.ts';
import type { DeliveryMode } from '../../src/domain/grant.ts';
import type { GrantQuestion, Verdict } from '../../src/domain/grant-authorizer.ts';
import type { ApprovalRule, Policy } from '../../src/domain/policy.ts';
import { parseResourceRef } from '../../src/domain/resource.ts';
import type { Tool } from '../../src/domain/tool.ts';
import type { WorkloadBinding } from '../../src/domain/workload-binding.ts';
import { after, START } from '../support/entities.ts';
import { APPROVAL, DELEGATION, openSession, POLICY, TENANT, TOOL } from './world.ts';

// The oracle knows no rules: each variant says by hand which of all askable things it lets through, and what is allowed is
// what lies in every one of these sets.

const ASKABLE = {
  tool: ['github', 'browser'],
  capability: ['repo.read', 'repo.write'],
  resource: ['github:repo:acme/widgets', 'github:repo:acme/gadgets', 'dbrole:reader'],
  mode: ['proxy', 'wrapped_secret'],
  holder: ['key', 'bearer'],
} as const;
type Asked = { [Field in keyof typeof ASKABLE]: (typeof ASKABLE)[Field][number] };
type Let = ReadonlySet<string>;

const ALL: readonly Asked[] = ASKABLE.tool.flatMap((tool) =>
  ASKABLE.capability.flatMap((capability) =>
    ASKABLE.resource.flatMap((resource) =>
      ASKABLE.mode.flatMap((mode) => ASKABLE.holder.map((holder) => ({ tool, capability, resource, mode, holder }))),
    ),
  ),
);

const nameOf = ({ tool, capability, resource, mode, holder }: Asked): string =>
  [tool, capability, resource, mode, holder].join(' ');

/** The set of what has one of these values in each of the fields that are named. */
const where = (wanted: { [Field in keyof Asked]?: Asked[Field][] }): Let =>
  new Set(
    ALL.filter((asked) =>
      Object.entries(wanted).every(([field, values]) => values.some((value) => value === asked[field as keyof Asked])),
    ).map(nameOf),
  );

const ANYTHING = where({});
const NOTHING: Let = new Set();

interface Variant<Given> {
  given: Given;
  lets: Let;
  /** For how long, at the most. */
  seconds?: number;
  approval?: ApprovalRule;
}
type Variants<Given> = Readonly<Record<string, Variant<Given>>>;

const REPOS: Asked['resource'][] = ['github:repo:acme/widgets', 'github:repo:acme/gadgets'];
const WRITE: Policy = { ...POLICY, capability: 'repo.write', requiredToolTags: [] };
const BOTH_MODES: DeliveryMode[] = ['proxy', 'wrapped_secret'];

const POLICIES: Variants<Policy[]> = {
  'no policy': { given: [], lets: NOTHING },
  'a plain policy': {
    given: [{ ...POLICY, allowedDeliveryModes: BOTH_MODES, requiredToolTags: [] }],
    lets: where({ capability: ['repo.read'], resource: REPOS }),
  },
  'policies for two capabilities': {
    given: [POLICY, WRITE],
    lets: where({ resource: REPOS, mode: ['proxy'] }),
  },
  'a policy for another kind': {
    given: [{ ...POLICY, resourceKind: 'db_role' }],
    lets: where({ capability: ['repo.read'], resource: ['dbrole:reader'], mode: ['proxy'] }),
  },
  'a policy for another mode': {
    given: [{ ...POLICY, allowedDeliveryModes: ['wrapped_secret'] }],
    lets: where({ capability: ['repo.read'], resource: REPOS, mode: ['wrapped_secret'] }),
  },
  'a policy that asks for a tag': {
    given: [{ ...POLICY, requiredToolTags: ['trusted', 'screen'] }],
    lets: where({ tool: ['browser'], capability: ['repo.read'], resource: REPOS, mode: ['proxy'] }),
  },
  'a policy that asks for proof': {
    given: [{ ...POLICY, requiresProof: true }],
    lets: where({ capability: ['repo.read'], resource: REPOS, mode: ['proxy'], holder: ['key'] }),
  },
  'a policy with a condition': {
    given: [{ ...POLICY, condition: compileCondition('request.repo == "acme/gadgets" || request.tool == "browser"') }],
    lets: new Set([
      ...where({ capability: ['repo.read'], resource: ['github:repo:acme/gadgets'], mode: ['proxy'] }),
      ...where({ tool: ['browser'], capability: ['repo.read'], resource: REPOS, mode: ['proxy'] }),
    ]),
  },
  'a policy whose condition fails': {
    given: [{ ...POLICY, condition: compileCondition('workload.attributes["team"] == "core"') }],
    lets: NOTHING,
  },
  'a policy that asks humans': {
    given: [{ ...POLICY, approval: APPROVAL, defaultTtlSeconds: 120 }],
    lets: where({ capability: ['repo.read'], resource: REPOS, mode: ['proxy'] }),
    seconds: 120,
    approval: APPROVAL,
  },
};

interface Toolbox {
  tools: Tool[];
  toolContext: string[];
}
const GITHUB: Tool = { ...TOOL, allowedDeliveryModes: BOTH_MODES, allowedCapabilities: ['repo.*'] };
const BROWSER: Tool = { ...GITHUB, name: 'browser', runtimeClass: 'browser', trustTags: ['trusted', 'screen'] };
const NAMES = ['github', 'browser'];

const TOOLS: Variants<Toolbox> = {
  'both tools': { given: { tools: [GITHUB, BROWSER], toolContext: NAMES }, lets: ANYTHING },
  'a tool missing': { given: { tools: [BROWSER], toolContext: ['browser'] }, lets: where({ tool: ['browser'] }) },
  'a tool missing that the context names': { given: { tools: [BROWSER], toolContext: NAMES }, lets: NOTHING },
  'a tool not in the context': {
    given: { tools: [GITHUB, BROWSER], toolContext: ['github'] },
    lets: where({ tool: ['github'] }),
  },
  'a tool without the capability': {
    given: { tools: [{ ...GITHUB, allowedCapabilities: ['repo.write', 'issue.*'] }, BROWSER], toolContext: NAMES },
    lets: new Set([...where({ tool: ['github'], capability: ['repo.write'] }), ...where({ tool: ['browser'] })]),
  },
  'a tool without the mode': {
    given: { tools: [GITHUB, { ...BROWSER, allowedDeliveryModes: ['wrapped_secret'] }], toolContext: NAMES },
    lets: new Set([...where({ tool: ['github'] }), ...where({ tool: ['browser'], mode: ['wrapped_secret'] })]),
  },
};

const DELEGATIONS: Variants<Delegation | null> = {
  'no delegation': { given: null, lets: ANYTHING },
  'a delegation of everything': {
    given: { ...DELEGATION, allowedCapabilities: ['*'], resourceFilters: {} },
    lets: ANYTHING,
  },
  'a delegation of another capability': {
    given: { ...DELEGATION, allowedCapabilities: ['repo.write'], resourceFilters: {} },
    lets: where({ capability: ['repo.write'] }),
  },
  'a delegation of another resource': {
    given: { ...DELEGATION, allowedCapabilities: ['repo.*'], resourceFilters: { github_repo: ['ACME/Gadgets'] } },
    lets: where({ resource: ['github:repo:acme/gadgets', 'dbrole:reader'] }),
  },
  'a delegation of no database role': {
    given: { ...DELEGATION, allowedCapabilities: ['repo.*'], resourceFilters: { db_role: ['READER'] } },
    lets: where({ resource: REPOS }),
  },
  'a delegation that ends soon': {
    given: { ...DELEGATION, resourceFilters: {}, expiresAt: after(30) },
    lets: where({ capability: ['repo.read'] }),
    seconds: 30,
  },
  'a delegation that has ended': { given: { ...DELEGATION, expiresAt: after(-1) }, lets: NOTHING },
  'a matching delegation': {
    given: DELEGATION,
    lets: where({ capability: ['repo.read'], resource: ['github:repo:acme/widgets', 'dbrole:reader'] }),
  },
};

const BINDING: WorkloadBinding = {
  tenantId: TENANT,
  identityType: 'k8s_sa',
  issuer: openSession().workload.issuer,
  agents: ['*'],
};

const BINDINGS: Variants<WorkloadBinding[]> = {
  'no binding': { given: [], lets: NOTHING },
  'a binding of another agent': { given: [{ ...BINDING, agents: ['writer'] }], lets: NOTHING },
  'a binding of another namespace': { given: [{ ...BINDING, namespace: 'prod' }], lets: NOTHING },
  'a binding of another attribute': { given: [{ ...BINDING, attributes: { node_name: 'node-2' } }], lets: NOTHING },
  'a matching binding': {
    given: [{ ...BINDING, namespace: 'ag*', attributes: { node_name: 'node-1' }, agents: ['writer', 'rev*'] }],
    lets: ANYTHING,
  },
};

const SESSION = openSession();

/** The session's authorizer and the grants', one after the other, as the broker asks them. */
function authorizersOf(policies: Policy[], { tools, toolContext }: Toolbox, bindings: WorkloadBinding[]) {
  const registry = makeToolRegistry(tools);
  const sessions = makeSessionAuthorizer({ bindings, tools: registry });
  const grants = makePolicyEngine({ tools: registry, policies, revision: '' });
  return { sessions, grants, toolContext };
}

function questionOf(asked: Asked, delegation: Delegation | null, toolContext: string[]): GrantQuestion {
  const { tool, capability, resource, mode: deliveryMode, holder } = asked;
  const proofKeyThumbprint = holder === 'key' ? 'thumbprint' : null;
  const session = { ...SESSION, delegation, toolContext, proofKeyThumbprint };
  const ref = parseResourceRef(resource);
  return { session, tool, capability, resource: ref, deliveryMode, ttlSeconds: null, now: START };
}

function decideBoth({ sessions, grants }: ReturnType<typeof authorizersOf>, question: GrantQuestion) {
  const { session } = question;
  const asked = { ...session, identity: session.workload };
  const opened = sessions.decide(asked);
  const decision = opened.allowed ? grants.decide(question) : opened;
  const denied = [...sessions.explain(asked), ...grants.explain(question)].find(({ outcome }) => outcome === 'denied');
  return { decision, denied };
}

/** The first rule that an explanation says denied, as the denial that it would be; null when none did. */
const asDenial = (denied: Verdict | undefined) => {
  if (denied === undefined) return null;
  const { outcome: _, ...denial } = denied;
  return { allowed: false, ...denial };
};

const combinations = Object.entries(POLICIES).flatMap(([policyName, policy]) =>
  Object.entries(TOOLS).flatMap(([toolName, tool]) =>
    Object.entries(BINDINGS).map(([bindingName, binding]) => ({
      name: `${policyName}, ${toolName}, ${bindingName}`,
      policy,
      tool,
      binding,
    })),
  ),
);

describe('what is allowed lies inside policy, tool, delegation and binding, in every combination', () => {
  const seen = { allowed: 0, denied: 0, reasons: new Set<string>() };

  test.each(combinations)('$name', ({ policy, tool, binding }) => {
    const authorizers = authorizersOf(policy.given, tool.given, binding.given);
    const decided: string[] = [];
    const expected: string[] = [];
    for (const [delegationName, delegation] of Object.entries(DELEGATIONS)) {
      const layers = [policy, tool, delegation, binding];
      const seconds = Math.min(...layers.map((layer) => layer.seconds ?? POLICY.defaultTtlSeconds));
      const terms = JSON.stringify([policy.seconds ?? 300, after(seconds), policy.approval ?? null]);
      for (const asked of ALL) {
        const { decision, denied } = decideBoth(authorizers, questionOf(asked, delegation.given, tool.given.toolContext));
        const name = `${delegationName}: ${nameOf(asked)}`;
        const allowed = layers.every(({ lets }) => lets.has(nameOf(asked)));
        expected.push(`${name}: ${allowed ? terms : 'denied'}, and explained`);

        const agreed = isDeepStrictEqual(asDenial(denied), decision.allowed ? null : decision);
        const given = 'approval' in decision && JSON.stringify([decision.ttlSeconds, decision.expiresAt, decision.approval]);
        decided.push(`${name}: ${given || 'denied'}${agreed ? ', and explained' : ', but explained otherwise'}`);
        if ('reason' in decision) seen.reasons.add(decision.reason);
        seen[decision.allowed ? 'allowed' : 'denied'] += 1;
      }
    }
    expect(decided).toEqual(expected);
  });

  test('and the table has seen every reason there is for it, and many of both answers', () => {
    expect([...seen.reasons].sort()).toEqual([
      'capability_not_allowed',
      'capability_not_delegated',
      'condition_failed',
      'condition_not_met',
      'delegation_not_accepted',
      'delivery_mode_not_allowed',
      'policy_missing',
      'proof_required',
      'resource_kind_mismatch',
      'resource_not_delegated',
      'tool_not_in_context',
      'tool_not_registered',
      'tool_tags_missing',
      'workload_not_bound',
    ]);
    expect(seen.allowed).toBeGreaterThan(1000);
    expect(seen.denied).toBeGreaterThan(10_000);
  });
});

import { describe, expect, test } from 'vitest';
import { findPolicyProblems } from '../../src/authz/policy-problems.ts';
import { makePolicyEngine } from '../../src/authz/policy-engine.ts';
import { findToolProblems, makeToolRegistry } from '../../src/authz/tool-registry.ts';
import type { Policy } from '../../src/domain/policy.ts';
import { parseResourceRef } from '../../src/domain/resource.ts';
import { after, START } from '../support/entities.ts';
import { APPROVAL, decide, DELEGATION, explain, OTHER_TENANT, POLICY, TOOL, type World } from './world.ts';

const delegated = (overrides: Partial<typeof DELEGATION>): World => ({
  session: { delegation: { ...DELEGATION, ...overrides } },
});
const throwing = {
  source: 'broken',
  holds: () => {
    throw new Error('no such field');
  },
};

/** Each denied by one rule, in the order in which the rules are asked. */
const DENIALS: readonly [attempt: string, world: World, reason: string, rule: string][] = [
  ['a tool nobody registered', { question: { tool: 'shell' } }, 'tool_not_registered', 'tool:shell'],
  ["another tenant's tool", { tool: { tenantId: OTHER_TENANT } }, 'tool_not_registered', 'tool:github'],
  ['a tool outside the tool context', { session: { toolContext: ['browser'] } }, 'tool_not_in_context', 'tool_context'],
  ['an empty tool context', { session: { toolContext: [] } }, 'tool_not_in_context', 'tool_context'],
  ['a wildcard in the tool context', { session: { toolContext: ['*'] } }, 'tool_not_in_context', 'tool_context'],
  [
    'a capability the tool may not use',
    { tool: { allowedCapabilities: ['repo.write'] } },
    'capability_not_allowed',
    'tool:github',
  ],
  [
    'a wildcard that does not reach',
    { tool: { allowedCapabilities: ['issue.*'] } },
    'capability_not_allowed',
    'tool:github',
  ],
  [
    'a capability asked for by wildcard',
    { tool: { allowedCapabilities: ['repo.read', 'repo.write'] }, question: { capability: 'repo.*' } },
    'capability_not_allowed',
    'tool:github',
  ],
  [
    'a delivery the tool may not receive',
    { tool: { allowedDeliveryModes: ['wrapped_secret'] } },
    'delivery_mode_not_allowed',
    'tool:github',
  ],
  ['no policy for the capability', { policy: { capability: 'repo.write' } }, 'policy_missing', 'policy:repo.read'],
  ["another tenant's policy", { policy: { tenantId: OTHER_TENANT } }, 'policy_missing', 'policy:repo.read'],
  [
    'a resource of another kind',
    { question: { resource: parseResourceRef('dbrole:analytics_ro') } },
    'resource_kind_mismatch',
    'policy:repo.read',
  ],
  [
    'a delivery the policy does not list',
    { policy: { allowedDeliveryModes: ['minted_token'] } },
    'delivery_mode_not_allowed',
    'policy:repo.read',
  ],
  ['a tool without a required tag', { tool: { trustTags: ['github'] } }, 'tool_tags_missing', 'policy:repo.read'],
  ['a session without the proof asked for', { policy: { requiresProof: true } }, 'proof_required', 'policy:repo.read'],
  ['a delegation that has run out', delegated({ expiresAt: START }), 'delegation_not_accepted', 'delegation'],
  ['a delegation of nothing', delegated({ allowedCapabilities: [] }), 'capability_not_delegated', 'delegation'],
  [
    'a capability that was not delegated',
    delegated({ allowedCapabilities: ['repo.write', 'issue.*'] }),
    'capability_not_delegated',
    'delegation',
  ],
  [
    'a repository that was not delegated',
    delegated({ resourceFilters: { github_repo: ['acme/gadgets'] } }),
    'resource_not_delegated',
    'delegation',
  ],
  [
    'a kind of which nothing was delegated',
    delegated({ resourceFilters: { github_repo: [] } }),
    'resource_not_delegated',
    'delegation',
  ],
  [
    'a condition that does not hold',
    { policy: { condition: { source: 'false', holds: () => false } } },
    'condition_not_met',
    'policy:repo.read',
  ],
  ['a condition that throws', { policy: { condition: throwing } }, 'condition_failed', 'policy:repo.read'],
];

describe('what no rule allows is denied, with a reason and the rule that said no', () => {
  test.each(DENIALS)('%s', (_attempt, world, reason, rule) => {
    expect(decide(world)).toMatchObject({ allowed: false, reason, rule });
  });

  test.each(DENIALS)('%s, as the first denial that is explained', (_attempt, world) => {
    const { allowed: _, ...denial } = decide(world);
    expect(explain(world).find(({ outcome }) => outcome === 'denied')).toEqual({ ...denial, outcome: 'denied' });
  });

  test('what every rule allows is allowed by its policy', () => {
    expect(decide()).toMatchObject({ allowed: true, rule: 'policy:repo.read', approval: null });
    expect(decide({ tool: { allowedCapabilities: ['repo.*'] } })).toMatchObject({ allowed: true });
    expect(decide({ policy: { condition: { source: 'true', holds: () => true } } })).toMatchObject({ allowed: true });
    expect(decide({ policy: { requiresProof: true }, session: { proofKeyThumbprint: 'key' } })).toMatchObject({
      allowed: true,
    });
    expect(decide({ policy: { approval: APPROVAL } })).toMatchObject({ allowed: true, approval: APPROVAL });
  });

  test.each<[name: string, world: World]>([
    ['exactly', delegated({})],
    ['by a wildcard', delegated({ allowedCapabilities: ['repo.*'] })],
    ['in another case, which GitHub ignores', delegated({ resourceFilters: { github_repo: ['ACME/Widgets'] } })],
    ['with a filter on another kind alone', delegated({ resourceFilters: { db_role: [] } })],
  ])('what was delegated is allowed: %s', (_name, world) => {
    expect(decide(world)).toMatchObject({ allowed: true });
  });
});

describe('an explanation', () => {
  const everything: World = {
    policy: { condition: { source: 'true', holds: () => true } },
    session: { delegation: DELEGATION },
  };
  const rulesOf = (world: World) => explain(world).map(({ rule, outcome }) => `${rule} ${outcome}`);

  test('names every rule in the order in which they are asked', () => {
    expect(rulesOf(everything)).toEqual([
      'tool:github allowed',
      'tool_context allowed',
      'tool:github allowed',
      'tool:github allowed',
      'policy:repo.read allowed',
      'policy:repo.read allowed',
      'policy:repo.read allowed',
      'policy:repo.read allowed',
      'policy:repo.read allowed',
      'delegation allowed',
      'delegation allowed',
      'delegation allowed',
      'policy:repo.read allowed',
    ]);
  });

  test('goes on after a denial, and leaves out what hangs on a thing that is not there', () => {
    expect(rulesOf({ question: { tool: 'shell', capability: 'repo.write' } })).toEqual([
      'tool:shell denied',
      'tool_context denied',
      'policy:repo.write denied',
    ]);
    expect(rulesOf({ question: { tool: 'shell' } })).toEqual([
      'tool:shell denied',
      'tool_context denied',
      'policy:repo.read allowed',
      'policy:repo.read allowed',
      'policy:repo.read allowed',
      'policy:repo.read allowed',
    ]);
  });

  test('never shows what a broken condition threw', () => {
    expect(
      JSON.stringify([decide({ policy: { condition: throwing } }), explain({ policy: { condition: throwing } })]),
    ).not.toMatch(/no such field/);
  });
});

describe('the expiry is the least of what was asked, the policy, the session and the delegation', () => {
  const ends = (world: World) => {
    const decision = decide(world);
    if (!decision.allowed) throw new Error(decision.message);
    return [decision.ttlSeconds, (decision.expiresAt.getTime() - START.getTime()) / 1000];
  };

  test.each<[name: string, world: World, ttlSeconds: number, seconds: number]>([
    ['nothing asked: the default', {}, 300, 300],
    ['less asked', { question: { ttlSeconds: 60 } }, 60, 60],
    ['more asked than the maximum', { question: { ttlSeconds: 86_400 } }, 600, 600],
    ['a session that ends first', { question: { ttlSeconds: 600 }, session: { expiresAt: after(20) } }, 600, 20],
    ['a delegation that ends first', delegated({ expiresAt: after(10) }), 300, 10],
    ['a delegation that ends later', delegated({ expiresAt: after(10_000) }), 300, 300],
  ])('%s', (_name, world, ttlSeconds, seconds) => {
    expect(ends(world)).toEqual([ttlSeconds, seconds]);
  });
});

describe('a configuration that cannot be meant stops the start', () => {
  const tools = makeToolRegistry([TOOL]);
  const approval = (change: Partial<typeof APPROVAL>): Partial<Policy> => ({ approval: { ...APPROVAL, ...change } });

  test.each<[name: string, change: Partial<Policy>, path: (string | number)[], message: RegExp]>([
    ['a default above the maximum', { defaultTtlSeconds: 601 }, ['defaultTtlSeconds'], /default TTL/],
    ['a default of nought', { defaultTtlSeconds: 0 }, ['defaultTtlSeconds'], /default TTL/],
    ['a default that is no number', { defaultTtlSeconds: Number.NaN }, ['defaultTtlSeconds'], /default TTL/],
    ['a default of half seconds', { defaultTtlSeconds: 1.5 }, ['defaultTtlSeconds'], /whole seconds/],
    ['a maximum above a day', { maxTtlSeconds: 86_401 }, ['maxTtlSeconds'], /maximum TTL/],
    ['a maximum without end', { maxTtlSeconds: Number.POSITIVE_INFINITY }, ['maxTtlSeconds'], /maximum TTL/],
    ['no delivery mode', { allowedDeliveryModes: [] }, ['allowedDeliveryModes'], /no delivery mode/],
    ['nought approvers', approval({ requiredApprovers: 0 }), ['approval', 'requiredApprovers'], /at least 1 approver/],
    ['fewer than nought', approval({ requiredApprovers: -1 }), ['approval', 'requiredApprovers'], /at least 1 approver/],
    ['half an approver', approval({ requiredApprovers: 1.5 }), ['approval', 'requiredApprovers'], /at least 1 approver/],
    ['no time to approve', approval({ ttlSeconds: 0 }), ['approval', 'ttlSeconds'], /approval TTL/],
    ['days to approve', approval({ ttlSeconds: 100_000 }), ['approval', 'ttlSeconds'], /approval TTL/],
    ['a capability by wildcard', { capability: 'repo.*' }, ['capability'], /in full/],
    ['a capability without a name', { capability: '' }, ['capability'], /in full/],
  ])('%s', (_name, change, path, message) => {
    const policies = [
      { ...POLICY, capability: 'other' },
      { ...POLICY, ...change },
    ];
    expect(findPolicyProblems(policies)).toEqual([{ index: 1, path, message: expect.stringMatching(message) }]);
    expect(() => makePolicyEngine({ tools, policies, revision: '' })).toThrow(message);
  });

  test('two policies for one capability of a tenant, but not of two tenants', () => {
    const elsewhere = { ...POLICY, tenantId: OTHER_TENANT };
    expect(findPolicyProblems([POLICY, elsewhere, POLICY])).toMatchObject([{ index: 2, path: ['capability'] }]);
    expect(() => makePolicyEngine({ tools, policies: [POLICY, POLICY], revision: '' })).toThrow(
      /two policies for repo.read/,
    );
    expect(findPolicyProblems([POLICY, elsewhere])).toEqual([]);
  });

  test('all mistakes are told at once', () => {
    const policies = [{ ...POLICY, defaultTtlSeconds: 0, allowedDeliveryModes: [], ...approval({ requiredApprovers: 0 }) }];
    expect(findPolicyProblems(policies)).toHaveLength(3);
    expect(() => makePolicyEngine({ tools, policies, revision: '' })).toThrow(
      /default TTL.*; .*delivery mode.*; .*approver/,
    );
  });

  test('one tool twice, and a pattern with a * inside', () => {
    expect(() => makeToolRegistry([TOOL, TOOL])).toThrow(/github is registered twice/);
    expect(findToolProblems([TOOL, { ...TOOL, tenantId: OTHER_TENANT }])).toEqual([]);
    expect(findToolProblems([{ ...TOOL, allowedCapabilities: ['repo.read', '*.read'] }])).toMatchObject([
      { index: 0, path: ['allowedCapabilities', 1] },
    ]);
  });
});

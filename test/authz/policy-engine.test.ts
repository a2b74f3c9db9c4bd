import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { makePolicyEngine } from '../../src/authz/policy-engine.ts';
import { makeToolRegistry } from '../../src/authz/tool-registry.ts';
import { DELIVERY_MODES, type DeliveryMode } from '../../src/domain/grant.ts';
import type { GrantQuestion } from '../../src/domain/grant-authorizer.ts';
import type { TenantId } from '../../src/domain/ids.ts';
import type { Policy } from '../../src/domain/policy.ts';
import { parseResourceRef } from '../../src/domain/resource.ts';
import type { Tool } from '../../src/domain/tool.ts';
import { aSession } from '../support/entities.ts';

const TENANT = 't_dev' as TenantId;
const NOW = new Date('2026-01-02T03:04:05Z');

const TOOL: Tool = {
  tenantId: TENANT,
  name: 'github',
  manifestHash: 'sha256:dev',
  runtimeClass: 'hosted',
  allowedDeliveryModes: ['proxy'],
  allowedCapabilities: ['repo.read'],
  trustTags: ['trusted', 'github'],
};

const POLICY: Policy = {
  tenantId: TENANT,
  capability: 'repo.read',
  resourceKind: 'github_repo',
  allowedDeliveryModes: ['proxy'],
  defaultTtlSeconds: 300,
  maxTtlSeconds: 600,
  approvalMode: 'none',
  requiredToolTags: ['trusted'],
  condition: null,
};

interface World {
  tool?: Partial<Tool>;
  policy?: Partial<Policy>;
  question?: Partial<GrantQuestion>;
  sessionSeconds?: number;
  toolContext?: string[];
}

function decide(world: World = {}) {
  const engine = makePolicyEngine({
    tools: makeToolRegistry([{ ...TOOL, ...world.tool }]),
    policies: [{ ...POLICY, ...world.policy }],
    revision: 'r1',
  });
  return engine.decide({
    session: {
      ...aSession(),
      state: 'active',
      tenantId: TENANT,
      toolContext: world.toolContext ?? ['github'],
      expiresAt: new Date(NOW.getTime() + (world.sessionSeconds ?? 900) * 1000),
    },
    tool: 'github',
    capability: 'repo.read',
    resource: parseResourceRef('github:repo:acme/widgets'),
    deliveryMode: 'proxy',
    ttlSeconds: null,
    now: NOW,
    ...world.question,
  });
}

const secondsGranted = (world: World): number => {
  const decision = decide(world);
  if (!decision.allowed) throw new Error(decision.message);
  return (decision.expiresAt.getTime() - NOW.getTime()) / 1000;
};

describe('deny by default, with a reason', () => {
  const throwing = {
    source: 'broken',
    holds: () => {
      throw new Error('no such field');
    },
  };
  test.each<[attempt: string, world: World, reason: string]>([
    ['a tool nobody registered', { question: { tool: 'shell' } }, 'tool_not_registered'],
    ["another tenant's tool", { tool: { tenantId: 't_other' as TenantId } }, 'tool_not_registered'],
    ['a tool outside the tool context', { toolContext: ['browser'] }, 'tool_not_in_context'],
    ['an empty tool context', { toolContext: [] }, 'tool_not_in_context'],
    ['a capability the tool may not use', { tool: { allowedCapabilities: ['repo.write'] } }, 'capability_not_allowed'],
    ['a wildcard that does not reach', { tool: { allowedCapabilities: ['issue.*'] } }, 'capability_not_allowed'],
    ['a wildcard in the middle is no wildcard', { tool: { allowedCapabilities: ['r*.read'] } }, 'capability_not_allowed'],
    [
      'a delivery the tool may not receive',
      { tool: { allowedDeliveryModes: ['wrapped_secret'] } },
      'delivery_mode_not_allowed',
    ],
    ['no policy for the capability', { policy: { capability: 'repo.write' } }, 'policy_missing'],
    ["another tenant's policy", { policy: { tenantId: 't_other' as TenantId } }, 'policy_missing'],
    [
      'a resource of another kind',
      { question: { resource: parseResourceRef('dbrole:analytics_ro') } },
      'resource_kind_mismatch',
    ],
    ['a delivery the policy does not list', { policy: { allowedDeliveryModes: [] } }, 'delivery_mode_not_allowed'],
    ['a tool without a required tag', { tool: { trustTags: ['github'] } }, 'tool_tags_missing'],
    [
      'a condition that does not hold',
      { policy: { condition: { source: 'false', holds: () => false } } },
      'condition_not_met',
    ],
    ['a condition that throws', { policy: { condition: throwing } }, 'condition_failed'],
  ])('%s is denied', (_attempt, world, reason) => {
    expect(decide(world)).toMatchObject({ allowed: false, reason });
  });

  test('what every rule allows is allowed', () => {
    expect(decide()).toMatchObject({ allowed: true, approvalMode: 'none' });
    expect(decide({ tool: { allowedCapabilities: ['repo.*'] } })).toMatchObject({ allowed: true });
    expect(decide({ policy: { condition: { source: 'true', holds: () => true } } })).toMatchObject({ allowed: true });
    expect(decide({ policy: { approvalMode: 'live_human' } })).toMatchObject({ allowed: true, approvalMode: 'live_human' });
  });
});

describe('the expiry is the least of what was asked, the policy and the session', () => {
  test.each<[name: string, world: World, seconds: number]>([
    ['nothing asked: the default', {}, 300],
    ['less asked', { question: { ttlSeconds: 60 } }, 60],
    ['more asked than the maximum', { question: { ttlSeconds: 86_400 } }, 600],
    ['a session that ends first', { question: { ttlSeconds: 600 }, sessionSeconds: 20 }, 20],
  ])('%s', (_name, world, seconds) => {
    expect(secondsGranted(world)).toBe(seconds);
  });
});

describe('a configuration that cannot be meant stops the start', () => {
  const tools = makeToolRegistry([TOOL]);
  test.each<[name: string, make: () => unknown, message: RegExp]>([
    [
      'two policies for one capability',
      () => makePolicyEngine({ tools, policies: [POLICY, POLICY], revision: '' }),
      /two policies for repo.read/,
    ],
    [
      'a default above the maximum',
      () => makePolicyEngine({ tools, policies: [{ ...POLICY, defaultTtlSeconds: 601 }], revision: '' }),
      /default TTL/,
    ],
    [
      'a TTL of nought',
      () => makePolicyEngine({ tools, policies: [{ ...POLICY, defaultTtlSeconds: 0 }], revision: '' }),
      /default TTL/,
    ],
    ['one tool twice', () => makeToolRegistry([TOOL, TOOL]), /github is registered twice/],
  ])('%s', (_name, make, message) => {
    expect(make).toThrow(message);
  });
});

describe('no request widens a grant', () => {
  // The right values come often, so that enough draws are allowed to say something.
  const mostly = <T>(likely: T, ...others: T[]): fc.Arbitrary<T> =>
    fc.oneof({ weight: 4, arbitrary: fc.constant(likely) }, { weight: 1, arbitrary: fc.constantFrom(...others) });
  const names = mostly('github', 'browser', 'db', 'git', 'github*', '*', '');
  const capabilities = mostly('repo.read', 'repo.write', 'repo.*', 'repo', '*', 'db.read');
  const modes = fc.subarray<DeliveryMode>([...DELIVERY_MODES]);
  const world = fc.record({
    tool: fc.record({
      allowedCapabilities: fc.array(capabilities, { maxLength: 3 }),
      allowedDeliveryModes: modes,
      trustTags: fc.subarray(['trusted', 'github', 'db']),
    }),
    policy: fc.record({
      allowedDeliveryModes: modes,
      requiredToolTags: fc.subarray(['trusted', 'github', 'db']),
      defaultTtlSeconds: fc.integer({ min: 1, max: 300 }),
      maxTtlSeconds: fc.integer({ min: 300, max: 3600 }),
    }),
    question: fc.record({
      tool: names,
      capability: capabilities,
      deliveryMode: mostly<DeliveryMode>('proxy', 'wrapped_secret', 'minted_token'),
      ttlSeconds: fc.option(fc.integer({ min: 1, max: 1_000_000 })),
      resource: mostly('github:repo:acme/widgets', 'dbrole:x_ro', 'browser_origin:https://a.example').map(parseResourceRef),
    }),
    toolContext: fc.array(names, { maxLength: 3 }),
    sessionSeconds: fc.integer({ min: 1, max: 900 }),
  });

  test('whatever is allowed lies inside policy, tool, tool context and session', () => {
    let allowed = 0;
    fc.assert(
      fc.property(world, (given) => {
        const decision = decide(given);
        if (!decision.allowed) return;
        allowed += 1;
        const { tool, policy, question } = given;
        expect(question.tool).toBe('github');
        expect(given.toolContext).toContain('github');
        expect(question.capability).toBe('repo.read');
        expect(tool.allowedCapabilities.some((one) => ['repo.read', 'repo.*', '*'].includes(one))).toBe(true);
        expect(tool.allowedDeliveryModes).toContain(question.deliveryMode);
        expect(policy.allowedDeliveryModes).toContain(question.deliveryMode);
        expect(tool.trustTags).toEqual(expect.arrayContaining(policy.requiredToolTags));
        expect(question.resource.kind).toBe('github_repo');
        const seconds = (decision.expiresAt.getTime() - NOW.getTime()) / 1000;
        expect(seconds).toBeGreaterThan(0);
        expect(seconds).toBeLessThanOrEqual(
          Math.min(question.ttlSeconds ?? policy.defaultTtlSeconds, policy.maxTtlSeconds, given.sessionSeconds),
        );
      }),
      { numRuns: 20_000 },
    );
    expect(allowed).toBeGreaterThan(100);
  });

  test('a rule that is added only ever narrows', () => {
    const narrowings: fc.Arbitrary<(given: World) => World> = fc.constantFrom(
      (given) => ({
        ...given,
        policy: { ...given.policy, requiredToolTags: [...(given.policy?.requiredToolTags ?? []), 'db'] },
      }),
      (given) => ({ ...given, policy: { ...given.policy, condition: { source: 'false', holds: () => false } } }),
      (given) => ({ ...given, policy: { ...given.policy, condition: { source: 'true', holds: () => true } } }),
      (given) => ({ ...given, tool: { ...given.tool, allowedDeliveryModes: [] } }),
      (given) => ({ ...given, sessionSeconds: 1 }),
      (given) => ({ ...given, toolContext: given.toolContext?.slice(1) ?? [] }),
    );
    fc.assert(
      fc.property(world, narrowings, (given, narrow) => {
        const before = decide(given);
        const after = decide(narrow(given));
        if (!after.allowed) return;
        expect(before.allowed).toBe(true);
        if (before.allowed) expect(after.expiresAt.getTime()).toBeLessThanOrEqual(before.expiresAt.getTime());
      }),
      { numRuns: 20_000 },
    );
  });
});

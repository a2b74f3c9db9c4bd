import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileCondition } from '../../src/authz/condition.ts';
import { makeToolRegistry } from '../../src/authz/tool-registry.ts';
import { makeSessionAuthorizer } from '../../src/authz/workload-bindings.ts';
import type { Delegation } from '../../src/domain/delegation.ts';
import { DELIVERY_MODES, type DeliveryMode } from '../../src/domain/grant.ts';
import type { AgentId } from '../../src/domain/ids.ts';
import type { Policy } from '../../src/domain/policy.ts';
import { parseResourceRef } from '../../src/domain/resource.ts';
import type { SessionQuestion } from '../../src/domain/session-authorizer.ts';
import type { Tool } from '../../src/domain/tool.ts';
import type { WorkloadBinding } from '../../src/domain/workload-binding.ts';
import { after, START } from '../support/entities.ts';
import { AGENT, decide, DELEGATION, explain, openSession, OTHER_TENANT, POLICY, TENANT, TOOL, type World } from './world.ts';

// The right values come often, so that enough draws are allowed to say something.
const mostly = <T>(likely: T, ...others: T[]): fc.Arbitrary<T> =>
  fc.oneof({ weight: 5, arbitrary: fc.constant(likely) }, { weight: 1, arbitrary: fc.constantFrom(...others) });

const names = mostly('github', 'browser', 'git', 'github*', '*', '');
const capabilities = mostly('repo.read', 'repo.write', 'repo.*', 'repo', '*', 'db.read');
const tags = fc.subarray(['trusted', 'github', 'db']);
const refs = mostly(
  'github:repo:acme/widgets',
  'github:repo:ACME/Widgets',
  'dbrole:x_ro',
  'browser_origin:https://a.example',
);
const modes = fc
  .tuple(fc.subarray<DeliveryMode>([...DELIVERY_MODES]), fc.boolean())
  .map(([some, proxy]): DeliveryMode[] => (proxy || some.length === 0 ? ['proxy', ...some] : some));
// None that asks for a delegation or for a short TTL: adding one of those fulfils such a condition, as its author wants.
const conditions = fc
  .constantFrom(
    null,
    'true',
    'false',
    'request.tool == "github"',
    'request.repo == "acme/widgets"',
    'request.ttl_seconds >= 60',
    'session.proof_bound',
    '!delegation.present',
    'workload.attributes.team == "core"',
    'session.tool_context.exists(t, t == "browser")',
  )
  .map((source) => (source === null ? null : compileCondition(source)));
const delegations: fc.Arbitrary<Delegation> = fc.record({
  issuer: fc.constant('https://idp.example'),
  subject: fc.constant('alice'),
  id: fc.constant('del_1'),
  tenantId: fc.constant(TENANT),
  agentId: fc.constant(AGENT),
  allowedCapabilities: fc.array(capabilities, { maxLength: 3 }),
  resourceFilters: fc.record(
    {
      github_repo: fc.array(mostly('Acme/widgets', 'acme/gadgets', '*'), { maxLength: 2 }),
      db_role: fc.array(fc.constantFrom('x_ro', 'X_RO'), { maxLength: 1 }),
    },
    { requiredKeys: [] },
  ),
  expiresAt: fc.integer({ min: -10, max: 1200 }).map(after),
});

const worlds: fc.Arbitrary<World> = fc.record({
  tool: fc.record({
    allowedCapabilities: fc.array(capabilities, { minLength: 1, maxLength: 3 }),
    allowedDeliveryModes: modes,
    trustTags: fc.oneof(fc.constant(['trusted', 'github', 'db']), tags),
  }),
  policy: fc.record({
    allowedDeliveryModes: modes,
    requiredToolTags: tags,
    defaultTtlSeconds: fc.integer({ min: 1, max: 300 }),
    maxTtlSeconds: fc.integer({ min: 300, max: 3600 }),
    requiresProof: mostly(false, true),
    condition: fc.oneof(fc.constant(null), conditions),
  }),
  session: fc.record({
    toolContext: fc.array(names, { minLength: 1, maxLength: 3 }),
    expiresAt: fc.integer({ min: 1, max: 900 }).map(after),
    proofKeyThumbprint: fc.constantFrom(null, 'thumbprint'),
    delegation: fc.oneof(fc.constant(null), delegations),
  }),
  question: fc.record({
    tool: names,
    capability: capabilities,
    deliveryMode: mostly<DeliveryMode>('proxy', 'wrapped_secret', 'minted_token'),
    ttlSeconds: fc.option(fc.integer({ min: 1, max: 86_400 })),
    resource: refs.map(parseResourceRef),
  }),
});

const withPolicy = (world: World, policy: Partial<Policy>): World => ({ ...world, policy: { ...world.policy, ...policy } });
const withTool = (world: World, tool: Partial<Tool>): World => ({ ...world, tool: { ...world.tool, ...tool } });

const RUNS = { numRuns: 2000 };

describe('no request widens a grant', () => {
  test('whatever is allowed lies inside policy, tool, tool context, session and delegation', () => {
    let allowed = 0;
    fc.assert(
      fc.property(worlds, (world) => {
        const decision = decide(world);
        if (!decision.allowed) return;
        allowed += 1;
        const { tool, policy, session, question } = world;
        expect(question?.tool).toBe('github');
        expect(session?.toolContext).toContain('github');
        expect(question?.capability).toBe('repo.read');
        expect(tool?.allowedCapabilities?.some((one) => ['repo.read', 'repo.*', '*'].includes(one))).toBe(true);
        expect(tool?.allowedDeliveryModes).toContain(question?.deliveryMode);
        expect(policy?.allowedDeliveryModes).toContain(question?.deliveryMode);
        expect(tool?.trustTags).toEqual(expect.arrayContaining([...(policy?.requiredToolTags ?? [])]));
        expect(question?.resource?.kind).toBe('github_repo');
        const seconds = (decision.expiresAt.getTime() - START.getTime()) / 1000;
        expect(seconds).toBeGreaterThan(0);
        expect(seconds).toBeLessThanOrEqual(question?.ttlSeconds ?? policy?.defaultTtlSeconds ?? 0);
        expect(seconds).toBeLessThanOrEqual(policy?.maxTtlSeconds ?? 0);
        for (const end of [session?.expiresAt, session?.delegation?.expiresAt]) {
          if (end !== undefined) expect(decision.expiresAt <= end).toBe(true);
        }
      }),
      RUNS,
    );
    expect(allowed).toBeGreaterThan(100);
  });

  const narrowings: Readonly<Record<string, fc.Arbitrary<(world: World) => World>>> = {
    'a delegation': delegations.map(
      (delegation) => (world) =>
        world.session?.delegation ? world : { ...world, session: { ...world.session, delegation } },
    ),
    'a required tag': fc
      .constantFrom('trusted', 'db', 'unheard_of')
      .map((tag) => (world) => withPolicy(world, { requiredToolTags: [...(world.policy?.requiredToolTags ?? []), tag] })),
    'a condition': conditions.map(
      (condition) => (world) => (world.policy?.condition ? world : withPolicy(world, { condition })),
    ),
    proof: fc.constant((world) => withPolicy(world, { requiresProof: true })),
    'a shorter maximum': fc.integer({ min: 1, max: 299 }).map(
      (most) => (world) =>
        withPolicy(world, {
          maxTtlSeconds: most,
          defaultTtlSeconds: Math.min(most, world.policy?.defaultTtlSeconds ?? most),
        }),
    ),
    'a tool of less': fc.constant((world) =>
      withTool(world, { allowedCapabilities: world.tool?.allowedCapabilities?.slice(1) ?? [], allowedDeliveryModes: [] }),
    ),
    'a smaller tool context': fc.constant((world) => ({
      ...world,
      session: { ...world.session, toolContext: world.session?.toolContext?.slice(1) ?? [] },
    })),
  };

  test.each(Object.entries(narrowings))('%s that is added only ever narrows', (name, narrowing) => {
    let stayed = 0;
    fc.assert(
      fc.property(worlds, narrowing, (world, narrow) => {
        const before = decide(world);
        const narrowed = decide(narrow(world));
        if (!narrowed.allowed) return;
        stayed += 1;
        expect(before.allowed).toBe(true);
        if (before.allowed) expect(narrowed.expiresAt <= before.expiresAt).toBe(true);
      }),
      RUNS,
    );
    // A tool that receives nothing lets nothing through; all others leave something to compare.
    if (name !== 'a tool of less') expect(stayed).toBeGreaterThan(20);
  });
});

describe('decision and explanation', () => {
  test('agree: the first rule that denies is the denial, and no rule denies what is allowed', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const decision = decide(world);
        const denied = explain(world).find(({ outcome }) => outcome === 'denied');
        const { allowed, ...denial } = decision;
        expect(denied).toEqual(allowed ? undefined : { ...denial, outcome: 'denied' });
      }),
      RUNS,
    );
  });
});

describe('no other tenant has a say', () => {
  const elsewhere = { tenantId: OTHER_TENANT };

  test('their tools and policies change neither decision nor explanation', () => {
    const others = fc.record({
      tools: fc.uniqueArray(
        fc.record({ name: fc.constantFrom('github', 'browser', '*'), allowedCapabilities: fc.constant(['*']) }),
        { selector: ({ name }) => name },
      ),
      policies: fc.uniqueArray(
        fc.record({ capability: fc.constantFrom('repo.read', 'repo.write', 'db.read'), requiresProof: fc.boolean() }),
        { selector: ({ capability }) => capability },
      ),
    });
    fc.assert(
      fc.property(worlds, others, (world, { tools, policies }) => {
        const crowded: World = {
          ...world,
          others: {
            tools: tools.map((tool) => ({ ...TOOL, allowedDeliveryModes: DELIVERY_MODES, ...tool, ...elsewhere })),
            policies: policies.map((policy) => ({ ...POLICY, maxTtlSeconds: 86_400, ...policy, ...elsewhere })),
          },
        };
        expect(decide(crowded)).toEqual(decide(world));
        expect(explain(crowded)).toEqual(explain(world));
        expect(JSON.stringify(explain(crowded))).not.toContain(OTHER_TENANT);
      }),
      RUNS,
    );
  });

  test('their bindings and tools change no session', () => {
    const { workload } = openSession();
    const bindings: fc.Arbitrary<WorkloadBinding[]> = fc.array(
      fc.record({
        tenantId: fc.constantFrom(TENANT, OTHER_TENANT),
        identityType: mostly<'k8s_sa' | 'oidc'>('k8s_sa', 'oidc'),
        issuer: mostly(workload.issuer, 'https://other.example'),
        subject: mostly('*', workload.subject, 'system:serviceaccount:agents:writer'),
        agents: fc.array(fc.constantFrom('*', 'rev*', 'reviewer', 'writer'), { minLength: 1, maxLength: 2 }),
      }),
      { maxLength: 6 },
    );
    const questions: fc.Arbitrary<SessionQuestion> = fc.record({
      identity: fc.constant(workload),
      tenantId: fc.constant(TENANT),
      agentId: fc.constantFrom(AGENT, 'writer' as AgentId),
      toolContext: fc.subarray(['github', 'browser']),
      delegation: fc.constantFrom(null, DELEGATION),
    });
    const theirs: Tool = { ...TOOL, name: 'browser', tenantId: OTHER_TENANT };
    let allowed = 0;
    fc.assert(
      fc.property(bindings, questions, (all, question) => {
        const ours = all.filter(({ tenantId }) => tenantId === TENANT);
        const alone = makeSessionAuthorizer({ bindings: ours, tools: makeToolRegistry([TOOL]) });
        const crowded = makeSessionAuthorizer({ bindings: all, tools: makeToolRegistry([TOOL, theirs]) });
        expect(crowded.decide(question)).toEqual(alone.decide(question));
        expect(crowded.explain(question)).toEqual(alone.explain(question));
        if (alone.decide(question).allowed) allowed += 1;
      }),
      RUNS,
    );
    expect(allowed).toBeGreaterThan(100);
  });
});

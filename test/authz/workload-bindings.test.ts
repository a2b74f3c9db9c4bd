import { describe, expect, test } from 'vitest';
import { makeToolRegistry } from '../../src/authz/tool-registry.ts';
import { findBindingProblems, makeSessionAuthorizer } from '../../src/authz/workload-bindings.ts';
import type { AgentId, TenantId } from '../../src/domain/ids.ts';
import type { SessionQuestion } from '../../src/domain/session-authorizer.ts';
import type { WorkloadIdentity } from '../../src/domain/workload.ts';
import type { WorkloadBinding } from '../../src/domain/workload-binding.ts';
import { AGENT, DELEGATION, OTHER_TENANT, TENANT, TOOL } from './world.ts';

const IDENTITY: WorkloadIdentity = {
  type: 'k8s_sa',
  issuer: 'https://kubernetes.example',
  subject: 'system:serviceaccount:agents:reviewer',
  audience: 'asb-control-plane',
  namespace: 'agents',
  serviceAccount: 'reviewer',
  attributes: { pod_name: 'reviewer-0', node_name: 'node-1' },
};

const BINDING: WorkloadBinding = {
  tenantId: TENANT,
  identityType: 'k8s_sa',
  issuer: IDENTITY.issuer,
  agents: ['*'],
};

const tools = makeToolRegistry([TOOL]);

const questionOf = (change: Partial<SessionQuestion> = {}): SessionQuestion => ({
  identity: IDENTITY,
  tenantId: TENANT,
  agentId: AGENT,
  toolContext: ['github'],
  delegation: null,
  ...change,
});

const decide = (binding: Partial<WorkloadBinding>, change: Partial<SessionQuestion> = {}) =>
  makeSessionAuthorizer({ bindings: [{ ...BINDING, ...binding }], tools }).decide(questionOf(change));

const who = (change: Partial<WorkloadIdentity>): Partial<SessionQuestion> => ({ identity: { ...IDENTITY, ...change } });

describe('no binding, no session', () => {
  test.each<[name: string, binding: Partial<WorkloadBinding>, change?: Partial<SessionQuestion>]>([
    ['the issuer alone', {}],
    ['the subject', { subject: IDENTITY.subject }],
    ['the beginning of the subject', { subject: 'system:serviceaccount:agents:*' }],
    ['namespace and service account', { namespace: 'agents', serviceAccount: 'rev*' }],
    ['an attribute', { attributes: { pod_name: 'reviewer-*' } }],
    ['the agent by name', { agents: ['writer', 'reviewer'] }],
    ['the agent by pattern', { agents: ['rev*'] }],
    [
      'all of it',
      { subject: '*', namespace: '*', serviceAccount: '*', attributes: { node_name: 'node-1' }, agents: [AGENT] },
    ],
    [
      'an identity without a namespace',
      { identityType: 'oidc' },
      who({ type: 'oidc', namespace: null, serviceAccount: null }),
    ],
  ])('a workload is bound by %s', (_name, binding, change) => {
    expect(decide(binding, change)).toEqual({ allowed: true });
  });

  test.each<[attempt: string, binding: Partial<WorkloadBinding>, change?: Partial<SessionQuestion>]>([
    ['another tenant', {}, { tenantId: OTHER_TENANT }],
    ['a tenant that does not exist', {}, { tenantId: 't_nowhere' as TenantId }],
    ['a tenant named by wildcard', {}, { tenantId: '*' as TenantId }],
    ['another issuer', {}, who({ issuer: 'https://other.example' })],
    ['an issuer that only begins alike', {}, who({ issuer: `${IDENTITY.issuer}.evil.example` })],
    ['an issuer that the binding names by wildcard', { issuer: 'https://*' }],
    ['another kind of identity from the same issuer', {}, who({ type: 'oidc' })],
    ['another subject', { subject: 'system:serviceaccount:agents:writer' }],
    ['a subject that only begins alike', { subject: 'system:serviceaccount:agents:review' }],
    ['another namespace', { namespace: 'agent', serviceAccount: 'reviewer' }],
    ['no namespace where one is asked for', { namespace: '*' }, who({ namespace: null })],
    ['another service account', { namespace: 'agents', serviceAccount: 'writer' }],
    ['an attribute of another value', { attributes: { pod_name: 'writer-*' } }],
    ['an attribute that is not there', { attributes: { node_uid: '*' } }],
    ['one of two attributes', { attributes: { pod_name: 'reviewer-0', node_name: 'node-2' } }],
    ['an attribute that every object has', { attributes: { constructor: '*' } }],
    ['an agent outside the list', { agents: ['writer'] }],
    ['an agent named by wildcard', { agents: ['reviewer'] }, { agentId: '*' as AgentId }],
  ])('%s is refused', (_attempt, binding, change) => {
    expect(decide(binding, change)).toMatchObject({ allowed: false, reason: 'workload_not_bound', rule: 'binding' });
  });

  test('one binding of several is enough, but parts of two do not make one', () => {
    const bindings: WorkloadBinding[] = [
      { ...BINDING, namespace: 'agents', agents: ['writer'] },
      { ...BINDING, namespace: 'other', agents: ['reviewer'] },
    ];
    expect(makeSessionAuthorizer({ bindings, tools }).decide(questionOf())).toMatchObject({ allowed: false });
    expect(makeSessionAuthorizer({ bindings: [...bindings, BINDING], tools }).decide(questionOf())).toEqual({
      allowed: true,
    });
  });

  test('an unknown tenant answers exactly as one that is not ours, whatever else is wrong', () => {
    const stranger = { ...IDENTITY, issuer: 'https://other.example' };
    const authorizer = makeSessionAuthorizer({ bindings: [BINDING, { ...BINDING, tenantId: OTHER_TENANT }], tools });
    for (const toolContext of [['github'], ['nothing']]) {
      const ask = (tenantId: TenantId) => authorizer.decide(questionOf({ tenantId, identity: stranger, toolContext }));
      expect(ask('t_nowhere' as TenantId)).toEqual(ask(OTHER_TENANT));
    }
  });

  test("another tenant's bindings are not even looked at", () => {
    let looked = 0;
    const watched: WorkloadBinding = {
      ...BINDING,
      tenantId: OTHER_TENANT,
      get issuer() {
        looked += 1;
        return IDENTITY.issuer;
      },
    };
    const authorizer = makeSessionAuthorizer({ bindings: [watched, BINDING], tools });
    looked = 0;
    expect(authorizer.decide(questionOf())).toEqual({ allowed: true });
    expect(looked).toBe(0);
    expect(authorizer.decide(questionOf({ tenantId: OTHER_TENANT, toolContext: [] }))).toEqual({ allowed: true });
    expect(looked).toBe(1);
  });
});

describe('what a bound workload may bring', () => {
  test.each<[attempt: string, change: Partial<SessionQuestion>, reason: string, rule: string]>([
    ['a tool that is not registered', { toolContext: ['github', 'shell'] }, 'tool_not_registered', 'tool_context'],
    [
      "a delegation to another tenant's agent",
      { delegation: { ...DELEGATION, tenantId: OTHER_TENANT } },
      'delegation_not_yours',
      'delegation',
    ],
    [
      'a delegation to another agent',
      { delegation: { ...DELEGATION, agentId: 'writer' as AgentId } },
      'delegation_not_yours',
      'delegation',
    ],
    [
      'a delegation to an agent by wildcard',
      { delegation: { ...DELEGATION, agentId: '*' as AgentId } },
      'delegation_not_yours',
      'delegation',
    ],
  ])('%s is refused', (_attempt, change, reason, rule) => {
    expect(decide({}, change)).toMatchObject({ allowed: false, reason, rule });
  });

  test('no tools, or a delegation of its own, is let through', () => {
    expect(decide({}, { toolContext: [] })).toEqual({ allowed: true });
    expect(decide({}, { delegation: DELEGATION })).toEqual({ allowed: true });
  });

  test('an explanation goes on after the first denial, which is the decision', () => {
    const authorizer = makeSessionAuthorizer({ bindings: [BINDING], tools });
    const wrong = questionOf({ agentId: 'writer' as AgentId, toolContext: ['shell'], delegation: DELEGATION });
    expect(authorizer.explain(wrong).map(({ rule, outcome }) => [rule, outcome])).toEqual([
      ['binding', 'allowed'],
      ['tool_context', 'denied'],
      ['delegation', 'denied'],
    ]);
    const { allowed: _, ...denial } = authorizer.decide(wrong);
    expect(authorizer.explain(wrong)[1]).toEqual({ ...denial, outcome: 'denied' });
    expect(authorizer.explain(questionOf()).map(({ rule }) => rule)).toEqual(['binding', 'tool_context']);
  });
});

describe('a binding that cannot be meant stops the start', () => {
  test.each<[name: string, change: Partial<WorkloadBinding>, path: (string | number)[], message: RegExp]>([
    ['a * inside the subject', { subject: 'system:*:agents' }, ['subject'], /before its end/],
    ['an empty service account', { serviceAccount: '' }, ['serviceAccount'], /is empty/],
    ['a * inside an attribute', { attributes: { pod_name: '*-0' } }, ['attributes', 'pod_name'], /before its end/],
    ['a * inside an agent', { agents: ['a', '*b'] }, ['agents', 1], /before its end/],
    ['nobody to act as', { agents: [] }, ['agents'], /agents is empty/],
    ['a namespace of an OIDC identity', { identityType: 'oidc', namespace: 'agents' }, ['namespace'], /only k8s_sa/],
    ['its service account', { identityType: 'oidc', serviceAccount: '*' }, ['serviceAccount'], /only k8s_sa/],
  ])('%s', (_name, change, path, message) => {
    const bindings = [BINDING, { ...BINDING, ...change }];
    expect(findBindingProblems(bindings)).toEqual([{ index: 1, path, message: expect.stringMatching(message) }]);
    expect(() => makeSessionAuthorizer({ bindings, tools })).toThrow(message);
  });
});

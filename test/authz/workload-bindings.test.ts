import { describe, expect, test } from 'vitest';
import { makeToolRegistry } from '../../src/authz/tool-registry.ts';
import { makeSessionAuthorizer } from '../../src/authz/workload-bindings.ts';
import type { AgentId, TenantId } from '../../src/domain/ids.ts';
import type { SessionQuestion } from '../../src/domain/session-authorizer.ts';
import { aSession } from '../support/entities.ts';

const ours = 't_dev' as TenantId;
const issuer = 'https://kubernetes.example';

const ROBOTS: readonly AgentId[] = ['robot' as AgentId];

const authorizer = makeSessionAuthorizer({
  bindings: [
    { tenantId: ours, identityType: 'k8s_sa', issuer, agents: 'any' },
    {
      tenantId: 't_other' as TenantId,
      identityType: 'k8s_sa',
      issuer: 'https://other.example',
      agents: ROBOTS,
    },
  ],
  tools: makeToolRegistry([
    {
      tenantId: ours,
      name: 'github',
      manifestHash: '',
      runtimeClass: 'hosted',
      allowedDeliveryModes: [],
      allowedCapabilities: [],
      trustTags: [],
    },
  ]),
});

const ask = (change: Partial<SessionQuestion> & { issuer?: string; type?: 'k8s_sa' | 'oidc' } = {}) =>
  authorizer.decide({
    identity: { ...aSession().workload, type: change.type ?? 'k8s_sa', issuer: change.issuer ?? issuer },
    tenantId: ours,
    agentId: 'anyone' as AgentId,
    toolContext: ['github'],
    ...change,
  });

describe('no binding, no session', () => {
  test('a workload of the bound issuer may act as any agent of its tenant', () => {
    expect(ask()).toEqual({ allowed: true });
  });

  test.each<[attempt: string, change: Parameters<typeof ask>[0], reason: string]>([
    ['another tenant', { tenantId: 't_other' as TenantId }, 'workload_not_bound'],
    ['a tenant that does not exist', { tenantId: 't_nowhere' as TenantId }, 'workload_not_bound'],
    ['another issuer', { issuer: 'https://other.example' }, 'workload_not_bound'],
    ['an issuer that only begins alike', { issuer: `${issuer}.evil.example` }, 'workload_not_bound'],
    ['another kind of identity from the same issuer', { type: 'oidc' }, 'workload_not_bound'],
    [
      'an agent outside the list',
      { tenantId: 't_other' as TenantId, issuer: 'https://other.example' },
      'workload_not_bound',
    ],
    ['a tool that is not registered', { toolContext: ['github', 'shell'] }, 'tool_not_registered'],
  ])('%s is refused', (_attempt, change, reason) => {
    expect(ask(change)).toMatchObject({ allowed: false, reason });
  });

  test('an unknown tenant answers exactly as one that is not ours', () => {
    expect(ask({ tenantId: 't_nowhere' as TenantId })).toEqual(ask({ tenantId: 't_other' as TenantId }));
  });
});

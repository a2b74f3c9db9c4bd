import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { workloadHash } from '../../src/authn/workload-hash.ts';
import type { WorkloadIdentity } from '../../src/domain/workload.ts';

const identity: WorkloadIdentity = {
  type: 'k8s_sa',
  issuer: 'https://kubernetes.default.svc.cluster.local',
  subject: 'system:serviceaccount:agents:runner',
  audience: 'asb-control-plane',
  namespace: 'agents',
  serviceAccount: 'runner',
  attributes: { pod_name: 'runner-7d4b9', node_name: 'worker-1' },
};

describe('workload hash', () => {
  test('is SHA-256 over the canonical JSON of the identity', () => {
    const canonical =
      '{"attributes":{"node_name":"worker-1","pod_name":"runner-7d4b9"},"audience":"asb-control-plane",' +
      '"issuer":"https://kubernetes.default.svc.cluster.local","namespace":"agents","service_account":"runner",' +
      '"subject":"system:serviceaccount:agents:runner","type":"k8s_sa"}';
    expect(workloadHash(identity)).toBe(createHash('sha256').update(canonical).digest('hex'));
  });

  // Computed with sha256sum over the canonical text.
  test.each<[string, WorkloadIdentity, string]>([
    ['a service account', identity, 'e6b54782051b313a0771c49338f90fa0b6210b4799096ed7e8f268bb8cd40b44'],
    [
      'an identity outside Kubernetes',
      { ...identity, type: 'oidc', subject: 'repo:acme/site', namespace: null, serviceAccount: null, attributes: {} },
      '0e2d163a47dcf82c4f2c0ffcc24e004a3e42b76ba32d02ea4efe993436a6e2e5',
    ],
    [
      'text beyond ASCII',
      { ...identity, attributes: { note: 'é€😀"\\' } },
      'ae3ca0cd8bde774b8452bc81e9b8ad3c8165270d8dda6aefd1e04907aa0f4def',
    ],
  ])('of %s stays what it was', (_name, value, hash) => {
    expect(workloadHash(value)).toBe(hash);
  });

  test('of an OIDC identity counts the ids behind its names and its client, not how a run came about', () => {
    const attributes = {
      azp: 'ci',
      client_id: 'ci',
      ref: 'refs/heads/main',
      repository_id: '74',
      repository_owner_id: '65',
    };
    const oidc = (changes: Record<string, string>): WorkloadIdentity => ({
      ...identity,
      type: 'oidc',
      namespace: null,
      serviceAccount: null,
      attributes: { ...attributes, ...changes },
    });
    const canonical =
      '{"attributes":{"azp":"ci","client_id":"ci","repository_id":"74","repository_owner_id":"65"},' +
      '"audience":"asb-control-plane","issuer":"https://kubernetes.default.svc.cluster.local","namespace":null,' +
      '"service_account":null,"subject":"system:serviceaccount:agents:runner","type":"oidc"}';
    expect(workloadHash(oidc({}))).toBe(createHash('sha256').update(canonical).digest('hex'));
    expect(workloadHash(oidc({ ref: 'refs/heads/x', run_id: '7', sha: 'ab' }))).toBe(workloadHash(oidc({})));
    for (const name of ['azp', 'client_id', 'repository_id', 'repository_owner_id']) {
      expect(workloadHash(oidc({ [name]: 'another' }))).not.toBe(workloadHash(oidc({})));
    }
  });

  test('does not depend on the order in which an identity was put together', () => {
    const reordered = Object.fromEntries(Object.entries(identity.attributes).reverse());
    expect(workloadHash({ ...identity, attributes: reordered })).toBe(workloadHash(identity));
  });

  test.each<[string, Partial<WorkloadIdentity>]>([
    ['type', { type: 'oidc' }],
    ['issuer', { issuer: 'https://other' }],
    ['subject', { subject: 'system:serviceaccount:agents:other' }],
    ['audience', { audience: 'other' }],
    ['namespace', { namespace: 'other' }],
    ['namespace, absent', { namespace: null }],
    ['service account', { serviceAccount: 'other' }],
    ['attributes', { attributes: { pod_name: 'runner-7d4b9', node_name: 'worker-2' } }],
    ['attributes, moved', { attributes: { pod_name: 'worker-1', node_name: 'runner-7d4b9' } }],
  ])('changes with the %s', (_name, change) => {
    expect(workloadHash({ ...identity, ...change })).not.toBe(workloadHash(identity));
  });
});

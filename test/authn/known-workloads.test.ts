import { expect, test } from 'vitest';
import { makeKnownWorkloads } from '../../src/authn/known-workloads.ts';
import { workloadHash } from '../../src/authn/workload-hash.ts';
import type { WorkloadIdentity } from '../../src/domain/workload.ts';

const anIdentity = (changes: Partial<WorkloadIdentity> = {}): WorkloadIdentity => ({
  type: 'k8s_sa',
  issuer: 'https://cluster.example',
  subject: 'system:serviceaccount:agents:reviewer',
  audience: 'asb-control-plane',
  namespace: 'agents',
  serviceAccount: 'reviewer',
  attributes: { pod_name: 'reviewer-1' },
  ...changes,
});

test('one workload is one object, whoever describes it', () => {
  const known = makeKnownWorkloads();
  const first = known(anIdentity());
  expect(first).toEqual({ identity: anIdentity(), hash: workloadHash(anIdentity()) });
  expect(known(anIdentity()).identity).toBe(first.identity);
});

test.each<[string, Partial<WorkloadIdentity>]>([
  ['subject', { subject: 'system:serviceaccount:agents:writer' }],
  ['issuer', { issuer: 'https://other.example' }],
  ['pod', { attributes: { pod_name: 'reviewer-2' } }],
  ['absent namespace', { namespace: null }],
])('another %s is another workload', (_name, changes) => {
  const known = makeKnownWorkloads();
  known(anIdentity());
  expect(known(anIdentity(changes))).toEqual({ identity: anIdentity(changes), hash: workloadHash(anIdentity(changes)) });
});

test('whoever holds a known workload cannot change it for others', () => {
  const known = makeKnownWorkloads();
  const given = anIdentity();
  const { identity } = known(given);
  expect(Reflect.set(identity, 'subject', 'spoilt')).toBe(false);
  expect(Reflect.set(identity.attributes, 'pod_name', 'spoilt')).toBe(false);
  Reflect.set(given.attributes, 'pod_name', 'spoilt');
  expect(known(anIdentity()).identity).toEqual(anIdentity());
});

/** As much as an identity may say of itself. */
const verbose = (subject: string, letter: string): WorkloadIdentity =>
  anIdentity({
    type: 'oidc',
    subject,
    attributes: Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`claim_${index}`, letter.repeat(512)])),
  });

test.each([
  ['Latin letters', 'a', 500],
  ['letters of two bytes', '\u0416', 250],
])('workloads that say much of themselves push each other out: %s', (_name, letter, most) => {
  const known = makeKnownWorkloads();
  const first = known(verbose('first', letter)).identity;
  expect(known(verbose('first', letter)).identity).toBe(first);
  for (let index = 0; index < most; index += 1) known(verbose(`other-${index}`, letter));
  expect(known(verbose('first', letter)).identity).not.toBe(first);
});

test('thousands of pods are known at once', () => {
  const known = makeKnownWorkloads();
  const pods = Array.from({ length: 5000 }, (_, index) => anIdentity({ attributes: { pod_name: `reviewer-${index}` } }));
  const first = pods.map((pod) => known(pod).identity);
  expect(pods.map((pod) => known(pod).identity).every((identity, index) => identity === first[index])).toBe(true);
});

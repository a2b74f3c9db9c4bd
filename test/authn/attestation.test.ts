import { describe, expect, test } from 'vitest';
import { type AttestationIssuer, makeAttestationVerifier } from '../../src/authn/attestation.ts';
import { makeK8sAttestation } from '../../src/authn/k8s-attestation.ts';
import { staticKeys } from '../../src/authn/key-source.ts';
import { makeOidcAttestation } from '../../src/authn/oidc-attestation.ts';
import { unauthorized, unavailable } from '../../src/domain/errors.ts';
import type { AttestationKind } from '../../src/domain/workload.ts';
import {
  AUDIENCE,
  ecKey,
  encodePart,
  GITHUB_ISSUER,
  makeEcKey,
  mintGitHubToken,
  mintProjectedToken,
} from '../support/attestations.ts';
import { FakeClock } from '../support/fake-clock.ts';

const refusing = (kind: AttestationKind, issuer: string): AttestationIssuer => ({
  kind,
  issuer,
  verify: () => Promise.reject(unauthorized(`asked ${issuer}`)),
});

describe('attestation by kind', () => {
  test('each kind reaches its own issuer', async () => {
    const verifier = makeAttestationVerifier([refusing('k8s_sa_jwt', 'cluster'), refusing('oidc_jwt', 'public')]);
    await expect(verifier.verify({ kind: 'k8s_sa_jwt', token: 't' })).rejects.toThrow('asked cluster');
    await expect(verifier.verify({ kind: 'oidc_jwt', token: 't' })).rejects.toThrow('asked public');
  });

  test('a kind that is not configured is unauthorized, and names the accepted ones', async () => {
    const verifier = makeAttestationVerifier([refusing('k8s_sa_jwt', 'cluster')]);
    await expect(verifier.verify({ kind: 'oidc_jwt', token: 't' })).rejects.toMatchObject({
      code: 'unauthorized',
      message: 'attestation.kind: use k8s_sa_jwt',
    });
  });

  test('a broker without any issuer does not start', () => {
    expect(() => makeAttestationVerifier([])).toThrow('no kind of attestation');
  });

  test('an issuer that is configured twice stops the start; one of two kinds does not', () => {
    const twice = [refusing('k8s_sa_jwt', 'a'), refusing('k8s_sa_jwt', 'a')];
    expect(() => makeAttestationVerifier(twice)).toThrow('attestations of kind k8s_sa_jwt: an issuer is configured twice');
    makeAttestationVerifier([refusing('k8s_sa_jwt', 'a'), refusing('oidc_jwt', 'a')]);
  });
});

const EAST = 'https://east.cluster.example';
const WEST = 'https://west.cluster.example';
const eastKey = ecKey;
const westKey = makeEcKey();
const publicKey = makeEcKey();

describe('several issuers', () => {
  const clock = new FakeClock();
  const now = clock.now();
  const common = { audience: AUDIENCE, clock };
  const verifier = makeAttestationVerifier([
    makeK8sAttestation({ ...common, issuer: EAST, keys: staticKeys([eastKey]), review: null }),
    makeK8sAttestation({ ...common, issuer: WEST, keys: staticKeys([westKey]), review: null }),
    makeOidcAttestation({
      ...common,
      issuer: GITHUB_ISSUER,
      keys: staticKeys([publicKey]),
      allowedSubjectPrefixes: ['repo:acme/', 'system:'],
    }),
  ]);
  const present = (kind: AttestationKind, token: string) => verifier.verify({ kind, token });

  test.each([
    [EAST, eastKey],
    [WEST, westKey],
  ])('each vouch for their own: %s', async (iss, key) => {
    const workload = await present('k8s_sa_jwt', await mintProjectedToken({ now, key, claims: { iss } }));
    expect(workload.identity.issuer).toBe(iss);
  });

  const NOT_SIGNED = /not signed by a key of the cluster/;
  test.each<[string, AttestationKind, () => Promise<string> | string, RegExp]>([
    ['east signs as west', 'k8s_sa_jwt', () => mintProjectedToken({ now, key: eastKey, claims: { iss: WEST } }), NOT_SIGNED],
    ['west signs as east', 'k8s_sa_jwt', () => mintProjectedToken({ now, key: westKey, claims: { iss: EAST } }), NOT_SIGNED],
    [
      "west signs as east under east's key id",
      'k8s_sa_jwt',
      () => mintProjectedToken({ now, key: westKey, header: { kid: eastKey.kid }, claims: { iss: EAST } }),
      NOT_SIGNED,
    ],
    ['east signs as nobody', 'k8s_sa_jwt', () => mintProjectedToken({ now, key: eastKey }), /issuer must be/],
    ['west signs as nobody', 'k8s_sa_jwt', () => mintProjectedToken({ now, key: westKey }), NOT_SIGNED],
    [
      'west signs as both',
      'k8s_sa_jwt',
      () => mintProjectedToken({ now, key: westKey, claims: { iss: [EAST, WEST] } }),
      NOT_SIGNED,
    ],
    [
      'west leaves it open',
      'k8s_sa_jwt',
      () => mintProjectedToken({ now, key: westKey, claims: { iss: undefined } }),
      NOT_SIGNED,
    ],
    ['a cluster token as OIDC', 'oidc_jwt', () => mintProjectedToken({ now, key: eastKey, claims: { iss: EAST } }), /./],
    [
      'the public issuer as a cluster',
      'k8s_sa_jwt',
      () => mintProjectedToken({ now, key: publicKey, claims: { iss: EAST } }),
      NOT_SIGNED,
    ],
    ['a token of the public issuer as a cluster', 'k8s_sa_jwt', () => mintGitHubToken({ now, key: publicKey }), NOT_SIGNED],
    ['rubbish', 'k8s_sa_jwt', () => 'rubbish', /not a service account token/],
    ['a payload that is not JSON', 'k8s_sa_jwt', () => `${encodePart({ alg: 'ES256' })}.AAAA.AAAA`, NOT_SIGNED],
    ['a megabyte', 'k8s_sa_jwt', () => `e30.${'A'.repeat(1 << 20)}.AAAA`, /not a service account token/],
  ])('do not vouch for each other: %s', async (_name, kind, attempt, message) => {
    const token = await attempt();
    await expect(present(kind, token)).rejects.toMatchObject({
      code: 'unauthorized',
      message: expect.stringMatching(message),
    });
  });

  test('a forged token does not learn which issuers are configured', async () => {
    const stranger = makeEcKey();
    const refusals = await Promise.all(
      [EAST, WEST, 'https://nobody.example', undefined].map(async (iss) =>
        present('k8s_sa_jwt', await mintProjectedToken({ now, key: stranger, claims: { iss } })).catch(String),
      ),
    );
    expect(new Set(refusals).size).toBe(1);
  });

  test('one that is away does not keep out the workloads of another', async () => {
    const away = { find: () => Promise.reject(unavailable('away')) };
    const both = makeAttestationVerifier([
      makeK8sAttestation({ ...common, issuer: EAST, keys: away, review: null }),
      makeK8sAttestation({ ...common, issuer: WEST, keys: staticKeys([westKey]), review: null }),
    ]);
    const token = (iss: string) => mintProjectedToken({ now, key: westKey, claims: { iss } });
    await expect(both.verify({ kind: 'k8s_sa_jwt', token: await token(WEST) })).resolves.toBeDefined();
    await expect(both.verify({ kind: 'k8s_sa_jwt', token: await token(EAST) })).rejects.toMatchObject({
      code: 'unavailable',
    });
  });
});

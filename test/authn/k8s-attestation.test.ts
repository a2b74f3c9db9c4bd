import { describe, expect, test } from 'vitest';
import { makeK8sAttestation } from '../../src/authn/k8s-attestation.ts';
import { staticKeys } from '../../src/authn/key-source.ts';
import { workloadHash } from '../../src/authn/workload-hash.ts';
import {
  AUDIENCE,
  ecKey,
  ed25519Key,
  ISSUER,
  makeRsaKey,
  mintLegacyToken,
  mintProjectedToken,
  rsaKey,
} from '../support/attestations.ts';
import { FakeClock } from '../support/fake-clock.ts';

const SECOND = 1000;

function setUp({ keys = [rsaKey, ecKey], maxSkewSeconds }: { keys?: (typeof rsaKey)[]; maxSkewSeconds?: number } = {}) {
  const clock = new FakeClock();
  const config = { issuer: ISSUER, audience: AUDIENCE, keys: staticKeys(keys), clock, review: null };
  const verifier = makeK8sAttestation(maxSkewSeconds === undefined ? config : { ...config, maxSkewSeconds });
  const verify = (token: string) => verifier.verify({ kind: 'k8s_sa_jwt', token });
  return { clock, verify, now: clock.now() };
}

const seconds = (date: Date) => Math.floor(date.getTime() / SECOND);

describe('a projected token', () => {
  test('in the shape that Kubernetes writes says who is calling', async () => {
    const { verify, now } = setUp();
    const workload = await verify(await mintProjectedToken({ now }));
    expect(workload.identity).toEqual({
      type: 'k8s_sa',
      issuer: ISSUER,
      subject: 'system:serviceaccount:agents:runner',
      audience: AUDIENCE,
      namespace: 'agents',
      serviceAccount: 'runner',
      attributes: {
        pod_name: 'runner-7d4b9',
        pod_uid: '0d8b260e-ef0e-45fb-be8e-ff44f97722e8',
        node_name: 'worker-1',
        node_uid: '517eb86e-b863-451b-bf70-86cb61439a3a',
        service_account_uid: 'e6a8680e-d103-4cce-80ea-03acbbeacf7d',
      },
    });
    expect(workload.hash).toBe(workloadHash(workload.identity));
    expect(workload.expiresAt).toEqual(new Date(now.getTime() + 3600 * SECOND));
  });

  test.each([
    ['RS256', { key: rsaKey }],
    ['ES256', { key: ecKey }],
    ['no kid', { header: { kid: undefined } }],
    ['a kid of somebody else', { header: { kid: ecKey.kid } }],
    ['several audiences, ours among them', { claims: { aud: ['https://kubernetes.default.svc', AUDIENCE] } }],
    ['one audience as a string', { claims: { aud: AUDIENCE } }],
    ['no pod and no node', { claims: { 'kubernetes.io': { namespace: 'agents', serviceaccount: { name: 'runner' } } } }],
    ['claims this version does not know', { claims: { 'kubernetes.io': { namespace: 'agents', zone: ['a'] }, extra: 1 } }],
    ['a bound secret', { claims: { 'kubernetes.io': { namespace: 'agents', secret: { name: 'bound', uid: '1' } } } }],
  ])('with %s is accepted', async (_name, options) => {
    const { verify, now } = setUp();
    const workload = await verify(await mintProjectedToken({ now, ...options }));
    expect(workload.identity).toMatchObject({ namespace: 'agents', serviceAccount: 'runner' });
  });

  test.each([
    'system:serviceaccount:a:b',
    'system:serviceaccount:team-1:runner.v2.example',
    `system:serviceaccount:${'n'.repeat(63)}:${'s'.repeat(253)}`,
  ])('of %s is accepted', async (sub) => {
    const { verify, now } = setUp();
    const workload = await verify(await mintProjectedToken({ now, claims: { sub, 'kubernetes.io': undefined } }));
    expect(workload.identity.subject).toBe(sub);
  });

  test('is accepted as long as the skew allows, and not a second longer', async () => {
    const { verify, clock, now } = setUp();
    const token = await mintProjectedToken({ now });
    clock.advance(3600 + 29);
    const workload = await verify(token);
    expect(workload.expiresAt).toEqual(new Date(now.getTime() + 3600 * SECOND));
    clock.advance(1);
    await expect(verify(token)).rejects.toMatchObject({ code: 'unauthorized' });
  });

  test('from a clock ahead of ours is accepted within the skew', async () => {
    const { verify, clock } = setUp();
    await verify(await mintProjectedToken({ now: new Date(clock.now().getTime() + 30 * SECOND) }));
  });

  test('is accepted with a skew of nought up to its last second', async () => {
    const { verify, clock, now } = setUp({ maxSkewSeconds: 0 });
    const token = await mintProjectedToken({ now });
    clock.advance(3599);
    await verify(token);
    clock.advance(1);
    await expect(verify(token)).rejects.toThrow('has expired');
  });

  test('is accepted whichever key of several signed it, named or not', async () => {
    const coming = makeRsaKey();
    const { verify, now } = setUp({ keys: [ecKey, coming, rsaKey] });
    for (const key of [ecKey, coming, rsaKey]) {
      await verify(await mintProjectedToken({ now, key }));
      await verify(await mintProjectedToken({ now, key, header: { kid: undefined } }));
    }
  });
});

describe('a legacy token', () => {
  test('says who is calling by its flat names', async () => {
    const { verify, now } = setUp();
    const { identity } = await verify(await mintLegacyToken({ now }));
    expect(identity).toMatchObject({
      namespace: 'agents',
      serviceAccount: 'runner',
      attributes: { service_account_uid: 'e6a8680e-d103-4cce-80ea-03acbbeacf7d', secret_name: 'runner-token-x7k2p' },
    });
  });

  test('that never expires is refused, with a hint at projected tokens', async () => {
    const { verify, now } = setUp();
    await expect(verify(await mintLegacyToken({ now, claims: { exp: undefined } }))).rejects.toMatchObject({
      code: 'unauthorized',
      message: 'attestation: token never expires; use a projected service account token, which does',
    });
  });
});

const WRONG_AUDIENCE = `audience must be ${AUDIENCE}; project the token with that audience`;
const CONTRADICTION = "token's claims contradict each other; use a token as the cluster issued it";

describe('well signed tokens that say something wrong', () => {
  const { now } = setUp();
  const issuedAt = seconds(now);
  const nested = { namespace: 'agents', serviceaccount: { name: 'runner', uid: 'u1' } };
  const flat = (name: string) => `kubernetes.io/serviceaccount/${name}`;

  test.each<[string, Record<string, unknown>, string]>([
    ['expired', { exp: issuedAt - 31 }, 'token has expired; read the projected token again'],
    ['expired, skew used up', { exp: issuedAt - 30 }, 'token has expired; read the projected token again'],
    ['exp zero', { exp: 0 }, 'token has expired; read the projected token again'],
    ['exp negative', { exp: -1 }, 'token has expired; read the projected token again'],
    ['exp as text', { exp: `${issuedAt + 60}` }, "token's exp claim is missing or malformed"],
    ['exp null', { exp: null }, "token's exp claim is missing or malformed"],
    ['exp beyond any date', { exp: 1e300 }, "token's exp claim is malformed"],
    ['exp with a fraction', { exp: issuedAt + 0.5 }, "token's exp claim is malformed"],
    ['no exp', { exp: undefined }, 'token never expires; use a projected service account token, which does'],
    ['not yet valid', { nbf: issuedAt + 31 }, 'token is not valid yet; check the clocks of both machines'],
    ['nbf as text', { nbf: 'now' }, "token's nbf claim is missing or malformed"],
    ['issued in the future', { iat: issuedAt + 31 }, 'token is not valid yet; check the clocks of both machines'],
    ['iat as text', { iat: 'now' }, "token's iat claim is missing or malformed"],
    ['another audience', { aud: ['https://kubernetes.default.svc'] }, WRONG_AUDIENCE],
    ['our audience as a prefix', { aud: `${AUDIENCE}-2` }, WRONG_AUDIENCE],
    ['our audience in another case', { aud: AUDIENCE.toUpperCase() }, WRONG_AUDIENCE],
    ['our audience in a nested array', { aud: [[AUDIENCE]] }, WRONG_AUDIENCE],
    ['no audience', { aud: undefined }, WRONG_AUDIENCE],
    ['an empty audience', { aud: [] }, WRONG_AUDIENCE],
    ['another issuer', { iss: 'https://other.example' }, `issuer must be ${ISSUER}`],
    ['the issuer with a slash', { iss: `${ISSUER}/` }, `issuer must be ${ISSUER}`],
    ['the issuer in an array', { iss: [ISSUER] }, `issuer must be ${ISSUER}`],
    ['no issuer', { iss: undefined }, `issuer must be ${ISSUER}`],
    ['no subject', { sub: undefined }, "token's sub claim is missing or malformed"],
    ['subject null', { sub: null }, "token's sub claim is malformed"],
    ['subject an array', { sub: ['system:serviceaccount:agents:runner'] }, "token's sub claim is malformed"],
    ['nested namespace of another', { 'kubernetes.io': { ...nested, namespace: 'other' } }, CONTRADICTION],
    ['nested name of another', { 'kubernetes.io': { ...nested, serviceaccount: { name: 'admin' } } }, CONTRADICTION],
    ['flat namespace of another', { [flat('namespace')]: 'other' }, CONTRADICTION],
    ['flat name of another', { [flat('service-account.name')]: 'admin' }, CONTRADICTION],
    ['flat uid of another', { 'kubernetes.io': nested, [flat('service-account.uid')]: 'u2' }, CONTRADICTION],
    [
      'flat secret of another',
      { 'kubernetes.io': { ...nested, secret: { name: 's1' } }, [flat('secret.name')]: 's2' },
      CONTRADICTION,
    ],
    ['subject of another', { sub: 'system:serviceaccount:agents:admin' }, CONTRADICTION],
    ['subject in another namespace', { sub: 'system:serviceaccount:kube-system:runner' }, CONTRADICTION],
    ['nested claims as text', { 'kubernetes.io': 'agents' }, "token's kubernetes.io claim is malformed"],
    ['nested claims null', { 'kubernetes.io': null }, "token's kubernetes.io claim is malformed"],
    [
      'nested namespace empty',
      { 'kubernetes.io': { ...nested, namespace: '' } },
      "token's kubernetes.io claim is malformed",
    ],
    [
      'a pod name with a line break',
      { 'kubernetes.io': { pod: { name: 'a\nb' } } },
      "token's kubernetes.io claim is malformed",
    ],
    [
      'a pod uid with half a character',
      { 'kubernetes.io': { pod: { uid: '\ud800' } } },
      "token's kubernetes.io claim is malformed",
    ],
    ['flat namespace a number', { [flat('namespace')]: 7 }, `token's ${flat('namespace')} claim is malformed`],
  ])('%s', async (_name, claims, message) => {
    const { verify } = setUp();
    await expect(verify(await mintProjectedToken({ now, claims }))).rejects.toMatchObject({
      code: 'unauthorized',
      message: `attestation: ${message}`,
    });
  });

  test.each([
    '',
    'runner',
    'system:serviceaccount',
    'system:serviceaccount:agents',
    'system:serviceaccount:agents:',
    'system:serviceaccount::runner',
    'system:serviceaccount:agents:runner:extra',
    'system:serviceaccount:agents:runner\n',
    ' system:serviceaccount:agents:runner',
    'system:serviceaccount:Agents:runner',
    'system:serviceaccount:agents:Runner',
    'system:serviceaccount:agents:runner.',
    'system:serviceaccount:agents:run..ner',
    'system:serviceaccount:-agents:runner',
    'system:serviceaccount:a.b:runner',
    'system:serviceaccount:agents:*',
    'system:serviceaccount:agents:r\u00fcnner',
    'system:serviceaccount:agents/../kube-system:runner',
    `system:serviceaccount:${'n'.repeat(64)}:runner`,
    `system:serviceaccount:agents:${'s'.repeat(254)}`,
    'System:ServiceAccount:agents:runner',
    'system:serviceaccounts:agents:runner',
    'system:node:worker-1',
    'system:admin',
  ])('the subject %j', async (sub) => {
    const { verify } = setUp();
    const token = await mintProjectedToken({ now, claims: { sub, 'kubernetes.io': undefined } });
    await expect(verify(token)).rejects.toMatchObject({
      code: 'unauthorized',
      message: "attestation: token's subject must be system:serviceaccount:NAMESPACE:NAME",
    });
  });
});

describe('configuration that would let nobody in, or too many', () => {
  const clock = new FakeClock();
  const good = { issuer: ISSUER, audience: AUDIENCE, keys: staticKeys([rsaKey]), clock, review: null };
  test.each([
    ['a key that no cluster can sign with', { ...good, keys: staticKeys([rsaKey, ed25519Key]) }],
    ['no issuer', { ...good, issuer: '' }],
    ['no audience', { ...good, audience: '' }],
    ['a negative skew', { ...good, maxSkewSeconds: -1 }],
    ['a skew of an hour', { ...good, maxSkewSeconds: 3600 }],
    ['a skew that is no number', { ...good, maxSkewSeconds: Number.NaN }],
  ])('%s stops the start', (_name, config) => {
    expect(() => makeK8sAttestation(config)).toThrow('k8s attestation: ');
  });

  test('no key stops the start', () => {
    expect(() => staticKeys([])).toThrow('at least one key');
  });
});

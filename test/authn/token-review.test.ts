import type { ServerResponse } from 'node:http';
import { inspect } from 'node:util';
import { Agent } from 'undici';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { makeK8sAttestation } from '../../src/authn/k8s-attestation.ts';
import { staticKeys } from '../../src/authn/key-source.ts';
import { makeTokenReview } from '../../src/authn/token-review.ts';
import { AUDIENCE, ISSUER, makeEcKey, mintLegacyToken, mintProjectedToken, rsaKey } from '../support/attestations.ts';
import { FakeClock } from '../support/fake-clock.ts';
import {
  DELETED_POD,
  type KubernetesStandIn,
  POD_UID,
  type ReviewStatus,
  RUNNING_POD,
  startKubernetesStandIn,
} from '../support/kubernetes-stand-in.ts';

const OWN_TOKEN = 'own-token-canary-31';
let cluster: KubernetesStandIn;
beforeAll(async () => {
  cluster = await startKubernetesStandIn();
});
beforeEach(() => {
  cluster.answer = RUNNING_POD;
  cluster.reviews.length = 0;
  cluster.requests.length = 0;
});
afterAll(() => cluster.close());

function setUp({ apiServer = cluster.url, ownToken = () => Promise.resolve(OWN_TOKEN) } = {}) {
  const clock = new FakeClock();
  const dispatcher = new Agent({ maxResponseSize: 256 * 1024 });
  const review = makeTokenReview({ apiServer, audience: AUDIENCE, dispatcher, ownToken, clock });
  const verifier = makeK8sAttestation({ issuer: ISSUER, audience: AUDIENCE, keys: staticKeys([rsaKey]), clock, review });
  const verify = (token: string) => verifier.verify({ kind: 'k8s_sa_jwt', token });
  return { clock, verify, now: clock.now() };
}

const userWith = (changes: object) => ({ ...(RUNNING_POD.user as object), ...changes });

describe('a token review', () => {
  test('shows the API server the token and the audience, under the name of ASB', async () => {
    const { verify, now } = setUp();
    const token = await mintProjectedToken({ now });
    await expect(verify(token)).resolves.toMatchObject({ identity: { serviceAccount: 'runner' } });
    expect(cluster.requests).toEqual(['POST /apis/authentication.k8s.io/v1/tokenreviews']);
    expect(cluster.reviews).toEqual([
      {
        authorization: `Bearer ${OWN_TOKEN}`,
        body: {
          apiVersion: 'authentication.k8s.io/v1',
          kind: 'TokenReview',
          spec: { token, audiences: [AUDIENCE] },
        },
      },
    ]);
  });

  test('keeps the path of an API server behind a proxy', async () => {
    const { verify, now } = setUp({ apiServer: new URL('k8s/clusters/c-1', cluster.url) });
    await verify(await mintProjectedToken({ now }));
    expect(cluster.requests).toEqual(['POST /k8s/clusters/c-1/apis/authentication.k8s.io/v1/tokenreviews']);
  });

  test('is made anew for each use of a token, so that a deleted pod is out at once', async () => {
    const { verify, now } = setUp();
    const token = await mintProjectedToken({ now });
    await verify(token);
    cluster.answer = DELETED_POD;
    await expect(verify(token)).rejects.toMatchObject({
      code: 'unauthorized',
      message: 'attestation: the cluster no longer accepts the token; its pod or service account may be gone',
    });
    expect(cluster.reviews).toHaveLength(2);
  });

  test('is not made for a token that is forged, expired or of another kind', async () => {
    const { verify, now } = setUp();
    const attempts = [
      mintProjectedToken({ now, key: makeEcKey() }),
      mintProjectedToken({ now, claims: { exp: 1 } }),
      mintProjectedToken({ now, claims: { sub: 'system:node:worker-1' } }),
      'rubbish',
    ];
    for (const attempt of attempts) {
      await expect(verify(await attempt)).rejects.toMatchObject({ code: 'unauthorized' });
    }
    expect(cluster.reviews).toEqual([]);
  });

  test.each<[string, ReviewStatus]>([
    ['no pod, as of a server before 1.22', { ...RUNNING_POD, user: userWith({ extra: undefined }) }],
    ['more audiences', { ...RUNNING_POD, audiences: ['other', AUDIENCE] }],
  ])('is fulfilled by an answer with %s', async (_name, answer) => {
    const { verify, now } = setUp();
    cluster.answer = answer;
    await expect(verify(await mintProjectedToken({ now }))).resolves.toBeDefined();
  });

  test('of a token that is bound to no pod needs none', async () => {
    const { verify, now } = setUp();
    await expect(verify(await mintLegacyToken({ now }))).resolves.toBeDefined();
  });

  test.each<[string, ReviewStatus]>([
    ['a deleted pod', DELETED_POD],
    ['not authenticated', { ...RUNNING_POD, authenticated: false }],
    ['nothing', {}],
    ['an audience that is not ours', { ...RUNNING_POD, audiences: ['https://kubernetes.default.svc'] }],
    ['no audience, as a server that knows of none', { ...RUNNING_POD, audiences: undefined }],
    ['an empty list of audiences', { ...RUNNING_POD, audiences: [] }],
    ['another service account', { ...RUNNING_POD, user: userWith({ username: 'system:serviceaccount:agents:admin' }) }],
    ['nobody', { ...RUNNING_POD, user: undefined }],
    ['a user without a name', { ...RUNNING_POD, user: {} }],
    [
      'another pod',
      { ...RUNNING_POD, user: userWith({ extra: { 'authentication.kubernetes.io/pod-uid': [POD_UID.replace('0', '1')] } }) },
    ],
    ['an empty pod', { ...RUNNING_POD, user: userWith({ extra: { 'authentication.kubernetes.io/pod-uid': [] } }) }],
  ])('is refused by an answer that says %s', async (_name, answer) => {
    const { verify, now } = setUp();
    cluster.answer = answer;
    await expect(verify(await mintProjectedToken({ now }))).rejects.toMatchObject({ code: 'unauthorized' });
  });

  const json = (status: number, value: unknown) => (response: ServerResponse) =>
    response.writeHead(status).end(JSON.stringify(value));
  test.each<[string, ReviewStatus | ((response: ServerResponse) => void)]>([
    ['is away', (response) => response.destroy()],
    ['fails', json(500, { status: RUNNING_POD })],
    ['is overloaded', json(429, { status: RUNNING_POD })],
    ["does not know ASB's own token", json(401, { kind: 'Status', status: 'Failure' })],
    ['does not let ASB review tokens', json(403, { kind: 'Status', status: 'Failure' })],
    ['knows no reviews', json(404, { kind: 'Status', status: 'Failure' })],
    ['sends us elsewhere', (response) => response.writeHead(307, { location: '/elsewhere' }).end()],
    ['answers something else', json(201, { kind: 'Status', status: 'Success' })],
    ['answers rubbish', (response) => response.writeHead(201).end('<html>')],
    ['answers nothing', (response) => response.writeHead(201).end()],
    ['answers without end', (response) => response.writeHead(201).end(' '.repeat(300 * 1024))],
    ['says yes in another form', { ...RUNNING_POD, authenticated: 'true' }],
    ['names audiences in another form', { ...RUNNING_POD, audiences: AUDIENCE }],
    ['names users in another form', { ...RUNNING_POD, user: 'system:serviceaccount:agents:runner' }],
  ])('is unavailable, and nobody gets in, when the API server %s', async (_name, answer) => {
    const { verify, now } = setUp();
    cluster.answer = answer;
    await expect(verify(await mintProjectedToken({ now }))).rejects.toMatchObject({
      code: 'unavailable',
      message: 'attestation: the cluster cannot be asked about the token right now; try again',
    });
    expect(cluster.reviews).toHaveLength(1);
  });

  test('is unavailable when nothing listens at its address', async () => {
    const { verify, now } = setUp({ apiServer: new URL('http://127.0.0.1:1/') });
    await expect(verify(await mintProjectedToken({ now }))).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('is given up after five seconds', async () => {
    const { verify, now, clock } = setUp();
    cluster.answer = () => setImmediate(() => clock.advance(5));
    await expect(verify(await mintProjectedToken({ now }))).rejects.toMatchObject({
      code: 'unavailable',
      cause: { message: 'the API server did not answer in time' },
    });
  });

  test("is unavailable while ASB's own token cannot be read", async () => {
    const { verify, now } = setUp({ ownToken: () => Promise.reject(new Error('ENOENT')) });
    await expect(verify(await mintProjectedToken({ now }))).rejects.toMatchObject({ code: 'unavailable' });
    expect(cluster.reviews).toEqual([]);
  });

  test('that fails shows neither token, nor what the server said', async () => {
    const { verify, now } = setUp();
    const token = await mintProjectedToken({ now });
    const canary = 'canary-2f2f';
    const answers = [
      { ...DELETED_POD, error: canary },
      { ...RUNNING_POD, user: userWith({ username: canary }) },
      { ...RUNNING_POD, authenticated: canary },
      json(500, { message: canary, token }),
      (response: ServerResponse) => response.writeHead(201).end(canary + token),
      (response: ServerResponse) => response.destroy(),
    ];
    for (const answer of answers) {
      cluster.answer = answer;
      const refusal = inspect(await verify(token).catch((error: unknown) => error), { depth: 10, showHidden: true });
      for (const secret of [canary, OWN_TOKEN, token, token.slice(-20)]) expect(refusal).not.toContain(secret);
    }
  });
});

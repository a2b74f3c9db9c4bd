import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  ecKey,
  GITHUB_ISSUER,
  makeRsaKey,
  mintGitHubToken,
  mintProjectedToken,
  publicJwk,
  rsaKey,
} from '../support/attestations.ts';
import { type Asb, bodyOf, GRANT_REQUEST, sessionRequest, startAsb } from '../support/asb.ts';
import { type HttpStandIn, startHttpStandIn } from '../support/http-stand-in.ts';

// The keys of both issuers of workloads are fetched: here they are, as long as `published` says so.
let published: unknown;
let keys: HttpStandIn;
let asb: Asb;
beforeAll(async () => {
  published = { keys: [publicJwk(rsaKey)] };
  keys = await startHttpStandIn((_request, response) => {
    response
      .writeHead(published === null ? 503 : 200, { 'content-type': 'application/json' })
      .end(JSON.stringify(published));
  });
  asb = await startAsb({
    ASB_K8S_PUBLIC_KEY_FILE: '',
    ASB_K8S_JWKS_URL: new URL('k8s', keys.url).href,
    ASB_OIDC_ISSUER: GITHUB_ISSUER,
    ASB_OIDC_JWKS_URL: new URL('github', keys.url).href,
    ASB_OIDC_ALLOWED_SUBJECT_PREFIXES: 'repo:acme/',
  });
});
afterAll(async () => {
  await asb.close();
  await keys.close();
});

type Mint = Parameters<typeof mintGitHubToken>[0];
const attested = async (kind: string, token: string) =>
  asb.call('createSession', await sessionRequest(asb.attestation, { attestation: { kind, token } }));
const github = async (options: Partial<Mint> = {}) =>
  attested('oidc_jwt', await mintGitHubToken({ now: asb.clock.now(), ...options }));
const pod = async (options: Partial<Mint> = {}) =>
  attested('k8s_sa_jwt', await mintProjectedToken({ now: asb.clock.now(), ...options }));

describe('workloads of two kinds of issuers, whose keys are fetched', () => {
  test('a job of GitHub Actions and a pod get sessions and grants', async () => {
    for (const opened of [await github(), await pod()]) {
      const bearer = (bodyOf(opened) as { session_token: string }).session_token;
      expect(await asb.call('requestGrant', GRANT_REQUEST, { bearer })).toMatchObject({ ok: true });
    }
    expect(asb.audit.events).toContainEqual(
      expect.objectContaining({
        type: 'session.created',
        details: expect.objectContaining({ subject: 'repo:acme/site:environment:production' }),
      }),
    );
  });

  test.each<[name: string, attempt: () => Promise<unknown>]>([
    ['a job of somebody else', () => github({ claims: { sub: 'repo:umbrella/site:ref:refs/heads/main' } })],
    ['a job of a namesake', () => github({ claims: { sub: 'repo:acme-evil/site:ref:refs/heads/main' } })],
    ['a job with a token for another audience', () => github({ claims: { aud: 'sts.amazonaws.com' } })],
    ['a job with an expired token', () => github({ claims: { exp: 1_700_000_000 } })],
    ['a job signed by nobody known', () => github({ key: makeRsaKey() })],
    ['a pod that passes itself off as a job', async () => attested('oidc_jwt', (await asb.attestation()).token)],
    [
      'a job that passes itself off as a pod',
      async () => attested('k8s_sa_jwt', await mintGitHubToken({ now: asb.clock.now() })),
    ],
  ])('%s gets none', async (_name, attempt) => {
    expect(await attempt()).toMatchObject({ ok: false, code: 'unauthorized' });
  });

  test('a flood of tokens with keys nobody knows makes no storm of requests', async () => {
    await pod();
    const before = keys.requests.length;
    const flood = Array.from({ length: 200 }, (_, index) => pod({ header: { kid: `flood-${index}` } }));
    for (const answer of await Promise.all(flood)) expect(answer).toMatchObject({ ok: false, code: 'unauthorized' });
    expect(keys.requests.length - before).toBeLessThanOrEqual(1);
  });

  test('a new key counts as soon as a token names it, an old one until it is withdrawn', async () => {
    asb.clock.advance(60);
    published = { keys: [publicJwk(rsaKey), publicJwk(ecKey)] };
    expect(await pod({ key: ecKey })).toMatchObject({ ok: true });
    expect(await pod()).toMatchObject({ ok: true });
  });

  test('while an issuer is down its last good keys stay in use', async () => {
    published = null;
    asb.clock.advance(1200);
    expect(await pod()).toMatchObject({ ok: true });
    await expect.poll(() => asb.logged.join('')).toContain('keys of an issuer could not be fetched');
    published = { keys: [publicJwk(rsaKey)] };
  });
});

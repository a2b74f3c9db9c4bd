import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { AUDIENCE, ISSUER, makeRsaKey, mintGitHubToken, publicJwk, rsaKey } from '../support/attestations.ts';
import { type Asb, bodyOf, GRANT_REQUEST, sessionRequest, startAsb } from '../support/asb.ts';
import { openIn } from '../support/approvals.ts';
import { type Configured, configured, tenantOf, TENANTS } from '../support/configured.ts';
import { type HttpStandIn, startHttpStandIn } from '../support/http-stand-in.ts';
import { DELETED_POD, type KubernetesStandIn, RUNNING_POD, startKubernetesStandIn } from '../support/kubernetes-stand-in.ts';

let file: Configured;
let asb: Asb;
afterEach(async () => {
  await asb.close();
  file.remove();
});

describe('a cluster whose API server is asked, from the configuration file to a session', () => {
  let cluster: KubernetesStandIn;
  beforeEach(async () => {
    cluster = await startKubernetesStandIn();
    file = configured();
    const tokenFile = join(file.folder, 'reviewer.token');
    writeFileSync(tokenFile, 'CANARY-token-of-asb-itself\n', { mode: 0o600 });
    const [kubernetes] = file.config.attestation.kubernetes;
    Object.assign(kubernetes!, { token_review: { api_server: cluster.url.href, token_file: tokenFile } });
    file.write();
    asb = await startAsb({}, { file });
  });
  afterEach(() => cluster.close());

  const open = async (attestation?: Awaited<ReturnType<Asb['attestation']>>) =>
    asb.call(
      'createSession',
      await sessionRequest(asb.attestation, { tenant_id: TENANTS.free, ...(attestation && { attestation }) }),
    );

  test('a pod that runs gets a session and a grant', async () => {
    const attestation = await asb.attestation();
    const { bearer } = await openIn(asb, TENANTS.free, { attestation });
    expect(await asb.call('requestGrant', GRANT_REQUEST, { bearer })).toMatchObject({ ok: true });
    expect(cluster.reviews).toMatchObject([
      {
        authorization: 'Bearer CANARY-token-of-asb-itself',
        body: { spec: { token: attestation.token, audiences: [AUDIENCE] } },
      },
    ]);
    expect([...asb.logged, JSON.stringify(asb.audit.events)].join('')).not.toContain('CANARY-token-of-asb-itself');
  });

  test("a deleted pod's token stops working, though its signature is good and its time is not up", async () => {
    const attestation = await asb.attestation();
    expect(await open(attestation)).toMatchObject({ ok: true });
    cluster.answer = DELETED_POD;
    expect(await open(attestation)).toMatchObject({ ok: false, code: 'unauthorized' });
    expect(asb.audit.events.at(-1)).toMatchObject({ type: 'session.refused', code: 'unauthorized' });
    cluster.answer = RUNNING_POD;
    expect(await open(attestation)).toMatchObject({ ok: true });
  });

  test('nobody gets in while the API server cannot be asked', async () => {
    cluster.answer = (response) => void response.writeHead(500).end();
    expect(await open()).toMatchObject({ ok: false, code: 'unavailable' });
    expect(asb.audit.types()).not.toContain('session.created');
  });

  test('a forged token is not worth a question', async () => {
    const { token } = await asb.attestation();
    const forged = { kind: 'k8s_sa_jwt', token: `${token.slice(0, -8)}AAAAAAAA` };
    expect(await open(forged)).toMatchObject({ ok: false, code: 'unauthorized' });
    expect(cluster.reviews).toEqual([]);
  });
});

describe('an issuer that publishes its keys, from the configuration file to a session', () => {
  let issuer: HttpStandIn;
  let issuerUrl: string;
  /** What the issuer says of itself, and its keys. */
  let metadata: Record<string, unknown>;
  let published: unknown[];
  beforeEach(async () => {
    issuer = await startHttpStandIn((request, response) => {
      const documents: Record<string, unknown> = {
        '/.well-known/openid-configuration': metadata,
        '/keys': { keys: published },
      };
      const document = documents[request.url ?? ''];
      response
        .writeHead(document === undefined ? 404 : 200, { 'content-type': 'application/json' })
        .end(JSON.stringify(document ?? {}));
    });
    issuerUrl = issuer.url.origin;
    metadata = { issuer: issuerUrl, jwks_uri: `${issuerUrl}/keys` };
    published = [publicJwk(rsaKey)];
    file = configured();
    file.config.attestation.oidc = [
      { issuer: issuerUrl, audience: AUDIENCE, keys: { discovery: true }, allowed_subject_prefixes: ['repo:acme/'] },
    ];
    Object.assign(tenantOf(file, TENANTS.free), {
      workload_bindings: [{ type: 'oidc', issuer: issuerUrl, subject: 'repo:acme/site:*', agents: ['reviewer'] }],
    });
    file.write();
  });
  afterEach(() => issuer.close());

  type Mint = Parameters<typeof mintGitHubToken>[0];
  const open = async ({ claims, ...options }: Partial<Mint> = {}) => {
    const now = asb.clock.now();
    const token = await mintGitHubToken({ now, claims: { iss: issuerUrl, ...claims }, ...options });
    const attestation = { kind: 'oidc_jwt', token };
    return asb.call('createSession', await sessionRequest(asb.attestation, { tenant_id: TENANTS.free, attestation }));
  };

  test('a job of its gets a session and a grant', async () => {
    asb = await startAsb({}, { file });
    const opened = z.object({ session_token: z.string() }).parse(bodyOf(await open()));
    const bearer = opened.session_token;
    expect(await asb.call('requestGrant', GRANT_REQUEST, { bearer })).toMatchObject({ ok: true });
    expect(issuer.requests).toEqual(['GET /.well-known/openid-configuration', 'GET /keys']);
  });

  test.each<[name: string, options: () => Partial<Mint>, answer: Record<string, unknown>]>([
    ['signed by nobody it knows', () => ({ key: makeRsaKey() }), { code: 'unauthorized' }],
    ['of another issuer', () => ({ claims: { iss: ISSUER } }), { code: 'unauthorized' }],
    ['for another audience', () => ({ claims: { aud: 'sts.amazonaws.com' } }), { code: 'unauthorized' }],
    ['of a namesake', () => ({ claims: { sub: 'repo:acme-evil/site:ref:x' } }), { code: 'unauthorized' }],
    [
      'that nobody has bound',
      () => ({ claims: { sub: 'repo:acme/other:ref:x' } }),
      { code: 'forbidden', reason: 'workload_not_bound', rule: 'binding' },
    ],
  ])('a job %s gets none', async (_name, options, answer) => {
    asb = await startAsb({}, { file });
    expect(await open(options())).toMatchObject({ ok: false, ...answer });
  });

  test.each<[name: string, spoil: () => void]>([
    ['says that it is another', () => (metadata = { ...metadata, issuer: 'https://other.example' })],
    [
      'keeps its keys where anybody could put some',
      () => (metadata = { ...metadata, jwks_uri: 'http://keys.example/keys' }),
    ],
    ['publishes no keys', () => (published = [])],
  ])('nobody gets in while it %s', async (_name, spoil) => {
    spoil();
    asb = await startAsb({}, { file });
    expect(await open()).toMatchObject({ ok: false });
    expect(asb.audit.types()).not.toContain('session.created');
    await expect.poll(() => asb.logged.join('')).toContain('keys of an issuer could not be fetched');
  });
});

import { inspect } from 'node:util';
import { CompactSign } from 'jose';
import { describe, expect, test } from 'vitest';
import { staticKeys } from '../../src/authn/key-source.ts';
import { makeOidcAttestation } from '../../src/authn/oidc-attestation.ts';
import { workloadHash } from '../../src/authn/workload-hash.ts';
import {
  AUDIENCE,
  type ClusterKey,
  ecKey,
  ed25519Key,
  encodePart,
  GITHUB_ISSUER,
  githubActionsClaims,
  makeEcKey,
  makeRsaKey,
  mintGitHubToken,
  type MintOptions,
  mintProjectedToken,
  rsaKey,
} from '../support/attestations.ts';
import { FakeClock } from '../support/fake-clock.ts';

function setUp(changes: { keys?: ClusterKey[]; allowedSubjectPrefixes?: string[]; audience?: string } = {}) {
  const { keys = [rsaKey, ecKey, ed25519Key], ...others } = changes;
  const clock = new FakeClock();
  const verifier = makeOidcAttestation({
    issuer: GITHUB_ISSUER,
    audience: AUDIENCE,
    allowedSubjectPrefixes: ['repo:acme/'],
    keys: staticKeys(keys),
    clock,
    ...others,
  });
  const now = clock.now();
  return {
    clock,
    now,
    verify: (token: string) => verifier.verify({ kind: 'oidc_jwt', token }),
    present: async (options: Omit<MintOptions, 'now'> = {}) =>
      verifier.verify({ kind: 'oidc_jwt', token: await mintGitHubToken({ now, ...options }) }),
  };
}

describe('a token of GitHub Actions', () => {
  test('with every documented claim says what runs, where and for whom', async () => {
    const { present, now } = setUp();
    const workload = await present();
    expect(workload.identity).toEqual({
      type: 'oidc',
      issuer: GITHUB_ISSUER,
      subject: 'repo:acme/site:environment:production',
      audience: AUDIENCE,
      namespace: null,
      serviceAccount: null,
      attributes: {
        actor: 'octavia',
        actor_id: '4711',
        environment: 'production',
        event_name: 'workflow_dispatch',
        job_workflow_ref: 'acme/automation/.github/workflows/deploy.yml@refs/tags/v3',
        ref: 'refs/heads/main',
        ref_protected: 'true',
        repository: 'acme/site',
        repository_id: '74001',
        repository_owner: 'acme',
        repository_owner_id: '65002',
        repository_visibility: 'private',
        run_attempt: '1',
        run_id: '19123456789',
        runner_environment: 'github-hosted',
        sha: '5f2d8e1c3b4a59687f6e5d4c3b2a190817263544',
        workflow: 'Deploy the site',
        workflow_ref: 'acme/site/.github/workflows/release.yml@refs/heads/main',
      },
    });
    expect(workload.hash).toBe(workloadHash(workload.identity));
    expect(workload.expiresAt).toEqual(new Date(now.getTime() + 3600_000));
  });

  test.each([
    ['run', { run_id: '20000000000', run_attempt: '2', sha: '0'.repeat(40) }],
    ['branch', { ref: 'refs/heads/other', workflow_ref: 'acme/site/.github/workflows/release.yml@refs/heads/other' }],
    ['person and event', { actor: 'mallory', actor_id: '1', event_name: 'push' }],
    ['workflow', { workflow: 'Another', job_workflow_ref: 'acme/site/.github/workflows/x.yml@refs/heads/x' }],
  ])('of another %s is the same workload, so that revoking it ends them all', async (_name, claims) => {
    const { present } = setUp();
    const [one, other] = [await present(), await present({ claims })];
    expect(other.hash).toBe(one.hash);
    expect(other.identity.attributes).not.toEqual(one.identity.attributes);
  });

  test.each([
    ['subject', { sub: 'repo:acme/site:environment:staging' }],
    ['repository under the same name', { repository_id: '74002' }],
    ['owner under the same name', { repository_owner_id: '65003' }],
  ])('of another %s is another workload', async (_name, claims) => {
    const { present } = setUp();
    expect((await present({ claims })).hash).not.toBe((await present()).hash);
  });
});

describe('a token of any issuer', () => {
  test.each([
    ['RS256', { key: rsaKey }],
    ['ES256', { key: ecKey }],
    ['EdDSA', { key: ed25519Key }],
    ['several audiences', { claims: { aud: ['other', AUDIENCE] } }],
    ['an exact subject', { claims: { sub: 'repo:acme/' } }],
    ['nothing but what it must have', { claims: { nbf: undefined, iat: undefined, jti: undefined } }],
  ])('with %s is accepted', async (_name, options) => {
    const { present } = setUp();
    await expect(present(options)).resolves.toMatchObject({ identity: { type: 'oidc' } });
  });

  test('names its client, which belongs to who it is', async () => {
    const { present } = setUp();
    const one = await present({ claims: { azp: 'ci', client_id: 'ci' } });
    expect(one.identity.attributes).toMatchObject({ azp: 'ci', client_id: 'ci' });
    expect((await present({ claims: { azp: 'other', client_id: 'ci' } })).hash).not.toBe(one.hash);
  });

  test.each<[string, unknown, string | undefined]>([
    ['a number', 19123456789, '19123456789'],
    ['text beyond ASCII', 'Прод 🚀', 'Прод 🚀'],
    ['512 characters', 'w'.repeat(512), 'w'.repeat(512)],
    ['513 characters', 'w'.repeat(513), undefined],
    ['empty', '', undefined],
    ['a fraction', 1.5, undefined],
    ['a number that is not exact', 2 ** 60, undefined],
    ['true', true, undefined],
    ['null', null, undefined],
    ['a list', ['main'], undefined],
    ['an object', { name: 'main' }, undefined],
    ['text with a line break', 'main\nadmin', undefined],
    ['text with a zero byte', 'main\0', undefined],
    ['text that turns its direction', 'main\u202eniam', undefined],
    ['text with a letter that does not show', 'ma\u200bin', undefined],
    ['half a character', 'main\ud800', undefined],
    ['text with white space around it', ' main', undefined],
    ['text with a wide space', 'a\u2003b', undefined],
  ])('has an attribute for a claim that is %s, or none', async (_name, value, expected) => {
    const { present } = setUp();
    const { identity } = await present({ claims: { environment: value } });
    expect(identity.attributes.environment).toBe(expected);
    expect(identity.attributes.repository).toBe('acme/site');
  });

  test('takes no attribute from claims that it does not know, or inherits', async () => {
    const { now, verify } = setUp();
    const payload = JSON.stringify({ ...githubActionsClaims(now), role: 'admin' }).replace(
      '{',
      '{"__proto__":{"azp":"admin","client_id":"admin"},',
    );
    const token = await new CompactSign(new TextEncoder().encode(payload))
      .setProtectedHeader({ alg: 'RS256' })
      .sign(rsaKey.privateKey);
    const { identity } = await verify(token);
    expect(Object.keys(identity.attributes)).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/^(role|azp|client_id|__proto__)$/)]),
    );
  });
});

const NOT_ALLOWED = "token's subject begins with none of the allowed prefixes of this issuer";

describe('well signed tokens that say something wrong', () => {
  test.each<[string, Record<string, unknown>, string]>([
    ['a stranger on the same public issuer', { sub: 'repo:mallory/site:ref:refs/heads/main' }, NOT_ALLOWED],
    ['an owner whose name begins as ours', { sub: 'repo:acme-evil/site:ref:refs/heads/main' }, NOT_ALLOWED],
    ['our owner in another place', { sub: 'repo:mallory/repo:acme/site' }, NOT_ALLOWED],
    ['our owner in other letters', { sub: 'repo:ACME/site' }, NOT_ALLOWED],
    ['a subject of spaces before', { sub: ' repo:acme/site' }, "token's sub claim is malformed"],
    ['a subject with a line break', { sub: 'repo:acme/site\nrepo:acme/other' }, "token's sub claim is malformed"],
    ['a subject that is a list', { sub: ['repo:acme/site'] }, "token's sub claim is malformed"],
    ['a subject that is a number', { sub: 7 }, "token's sub claim is malformed"],
    ['an empty subject', { sub: '' }, "token's sub claim is malformed"],
    ['an endless subject', { sub: `repo:acme/${'x'.repeat(1024)}` }, "token's sub claim is malformed"],
    ['no subject', { sub: undefined }, "token's sub claim is missing or malformed"],
    ['no end', { exp: undefined }, 'token never expires; use an ID token, which does'],
    ['an end that is over', { exp: 1 }, 'token has expired; ask the issuer for a new one'],
    [
      "GitHub's own audience",
      { aud: 'https://github.com/acme' },
      `audience must be ${AUDIENCE}; ask the issuer for a token with that audience`,
    ],
    ['another issuer', { iss: 'https://token.actions.example' }, `issuer must be ${GITHUB_ISSUER}`],
    ['an issuer of the same company', { iss: `${GITHUB_ISSUER}/acme` }, `issuer must be ${GITHUB_ISSUER}`],
  ])('%s', async (_name, claims, message) => {
    const { present } = setUp();
    await expect(present({ claims })).rejects.toMatchObject({ code: 'unauthorized', message: `attestation: ${message}` });
  });

  test('a service account token by the same key is none of this issuer', async () => {
    const { verify, now } = setUp();
    await expect(verify(await mintProjectedToken({ now }))).rejects.toThrow(`issuer must be ${GITHUB_ISSUER}`);
  });

  test('a refusal holds nothing of what the token said', async () => {
    const { present } = setUp();
    const canary = 'canary-77aa';
    for (const claims of [{ sub: canary }, { sub: `${canary}\n` }, { iss: canary }, { aud: canary }, { exp: 1, canary }]) {
      const refusal: unknown = await present({ claims }).catch((error: unknown) => error);
      expect(refusal).toMatchObject({ code: 'unauthorized' });
      expect(inspect(refusal, { depth: 10, showHidden: true })).not.toContain(canary);
    }
  });
});

describe('forged tokens', () => {
  const attackerRsa = makeRsaKey();
  const attackerEc = makeEcKey();
  const { now } = setUp();
  const payload = encodePart(githubActionsClaims(now));
  const hmac = (secret: string) =>
    new CompactSign(new TextEncoder().encode(JSON.stringify(githubActionsClaims(now))))
      .setProtectedHeader({ alg: 'HS256', kid: rsaKey.kid })
      .sign(new TextEncoder().encode(secret));

  test.each<[string, () => string | Promise<string>]>([
    ['by another RSA key', () => mintGitHubToken({ now, key: attackerRsa })],
    ['by another EC key under the name of ours', () => mintGitHubToken({ now, key: { ...attackerEc, kid: ecKey.kid } })],
    ['with a key embedded', () => mintGitHubToken({ now, key: attackerEc, header: { jwk: { kty: 'EC' } } })],
    ['with the address of a key', () => mintGitHubToken({ now, key: attackerEc, header: { jku: 'https://x.example' } })],
    ['with a path for the key', () => mintGitHubToken({ now, key: attackerEc, header: { kid: '../../dev/null' } })],
    ['keyed with our public PEM', () => hmac(rsaKey.publicPem)],
    ['unsigned', () => `${encodePart({ alg: 'none' })}.${payload}.`],
    ['psychic', () => `${encodePart({ alg: 'ES256' })}.${payload}.${Buffer.alloc(64).toString('base64url')}`],
    ['an opaque token', () => 'ghs_0123456789abcdef'],
  ])('%s are unauthorized', async (_name, attempt) => {
    const { verify } = setUp();
    await expect(verify(await attempt())).rejects.toMatchObject({ code: 'unauthorized' });
  });
});

describe('configuration that would let nobody in, or too many', () => {
  test.each([
    ['no prefix', { allowedSubjectPrefixes: [] }],
    ['an empty prefix', { allowedSubjectPrefixes: [''] }],
    ['a pattern for a prefix', { allowedSubjectPrefixes: ['repo:*'] }],
    ['no audience', { audience: '' }],
    ['no key', { keys: [] }],
  ])('%s stops the start', (_name, changes) => {
    expect(() => setUp(changes)).toThrow();
  });
});

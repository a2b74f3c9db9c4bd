import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { type DelegationIssuer, makeDelegationVerifier } from '../../src/authn/delegation-assertions.ts';
import { unavailable } from '../../src/domain/errors.ts';
import type { TenantId } from '../../src/domain/ids.ts';
import { encodePart, mintProjectedToken } from '../support/attestations.ts';
import { type DelegationOptions, type Delegations, makeDelegations } from '../support/delegations.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { makeOperators } from '../support/operators.ts';

const TENANT = 't_dev' as TenantId;

const clock = new FakeClock();
const now = clock.now();
const start = now.getTime() / 1000;

const people = makeDelegations();
const issuerOf = (delegations: Delegations, changes: Partial<DelegationIssuer> = {}): DelegationIssuer => ({
  issuer: delegations.issuer,
  keys: delegations.keys,
  audience: null,
  tenants: [TENANT],
  ...changes,
});
const makeVerifier = (...issuers: DelegationIssuer[]) => makeDelegationVerifier({ issuers, clock });
const verifier = makeVerifier(issuerOf(people));
const mint = (options: Partial<DelegationOptions> = {}) => people.assertion({ now, ...options });
const withClaims = (claims: Record<string, unknown>) => mint({ claims });

describe('a delegation assertion', () => {
  test('says who lets whom do what', async () => {
    const assertion = await mint({
      subject: 'dora@example.com',
      allowedCapabilities: ['repo.read', 'db.*', '*'],
      resourceFilters: { repo: ['acme/widgets'], db_role: ['reader'], origin: ['https://app.example'] },
      claims: { jti: 'd-1' },
    });
    await expect(verifier.verify(assertion)).resolves.toEqual({
      issuer: people.issuer,
      subject: 'dora@example.com',
      id: 'd-1',
      tenantId: 't_dev',
      agentId: 'reviewer',
      allowedCapabilities: ['repo.read', 'db.*', '*'],
      resourceFilters: {
        github_repo: ['acme/widgets'],
        db_role: ['reader'],
        browser_origin: ['https://app.example'],
      },
      expiresAt: new Date(now.getTime() + 3_600_000),
    });
  });

  test('that names a kind of resource with no name in it allows none of that kind', async () => {
    const { resourceFilters } = await verifier.verify(await mint({ resourceFilters: { repo: [] } }));
    expect(resourceFilters).toEqual({ github_repo: [] });
  });

  test.each([
    ['no filters', { claims: { resource_filters: undefined } }],
    ['empty filters', { resourceFilters: {} }],
  ])('with %s restricts no kind of resource', async (_name, options) => {
    expect((await verifier.verify(await mint(options))).resourceFilters).toEqual({});
  });

  test('of no capability allows none', async () => {
    expect((await verifier.verify(await mint({ allowedCapabilities: [] }))).allowedCapabilities).toEqual([]);
  });

  test.each([
    ['every registered claim of RFC 7519', { claims: { aud: 'asb', nbf: start, iat: start } }],
    ['neither iat nor nbf', { claims: { iat: undefined, nbf: undefined } }],
    ['no key id and no type', { header: { kid: undefined, typ: undefined } }],
    ['a life of 90 days', { claims: { exp: start + 90 * 86_400 } }],
    ['a clock that is 30 seconds ahead', { claims: { nbf: start + 30, iat: start + 30 } }],
  ])('with %s is accepted', async (_name, options) => {
    await expect(verifier.verify(await mint(options))).resolves.toMatchObject({ subject: 'dora' });
  });

  test('is for our audience alone, where the issuer has one', async () => {
    const strict = makeVerifier(issuerOf(people, { audience: 'asb' }));
    await strict.verify(await withClaims({ aud: 'asb' }));
    await strict.verify(await withClaims({ aud: ['other', 'asb'] }));
    for (const aud of ['other', undefined, [], null, 'asb ']) {
      await expect(strict.verify(await withClaims({ aud }))).rejects.toMatchObject({
        code: 'unauthorized',
        message: expect.stringMatching(/^delegation_assertion: audience must be asb/),
      });
    }
  });

  test('is checked by the rules of its own issuer', async () => {
    const partner = makeDelegations('https://partner.example');
    const tenants = ['t_partner' as TenantId];
    const both = makeVerifier(issuerOf(people), issuerOf(partner, { tenants }));
    await expect(both.verify(await mint())).resolves.toMatchObject({ issuer: people.issuer, tenantId: 't_dev' });
    await expect(both.verify(await partner.assertion({ now, tenantId: 't_partner' }))).resolves.toMatchObject({
      issuer: partner.issuer,
      tenantId: 't_partner',
    });
    await expect(both.verify(await partner.assertion({ now }))).rejects.toMatchObject({ code: 'forbidden' });
    for (const forged of [
      partner.assertion({ now, claims: { iss: people.issuer } }),
      people.assertion({ now, tenantId: 't_partner', claims: { iss: partner.issuer } }),
      people.assertion({ now, claims: { iss: 'https://attacker.example' } }),
      people.assertion({ now, claims: { iss: [people.issuer] } }),
      people.assertion({ now, claims: { iss: undefined } }),
      Promise.resolve(`${encodePart({ alg: 'EdDSA' })}.${encodePart('null')}.AAAA`),
    ]) {
      await expect(both.verify(await forged)).rejects.toMatchObject({ code: 'unauthorized' });
    }
  });
});

describe('whose delegations do not count', () => {
  test.each([
    ['a tenant that its issuer has no say in', 't_other'],
    ['a tenant that does not exist', 't_nowhere'],
    ['a tenant in another case', 'T_DEV'],
    ['a tenant with a space', 't_dev '],
    ['every tenant', '*'],
  ])('an authentic assertion for %s is forbidden', async (_name, tenantId) => {
    await expect(verifier.verify(await mint({ tenantId }))).rejects.toMatchObject({
      code: 'forbidden',
      reason: 'delegation_not_accepted',
      rule: 'delegation',
      message: 'delegation_assertion: its issuer may not delegate for that tenant',
    });
  });

  test('where no issuer is configured, an assertion is forbidden', async () => {
    await expect(makeVerifier().verify(await mint())).rejects.toMatchObject({
      code: 'forbidden',
      reason: 'delegation_not_accepted',
      message: 'delegation_assertion: no issuer of delegations is configured here; leave it out',
    });
  });
});

const stranger = makeDelegations();
const UNKNOWN_CLAIM = 'token has a claim that is not known here and might restrict it; leave it out';
const UNKNOWN_FILTER = 'token filters a kind of resource that is not known here; use repo, db_role and origin';
const malformed = (claim: string) => `token's ${claim} claim is missing or malformed`;
const many = (count: number, name = 'x') => Array.from({ length: count }, (_, index) => `${name}${index}`);

const refused: readonly (readonly [name: string, attempt: () => string | Promise<string>, message: string])[] = [
  ['signed by a stranger', () => stranger.assertion({ now }), 'not signed by a key of'],
  ['of another issuer', () => withClaims({ iss: `${people.issuer}/` }), `issuer must be ${people.issuer}`],
  ['without an end', () => withClaims({ exp: undefined }), 'token never expires'],
  ['past its end', () => withClaims({ exp: start - 31 }), 'token has expired'],
  ['before its beginning', () => withClaims({ nbf: start + 31 }), 'not valid yet'],
  ['issued in the future', () => withClaims({ iat: start + 31 }), 'not valid yet'],
  ['ending at the end of time', () => withClaims({ exp: 1e300 }), 'exp claim is malformed'],
  ['ending in a year', () => withClaims({ exp: start + 365 * 86_400 }), 'at most 90 days ahead'],
  ['ending within a second', () => withClaims({ exp: start + 0.5 }), 'exp claim is malformed'],
  ...['sub', 'jti', 'tenant_id', 'agent_id', 'allowed_capabilities'].flatMap(
    (name) =>
      [
        [`without ${name}`, () => withClaims({ [name]: undefined }), malformed(name)],
        [`with ${name} null`, () => withClaims({ [name]: null }), malformed(name)],
        [`with ${name} an object`, () => withClaims({ [name]: {} }), malformed(name)],
        [`with ${name} a number`, () => withClaims({ [name]: 7 }), malformed(name)],
      ] as const,
  ),
  ...['sub', 'jti', 'tenant_id', 'agent_id'].map(
    (name) => [`with ${name} empty`, () => withClaims({ [name]: '' }), malformed(name)] as const,
  ),
  ['with a subject of 256 characters', () => mint({ subject: 'x'.repeat(256) }), malformed('sub')],
  ['with a subject that breaks the line', () => mint({ subject: 'dora\nolga' }), malformed('sub')],
  ['with a jti of 129 characters', () => withClaims({ jti: 'x'.repeat(129) }), malformed('jti')],
  ['with a NUL in its jti', () => withClaims({ jti: 'd\u0000' }), malformed('jti')],
  ['with half a surrogate pair in its jti', () => withClaims({ jti: 'd\ud800' }), malformed('jti')],
  ['for several tenants', () => withClaims({ tenant_id: ['t_dev', 't_other'] }), malformed('tenant_id')],
  ['for several agents', () => withClaims({ agent_id: ['reviewer', 'admin'] }), malformed('agent_id')],
  ['with a capability as text', () => withClaims({ allowed_capabilities: 'repo.read' }), malformed('allowed_capabilities')],
  ['with an empty capability', () => mint({ allowedCapabilities: [''] }), malformed('allowed_capabilities')],
  ['with a star in the middle', () => mint({ allowedCapabilities: ['repo.*.read'] }), malformed('allowed_capabilities')],
  ['with a star in front', () => mint({ allowedCapabilities: ['*.read'] }), malformed('allowed_capabilities')],
  ['with two stars', () => mint({ allowedCapabilities: ['**'] }), malformed('allowed_capabilities')],
  ['with a pattern of another kind', () => mint({ allowedCapabilities: ['repo.?'] }), malformed('allowed_capabilities')],
  ['with a space in a capability', () => mint({ allowedCapabilities: ['a b'] }), malformed('allowed_capabilities')],
  ['with 101 capabilities', () => mint({ allowedCapabilities: many(101) }), malformed('allowed_capabilities')],
  ['with filters null', () => withClaims({ resource_filters: null }), malformed('resource_filters')],
  ['with filters a list', () => withClaims({ resource_filters: ['repo'] }), malformed('resource_filters')],
  ['with a filter null', () => withClaims({ resource_filters: { repo: null } }), malformed('resource_filters')],
  ['with a filter as text', () => withClaims({ resource_filters: { repo: 'a/b' } }), malformed('resource_filters')],
  ['with a filter of numbers', () => withClaims({ resource_filters: { repo: [1] } }), malformed('resource_filters')],
  ['with an empty name', () => mint({ resourceFilters: { repo: [''] } }), malformed('resource_filters')],
  ['with a NUL in a name', () => mint({ resourceFilters: { repo: ['a/b\u0000'] } }), malformed('resource_filters')],
  [
    'with half a surrogate pair in a name',
    () => mint({ resourceFilters: { repo: ['a/b\udc00'] } }),
    malformed('resource_filters'),
  ],
  ['with 201 names', () => mint({ resourceFilters: { repo: many(201) } }), malformed('resource_filters')],
  ['with a filter of an unknown kind', () => mint({ resourceFilters: { bucket: ['b'] } }), UNKNOWN_FILTER],
  ['with a filter by our own name of the kind', () => mint({ resourceFilters: { github_repo: ['a/b'] } }), UNKNOWN_FILTER],
  ['with a filter in capitals', () => mint({ resourceFilters: { Repo: ['a/b'] } }), UNKNOWN_FILTER],
  ['with an unknown filter beside a good one', () => mint({ resourceFilters: { repo: ['a/b'], x: [] } }), UNKNOWN_FILTER],
  ['with a bound on its uses', () => withClaims({ max_uses: 1 }), UNKNOWN_CLAIM],
  ['bound to a key', () => withClaims({ cnf: { jkt: 'A'.repeat(43) } }), UNKNOWN_CLAIM],
  ['with a scope', () => withClaims({ scope: 'read' }), UNKNOWN_CLAIM],
  ['with a claim that is null', () => withClaims({ run_id: null }), UNKNOWN_CLAIM],
  ['an operator token of the same issuer', () => operatorToken(), 'claim'],
  ['a Kubernetes token', () => mintProjectedToken({ now }), 'must be signed with EdDSA'],
  ['nothing', () => '', 'not a delegation assertion'],
  ['rubbish', () => 'rubbish', 'not a delegation assertion'],
  ['too long', () => mint({ subject: 'x'.repeat(16 * 1024) }), 'not a delegation assertion'],
];

const operatorToken = () =>
  people.sign({ iss: people.issuer, sub: 'olga', aud: 'asb', roles: ['approver'], jti: 'j', exp: start + 60 });

describe('what is no delegation assertion', () => {
  test.each(refused)('%s is unauthorized', async (_name, attempt, message) => {
    const assertion = await attempt();
    await expect(verifier.verify(assertion)).rejects.toMatchObject({
      name: 'BrokerError',
      code: 'unauthorized',
      message: expect.stringMatching(/^delegation_assertion: /),
    });
    await expect(verifier.verify(assertion)).rejects.toThrow(message);
  });

  test('a filter by the name that every object has is unknown', async () => {
    const payload = JSON.stringify({
      iss: people.issuer,
      sub: 'dora',
      jti: 'j',
      exp: start + 60,
      tenant_id: 't_dev',
      agent_id: 'reviewer',
      allowed_capabilities: [],
    }).replace(/\}$/, ',"resource_filters":{"__proto__":{"repo":["a/b"]}}}');
    const assertion = await people.sign(JSON.parse(payload) as Record<string, unknown>);
    await expect(verifier.verify(assertion)).rejects.toThrow(UNKNOWN_FILTER);
  });

  test.each(['RS256', 'ES256'] as const)('%s is not taken, not even from keys that are fetched', async (alg) => {
    const signer = makeDelegations(people.issuer, alg);
    const fetched = { find: signer.keys.find.bind(signer.keys) };
    await expect(makeVerifier(issuerOf(people, { keys: fetched })).verify(await signer.assertion({ now }))).rejects.toThrow(
      'must be signed with EdDSA',
    );
  });

  test('when the keys cannot be had, the answer is unavailable', async () => {
    const keys = { find: () => Promise.reject(unavailable('keys of the issuer cannot be had')) };
    const away = makeVerifier(issuerOf(people, { keys }));
    await expect(away.verify(await mint())).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('a refusal shows nothing of the assertion', async () => {
    const canary = 'canary-58aa';
    for (const options of [
      { claims: { exp: 1, canary } },
      { claims: { [canary]: 1 } },
      { claims: { iss: canary } },
      { resourceFilters: { [canary]: ['x'] } },
      { tenantId: canary },
      { allowedCapabilities: [`${canary} `] },
      { subject: `${canary}\n` },
      { header: { kid: canary }, claims: { exp: 1 } },
    ]) {
      const refusal: unknown = await verifier.verify(await mint(options)).catch((error: unknown) => error);
      expect(refusal).toMatchObject({ code: expect.stringMatching(/^(unauthorized|forbidden)$/) });
      expect(inspect(refusal, { depth: 10, showHidden: true })).not.toContain(canary);
    }
  });
});

describe('configuration that would let nobody in, or too many', () => {
  test.each<[string, DelegationIssuer[]]>([
    ['an issuer twice', [issuerOf(people), issuerOf(makeDelegations())]],
    ['an empty audience', [issuerOf(people, { audience: '' })]],
    ['no issuer', [issuerOf(people, { issuer: '' })]],
    ['an RSA key', [issuerOf(makeDelegations(people.issuer, 'RS256'))]],
  ])('%s stops the start', (_name, issuers) => {
    expect(() => makeVerifier(...issuers)).toThrow('delegation assertions');
  });
});

test("an operators' issuer is no issuer of delegations", async () => {
  const operators = makeOperators(people.issuer);
  await expect(verifier.verify(await operators.token({ now }))).rejects.toMatchObject({ code: 'unauthorized' });
});

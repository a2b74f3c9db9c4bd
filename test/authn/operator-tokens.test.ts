import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { makeOperatorTokens, type OperatorIssuer, type RoleMapping } from '../../src/authn/operator-tokens.ts';
import { makeSessionTokens } from '../../src/authn/session-tokens.ts';
import { ephemeralKeyRing } from '../../src/crypto/key-ring.ts';
import { unavailable } from '../../src/domain/errors.ts';
import type { AgentId, RunId, SessionId, TenantId, WorkloadHash } from '../../src/domain/ids.ts';
import { hasRole, OPERATOR_ROLES, type OperatorRole } from '../../src/domain/operator.ts';
import { encodePart, mintProjectedToken } from '../support/attestations.ts';
import { makeDelegations } from '../support/delegations.ts';
import { makeProofKey } from '../support/dpop.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { makeIssuerKey } from '../support/issuer-keys.ts';
import { makeOperators, type Operators, type OperatorTokenOptions } from '../support/operators.ts';

const ACME = 't_acme' as TenantId;
const UMBRELLA = 't_umbrella' as TenantId;
const GONE = 't_gone' as TenantId;
const TENANTS = [ACME, UMBRELLA];

const clock = new FakeClock();
const now = clock.now();
const start = now.getTime() / 1000;

const company = makeOperators();
const MAPPINGS: readonly RoleMapping[] = [
  ...OPERATOR_ROLES.map((role) => ({ claimValue: role, roles: [role], tenants: [ACME] })),
  { claimValue: 'admins', roles: ['operator', 'approver'], tenants: [ACME, UMBRELLA, GONE] },
  { claimValue: 'readers', roles: ['viewer'], tenants: [UMBRELLA] },
  { claimValue: 'readers', roles: ['auditor'], tenants: [UMBRELLA] },
  { claimValue: 'ghosts', roles: ['approver'], tenants: [GONE] },
];

const issuerOf = (operators: Operators, changes: Partial<OperatorIssuer> = {}): OperatorIssuer => ({
  issuer: operators.issuer,
  audience: operators.audience,
  keys: operators.keys,
  rolesClaim: 'roles',
  roleMappings: MAPPINGS,
  ...changes,
});

const makeVerifier = (...issuers: OperatorIssuer[]) => makeOperatorTokens({ issuers, tenants: TENANTS, clock });
const verifier = makeVerifier(issuerOf(company));
const mint = (options: Partial<OperatorTokenOptions> = {}) => company.token({ now, ...options });

async function rolesOf(options: Partial<OperatorTokenOptions>): Promise<Record<string, readonly OperatorRole[]>> {
  const { roles } = await verifier.verify(await mint(options));
  return Object.fromEntries([...roles].map(([tenantId, held]) => [tenantId, [...held].sort()]));
}

describe('an operator token', () => {
  test('says who is asking and what they may do', async () => {
    const operator = await verifier.verify(await mint({ subject: 'olga@example.com', roles: ['approver'] }));
    expect(operator).toEqual({
      issuer: company.issuer,
      subject: 'olga@example.com',
      roles: new Map([[ACME, new Set(['approver'])]]),
    });
    expect(hasRole(operator, ACME, 'approver')).toBe(true);
    expect(hasRole(operator, ACME, 'operator', 'viewer', 'auditor')).toBe(false);
    expect(hasRole(operator, UMBRELLA, 'approver')).toBe(false);
  });

  test.each<[string, Partial<OperatorTokenOptions>, Record<string, OperatorRole[]>]>([
    ['one role', { roles: ['viewer'] }, { [ACME]: ['viewer'] }],
    ['a role as a string', { claims: { roles: 'viewer' } }, { [ACME]: ['viewer'] }],
    ['several roles', { roles: ['viewer', 'auditor'] }, { [ACME]: ['auditor', 'viewer'] }],
    ['a role twice', { roles: ['viewer', 'viewer'] }, { [ACME]: ['viewer'] }],
    [
      'a group of several tenants, one of which is gone',
      { roles: ['admins'] },
      { [ACME]: ['approver', 'operator'], [UMBRELLA]: ['approver', 'operator'] },
    ],
    ['a group that is mapped twice', { roles: ['readers'] }, { [UMBRELLA]: ['auditor', 'viewer'] }],
    [
      'groups that add up in one tenant and not in another',
      { roles: ['admins', 'viewer'] },
      { [ACME]: ['approver', 'operator', 'viewer'], [UMBRELLA]: ['approver', 'operator'] },
    ],
    ['a group of a tenant that is not configured', { roles: ['ghosts'] }, {}],
    ['a group of nothing', { roles: ['cooks'] }, {}],
    ['no group', { roles: [] }, {}],
    ['roles in one string, which is no list', { claims: { roles: 'viewer approver' } }, {}],
    ['a role in another case', { roles: ['Approver'] }, {}],
    ['a role with a space', { roles: ['approver '] }, {}],
    ['the name of a member of every object', { roles: ['constructor', '__proto__', 'toString'] }, {}],
  ])('of %s', async (_name, options, expected) => {
    await expect(rolesOf(options)).resolves.toEqual(expected);
  });

  test('may name its roles in a claim of another name', async () => {
    const groups = makeVerifier(issuerOf(company, { rolesClaim: 'https://example.com/groups' }));
    const claims = { 'https://example.com/groups': ['viewer'], roles: ['approver'] };
    const { roles } = await groups.verify(await mint({ claims }));
    expect([...(roles.get(ACME) ?? [])]).toEqual(['viewer']);
  });

  test.each(['RS256', 'ES256', 'EdDSA'] as const)('may be signed with %s', async (alg) => {
    const operators = makeOperators('https://other.example', 'asb', alg);
    await expect(makeVerifier(issuerOf(operators)).verify(await operators.token({ now }))).resolves.toMatchObject({
      issuer: 'https://other.example',
    });
  });

  test.each([
    ['an access token (RFC 9068)', { header: { typ: 'at+jwt' } }],
    ['an access token by its full name', { header: { typ: 'application/AT+JWT' } }],
    ['no type', { header: { typ: undefined } }],
    ['no key id', { header: { kid: undefined } }],
    ['several audiences', { claims: { aud: ['account', 'asb'] } }],
    ['claims of an identity provider', { claims: { azp: 'cli', email: 'o@example.com', nbf: start } }],
  ])('with %s is accepted', async (_name, options) => {
    await expect(verifier.verify(await mint(options))).resolves.toMatchObject({ subject: 'olga' });
  });

  test('is checked by the rules of its own issuer', async () => {
    const partner = makeOperators('https://partner.example', 'asb-partner');
    const rules = [{ claimValue: 'approver', roles: ['viewer'], tenants: [UMBRELLA] }] as const;
    const both = makeVerifier(issuerOf(company), issuerOf(partner, { roleMappings: rules }));
    await expect(both.verify(await mint())).resolves.toMatchObject({ issuer: company.issuer });
    const { issuer, roles } = await both.verify(await partner.token({ now }));
    expect([issuer, roles]).toEqual([partner.issuer, new Map([[UMBRELLA, new Set(['viewer'])]])]);
    for (const forged of [
      partner.token({ now, claims: { iss: company.issuer } }),
      partner.token({ now, claims: { iss: company.issuer, aud: company.audience } }),
      company.token({ now, claims: { iss: partner.issuer, aud: partner.audience } }),
      partner.token({ now, claims: { aud: company.audience } }),
    ]) {
      await expect(both.verify(await forged)).rejects.toMatchObject({ code: 'unauthorized' });
    }
  });
});

const stranger = makeOperators();
const SUBJECT_MESSAGE = "token's sub claim must be 1 to 255 printable ASCII characters";
const ROLES_MESSAGE = "token's roles claim must be a role or a list of roles";
const TYPE_MESSAGE = "token is of another type than an operator's; its typ must be JWT or at+jwt";

const refused: readonly (readonly [name: string, attempt: () => string | Promise<string>, message: string])[] = [
  ['signed by a stranger', () => stranger.token({ now }), 'not signed by a key of'],
  ['for another audience', () => mint({ claims: { aud: 'asb-control-plane' } }), 'audience must be asb'],
  ['for no audience', () => mint({ claims: { aud: undefined } }), 'audience must be asb'],
  ['by another issuer', () => mint({ claims: { iss: 'https://login.example/' } }), `issuer must be ${company.issuer}`],
  ['without an end', () => mint({ claims: { exp: undefined } }), 'token never expires'],
  ['past its end', () => mint({ claims: { exp: start - 31 } }), 'token has expired'],
  ['before its beginning', () => mint({ claims: { nbf: start + 31 } }), 'not valid yet'],
  ['issued in the future', () => mint({ claims: { iat: start + 31 } }), 'not valid yet'],
  ['without a subject', () => mint({ claims: { sub: undefined } }), 'sub claim is missing'],
  ['of an empty subject', () => mint({ subject: '' }), SUBJECT_MESSAGE],
  ['of a subject of 256 characters', () => mint({ subject: 'x'.repeat(256) }), SUBJECT_MESSAGE],
  ['of a subject with a line break', () => mint({ subject: 'olga\nadmin' }), SUBJECT_MESSAGE],
  ['of a subject that only looks like another', () => mint({ subject: '\u043elga' }), SUBJECT_MESSAGE],
  ['of a subject that is a number', () => mint({ claims: { sub: 7 } }), SUBJECT_MESSAGE],
  ['without roles', () => mint({ claims: { roles: undefined } }), ROLES_MESSAGE],
  ['with roles null', () => mint({ claims: { roles: null } }), ROLES_MESSAGE],
  ['with roles an object', () => mint({ claims: { roles: { approver: true } } }), ROLES_MESSAGE],
  ['with a role that is no text', () => mint({ claims: { roles: ['approver', 7] } }), ROLES_MESSAGE],
  ['with roles in a list of lists', () => mint({ claims: { roles: [['approver']] } }), ROLES_MESSAGE],
  ['of the type of a session token', () => mint({ header: { typ: 'asb-session+jwt' } }), TYPE_MESSAGE],
  ['of the type of a proof', () => mint({ header: { typ: 'dpop+jwt' } }), TYPE_MESSAGE],
  ['of the type of a logout token', () => mint({ header: { typ: 'logout+jwt' } }), TYPE_MESSAGE],
  ['of a type that is a list', () => mint({ header: { typ: ['JWT'] } }), TYPE_MESSAGE],
  ['a session token of ours', sessionToken, 'token'],
  ['a session token by the key of the operators', () => sessionTokenByCompany(), 'audience must be asb'],
  ['a Kubernetes token', () => mintProjectedToken({ now }), 'token'],
  ['a delegation', () => makeDelegations().assertion({ now }), 'not signed by a key of'],
  ['a delegation by the key of the operators', () => mintDelegation({}), 'audience must be asb'],
  ['a delegation by that key, for our audience', () => mintDelegation({ aud: 'asb' }), ROLES_MESSAGE],
  ['a proof', proof, 'must be signed with EdDSA'],
  ['nothing', () => '', 'not an operator token'],
  ['rubbish', () => 'rubbish', 'not an operator token'],
  ['Bearer in front', async () => `Bearer ${await mint()}`, 'not an operator token'],
  ['too long', () => mint({ claims: { pad: 'x'.repeat(16 * 1024) } }), 'not an operator token'],
];

const SESSION = {
  sessionId: 'sess_1' as SessionId,
  tokenId: 'token-1',
  tenantId: ACME,
  agentId: 'agent-1' as AgentId,
  runId: 'run-1' as RunId,
  toolContext: ['github'],
  workloadHash: 'ab'.repeat(32) as WorkloadHash,
  proofKeyThumbprint: null,
  issuedAt: now,
  expiresAt: new Date(now.getTime() + 900_000),
};

async function sessionToken(): Promise<string> {
  return makeSessionTokens({ keys: await ephemeralKeyRing(), issuer: company.issuer, clock }).sign(SESSION);
}

const sessionTokenByCompany = () =>
  company.sign({ iss: company.issuer, sub: 'agent-1', sid: 'sess_1', exp: start + 900 }, { typ: 'asb-session+jwt' });

const mintDelegation = (claims: object) =>
  company.sign({
    iss: company.issuer,
    sub: 'dora',
    jti: 'j1',
    exp: start + 900,
    tenant_id: ACME,
    agent_id: 'a',
    allowed_capabilities: ['*'],
    ...claims,
  });

async function proof(): Promise<string> {
  return (await makeProofKey('ES256')).proof({ method: 'POST', url: 'https://asb.example/', at: now });
}

describe('what is no operator token', () => {
  test.each(refused)('%s is unauthorized', async (_name, attempt, message) => {
    const token = await attempt();
    await expect(verifier.verify(token)).rejects.toMatchObject({
      name: 'BrokerError',
      code: 'unauthorized',
      message: expect.stringMatching(/^authorization: /),
    });
    await expect(verifier.verify(token)).rejects.toThrow(message);
  });

  test.each([
    ['an issuer that is not configured', () => mint({ claims: { iss: 'https://attacker.example' } })],
    ['no issuer', () => mint({ claims: { iss: undefined } })],
    ['an issuer in a list', () => mint({ claims: { iss: [company.issuer] } })],
    ['an issuer of every object', () => mint({ claims: { iss: '__proto__' } })],
    ['a payload that is no object', () => `${encodePart({ alg: 'EdDSA' })}.${encodePart([])}.AAAA`],
    ['a payload that is null', () => `${encodePart({ alg: 'EdDSA' })}.${encodePart('null')}.AAAA`],
    ['rubbish', () => 'rubbish'],
    ['a megabyte', () => `${encodePart({ alg: 'EdDSA' })}.${'A'.repeat(1 << 20)}.AAAA`],
  ])('where there are several issuers, %s is unauthorized', async (_name, attempt) => {
    const several = makeVerifier(issuerOf(company), issuerOf(makeOperators('https://partner.example')));
    await expect(several.verify(await attempt())).rejects.toMatchObject({
      code: 'unauthorized',
      message: expect.stringMatching(/^authorization: /),
    });
  });

  test('where no operators are configured, every token is unauthorized', async () => {
    await expect(makeVerifier().verify(await mint())).rejects.toMatchObject({
      code: 'unauthorized',
      message: "authorization: no operators are configured here, so no token is an operator's",
    });
  });

  test('when the keys cannot be had, the answer is unavailable', async () => {
    const keys = { find: () => Promise.reject(unavailable('keys of the issuer cannot be had')) };
    const away = makeVerifier(issuerOf(company, { keys }));
    await expect(away.verify(await mint())).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('a refusal shows nothing of the token', async () => {
    const canary = 'canary-3f0e';
    for (const attempt of [
      mint({ claims: { exp: 1, canary } }),
      mint({ claims: { aud: canary } }),
      mint({ claims: { iss: canary } }),
      mint({ claims: { sub: `${canary}\n` } }),
      mint({ claims: { roles: { canary } } }),
      mint({ claims: { roles: [{ canary }] } }),
      mint({ header: { typ: canary } }),
      mint({ header: { kid: canary }, claims: { exp: 1 } }),
      `${encodePart({ alg: canary })}.${encodePart({ canary })}.AAAA`,
    ]) {
      const refusal: unknown = await verifier.verify(await attempt).catch((error: unknown) => error);
      expect(refusal).toMatchObject({ code: 'unauthorized' });
      expect(inspect(refusal, { depth: 10, showHidden: true })).not.toContain(canary);
    }
  });
});

describe('configuration that would let nobody in, or too many', () => {
  test.each<[string, OperatorIssuer[]]>([
    ['an issuer twice', [issuerOf(company), issuerOf(makeOperators(), { audience: 'other' })]],
    ['no audience', [issuerOf(company, { audience: '' })]],
    ['no issuer', [issuerOf(company, { issuer: '' })]],
    ['no roles claim', [issuerOf(company, { rolesClaim: '' })]],
  ])('%s stops the start', (_name, issuers) => {
    expect(() => makeVerifier(...issuers)).toThrow('operator tokens');
  });
});

test('an unknown key id of a known issuer is no way in', async () => {
  const other = makeIssuerKey();
  const token = await other.sign({ iss: company.issuer, aud: 'asb', sub: 'olga', roles: ['approver'], exp: start + 60 });
  await expect(verifier.verify(token)).rejects.toMatchObject({ code: 'unauthorized' });
});

import { generateKeyPairSync, type webcrypto } from 'node:crypto';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { calculateJwkThumbprint, CompactSign, createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import { describe, expect, test } from 'vitest';
import { makeSessionTokens } from '../../src/authn/session-tokens.ts';
import type { AgentId, RunId, SessionId, TenantId, WorkloadHash } from '../../src/domain/ids.ts';
import type { KeyRing } from '../../src/domain/key-ring.ts';
import type { SessionClaims } from '../../src/domain/session-tokens.ts';
import { encodePart, mintProjectedToken, rsaKey } from '../support/attestations.ts';
import { FakeClock } from '../support/fake-clock.ts';

const ISSUER = 'https://asb.example';
const TTL_SECONDS = 900;

/** A ring of one key. A second implementation of the port, so that this suite stands without src/crypto. */
async function makeRing(kid?: string) {
  const pair = generateKeyPairSync('ed25519');
  const publicKey = pair.publicKey.toCryptoKey({ name: 'Ed25519' }, true, ['verify']);
  const privateKey = pair.privateKey.toCryptoKey({ name: 'Ed25519' }, true, ['sign']);
  const name = kid ?? (await calculateJwkThumbprint(publicKey));
  const { x } = pair.publicKey.export({ format: 'jwk' });
  const ring: KeyRing = {
    signingKey: { kid: name, privateKey },
    verificationKey: (wanted) => (wanted === name ? publicKey : null),
    secretFor: () => new Uint8Array(32),
    publicKeys: () => ({ keys: [{ kty: 'OKP', crv: 'Ed25519', x, kid: name, alg: 'EdDSA', use: 'sig' }] }),
  };
  return { ring, pair };
}

const { ring, pair } = await makeRing();
const attacker = await makeRing(ring.signingKey.kid);

function setUp(keys: KeyRing = ring, issuer = ISSUER) {
  const clock = new FakeClock();
  return { clock, tokens: makeSessionTokens({ keys, issuer, clock }) };
}

const issuedAt = new Date('2026-01-02T03:04:05.000Z');
const claims: SessionClaims = {
  sessionId: 'sess_0198a0c5-0000-7000-8000-000000000001' as SessionId,
  tokenId: '0198a0c5-0000-7000-8000-000000000002',
  tenantId: 't_acme' as TenantId,
  agentId: 'agent-1' as AgentId,
  runId: 'run-1' as RunId,
  toolContext: ['github', 'db'],
  workloadHash: 'ab'.repeat(32) as WorkloadHash,
  proofKeyThumbprint: null,
  issuedAt,
  expiresAt: new Date(issuedAt.getTime() + TTL_SECONDS * 1000),
};

const THUMBPRINT = await calculateJwkThumbprint(pair.publicKey);
const genuine = await setUp().tokens.sign(claims);
const [header = '', payload = '', signature = ''] = genuine.split('.');
const genuineHeader = decodeProtectedHeader(genuine);
const genuineClaims = decodeJwt(genuine);

/** A token with edits, signed by our own key unless another is given. */
function forge(
  { claims: edits = {}, header: headerEdits = {} }: { claims?: object; header?: object },
  key: webcrypto.CryptoKey = ring.signingKey.privateKey,
): Promise<string> {
  return new CompactSign(new TextEncoder().encode(JSON.stringify({ ...genuineClaims, ...edits })))
    .setProtectedHeader({ alg: 'EdDSA', ...genuineHeader, ...headerEdits })
    .sign(key);
}

describe('session tokens', () => {
  test('say what was signed', async () => {
    await expect(setUp().tokens.verify(genuine)).resolves.toEqual(claims);
  });

  test('are JWTs of a type of their own, with the names that the design gives', () => {
    expect(genuineHeader).toEqual({ alg: 'EdDSA', kid: ring.signingKey.kid, typ: 'asb-session+jwt' });
    const start = Date.parse('2026-01-02T03:04:05Z') / 1000;
    expect(genuineClaims).toEqual({
      sid: claims.sessionId,
      tenant_id: 't_acme',
      agent_id: 'agent-1',
      run_id: 'run-1',
      tool_context: ['github', 'db'],
      workload_hash: claims.workloadHash,
      iss: ISSUER,
      sub: 'agent-1',
      jti: claims.tokenId,
      iat: start,
      nbf: start,
      exp: start + TTL_SECONDS,
    });
  });

  test('of a session that is bound to a key name its thumbprint', async () => {
    const { tokens } = setUp();
    const bound = { ...claims, proofKeyThumbprint: THUMBPRINT };
    const token = await tokens.sign(bound);
    expect(decodeJwt(token)).toEqual({ ...genuineClaims, cnf: { jkt: THUMBPRINT } });
    await expect(tokens.verify(token)).resolves.toEqual(bound);
  });

  test('can be verified by anyone who has the public keys', async () => {
    const { tokens, clock } = setUp();
    const keys = createLocalJWKSet({ keys: tokens.publicKeys().keys.map((key) => ({ kty: 'OKP', ...key })) });
    await expect(jwtVerify(genuine, keys, { issuer: ISSUER, currentDate: clock.now() })).resolves.toBeDefined();
  });

  test('never live longer than the session, to the millisecond', async () => {
    const { tokens } = setUp();
    const token = await tokens.sign({ ...claims, expiresAt: new Date(claims.expiresAt.getTime() + 999) });
    expect((await tokens.verify(token)).expiresAt).toEqual(claims.expiresAt);
  });

  test('are dead from the second of their exp', async () => {
    const { tokens, clock } = setUp();
    clock.advance(TTL_SECONDS - 0.001);
    await tokens.verify(genuine);
    clock.advance(0.001);
    await expect(tokens.verify(genuine)).rejects.toMatchObject({
      code: 'unauthorized',
      message: 'session_token: has expired; create a new session',
    });
    clock.advance(1);
    await expect(tokens.verify(genuine)).rejects.toMatchObject({ code: 'unauthorized' });
    clock.advance(60);
    await expect(tokens.verify(genuine)).rejects.toThrow('has expired');
  });

  test('from a replica whose clock is up to five seconds ahead are accepted', async () => {
    const { tokens } = setUp();
    const ahead = (seconds: number) => ({ ...claims, issuedAt: new Date(issuedAt.getTime() + seconds * 1000) });
    await tokens.verify(await tokens.sign(ahead(5)));
    await expect(tokens.verify(await tokens.sign(ahead(6)))).rejects.toThrow('session_token: is not valid yet');
  });

  test('of an empty tool context survive the round trip', async () => {
    const { tokens } = setUp();
    const read = await tokens.verify(await tokens.sign({ ...claims, toolContext: [] }));
    expect(read.toolContext).toEqual([]);
  });

  test('without an issuer are not made', () => {
    expect(() => setUp(ring, '')).toThrow('issuer');
  });
});

const attackerKey = attacker.ring.signingKey.privateKey;
const start = Math.floor(issuedAt.getTime() / 1000);
const attempts: readonly (readonly [name: string, attempt: () => string | Promise<string>])[] = [
  ['another key under our kid', () => forge({}, attackerKey)],
  ['another key with its jwk', () => forge({ header: { jwk: attacker.ring.publicKeys().keys[0] } }, attackerKey)],
  ['another key with a jku', () => forge({ header: { jku: 'https://attacker.example/jwks.json' } }, attackerKey)],
  ['an unknown kid', () => forge({ header: { kid: 'unknown' } })],
  ['no kid', () => forge({ header: { kid: undefined } })],
  ['kid __proto__', () => forge({ header: { kid: '__proto__' } })],
  ['kid as an array', () => forge({ header: { kid: [ring.signingKey.kid] } })],
  ['typ JWT', () => forge({ header: { typ: 'JWT' } })],
  ['typ of another token of ours', () => forge({ header: { typ: 'asb-delegation+jwt' } })],
  ['no typ', () => forge({ header: { typ: undefined } })],
  ['typ as an array', () => forge({ header: { typ: ['asb-session+jwt'] } })],
  ['alg none', () => `${encodePart({ ...genuineHeader, alg: 'none' })}.${payload}.`],
  ['alg none, signature kept', () => `${encodePart({ ...genuineHeader, alg: 'none' })}.${payload}.${signature}`],
  ['alg Ed25519, which we do not write', () => forge({ header: { alg: 'Ed25519' } })],
  ['HS256 keyed with the public key', () => withPublicKeyAsSecret('pem')],
  ['HS256 keyed with x', () => withPublicKeyAsSecret('x')],
  ['a Kubernetes token', () => mintProjectedToken({ now: issuedAt })],
  ['a Kubernetes token dressed as ours', () => mintProjectedToken({ now: issuedAt, header: genuineHeader, key: asEdDsa() })],
  ['an unknown critical header', () => critical({ 'x-must-know': true })],
  ['payload not encoded (RFC 7797)', () => critical({ b64: false })],
  ['another issuer', () => forge({ claims: { iss: 'https://other.example' } })],
  ['no issuer', () => forge({ claims: { iss: undefined } })],
  ['issuer in an array', () => forge({ claims: { iss: [ISSUER] } })],
  ['another broker with the same key', () => setUp(ring, 'https://other.example').tokens.sign(claims)],
  ['expired by a second', () => forge({ claims: { exp: start - 1 } })],
  ['expiring now', () => forge({ claims: { exp: start } })],
  ['exp as text', () => forge({ claims: { exp: '9999999999' } })],
  ['exp beyond any date', () => forge({ claims: { exp: 1e300 } })],
  ['a claim of a later version', () => forge({ claims: { scope: 'x' } })],
  ['bound to nothing', () => forge({ claims: { cnf: {} } })],
  ['bound to null', () => forge({ claims: { cnf: null } })],
  ['bound to a thumbprint that is none', () => forge({ claims: { cnf: { jkt: 'x' } } })],
  ['bound to several keys', () => forge({ claims: { cnf: { jkt: [THUMBPRINT] } } })],
  ['bound to a certificate (RFC 8705)', () => forge({ claims: { cnf: { 'x5t#S256': THUMBPRINT } } })],
  ['bound to a key and a certificate', () => forge({ claims: { cnf: { jkt: THUMBPRINT, 'x5t#S256': THUMBPRINT } } })],
  ['tool context as text', () => forge({ claims: { tool_context: 'github' } })],
  ['tool context of numbers', () => forge({ claims: { tool_context: [1] } })],
  ...['sid', 'tenant_id', 'agent_id', 'run_id', 'tool_context', 'workload_hash', 'sub', 'jti', 'iat', 'nbf', 'exp'].flatMap(
    (name) =>
      [
        [`no ${name}`, () => forge({ claims: { [name]: undefined } })],
        [`${name} null`, () => forge({ claims: { [name]: null } })],
        [`${name} an object`, () => forge({ claims: { [name]: {} } })],
      ] as const,
  ),
  ...['sid', 'tenant_id', 'agent_id', 'run_id', 'workload_hash', 'jti'].map(
    (name) => [`${name} empty`, () => forge({ claims: { [name]: '' } })] as const,
  ),
  ['signature dropped', () => `${header}.${payload}.`],
  ['payload detached', () => `${header}..${signature}`],
  ['a segment twice', () => `${header}.${payload}.${payload}.${signature}`],
  ['the signature of another session', async () => `${header}.${payload}.${(await otherSession()).split('.')[2]}`],
  ['signature of zeros', () => `${header}.${payload}.${Buffer.alloc(64).toString('base64url')}`],
  [
    'another spelling of the signature',
    () => genuine.slice(0, -1) + String.fromCharCode(genuine.charCodeAt(genuine.length - 1) + 1),
  ],
  ['line end after', () => `${genuine}\n`],
  ['Bearer in front', () => `Bearer ${genuine}`],
  ['empty', () => ''],
  ['white space', () => ' '],
  ['rubbish', () => 'rubbish'],
  ['a megabyte', () => 'A'.repeat(1 << 20)],
  ['well signed and too long', () => forge({ claims: { tool_context: ['x'.repeat(8 * 1024)] } })],
];

const otherSession = () => setUp().tokens.sign({ ...claims, runId: 'run-2' as RunId });

function asEdDsa() {
  return { alg: rsaKey.alg, kid: rsaKey.kid, privateKey: attacker.pair.privateKey };
}

function withPublicKeyAsSecret(form: 'pem' | 'x'): Promise<string> {
  const pem = pair.publicKey.export({ format: 'pem', type: 'spki' }).toString();
  const x = Buffer.from(pair.publicKey.export({ format: 'jwk' }).x ?? '', 'base64url');
  return new CompactSign(new TextEncoder().encode(JSON.stringify(genuineClaims)))
    .setProtectedHeader({ ...genuineHeader, alg: 'HS256' })
    .sign(form === 'pem' ? new TextEncoder().encode(pem) : new Uint8Array(x));
}

async function critical(parameter: Record<string, boolean>): Promise<string> {
  const protectedHeader = { ...genuineHeader, ...parameter, crit: Object.keys(parameter) };
  const input = `${encodePart(protectedHeader)}.${payload}`;
  const signed = await crypto.subtle.sign('Ed25519', ring.signingKey.privateKey, Buffer.from(input));
  return `${input}.${Buffer.from(signed).toString('base64url')}`;
}

const MESSAGE_PREFIX: unknown = expect.stringMatching(/^session_token: /);

describe('whether a token says that it is a session token', () => {
  const { tokens } = setUp();

  test.each<[string, () => string | Promise<string>]>([
    ['a genuine one', () => genuine],
    ['one whose signature is bad', () => `${header}.${payload}.AAAA`],
    ['one by another key', () => forge({}, attackerKey)],
    ['one that has expired', () => forge({ claims: { exp: 1 } })],
  ])('%s does', async (_name, token) => {
    expect(tokens.claims(await token())).toBe(true);
  });

  test.each<[string, () => string | Promise<string>]>([
    ['a Kubernetes token', () => mintProjectedToken({ now: issuedAt })],
    ['a token of another type of ours', () => forge({ header: { typ: 'asb-delegation+jwt' } })],
    ['a token without a type', () => forge({ header: { typ: undefined } })],
    ['a type in a list', () => forge({ header: { typ: ['asb-session+jwt'] } })],
    ['our header alone', () => header],
    ['a header that is null', () => `${encodePart('null')}.e30.AAAA`],
    ['a header that is not JSON', () => `${encodePart('{')}.e30.AAAA`],
    ['nothing', () => ''],
    ['dots', () => '..'],
    ['rubbish', () => 'rubbish'],
    ['a megabyte', () => `${header}.${'A'.repeat(1 << 20)}.AAAA`],
  ])('%s does not', async (_name, token) => {
    expect(tokens.claims(await token())).toBe(false);
  });
});

describe('what is not a session token of ours', () => {
  test.each(attempts)('%s is unauthorized', async (_name, attempt) => {
    await expect(setUp().tokens.verify(await attempt())).rejects.toMatchObject({
      name: 'BrokerError',
      code: 'unauthorized',
      message: MESSAGE_PREFIX,
    });
  });

  test.each<[string, unknown]>([
    ['sid', 'sess_0198a0c5-0000-7000-8000-00000000ffff'],
    ['tenant_id', 't_other'],
    ['agent_id', 'admin'],
    ['run_id', 'run-2'],
    ['tool_context', ['github', 'db', 'browser']],
    ['workload_hash', 'cd'.repeat(32)],
    ['iss', `${ISSUER}/`],
    ['sub', 'admin'],
    ['jti', 'other'],
    ['cnf', { jkt: THUMBPRINT }],
    ['iat', start + 1],
    ['nbf', start - 1],
    ['exp', start + TTL_SECONDS + 1],
  ])('an edit of %s breaks the signature', async (name, value) => {
    expect(genuineClaims[name]).not.toEqual(value);
    const edited = `${header}.${encodePart({ ...genuineClaims, [name]: value })}.${signature}`;
    await expect(setUp().tokens.verify(edited)).rejects.toMatchObject({
      code: 'unauthorized',
      message: 'session_token: is not signed by a key of this broker; create a new session',
    });
  });

  test('no edit of a single letter passes', async () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ ';
    const { tokens } = setUp();
    await fc.assert(
      fc.asyncProperty(fc.nat(genuine.length - 1), fc.constantFrom(...Array.from(alphabet)), async (at, letter) => {
        fc.pre(genuine[at] !== letter);
        const edited = genuine.slice(0, at) + letter + genuine.slice(at + 1);
        await expect(tokens.verify(edited)).rejects.toMatchObject({ code: 'unauthorized' });
      }),
      { numRuns: 500 },
    );
  });

  test('a bound token cannot be made a bearer token', async () => {
    const { tokens } = setUp();
    const bound = await tokens.sign({ ...claims, proofKeyThumbprint: THUMBPRINT });
    const stripped = `${header}.${payload}.${bound.split('.')[2]}`;
    await expect(tokens.verify(stripped)).rejects.toMatchObject({ code: 'unauthorized' });
  });

  test('a refusal shows nothing of the token', async () => {
    const canary = 'canary-4e7a';
    for (const edits of [
      { claims: { exp: 1, run_id: canary } },
      { claims: { iss: canary } },
      { claims: { agent_id: canary, exp: canary } },
      { header: { kid: canary } },
      { header: { typ: canary } },
    ]) {
      const refusal: unknown = await setUp()
        .tokens.verify(await forge(edits))
        .catch((error: unknown) => error);
      expect(refusal).toMatchObject({ code: 'unauthorized' });
      expect(inspect(refusal, { depth: 10, showHidden: true })).not.toContain(canary);
    }
  });
});

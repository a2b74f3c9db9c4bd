import { generateKeyPairSync, sign } from 'node:crypto';
import { CompactSign } from 'jose';
import { describe, expect, test, vi } from 'vitest';
import { type KeySource, staticKeys } from '../../src/authn/key-source.ts';
import type { VerificationKey } from '../../src/authn/pem-keys.ts';
import { type JwtRules, requireSoundRules, verifySignedJwt } from '../../src/authn/signed-jwt.ts';
import { unavailable } from '../../src/domain/errors.ts';
import {
  type ClusterKey,
  ecKey,
  ed25519Key,
  encodePart,
  makeEcKey,
  makeEd25519Key,
  makeRsaKey,
  rsaKey,
} from '../support/attestations.ts';
import { FakeClock } from '../support/fake-clock.ts';

const clock = new FakeClock();
const issuedAt = clock.now().getTime() / 1000;
const ISSUER = 'https://issuer.example';
const CLAIMS = { iss: ISSUER, aud: 'asb', sub: 'alice', iat: Math.floor(issuedAt), exp: Math.floor(issuedAt) + 600 };

const rulesWith = (changes: Partial<JwtRules> = {}): JwtRules => ({
  what: 'delegation_assertion',
  kind: 'a delegation assertion',
  keys: staticKeys([rsaKey, ecKey, ed25519Key]),
  issuer: ISSUER,
  audience: 'asb',
  algorithms: ['RS256', 'ES256', 'EdDSA'],
  clock,
  requiredClaims: ['sub', 'jti'],
  ...changes,
});

interface Minted {
  key?: ClusterKey;
  header?: Record<string, unknown>;
  claims?: Record<string, unknown>;
}

const mint = ({ key = ed25519Key, header = {}, claims = {} }: Minted = {}): Promise<string> =>
  new CompactSign(new TextEncoder().encode(JSON.stringify({ ...CLAIMS, jti: 'j1', ...claims })))
    .setProtectedHeader({ alg: key.alg, kid: key.kid, ...header })
    .sign(key.privateKey);

/** A remote source in small: it answers promises and knows no key beforehand. */
const fetched = (keys: readonly VerificationKey[]): KeySource => ({
  find: ({ alg, kid }) => Promise.resolve(keys.filter((key) => key.alg === alg && (kid === null || key.kid === kid))),
});

describe('a token that is authentic, meant for us and in date', () => {
  test.each([
    ['RS256', rsaKey],
    ['ES256', ecKey],
    ['EdDSA', ed25519Key],
  ])('answers its claims under %s, whatever holds the keys', async (_alg, key) => {
    const token = await mint({ key });
    for (const keys of [staticKeys([key]), staticKeys([rsaKey, ecKey, ed25519Key]), fetched([rsaKey, ecKey, ed25519Key])]) {
      await expect(verifySignedJwt(rulesWith({ keys }), token)).resolves.toEqual({ ...CLAIMS, jti: 'j1' });
    }
  });

  test('may be for anybody where no audience is asked for', async () => {
    const rules = rulesWith({ audience: null });
    await expect(verifySignedJwt(rules, await mint({ claims: { aud: undefined } }))).resolves.toBeDefined();
    await expect(verifySignedJwt(rules, await mint({ claims: { aud: 'another' } }))).resolves.toBeDefined();
  });

  test.each(['at+jwt', 'application/at+jwt', 'AT+JWT'])('has the type that is asked for as %s', async (typ) => {
    await expect(verifySignedJwt(rulesWith({ typ: 'at+jwt' }), await mint({ header: { typ } }))).resolves.toBeDefined();
  });

  test('is found by trying each key when it names none', async () => {
    const older = [makeEd25519Key(), makeEd25519Key()];
    for (const keys of [staticKeys([...older, ed25519Key]), fetched([...older, ed25519Key])]) {
      await expect(verifySignedJwt(rulesWith({ keys }), await mint({ header: { kid: undefined } }))).resolves.toBeDefined();
    }
  });

  test('asks its source once, and a single fixed key not at all', async () => {
    const remote = fetched([ed25519Key, makeEd25519Key()]);
    const asked = vi.spyOn(remote, 'find');
    await verifySignedJwt(rulesWith({ keys: remote }), await mint({ header: { kid: undefined } }));
    expect(asked.mock.calls).toEqual([[{ alg: 'EdDSA', kid: null }]]);
    const single = staticKeys([ed25519Key]);
    const unasked = vi.spyOn(single, 'find');
    await verifySignedJwt(rulesWith({ keys: single }), await mint());
    expect(unasked).not.toHaveBeenCalled();
  });
});

/** Signs whatever it is given with a key of ours. */
const signedAs = (header: Record<string, unknown>, payload: string, key = rsaKey) => {
  const input = `${encodePart(header)}.${payload}`;
  return `${input}.${sign('sha256', Buffer.from(input), key.privateKey).toString('base64url')}`;
};
const body = encodePart({ ...CLAIMS, jti: 'j1' });
const zeros = (bytes: number) => Buffer.alloc(bytes).toString('base64url');
const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
const p256Order = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551';

const NO_KEY = 'token is not signed by a key of the issuer; use a token of the configured issuer';
const ALGORITHM = 'token must be signed with ES256 or EdDSA or RS256';
const NOT_ONE = 'token is not a delegation assertion; send it as it was issued, without white space';

describe('a token that is not', () => {
  test.each<[string, () => Promise<string> | string, string]>([
    ['psychic ES256, r = s = 0', () => `${encodePart({ alg: 'ES256' })}.${body}.${zeros(64)}`, NO_KEY],
    [
      'psychic ES256, r = s = order',
      () => `${encodePart({ alg: 'ES256' })}.${body}.${Buffer.from(p256Order.repeat(2), 'hex').toString('base64url')}`,
      NO_KEY,
    ],
    ['EdDSA of zeros', () => `${encodePart({ alg: 'EdDSA' })}.${body}.${zeros(64)}`, NO_KEY],
    ['RS256 of zeros', () => `${encodePart({ alg: 'RS256' })}.${body}.${zeros(256)}`, NO_KEY],
    ['RS256 of nothing', () => `${encodePart({ alg: 'RS256' })}.${body}.AA`, NO_KEY],
    [
      'ES256 by a key on P-384',
      () => {
        const input = `${encodePart({ alg: 'ES256' })}.${body}`;
        const key = { key: p384.privateKey, dsaEncoding: 'ieee-p1363' } as const;
        return `${input}.${sign('sha256', Buffer.from(input), key).toString('base64url')}`;
      },
      NO_KEY,
    ],
    ['ES256 in DER', () => signedAs({ alg: 'ES256' }, body, ecKey), NO_KEY],
    ['EdDSA by our RSA key', () => signedAs({ alg: 'EdDSA' }, body), NO_KEY],
    ["EdDSA by our RSA key under the other's name", () => signedAs({ alg: 'EdDSA', kid: ed25519Key.kid }, body), NO_KEY],
    ['Ed25519 by its other name', () => mintAs('Ed25519', ed25519Key), ALGORITHM],
    ['ES384', () => signedAs({ alg: 'ES384' }, body, ecKey), ALGORITHM],
    ['PS256', () => mintAs('PS256', rsaKey), ALGORITHM],
    ['none', () => `${encodePart({ alg: 'none' })}.${body}.AA`, ALGORITHM],
    ['HS256 with a public key for its secret', () => hmac(rsaKey), ALGORITHM],
    ['HS256 with the Ed25519 key for its secret', () => hmac(ed25519Key), ALGORITHM],
    ['b64: false', () => signedAs({ alg: 'RS256', crit: ['b64'], b64: false }, 'e30'), NOT_ONE],
    ['crit that nobody knows', () => mint({ header: { crit: ['exp'], exp: 1 } }).catch(() => critical()), NOT_ONE],
    ['a header that is a list', () => signedAs([] as unknown as Record<string, unknown>, body), NOT_ONE],
    ['longer than any token', () => mint({ claims: { pad: 'x'.repeat(20_000) } }), NOT_ONE],
    ['by a stranger', () => mint({ key: makeEd25519Key() }), NO_KEY],
    ['by a stranger under our key id', () => mint({ key: makeEd25519Key(), header: { kid: ed25519Key.kid } }), NO_KEY],
    ['by a stranger who brings the key along', () => mint({ key: stranger, header: { jwk: strangerJwk } }), NO_KEY],
    ['by a stranger who says where the key is', () => mint({ key: stranger, header: { jku: 'https://x/jwks' } }), NO_KEY],
    [
      'by a stranger who says where the certificate is',
      () => mint({ key: stranger, header: { x5u: 'https://x/' } }),
      NO_KEY,
    ],
  ])('%s is unauthorized', async (_name, attempt, message) => {
    await expect(verifySignedJwt(rulesWith(), await attempt())).rejects.toMatchObject({
      code: 'unauthorized',
      message: `delegation_assertion: ${message}`,
    });
  });

  test.each<[string, Record<string, unknown>, string]>([
    ['without a required claim', { jti: undefined }, "token's jti claim is missing or malformed"],
    ['without an end', { exp: undefined }, 'token never expires; use one that does'],
    ['whose end is a fraction', { exp: CLAIMS.exp + 0.5 }, "token's exp claim is malformed"],
    ['whose end is no date', { exp: 1e18 }, "token's exp claim is malformed"],
    ['that has expired', { exp: CLAIMS.iat - 30 }, 'token has expired; get a new one'],
    ['issued in the future', { iat: CLAIMS.iat + 31 }, 'token is not valid yet; check the clocks of both machines'],
    ['valid in the future', { nbf: CLAIMS.iat + 31 }, 'token is not valid yet; check the clocks of both machines'],
    ['of another issuer', { iss: 'https://other.example' }, `issuer must be ${ISSUER}`],
    ['for another audience', { aud: 'other' }, 'audience must be asb; get a token for that audience'],
  ])('%s is told so, for its signature is good', async (_name, claims, message) => {
    await expect(verifySignedJwt(rulesWith(), await mint({ claims }))).rejects.toMatchObject({
      code: 'unauthorized',
      message: `delegation_assertion: ${message}`,
    });
    const forged = await mint({ key: makeEd25519Key(), claims });
    await expect(verifySignedJwt(rulesWith(), forged)).rejects.toThrow(NO_KEY);
  });

  test.each(['JWT', 'dpop+jwt', '', undefined, 7])('of the type %j is refused where another is asked for', async (typ) => {
    await expect(verifySignedJwt(rulesWith({ typ: 'at+jwt' }), await mint({ header: { typ } }))).rejects.toMatchObject({
      code: 'unauthorized',
      message: "delegation_assertion: token's typ must be at+jwt",
    });
  });

  test('says a claim twice counts by what it says last, as for whoever issued it', async () => {
    const twice = `{"iss":"${ISSUER}","aud":"asb","exp":${CLAIMS.exp},"jti":"j1","sub":"alice","sub":"bob","iss":"https://other.example"}`;
    const token = signedAs({ alg: 'RS256' }, Buffer.from(twice).toString('base64url'));
    await expect(verifySignedJwt(rulesWith(), token)).rejects.toThrow(`issuer must be ${ISSUER}`);
  });

  test('of an algorithm that this verifier does not take is refused, though a key is here', async () => {
    const rules = rulesWith({ algorithms: ['RS256', 'ES256'] });
    await expect(verifySignedJwt(rules, await mint())).rejects.toThrow('token must be signed with ES256 or RS256');
    const single = rulesWith({ algorithms: ['RS256'], keys: staticKeys([ed25519Key]) });
    await expect(verifySignedJwt(single, await mint())).rejects.toMatchObject({ code: 'unauthorized' });
  });

  test('can be told for want of keys is unavailable', async () => {
    const keys: KeySource = { find: () => Promise.reject(unavailable('no keys')) };
    await expect(verifySignedJwt(rulesWith({ keys }), await mint())).rejects.toMatchObject({ code: 'unavailable' });
  });
});

const stranger = makeEd25519Key();
const strangerJwk = { kty: 'OKP', crv: 'Ed25519', x: 'AAAA' };

const critical = () => signedAs({ alg: 'RS256', crit: ['exp'], exp: 1 }, body);

function mintAs(alg: string, key: ClusterKey): Promise<string> {
  return new CompactSign(new TextEncoder().encode(JSON.stringify(CLAIMS))).setProtectedHeader({ alg }).sign(key.privateKey);
}

function hmac({ publicPem }: ClusterKey): Promise<string> {
  const secret = new TextEncoder().encode(publicPem);
  return new CompactSign(new TextEncoder().encode(JSON.stringify(CLAIMS))).setProtectedHeader({ alg: 'HS256' }).sign(secret);
}

describe('rules that would let nobody in, or too many', () => {
  test.each<[string, Partial<JwtRules>, RegExp]>([
    ['no issuer', { issuer: '' }, /an issuer, an audience and an algorithm/],
    ['an empty audience', { audience: '' }, /an issuer, an audience and an algorithm/],
    ['no algorithm', { algorithms: [] }, /an issuer, an audience and an algorithm/],
    ['a negative skew', { maxSkewSeconds: -1 }, /skew must be between/],
    ['an endless skew', { maxSkewSeconds: Infinity }, /skew must be between/],
    [
      'a key that none of the algorithms is for',
      { algorithms: ['RS256', 'ES256'] },
      /a key is for EdDSA; only keys for RS256 or/,
    ],
  ])('%s stops the start', (_name, changes, message) => {
    expect(() => requireSoundRules(rulesWith(changes), 'delegation issuer')).toThrow(message);
    expect(() => requireSoundRules(rulesWith(changes), 'delegation issuer')).toThrow('delegation issuer: ');
  });

  test('sound rules do not', () => {
    requireSoundRules(rulesWith({ keys: fetched([]), algorithms: ['RS256'], audience: null, maxSkewSeconds: 0 }), 'x');
    expect(() => staticKeys([])).toThrow('at least one key');
  });
});

test('keys of one file answer for their algorithm alone', () => {
  const source = staticKeys([rsaKey, ecKey, makeEcKey(), makeRsaKey()]);
  expect(source.find({ alg: 'ES256', kid: rsaKey.kid })).toHaveLength(2);
  expect(source.find({ alg: 'RS256', kid: rsaKey.kid })).toHaveLength(1);
  expect(source.find({ alg: 'EdDSA', kid: null })).toEqual([]);
});

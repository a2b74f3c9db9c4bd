import { createPrivateKey, createPublicKey, randomUUID } from 'node:crypto';
import { calculateJwkThumbprint, compactVerify } from 'jose';
import { describe, expect, test } from 'vitest';
import { makeProofVerifier } from '../../src/authn/dpop.ts';
import { parseJwks } from '../../src/authn/jwks.ts';
import { staticKeys } from '../../src/authn/key-source.ts';
import { type JwtRules, verifySignedJwt } from '../../src/authn/signed-jwt.ts';
import { keyRingFromPem } from '../../src/crypto/key-ring.ts';
import type { ClaimKind } from '../../src/domain/runtime-store.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { JWT_ATTACKS, makeJwt, negated } from '../support/jwt-attacks.ts';
import { makeSigningKey, signingKeyFrom, verifiersOf } from '../support/jwt-verifiers.ts';
import * as vectors from '../support/jwt-vectors.ts';

function rulesOf(jwk: Record<string, unknown>, at: string = vectors.JOE_LIVES): JwtRules {
  return {
    what: 'vector',
    kind: 'a JWT',
    keys: staticKeys(parseJwks({ keys: [jwk] })),
    issuer: 'joe',
    audience: null,
    algorithms: ['RS256', 'ES256', 'EdDSA'],
    clock: new FakeClock(at),
    maxSkewSeconds: 0,
    requiredClaims: [],
  };
}

/** The token with the first letter of its signature changed. */
function otherSignature(token: string): string {
  const at = token.lastIndexOf('.') + 1;
  return token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);
}

describe('published vectors', () => {
  test.each([
    ['RFC 7515 appendix A.2 (RS256)', vectors.RS256],
    ['RFC 7515 appendix A.3 (ES256)', vectors.ES256],
  ])('%s is good, while it lives, and with its own signature and key alone', async (_name, { token, jwk }) => {
    await expect(verifySignedJwt(rulesOf(jwk), token)).resolves.toEqual({
      iss: 'joe',
      exp: 1_300_819_380,
      'http://example.com/is_root': true,
    });
    await expect(verifySignedJwt(rulesOf(jwk, '2011-03-22T18:43:00.000Z'), token)).rejects.toThrow('has expired');
    await expect(verifySignedJwt(rulesOf(jwk), otherSignature(token))).rejects.toThrow('not signed by a key');
    const { publicJwk } = makeSigningKey(jwk.kty === 'RSA' ? 'RS256' : 'ES256');
    await expect(verifySignedJwt(rulesOf({ ...publicJwk }), token)).rejects.toThrow('not signed by a key');
  });

  test('RFC 7515 appendix A.4 (ES512) has a good signature, by an algorithm and a key that nothing here takes', async () => {
    const { jwk, signed, token } = vectors.ES512;
    const key = createPublicKey({ key: jwk, format: 'jwk' });
    expect(Buffer.from((await compactVerify(token, key)).payload).toString()).toBe(signed);
    await expect(compactVerify(otherSignature(token), key)).rejects.toThrow('signature verification failed');
    expect(() => parseJwks({ keys: [jwk] })).toThrow('no key that can be used here');
    const publicKey = key.toCryptoKey({ name: 'ECDSA', namedCurve: 'P-521' }, true, ['verify']);
    const keys = { find: () => [{ alg: 'ES256' as const, kid: 'p521', publicKey }] };
    const rules = { ...rulesOf(vectors.ES256.jwk), keys };
    await expect(verifySignedJwt(rules, token)).rejects.toMatchObject({ code: 'unauthorized' });
  });

  test('RFC 8037 appendix A.4 is the signature that we make', () => {
    const { jwk, d, signed, token } = vectors.ED25519;
    const key = signingKeyFrom('EdDSA', createPrivateKey({ key: { ...jwk, d }, format: 'jwk' }));
    const [header, payload, signature] = token.split('.');
    expect(Buffer.from(payload!, 'base64url').toString()).toBe(signed);
    expect(key.signBytes(`${header}.${payload}`).toString('base64url')).toBe(signature);
  });

  test('RFC 8037 appendix A.5 has a good signature, and says nothing that a JWT says', async () => {
    const { jwk, token } = vectors.ED25519;
    await expect(verifySignedJwt(rulesOf(jwk), token)).rejects.toThrow('vector: token is not a JWT');
    await expect(verifySignedJwt(rulesOf(jwk), otherSignature(token))).rejects.toThrow('not signed by a key');
  });

  test('RFC 8037 appendix A.3 is how the keys of this broker are named', async () => {
    const { jwk, d, thumbprint } = vectors.ED25519;
    const pem = createPrivateKey({ key: { ...jwk, d }, format: 'jwk' }).export({ format: 'pem', type: 'pkcs8' });
    expect((await keyRingFromPem(pem.toString())).signingKey.kid).toBe(thumbprint);
  });

  test('RFC 7638 section 3.1 is the thumbprint of its key', async () => {
    await expect(calculateJwkThumbprint(vectors.RSA_THUMBPRINT.jwk)).resolves.toBe(vectors.RSA_THUMBPRINT.thumbprint);
  });

  test.each([
    ['section 4.1', vectors.DPOP_TOKEN_REQUEST],
    ['section 7.1', vectors.DPOP_RESOURCE_REQUEST],
  ])('RFC 9449 %s is a good proof, once, and for its own request alone', async (_name, vector) => {
    const { proof, method, url, at, credential, thumbprint } = vector;
    const used = new Set<string>();
    const runtime = { claim: async (_kind: ClaimKind, mark: string) => !used.has(mark) && used.add(mark).has(mark) };
    const verifier = makeProofVerifier({ clock: new FakeClock(at), runtime, ids: { tokenId: randomUUID } });
    const presented = { proofs: [proof], method, url };
    await expect(verifier.verify({ presented: { ...presented, method: 'PUT' }, credential })).rejects.toThrow('htm');
    await expect(verifier.verify({ presented, credential: 'another' })).rejects.toThrow('ath');
    await expect(verifier.verify({ presented, credential })).resolves.toBe(thumbprint);
    await expect(verifier.verify({ presented, credential })).rejects.toThrow('used before');
  });
});

const clock = new FakeClock();
const keys = [makeSigningKey('RS256'), makeSigningKey('ES256'), makeSigningKey('EdDSA')];
const verifiers = (await Promise.all(keys.map((key) => verifiersOf(key, clock)))).flat();

const kindOf = (name: string) => name.replace(/ by .*$/, '');
const OF_A_TOKEN: unknown = expect.stringMatching(
  /^(attestation|session_token|authorization|delegation_assertion|assertion|DPoP): /,
);
const refusal = { name: 'BrokerError', code: 'unauthorized', message: OF_A_TOKEN };

describe.each(verifiers)('$name', (verifier) => {
  test.each([
    ['RFC 7515 appendix A.1 (HS256)', vectors.HS256],
    ['RFC 7515 appendix A.2 (RS256)', vectors.RS256.token],
    ['RFC 7515 appendix A.3 (ES256)', vectors.ES256.token],
    ['RFC 7515 appendix A.4 (ES512)', vectors.ES512.token],
    ['RFC 7515 appendix A.5 (none)', vectors.UNSECURED],
    ['RFC 8037 appendix A.4 (EdDSA)', vectors.ED25519.token],
    ['RFC 9449 section 4.1 (DPoP)', vectors.DPOP_TOKEN_REQUEST.proof],
    ['RFC 9449 section 7.1 (DPoP)', vectors.DPOP_RESOURCE_REQUEST.proof],
  ])('refuses the token of %s', async (_name, token) => {
    await expect(verifier.verify(token)).rejects.toMatchObject(refusal);
  });

  test('accepts a good token', async () => {
    await expect(verifier.verify(makeJwt(verifier))).resolves.toBeDefined();
    await expect(verifier.verify(makeJwt(verifier))).resolves.toBeDefined();
  });

  test.each(JWT_ATTACKS)('refuses: %s', async (_name, forge) => {
    await expect(verifier.verify(await forge(verifier))).rejects.toMatchObject(refusal);
  });

  const others = verifiers.filter(({ key, name }) => key === verifier.key && kindOf(name) !== kindOf(verifier.name));
  test.each(others)('refuses a token for $name of the same key, issuer and audience', async (other) => {
    await expect(verifier.verify(makeJwt(other))).rejects.toMatchObject(refusal);
  });

  test.each(others)('refuses a token for $name under its own header', async (other) => {
    const confused = makeJwt({ ...other, header: verifier.header });
    await expect(verifier.verify(confused)).rejects.toMatchObject(refusal);
  });
});

test('a proof that was used is used in every form of its signature', async () => {
  const verifier = verifiers.find(({ name }) => name === 'DPoP proofs by ES256')!;
  const proof = makeJwt(verifier);
  const twin = negated(proof);
  expect(twin).not.toBe(proof);
  await verifier.verify(twin);
  await expect(verifier.verify(proof)).rejects.toThrow('used before');
});

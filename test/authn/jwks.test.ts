import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { inspect } from 'node:util';
import { expect, describe, test } from 'vitest';
import { parseJwks } from '../../src/authn/jwks.ts';
import { ecKey, ed25519Key, publicJwk, rsaKey } from '../support/attestations.ts';

const jwk = (key: KeyObject) => key.export({ format: 'jwk' });
const rsa = publicJwk(rsaKey);
const ec = publicJwk(ecKey);
const ed25519 = publicJwk(ed25519Key);
const weakRsa = jwk(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey);
const p384 = jwk(generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey);
const ed448 = jwk(generateKeyPairSync('ed448').publicKey);

describe('a JWK Set', () => {
  test('gives each key its only algorithm, under the id of the issuer', () => {
    const keys = parseJwks({
      keys: [
        { ...rsa, kid: '2026-01', use: 'sig', alg: 'RS256' },
        { ...ec, kid: 'ec', key_ops: ['verify'] },
        { ...ed25519, kid: 'ed' },
      ],
    });
    expect(keys).toMatchObject([
      { alg: 'RS256', kid: '2026-01', publicKey: { type: 'public', usages: ['verify'] } },
      { alg: 'ES256', kid: 'ec', publicKey: { algorithm: { name: 'ECDSA', namedCurve: 'P-256' } } },
      { alg: 'EdDSA', kid: 'ed', publicKey: { algorithm: { name: 'Ed25519' } } },
    ]);
  });

  test('names a key without an id as the same key in PEM', () => {
    expect(parseJwks({ keys: [{ ...rsa, kid: undefined }] })).toMatchObject([{ kid: rsaKey.kid }]);
  });

  test('may hold members and certificates that mean nothing here', () => {
    const keys = parseJwks({ keys: [{ ...rsa, x5c: ['MII...'], x5t: 'abc', issuer: 'x' }], version: 7 });
    expect(keys).toHaveLength(1);
  });

  test.each<[string, unknown]>([
    ['is for encryption', { ...rsa, use: 'enc' }],
    ['only encrypts', { ...rsa, key_ops: ['encrypt', 'wrapKey'] }],
    ['is for RS512', { ...rsa, alg: 'RS512' }],
    ['is for PS256', { ...rsa, alg: 'PS256' }],
    ['is an RSA key for ES256', { ...rsa, alg: 'ES256' }],
    ['is an RSA key for HS256', { ...rsa, alg: 'HS256' }],
    ['is RSA of 1024 bits', weakRsa],
    ['is P-384', p384],
    ['is Ed448', ed448],
    ['is symmetric', { kty: 'oct', k: 'c2VjcmV0' }],
    ['is of a kind to come', { kty: 'AKP', alg: 'ML-DSA-44', pub: 'AAAA' }],
    ['has no kind', { n: rsa.n, e: rsa.e }],
    ['has a number for its id', { ...rsa, kid: 7 }],
    ['has text for its operations', { ...rsa, key_ops: 'verify' }],
    ['lacks its exponent', { kty: 'RSA', n: rsa.n }],
    ['is a point off the curve', { ...ec, x: ec.y, y: ec.x }],
    ['is half a point', { kty: 'EC', crv: 'P-256', x: ec.x }],
    ['is of another length than its curve', { ...ed25519, x: 'AAAA' }],
    ['is text', 'key'],
    ['is null', null],
  ])('passes over a key that %s, and reads the others', (_name, odd) => {
    expect(parseJwks({ keys: [odd, { ...ec, kid: 'good' }] })).toMatchObject([{ kid: 'good' }]);
    expect(() => parseJwks({ keys: [odd] })).toThrow(/^the JWK Set holds no key that can be used here: key 1 /);
  });

  test.each<[string, unknown, RegExp]>([
    ['nothing', undefined, /no JWK Set/],
    ['null', null, /no JWK Set/],
    ['a list', [rsa], /no JWK Set/],
    ['a bare key', rsa, /no JWK Set/],
    ['keys that are no list', { keys: rsa }, /no JWK Set/],
    ['no keys', { keys: [] }, /no key that can be used here: it is empty/],
    ['too many keys', { keys: Array.from({ length: 33 }, () => rsa) }, /at most 32 keys/],
    ['a private key', { keys: [ec, rsaKey.privateKey.export({ format: 'jwk' })] }, /holds a private key/],
    ['a private key of another kind', { keys: [ec, { kty: 'OKP', crv: 'X25519', d: 'AAAA' }] }, /holds a private key/],
  ])('that is %s is refused', (_name, document, message) => {
    expect(() => parseJwks(document)).toThrow(message);
  });

  test('says of every key that it passes over why', () => {
    expect(() => parseJwks({ keys: [{ ...rsa, use: 'enc' }, weakRsa, p384] })).toThrow(
      'key 1 is not meant for verifying signatures; key 2 is an RSA key of 1024 bits; at least 2048 are needed; ' +
        'key 3 is an EC key on curve secp384r1; only P-256 is read',
    );
  });

  test('shows nothing of a private key when it refuses it', () => {
    const secret = rsaKey.privateKey.export({ format: 'jwk' });
    expect(() => parseJwks({ keys: [secret] })).toThrow(
      expect.toSatisfy((error: unknown) => !inspect(error, { depth: 9, showHidden: true }).includes(String(secret.d))),
    );
  });
});

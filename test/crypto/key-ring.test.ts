import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { ephemeralKeyRing, keyRingFromPem } from '../../src/crypto/key-ring.ts';
import type { KeyRing } from '../../src/domain/key-ring.ts';

const privatePem = (key: KeyObject, type: 'pkcs8' | 'pkcs1' | 'sec1' = 'pkcs8') =>
  key.export({ format: 'pem', type }).toString();
const publicPem = (key: KeyObject) => key.export({ format: 'pem', type: 'spki' }).toString();

const current = generateKeyPairSync('ed25519');
const retired = generateKeyPairSync('ed25519');
const message = Buffer.from('message');

async function signs(ring: KeyRing, verifier: KeyRing): Promise<boolean> {
  const key = verifier.verificationKey(ring.signingKey.kid);
  if (key === null) return false;
  const signature = await crypto.subtle.sign('Ed25519', ring.signingKey.privateKey, message);
  return crypto.subtle.verify('Ed25519', key, signature, message);
}

/** The key pair of RFC 8037 appendix A.1, whose thumbprint is in appendix A.3. */
const RFC_8037_PEM = privatePemOfSeed('nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A');
const RFC_8037_X = '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo';
const RFC_8037_THUMBPRINT = 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k';

/** PKCS#8 of an Ed25519 seed (RFC 8410 section 7). */
function privatePemOfSeed(seed: string): string {
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.from(seed, 'base64url')]);
  return `-----BEGIN PRIVATE KEY-----\n${der.toString('base64')}\n-----END PRIVATE KEY-----\n`;
}

describe('a key ring', () => {
  test('names and publishes its key as RFC 8037 and RFC 7638 say', async () => {
    const ring = await keyRingFromPem(RFC_8037_PEM);
    expect(ring.signingKey.kid).toBe(RFC_8037_THUMBPRINT);
    expect(ring.publicKeys()).toEqual({
      keys: [{ kty: 'OKP', crv: 'Ed25519', x: RFC_8037_X, kid: RFC_8037_THUMBPRINT, alg: 'EdDSA', use: 'sig' }],
    });
  });

  test('signs with the first private key and verifies with all', async () => {
    const ring = await keyRingFromPem(privatePem(current.privateKey) + privatePem(retired.privateKey));
    const before = await keyRingFromPem(privatePem(retired.privateKey));
    expect(ring.signingKey.kid).toBe((await keyRingFromPem(privatePem(current.privateKey))).signingKey.kid);
    expect(await signs(ring, ring)).toBe(true);
    expect(await signs(before, ring)).toBe(true);
    expect(await signs(ring, before)).toBe(false);
    expect(ring.publicKeys().keys.map((key) => key['kid'])).toEqual([ring.signingKey.kid, before.signingKey.kid]);
  });

  test('knows a coming key by its public half, before or after the private one', async () => {
    const ring = await keyRingFromPem(publicPem(retired.publicKey) + privatePem(current.privateKey));
    expect(await signs(await keyRingFromPem(privatePem(retired.privateKey)), ring)).toBe(true);
    expect(ring.publicKeys().keys[0]).toMatchObject({ kid: ring.signingKey.kid });
  });

  test('publishes a key given twice once', async () => {
    const ring = await keyRingFromPem(privatePem(current.privateKey) + publicPem(current.publicKey));
    expect(ring.publicKeys().keys).toHaveLength(1);
  });

  test('never shows a private part', async () => {
    const seed = current.privateKey.export({ format: 'jwk' }).d ?? 'none';
    const ring = await keyRingFromPem(privatePem(current.privateKey));
    expect(ring.signingKey.privateKey.extractable).toBe(false);
    expect(JSON.stringify(ring.publicKeys())).not.toContain('"d"');
    expect(inspect(ring, { depth: 10, showHidden: true })).not.toContain(seed);
  });

  test.each(['unknown', '', '__proto__', 'constructor'])('does not know the key %j', async (kid) => {
    expect((await ephemeralKeyRing()).verificationKey(kid)).toBeNull();
  });

  test('without a file is new every time', async () => {
    const [one, other] = await Promise.all([ephemeralKeyRing(), ephemeralKeyRing()]);
    expect(await signs(one, one)).toBe(true);
    expect(await signs(one, other)).toBe(false);
  });
});

describe('a signing key file that is not one', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const x25519 = generateKeyPairSync('x25519');
  const good = privatePem(current.privateKey);
  const encrypted = current.privateKey.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'p' });
  test.each([
    ['empty', '', /empty/],
    ['white space', '\n \n', /empty/],
    ['rubbish', 'rubbish', /not PEM/],
    ['without an end', good.replace(/-----END.*/, ''), /not PEM/],
    ['a JWK', JSON.stringify(current.privateKey.export({ format: 'jwk' })), /not PEM/],
    ['more keys than anybody keeps', good.repeat(17), /holds 17 keys; at most 16/],
    ['a megabyte of beginnings', '-----BEGIN A-----\n'.repeat(60_000), /holds 60000 keys; at most 16/],
    ['not a key inside', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----', /block 1 .* cannot be decoded/],
    ['encrypted', encrypted.toString(), /block 1 .* is encrypted/],
    ['public only', publicPem(current.publicKey), /public keys only/],
    ['RSA', privatePem(rsa.privateKey), /block 1 .* kind rsa, not Ed25519/],
    ['RSA in PKCS#1', privatePem(rsa.privateKey, 'pkcs1'), /block 1 \(RSA PRIVATE KEY\) is not read here/],
    ['P-256', privatePem(ec.privateKey), /block 1 .* kind ec, not Ed25519/],
    ['X25519, which cannot sign', privatePem(x25519.privateKey), /kind x25519, not Ed25519/],
    ['RSA second', good + publicPem(rsa.publicKey), /block 2 \(PUBLIC KEY\) is a key of kind rsa/],
  ])('%s stops the start', async (_name, pem, expected) => {
    await expect(keyRingFromPem(pem)).rejects.toThrow(expected);
  });

  test('is not repeated in the message', async () => {
    const [, body = 'no second line'] = good.split('\n');
    const refusal: unknown = await keyRingFromPem(good.replace(/-----END.*/, '')).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(Error);
    expect(inspect(refusal)).not.toContain(body);
  });
});

import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { keyRingFromPem, verificationKeysFromPem } from '../../src/crypto/key-ring.ts';

const privatePem = (key: KeyObject) => key.export({ format: 'pem', type: 'pkcs8' }).toString();
const publicPem = (key: KeyObject) => key.export({ format: 'pem', type: 'spki' }).toString();

describe('keys of those who only verify', () => {
  const [one, other] = [generateKeyPairSync('ed25519'), generateKeyPairSync('ed25519')];
  const message = Buffer.from('message');

  test.each([
    ['public keys', publicPem(other.publicKey) + publicPem(one.publicKey)],
    ['a private key, of which the public half is taken', privatePem(one.privateKey)],
    ['both kinds', publicPem(one.publicKey) + privatePem(other.privateKey)],
  ])('are read from %s', async (_name, pem) => {
    const ring = await keyRingFromPem(privatePem(one.privateKey));
    const key = (await verificationKeysFromPem(pem)).verificationKey(ring.signingKey.kid);
    const signature = await crypto.subtle.sign('Ed25519', ring.signingKey.privateKey, message);
    expect(key?.usages).toEqual(['verify']);
    expect(key !== null && (await crypto.subtle.verify('Ed25519', key, signature, message))).toBe(true);
  });

  test.each(['unknown', '', '__proto__'])('do not have the key %j', async (kid) => {
    expect((await verificationKeysFromPem(publicPem(one.publicKey))).verificationKey(kid)).toBeNull();
  });

  test.each([
    ['empty', '', /the public key file is empty/],
    ['rubbish', 'rubbish', /the public key file is not PEM/],
    ['P-256', publicPem(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey), /block 1 .* kind ec, not Ed25519/],
    ['too many', publicPem(one.publicKey).repeat(17), /the public key file holds 17 keys; at most 16/],
  ])('are refused when the file is %s', async (_name, pem, expected) => {
    await expect(verificationKeysFromPem(pem)).rejects.toThrow(expected);
  });
});

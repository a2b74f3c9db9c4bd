import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { parsePublicKeys } from '../../src/authn/pem-keys.ts';
import { ecKey, ed25519Key, rsaKey } from '../support/attestations.ts';

/** One RSA key in three containers; `certificate` is self-signed. */
const fixture = (name: string) => readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8');
const certificate = fixture('rsa.crt');
const spki = fixture('rsa.spki.pem');
const pkcs1 = fixture('rsa.pkcs1.pem');
/** From: openssl pkey -pubin -in rsa.spki.pem -outform DER | openssl dgst -sha256 -binary | basenc --base64url */
const FIXTURE_KID = 'le6WwBTpihg9_TvMD4sxphAipNfKVESgxZUQB_ITPT0';

const publicPem = (key: KeyObject) => key.export({ format: 'pem', type: 'spki' }).toString();
const privatePem = (key: KeyObject, type: 'pkcs8' | 'sec1' | 'pkcs1') => key.export({ format: 'pem', type }).toString();

describe('public keys from PEM', () => {
  test.each([
    ['SPKI', spki],
    ['PKCS#1', pkcs1],
    ['a certificate', certificate],
    ['text around the block', `Subject: CN=asb test signer\n${certificate}\nend of file\n`],
    ['Windows line ends', spki.replaceAll('\n', '\r\n')],
  ])('%s gives the key under the id that Kubernetes gives it', (_name, pem) => {
    expect(parsePublicKeys(pem)).toMatchObject([{ alg: 'RS256', kid: FIXTURE_KID }]);
  });

  test('each key is tied to one algorithm', () => {
    const [rsa, ec, ed25519] = parsePublicKeys(rsaKey.publicPem + ecKey.publicPem + ed25519Key.publicPem);
    expect(rsa).toMatchObject({
      alg: 'RS256',
      publicKey: { algorithm: { name: 'RSASSA-PKCS1-v1_5', hash: { name: 'SHA-256' } } },
    });
    expect(ec).toMatchObject({ alg: 'ES256', publicKey: { algorithm: { name: 'ECDSA', namedCurve: 'P-256' } } });
    expect(ed25519).toMatchObject({ alg: 'EdDSA', publicKey: { algorithm: { name: 'Ed25519' } } });
  });

  test('keys keep their order, and one given twice counts once', () => {
    const kids = parsePublicKeys(ecKey.publicPem + spki + certificate + rsaKey.publicPem).map((key) => key.kid);
    expect(kids).toEqual([ecKey.kid, FIXTURE_KID, rsaKey.kid]);
  });

  const smallRsa = generateKeyPairSync('rsa', { modulusLength: 1024 });
  const pssRsa = generateKeyPairSync('rsa-pss', { modulusLength: 2048 });
  const ed448 = generateKeyPairSync('ed448');
  const x25519 = generateKeyPairSync('x25519');
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const secp256k1 = generateKeyPairSync('ec', { namedCurve: 'secp256k1' });
  test.each([
    ['an empty file', '', /empty/],
    ['white space', ' \n\t\n', /empty/],
    ['rubbish', 'not a key', /not PEM/],
    ['a bare base64 key', spki.replace(/-----.*-----/g, ''), /not PEM/],
    ['a block without an end', spki.replace(/-----END.*/, ''), /not PEM/],
    ['a second block without an end', spki + pkcs1.replace(/-----END.*/, ''), /not PEM/],
    ['a block that ends as another', spki.replace('END PUBLIC', 'END RSA PUBLIC'), /not PEM/],
    ['a PKCS#8 private key', privatePem(rsaKey.privateKey, 'pkcs8'), /block 1 \(PRIVATE KEY\) is a private key/],
    ['a PKCS#1 private key', privatePem(rsaKey.privateKey, 'pkcs1'), /block 1 \(RSA PRIVATE KEY\) is a private key/],
    ['an EC private key second', spki + privatePem(ecKey.privateKey, 'sec1'), /block 2 \(EC PRIVATE KEY\) is a private key/],
    ['a key that is not one', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----', /block 1 .* cannot be decoded/],
    ['a broken certificate second', spki + certificate.replace('MII', 'AAA'), /block 2 \(CERTIFICATE\) cannot be decoded/],
    ['PKCS#1 under the SPKI label', pkcs1.replaceAll('RSA PUBLIC', 'PUBLIC'), /block 1 .* cannot be decoded/],
    ['a certificate request', certificate.replaceAll('CERTIFICATE', 'CERTIFICATE REQUEST'), /block 1 .* is not read here/],
    ['RSA of 1024 bits', publicPem(smallRsa.publicKey), /RSA key of 1024 bits; at least 2048/],
    ['RSA-PSS', publicPem(pssRsa.publicKey), /kind rsa-pss/],
    ['Ed448', publicPem(ed448.publicKey), /kind ed448/],
    ['X25519', publicPem(x25519.publicKey), /kind x25519/],
    ['P-384', publicPem(p384.publicKey), /curve secp384r1/],
    ['secp256k1', publicPem(secp256k1.publicKey), /curve secp256k1/],
    ['beginnings without an end', '-----BEGIN PUBLIC KEY-----\n'.repeat(17), /holds 17 keys; at most 16/],
    ['a megabyte of beginnings', '-----BEGIN A-----\n'.repeat(60_000), /holds 60000 keys; at most 16/],
    ['more keys than a forged token may cost', spki.repeat(17), /holds 17 keys; at most 16/],
  ])('%s is refused', (_name, pem, message) => {
    expect(() => parsePublicKeys(pem)).toThrow(message);
  });

  test('a refusal shows nothing of a private key', () => {
    const pem = privatePem(ecKey.privateKey, 'pkcs8');
    const [, body = 'no second line'] = pem.split('\n');
    expect(() => parsePublicKeys(pem)).toThrow(expect.toSatisfy((error: unknown) => !inspect(error).includes(body)));
  });
});

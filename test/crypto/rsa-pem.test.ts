import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { parseRsaPrivateKey } from '../../src/crypto/rsa-pem.ts';

const rsa = (bits: number) => generateKeyPairSync('rsa', { modulusLength: bits });
const { privateKey, publicKey } = rsa(2048);
const pem = (type: 'pkcs1' | 'pkcs8'): string => privateKey.export({ type, format: 'pem' }).toString();

describe('a private key of an App is read', () => {
  test.each([
    ['as GitHub gives it out', pem('pkcs1')],
    ['as PKCS#8', pem('pkcs8')],
    ['with lines of Windows', pem('pkcs1').replaceAll('\n', '\r\n')],
    ['with words before it', `Key of the App\n${pem('pkcs8')}`],
  ])('%s', (_name, text) => {
    const key = parseRsaPrivateKey(text);
    expect(key.reveal()).toBe(pem('pkcs8'));
    expect(JSON.stringify({ key })).toBe('{"key":"[secret]"}');
  });
});

describe('what is refused, without a word of it', () => {
  const encrypted = privateKey
    .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'canary' })
    .toString();
  const ed25519 = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  test.each([
    ['nothing', '', 'cannot be decoded'],
    ['no PEM', 'canary-canary-canary', 'cannot be decoded'],
    ['half of a key', pem('pkcs1').slice(0, 400), 'cannot be decoded'],
    ['a public key', publicKey.export({ type: 'spki', format: 'pem' }).toString(), 'cannot be decoded'],
    ['a key with a passphrase', encrypted, 'cannot be decoded'],
    ['a key of another kind', ed25519, 'of kind ed25519, not RSA'],
    ['a short one', rsa(1024).privateKey.export({ type: 'pkcs1', format: 'pem' }).toString(), 'fewer than 2048 bits'],
  ])('%s', (_name, text, words) => {
    const body = text.split('\n')[1] ?? text;
    expect(() => parseRsaPrivateKey(text)).toThrow(words);
    try {
      parseRsaPrivateKey(text);
    } catch (error) {
      if (body.length > 10) expect(String(error)).not.toContain(body.slice(0, 10));
    }
  });
});

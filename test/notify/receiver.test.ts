import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { approverOf, parseCallbackKey } from '../../src/notify/receiver.ts';
import { aSlack, aWebhook, makeCallbackKey } from './setup.ts';

test('a receiver speaks for itself, or for the person it is configured to reach', () => {
  expect(approverOf(aWebhook())).toEqual({ issuer: 'callback:hook', subject: 'callback:hook' });
  expect(approverOf(aSlack({ approver: 'ana' }))).toEqual({ issuer: 'callback:slack', subject: 'ana' });
});

describe('a callback key', () => {
  test('is an Ed25519 public key that only verifies', () => {
    expect(parseCallbackKey(makeCallbackKey().publicPem)).toMatchObject({ type: 'public', usages: ['verify'] });
  });

  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
    .publicKey.export({ format: 'pem', type: 'spki' })
    .toString();
  const secret = makeCallbackKey().privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  test.each([
    ['a private key', secret, /^is a private key/],
    ['an RSA key', rsa, /^is a key of kind rsa, not Ed25519$/],
    ['no key', 'CANARY', /^is no PUBLIC KEY in PEM/],
    ['nothing', '', /^is no PUBLIC KEY in PEM/],
  ])('is not %s', (_name, pem, message) => {
    expect(() => parseCallbackKey(pem)).toThrow(message);
  });
});

import { compactDecrypt, decodeProtectedHeader, exportJWK, exportSPKI, generateKeyPair } from 'jose';
import { describe, expect, test } from 'vitest';
import { makeRelayKeys } from '../../dev/browser/relay-keys.ts';
import { makeRelaySealer } from '../../src/crypto/relay-sealer.ts';
import type { SealedInput } from '../../src/domain/browser-relay.ts';
import type { ArtifactId } from '../../src/domain/ids.ts';

const sealer = makeRelaySealer();
const INPUT: SealedInput = {
  artifactId: 'art_1' as ArtifactId,
  keyId: 'key-1',
  origin: 'https://app.example',
  tabId: '7',
  name: 'password',
  selector: '#password',
};
const PLACE = { origin: INPUT.origin, tabId: INPUT.tabId };

describe.each(['X25519', 'P-256'] as const)('a value sealed to a key on %s', (curve) => {
  test('is opened by its holder, and read by nobody else', async () => {
    const keys = await makeRelayKeys(INPUT.keyId, curve);
    const { publicKey, thumbprint } = await sealer.readKey(keys.publicKey);
    expect(thumbprint).toBe(keys.thumbprint);
    for (const value of ['', 'päss 😀 "word"', 'x'.repeat(10_000)]) {
      const sealed = await sealer.seal(value, publicKey, INPUT);
      expect(decodeProtectedHeader(sealed)).toMatchObject({ alg: 'ECDH-ES', enc: 'A256GCM', kid: 'key-1' });
      expect(await keys.open({ ...INPUT, value: sealed }, INPUT.artifactId, PLACE)).toBe(value);
      const { privateKey } = await generateKeyPair('ECDH-ES', { crv: curve });
      await expect(compactDecrypt(sealed, privateKey)).rejects.toThrow();
    }
  });

  test('is another each time', async () => {
    const { publicKey } = await sealer.readKey((await makeRelayKeys('k', curve)).publicKey);
    const [one, other] = await Promise.all([sealer.seal('same', publicKey, INPUT), sealer.seal('same', publicKey, INPUT)]);
    expect(one).not.toBe(other);
  });

  test.each<[what: string, changes: Partial<SealedInput>]>([
    ['another artifact', { artifactId: 'art_2' as ArtifactId }],
    ['another origin', { origin: 'https://evil.example' }],
    ['another tab', { tabId: '8' }],
    ['another input', { name: 'comment' }],
    ['another place on the page', { selector: '#comment' }],
    ['another key id', { keyId: 'key-2' }],
  ])('for %s is not taken for this one', async (_what, changes) => {
    const keys = await makeRelayKeys(INPUT.keyId, curve);
    const { publicKey } = await sealer.readKey(keys.publicKey);
    const sealed = await sealer.seal('secret', publicKey, { ...INPUT, ...changes });
    await expect(keys.open({ ...INPUT, value: sealed }, INPUT.artifactId, PLACE)).rejects.toThrow(/sealed for another/);
  });

  test('does not open when what it is for was rewritten', async () => {
    const keys = await makeRelayKeys(INPUT.keyId, curve);
    const { publicKey } = await sealer.readKey(keys.publicKey);
    const sealed = await sealer.seal('secret', publicKey, { ...INPUT, selector: '#comment' });
    const [, ...rest] = sealed.split('.');
    const header = { ...decodeProtectedHeader(sealed), selector: INPUT.selector };
    const forged = [Buffer.from(JSON.stringify(header)).toString('base64url'), ...rest].join('.');
    await expect(keys.open({ ...INPUT, value: forged }, INPUT.artifactId, PLACE)).rejects.toThrow(/decryption/);
  });
});

describe('a key', () => {
  const zeros = Buffer.alloc(32).toString('base64url');
  const jwkOf = async (crv: 'X25519' | 'P-256') =>
    exportJWK((await generateKeyPair('ECDH-ES', { crv, extractable: true })).publicKey);

  test('is kept by its required members alone, so that it is the same however it was written', async () => {
    const { kty, crv, x } = await jwkOf('X25519');
    const written = [
      { kty, crv, x },
      { x, crv, kty, kid: 'mine', use: 'enc', alg: 'ECDH-ES', key_ops: [] },
    ];
    const [one, other] = await Promise.all(written.map((jwk) => sealer.readKey(JSON.stringify(jwk))));
    expect(one).toEqual(other);
  });

  test.each(['X25519', 'P-256'] as const)('may be written as PEM (%s)', async (crv) => {
    const { publicKey } = await generateKeyPair('ECDH-ES', { crv, extractable: true });
    const asJwk = await sealer.readKey(JSON.stringify(await exportJWK(publicKey), null, 2));
    expect(await sealer.readKey(await exportSPKI(publicKey))).toEqual(asJwk);
  });

  test.each<[what: string, text: () => string | Promise<string>]>([
    ['PEM for signatures', async () => exportSPKI((await generateKeyPair('ES384', { extractable: true })).publicKey)],
    ['no JSON', () => 'ssh-ed25519 AAAA'],
    ['no object', () => '[]'],
    ['PEM', () => '-----BEGIN PUBLIC KEY-----'],
    ['for signatures', () => JSON.stringify({ kty: 'OKP', crv: 'Ed25519', x: zeros })],
    ['marked for signatures', async () => JSON.stringify({ ...(await jwkOf('P-256')), use: 'sig' })],
    ['for another algorithm', async () => JSON.stringify({ ...(await jwkOf('P-256')), alg: 'RSA-OAEP' })],
    ['on another curve', () => JSON.stringify({ kty: 'EC', crv: 'P-384', x: zeros, y: zeros })],
    ['RSA', () => JSON.stringify({ kty: 'RSA', n: zeros, e: 'AQAB' })],
    ['symmetric', () => JSON.stringify({ kty: 'oct', k: zeros })],
    ['a private one', async () => JSON.stringify({ ...(await jwkOf('X25519')), d: zeros })],
    ['of another length', () => JSON.stringify({ kty: 'OKP', crv: 'X25519', x: 'AAAA' })],
    ['of small order (RFC 7748 section 6.1)', () => JSON.stringify({ kty: 'OKP', crv: 'X25519', x: zeros })],
    ['of small order, one', () => JSON.stringify({ kty: 'OKP', crv: 'X25519', x: `AQ${'A'.repeat(41)}` })],
    ['off its curve', () => JSON.stringify({ kty: 'EC', crv: 'P-256', x: zeros, y: zeros.replace(/A$/, 'E') })],
  ])('that is %s is refused, and not quoted', async (_what, text) => {
    const written = await text();
    await expect(sealer.readKey(written)).rejects.toMatchObject({
      code: 'invalid_request',
      message: expect.stringMatching(/^public_key: must be a public key as JWK/),
    });
  });
});

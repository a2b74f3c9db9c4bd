import { generateKeyPairSync } from 'node:crypto';
import { CompactSign, exportJWK, type CompactJWSHeaderParameters } from 'jose';
import { describe, expect, test } from 'vitest';
import { type Checkpoint, readCheckpoint, signCheckpoint } from '../../src/audit/checkpoints.ts';
import { ephemeralKeyRing, keyRingFromPem, verificationKeysFromPem } from '../../src/crypto/key-ring.ts';
import type { ChainHash } from '../../src/domain/audit-chain.ts';
import { START, TENANT } from '../support/entities.ts';

/** The key pair of RFC 8037 appendix A.1. Ed25519 signs the same bytes the same way every time. */
const RFC_8037_KEY =
  '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n';

const CHECKPOINT: Checkpoint = {
  tenantId: TENANT,
  seq: 12,
  hash: 'ab'.repeat(32) as ChainHash,
  previousSeq: 7,
  signedAt: START,
};
const PAYLOAD = {
  tenant_id: 't_acme',
  chain_seq: 12,
  chain_hash: 'ab'.repeat(32),
  previous_seq: 7,
  signed_at: '2026-01-02T03:04:05.000Z',
};

const keys = await keyRingFromPem(RFC_8037_KEY);
const { kid } = keys.signingKey;
const HEADER = { alg: 'EdDSA', typ: 'asb-audit-checkpoint+jwt', kid };

const partOf = (jws: string, index: number): unknown =>
  JSON.parse(Buffer.from(jws.split('.')[index]!, 'base64url').toString());
const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

describe('a checkpoint', () => {
  test('is a compact JWS that says whose chain goes up to where', async () => {
    const jws = await signCheckpoint(CHECKPOINT, keys);
    expect(partOf(jws, 0)).toEqual(HEADER);
    expect(partOf(jws, 1)).toEqual(PAYLOAD);
    expect(await readCheckpoint(jws, keys)).toEqual({ outcome: 'valid', checkpoint: CHECKPOINT });
  });

  test('of an earlier version is still read', async () => {
    const recorded = [
      'eyJhbGciOiJFZERTQSIsInR5cCI6ImFzYi1hdWRpdC1jaGVja3BvaW50K2p3dCIsImtpZCI6ImtQcktfcW14VldhWVZBOXd3QkY2SXVvM3ZWeno3VHhIQ1R3WEJ5Z3JTNGsifQ',
      'eyJ0ZW5hbnRfaWQiOiJ0X2FjbWUiLCJjaGFpbl9zZXEiOjEyLCJjaGFpbl9oYXNoIjoiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYiIsInByZXZpb3VzX3NlcSI6Nywic2lnbmVkX2F0IjoiMjAyNi0wMS0wMlQwMzowNDowNS4wMDBaIn0',
      'gcDav8IIakPEWO14Z1mUV09wk52YHSAK3402ey-cKjwiPwetpWkPUnmd8MKVqUMnZbBqIKQeC9r32kRxXZdzDw',
    ].join('.');
    expect(await signCheckpoint(CHECKPOINT, keys)).toBe(recorded);
    expect(await readCheckpoint(recorded, keys)).toEqual({ outcome: 'valid', checkpoint: CHECKPOINT });
  });

  test('is verified by whoever has the public key alone, also when another signs by now', async () => {
    const [old, fresh] = [generateKeyPairSync('ed25519'), generateKeyPairSync('ed25519')];
    const pem = (key: typeof old) => key.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
    const jws = await signCheckpoint(CHECKPOINT, await keyRingFromPem(pem(old)));
    const publicKey = old.publicKey.export({ format: 'pem', type: 'spki' }).toString();
    for (const ring of [await verificationKeysFromPem(publicKey), await keyRingFromPem(pem(fresh) + publicKey)]) {
      expect(await readCheckpoint(jws, ring)).toMatchObject({ outcome: 'valid' });
    }
  });

  test('of a key that is not at hand says which', async () => {
    const jws = await signCheckpoint(CHECKPOINT, keys);
    expect(await readCheckpoint(jws, await ephemeralKeyRing())).toEqual({ outcome: 'unknown_key', kid });
  });
});

describe('what is not a checkpoint of ours', () => {
  const sign = (payload: unknown, header: CompactJWSHeaderParameters = HEADER) =>
    new CompactSign(Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload)))
      .setProtectedHeader(header)
      .sign(keys.signingKey.privateKey);

  test('is any text that is not one, and nothing is thrown', async () => {
    for (const text of ['', 'rubbish', 'a.b.c', '..', `${'A'.repeat(5000)}.A.A`, '{"jws":1}']) {
      expect(await readCheckpoint(text, keys), text).toEqual({ outcome: 'not_ours' });
    }
  });

  test('is one with any character changed', async () => {
    const jws = await signCheckpoint(CHECKPOINT, keys);
    for (let index = 0; index < jws.length; index += 1) {
      const changed = jws.slice(0, index) + (jws[index] === 'A' ? 'B' : 'A') + jws.slice(index + 1);
      const { outcome } = await readCheckpoint(changed, keys);
      expect(['not_ours', 'unknown_key'], `character ${index}`).toContain(outcome);
    }
  });

  test('is one in another spelling of the same bytes', async () => {
    const jws = await signCheckpoint(CHECKPOINT, keys);
    const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'.replace(jws.at(-1)!, '');
    const ends = [...last].map((character) => jws.slice(0, -1) + character);
    for (const spelling of [...ends, `${jws}==`, `${jws}\n`, ` ${jws}`, jws.replace('.', '. ')]) {
      expect(await readCheckpoint(spelling, keys), spelling.slice(-4)).toEqual({ outcome: 'not_ours' });
    }
  });

  test('is one that another key signed under the name of ours', async () => {
    const forger = await ephemeralKeyRing();
    const forged = { ...forger, signingKey: { kid, privateKey: forger.signingKey.privateKey } };
    expect(await readCheckpoint(await signCheckpoint(CHECKPOINT, forged), keys)).toEqual({ outcome: 'not_ours' });
  });

  test('is one with the payload of another, or the signature of another', async () => {
    const [one, other] = [CHECKPOINT, { ...CHECKPOINT, seq: 13 }].map((checkpoint) => signCheckpoint(checkpoint, keys));
    const [head, , signature] = (await one!).split('.');
    const payload = (await other!).split('.')[1];
    expect(await readCheckpoint([head, payload, signature].join('.'), keys)).toEqual({ outcome: 'not_ours' });
  });

  test.each<[name: string, change: Record<string, unknown>]>([
    ['another type', { typ: 'asb-session+jwt' }],
    ['no type', { typ: undefined }],
    ['another algorithm by the same key', { alg: 'Ed25519' }],
    ['no key id', { kid: undefined }],
    ['a key id with a line feed in it', { kid: 'x\ny' }],
    ['a key of its own', { jwk: { kty: 'OKP', crv: 'Ed25519', x: 'AAAA' } }],
  ])('is signed by our key with %s in its header', async (_name, change) => {
    const header = JSON.parse(JSON.stringify({ ...HEADER, ...change })) as CompactJWSHeaderParameters;
    expect(await readCheckpoint(await sign(PAYLOAD, header), keys)).toEqual({ outcome: 'not_ours' });
  });

  test('has no signature, or one by the public key as a shared secret', async () => {
    expect(await readCheckpoint(`${encoded({ ...HEADER, alg: 'none' })}.${encoded(PAYLOAD)}.`, keys)).toEqual({
      outcome: 'not_ours',
    });
    const publicKey = Buffer.from((await exportJWK(keys.verificationKey(kid)!)).x ?? '', 'base64url');
    const shared = await new CompactSign(Buffer.from(JSON.stringify(PAYLOAD)))
      .setProtectedHeader({ ...HEADER, alg: 'HS256' })
      .sign(publicKey);
    expect(await readCheckpoint(shared, keys)).toEqual({ outcome: 'not_ours' });
  });

  test.each<[name: string, payload: unknown]>([
    ['no JSON', 'rubbish'],
    ['a list', [PAYLOAD]],
    ['no tenant', { ...PAYLOAD, tenant_id: undefined }],
    ['an empty tenant', { ...PAYLOAD, tenant_id: '' }],
    ['number 0', { ...PAYLOAD, chain_seq: 0 }],
    ['half a number', { ...PAYLOAD, chain_seq: 1.5 }],
    ['a number as text', { ...PAYLOAD, chain_seq: '12' }],
    ['a hash that is too short', { ...PAYLOAD, chain_hash: 'ab'.repeat(31) }],
    ['a hash in capitals', { ...PAYLOAD, chain_hash: 'AB'.repeat(32) }],
    ['a moment without a zone', { ...PAYLOAD, signed_at: '2026-01-02T03:04:05.000' }],
    ['a moment of another precision', { ...PAYLOAD, signed_at: '2026-01-02T03:04:05Z' }],
    ['something besides', { ...PAYLOAD, note: 'x' }],
  ])('says %s', async (_name, payload) => {
    expect(await readCheckpoint(await sign(payload), keys)).toEqual({ outcome: 'not_ours' });
  });
});

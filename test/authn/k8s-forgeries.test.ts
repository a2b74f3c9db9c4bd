import { sign } from 'node:crypto';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { CompactEncrypt, CompactSign, exportJWK, SignJWT } from 'jose';
import { describe, expect, test } from 'vitest';
import { makeK8sAttestation } from '../../src/authn/k8s-attestation.ts';
import { staticKeys } from '../../src/authn/key-source.ts';
import {
  AUDIENCE,
  ecKey,
  encodePart,
  ISSUER,
  makeEcKey,
  makeRsaKey,
  mintProjectedToken,
  projectedClaims,
  rsaKey,
} from '../support/attestations.ts';
import { FakeClock } from '../support/fake-clock.ts';

const clock = new FakeClock();
const now = clock.now();
const attackerRsa = makeRsaKey();
const attackerEc = makeEcKey();

function verify(token: string, keys = [rsaKey, ecKey]) {
  const verifier = makeK8sAttestation({ issuer: ISSUER, audience: AUDIENCE, keys: staticKeys(keys), clock, review: null });
  return verifier.verify({ kind: 'k8s_sa_jwt', token });
}

const claims = projectedClaims(now);
const genuine = await mintProjectedToken({ now });
const [header = '', payload = '', signature = ''] = genuine.split('.');
const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

/** Signs like RS256, whatever the header and the payload say. */
function signedByCluster(protectedHeader: unknown, encodedPayload: string): string {
  const input = `${encodePart(protectedHeader)}.${encodedPayload}`;
  return `${input}.${sign('sha256', Buffer.from(input), rsaKey.privateKey).toString('base64url')}`;
}

function withSecret(alg: 'HS256' | 'HS512', secret: string): Promise<string> {
  return new SignJWT({ ...claims }).setProtectedHeader({ alg, kid: rsaKey.kid }).sign(new TextEncoder().encode(secret));
}

const byAttacker = (extra: Record<string, unknown>) => mintProjectedToken({ now, key: attackerRsa, header: extra });

const forgeries: readonly (readonly [name: string, attempt: () => string | Promise<string>])[] = [
  ['signed by another RSA key', () => mintProjectedToken({ now, key: attackerRsa })],
  ['signed by another EC key', () => mintProjectedToken({ now, key: attackerEc })],
  ["another key under our key's kid", () => byAttacker({ kid: rsaKey.kid })],
  ['another key without a kid', () => byAttacker({ kid: undefined })],
  ['kid as a path', () => byAttacker({ kid: '../../../../dev/null' })],
  ['kid as SQL', () => byAttacker({ kid: "' UNION SELECT 'key" })],
  ['kid as an object', () => byAttacker({ kid: { $ne: null } })],
  ['kid __proto__', () => byAttacker({ kid: '__proto__' })],
  ['embedded jwk', async () => byAttacker({ jwk: await exportJWK(attackerRsa.publicKey) })],
  ['jku of the attacker', () => byAttacker({ jku: 'https://attacker.example/jwks.json' })],
  ['x5u of the attacker', () => byAttacker({ x5u: 'https://attacker.example/cert.pem' })],
  ['x5c of the attacker', () => byAttacker({ x5c: [attackerRsa.publicPem.replaceAll(/-----.*-----|\n/g, '')] })],
  ['alg none', () => `${encodePart({ alg: 'none' })}.${payload}.`],
  ['alg none with a signature', () => `${encodePart({ alg: 'none' })}.${payload}.${signature}`],
  ['alg nOnE', () => `${encodePart({ alg: 'nOnE' })}.${payload}.AA`],
  ['no alg', () => signedByCluster({ typ: 'JWT' }, payload)],
  ['alg as an array', () => signedByCluster({ alg: ['RS256'] }, payload)],
  ['alg in lower case', () => signedByCluster({ alg: 'rs256' }, payload)],
  ['alg toString', () => signedByCluster({ alg: 'toString' }, payload)],
  ['HS256 keyed with the public PEM', () => withSecret('HS256', rsaKey.publicPem)],
  ['HS256 keyed with the trimmed PEM', () => withSecret('HS256', rsaKey.publicPem.trim())],
  ['HS512 keyed with the EC PEM', () => withSecret('HS512', ecKey.publicPem)],
  ['RS256 signature under an ES256 header', () => signedByCluster({ alg: 'ES256', kid: ecKey.kid }, payload)],
  ["ES256 header with the RSA key's kid", () => signedByCluster({ alg: 'ES256', kid: rsaKey.kid }, payload)],
  ['RS256 header with an EC signature', async () => `${header}.${payload}.${await ecSignature()}`],
  [
    'PS256 by our own key',
    () => new CompactSign(bytes(claims)).setProtectedHeader({ alg: 'PS256' }).sign(rsaKey.privateKey),
  ],
  [
    'RS512 by our own key',
    () => new CompactSign(bytes(claims)).setProtectedHeader({ alg: 'RS512' }).sign(rsaKey.privateKey),
  ],
  ['ES256 signature of zeros', () => `${encodePart({ alg: 'ES256' })}.${payload}.${Buffer.alloc(64).toString('base64url')}`],
  ['ES256 signature of nothing', () => `${encodePart({ alg: 'ES256' })}.${payload}.AA`],
  ['an unknown critical header', () => signedByCluster({ alg: 'RS256', crit: ['x-must-know'], 'x-must-know': 1 }, payload)],
  ['crit that is empty', () => signedByCluster({ alg: 'RS256', crit: [] }, payload)],
  ['crit that names nothing there', () => signedByCluster({ alg: 'RS256', crit: ['b64'] }, payload)],
  ['payload not encoded (RFC 7797)', () => signedByCluster({ alg: 'RS256', crit: ['b64'], b64: false }, 'e30')],
  ['payload detached', () => `${header}..${signature}`],
  ['signature dropped', () => `${header}.${payload}.`],
  ['signature and its dot dropped', () => `${header}.${payload}`],
  ['a segment twice', () => `${header}.${payload}.${payload}.${signature}`],
  ['the token twice', () => `${genuine}.${genuine}`],
  ['the payload of another, our signature', () => `${header}.${encodePart({ ...claims, aud: 'x' })}.${signature}`],
  [
    'subject edited',
    () => `${header}.${encodePart({ ...claims, sub: 'system:serviceaccount:kube-system:admin' })}.${signature}`,
  ],
  ['header re-encoded', () => `${encodePart({ alg: 'RS256', kid: rsaKey.kid, typ: 'JWT' })}.${payload}.${signature}`],
  ['encrypted to our key (JWE)', encrypted],
  ['JSON serialization', () => JSON.stringify({ protected: header, payload, signature })],
  ['payload that is not JSON', () => signedByCluster({ alg: 'RS256' }, encodePart('not json'))],
  ['payload an array', () => signedByCluster({ alg: 'RS256' }, encodePart([claims]))],
  ['payload not UTF-8', () => signedByCluster({ alg: 'RS256' }, Buffer.from([0xff, 0xfe]).toString('base64url'))],
  ['header not JSON', () => signedByCluster('{"alg":"RS256"', payload)],
  ['header null', () => signedByCluster(null, payload)],
  ['empty', () => ''],
  ['white space', () => ' \t\n'],
  ['white space before', () => ` ${genuine}`],
  ['line end after', () => `${genuine}\n`],
  ['line end inside the signature', () => `${header}.${payload}.${signature.slice(0, 9)}\n${signature.slice(9)}`],
  ['padding', () => `${genuine}==`],
  ['standard base64 letters', () => `${header}.${payload}.${signature.replace(/./, '+')}`],
  ['another spelling of the signature', () => genuine.slice(0, -1) + respell(genuine.slice(-1))],
  ['a zero byte', () => `${genuine}\0`],
  ['Bearer in front', () => `Bearer ${genuine}`],
  ['rubbish', () => 'rubbish'],
  ['dots', () => '..'],
  ['a megabyte of dots', () => '.'.repeat(1 << 20)],
  ['a megabyte of letters', () => `${'A'.repeat(1 << 20)}.${payload}.${signature}`],
  ['well signed and too long', () => mintProjectedToken({ now, claims: { pad: 'x'.repeat(16 * 1024) } })],
];

async function ecSignature(): Promise<string> {
  return (await mintProjectedToken({ now, key: ecKey })).split('.')[2] ?? '';
}

async function encrypted(): Promise<string> {
  const recipient = await crypto.subtle.importKey(
    'spki',
    Buffer.from(rsaKey.publicPem.replaceAll(/-----.*-----|\n/g, ''), 'base64'),
    { name: 'RSA-OAEP', hash: 'SHA-256' },
    true,
    ['encrypt', 'wrapKey'],
  );
  return new CompactEncrypt(bytes(claims)).setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A256GCM' }).encrypt(recipient);
}

/** The next letter of the alphabet differs in a bit that a decoder throws away. */
const respell = (letter: string) => String.fromCharCode(letter.charCodeAt(0) + 1);

const MESSAGE_PREFIX: unknown = expect.stringMatching(/^attestation: /);

describe('forged and broken tokens', () => {
  test('the genuine one is accepted', async () => {
    await expect(verify(genuine)).resolves.toMatchObject({ identity: { subject: claims['sub'] } });
  });

  test.each(forgeries)('%s is unauthorized', async (_name, attempt) => {
    await expect(verify(await attempt())).rejects.toMatchObject({
      name: 'BrokerError',
      code: 'unauthorized',
      message: MESSAGE_PREFIX,
    });
  });

  test('an RS256 token is refused where only an EC key is known, and the other way round', async () => {
    await expect(verify(genuine, [ecKey])).rejects.toThrow('attestation: token must be signed with ES256');
    const byEc = await mintProjectedToken({ now, key: ecKey });
    await expect(verify(byEc, [rsaKey])).rejects.toThrow('attestation: token must be signed with RS256');
  });

  test('a forged token does not learn whether its claims would do', async () => {
    const refusals = await Promise.all(
      [{}, { aud: 'other' }, { exp: 1 }, { sub: 'x' }].map(async (edit) =>
        verify(await mintProjectedToken({ now, key: attackerRsa, claims: edit })).catch((error: unknown) => String(error)),
      ),
    );
    expect(new Set(refusals).size).toBe(1);
  });

  test('neither the message nor the cause of a refusal holds what the token said', async () => {
    const canary = 'canary-9b1d';
    const attempts = [
      mintProjectedToken({ now, claims: { exp: 1, canary } }),
      mintProjectedToken({ now, claims: { aud: canary } }),
      mintProjectedToken({ now, claims: { iss: canary } }),
      mintProjectedToken({ now, claims: { sub: canary } }),
      mintProjectedToken({ now, claims: { 'kubernetes.io': { namespace: canary } } }),
      mintProjectedToken({ now, claims: { 'kubernetes.io': { namespace: { canary } } } }),
      mintProjectedToken({ now, key: attackerRsa, claims: { canary } }),
      signedByCluster({ alg: 'RS256', crit: [canary], [canary]: 1 }, payload),
      signedByCluster({ alg: canary }, payload),
      signedByCluster({ alg: 'RS256' }, encodePart(canary)),
      signedByCluster(canary, payload),
    ];
    for (const attempt of attempts) {
      const refusal: unknown = await verify(await attempt).catch((error: unknown) => error);
      expect(refusal).toMatchObject({ code: 'unauthorized' });
      expect(inspect(refusal, { depth: 10, showHidden: true })).not.toContain(canary);
    }
  });

  test('no edit of a single letter passes', async () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ ';
    await fc.assert(
      fc.asyncProperty(fc.nat(genuine.length - 1), fc.constantFrom(...Array.from(alphabet)), async (at, letter) => {
        fc.pre(genuine[at] !== letter);
        await expect(verify(genuine.slice(0, at) + letter + genuine.slice(at + 1))).rejects.toMatchObject({
          code: 'unauthorized',
        });
      }),
      { numRuns: 500 },
    );
  });

  test('whatever the header and payload hold, the answer is unauthorized', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), fc.jsonValue(), fc.boolean(), async (anyHeader, anyPayload, goodHeader) => {
        const token = signedByCluster(goodHeader ? { alg: 'RS256' } : anyHeader, encodePart(anyPayload));
        await expect(verify(token)).rejects.toMatchObject({ code: 'unauthorized' });
      }),
      { numRuns: 300 },
    );
  });
});

import { randomUUID } from 'node:crypto';
import { inspect } from 'node:util';
import { CompactSign } from 'jose';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { makeProofVerifier } from '../../src/authn/dpop.ts';
import { unavailable } from '../../src/domain/errors.ts';
import type { PresentedProof, ProofQuestion, ProofVerifier } from '../../src/domain/proof.ts';
import type { RuntimeStore } from '../../src/domain/runtime-store.ts';
import { encodePart } from '../support/attestations.ts';
import { credentialHash, makeProofKey, type ProofKey, type ProofOptions } from '../support/dpop.ts';
import { FakeClock } from '../support/fake-clock.ts';

const METHOD = 'POST';
const URL_OF_REQUEST = 'https://asb.example/v1/grants';
const CREDENTIAL = 'header.payload.signature';

/** Marks of one process, as the port describes them. */
function makeMarks() {
  const held = new Map<string, { value: string; expiresAt: Date }>();
  const runtime: Pick<RuntimeStore, 'claim'> = {
    async claim(_kind, key, value, expiresAt, now) {
      const holder = held.get(key);
      if (holder !== undefined && now < holder.expiresAt) return holder.value === value;
      held.set(key, { value, expiresAt });
      return true;
    },
  };
  return { runtime, held };
}

const agent = await makeProofKey('ES256');
const stranger = await makeProofKey('ES256');
const byEd25519 = await makeProofKey('EdDSA');

let clock: FakeClock;
let held: ReturnType<typeof makeMarks>['held'];
let verifier: ProofVerifier;
beforeEach(() => {
  clock = new FakeClock();
  const marks = makeMarks();
  held = marks.held;
  verifier = makeProofVerifier({ clock, runtime: marks.runtime, ids: { tokenId: randomUUID } });
});

function presented(proof: string, changes: Partial<PresentedProof> = {}): PresentedProof {
  return { proofs: [proof], method: METHOD, url: URL_OF_REQUEST, ...changes };
}

const ask = (proof: string, changes: Partial<PresentedProof> = {}, credential: string | null = CREDENTIAL) =>
  verifier.verify({ presented: presented(proof, changes), credential });

/** A proof that is good, but for the changes. */
const make = (changes: Partial<ProofOptions> = {}, key: ProofKey = agent) =>
  key.proof({ method: METHOD, url: URL_OF_REQUEST, at: clock.now(), credential: CREDENTIAL, ...changes });

const seconds = () => clock.now().getTime() / 1000;

describe('a proof of possession', () => {
  test.each<ProofKey['alg']>(['ES256', 'EdDSA', 'Ed25519'])('by %s answers the thumbprint of its key', async (alg) => {
    const key = await makeProofKey(alg);
    await expect(ask(await make({}, key))).resolves.toBe(key.thumbprint);
  });

  test('of a known key is checked like the first', async () => {
    await ask(await make());
    await ask(await make());
    const forged = await make({ signer: stranger.privateKey });
    await expect(ask(forged)).rejects.toMatchObject({
      code: 'unauthorized',
      message: expect.stringMatching(/not signed by the key in its header/),
    });
  });

  test('needs no ath where there is no credential yet', async () => {
    await expect(ask(await make({ credential: undefined }), {}, null)).resolves.toBe(agent.thumbprint);
    await expect(ask(await make(), {}, null)).resolves.toBe(agent.thumbprint);
  });

  test('may be up to 60 seconds old and up to 5 seconds early', async () => {
    const iat = (offset: number) => ({ claims: { iat: seconds() + offset } });
    await ask(await make(iat(-59.999)));
    await ask(await make(iat(5)));
    await expect(ask(await make(iat(-60)))).rejects.toThrow('DPoP: the proof is too old');
    await expect(ask(await make(iat(5.001)))).rejects.toThrow('DPoP: the proof is dated in the future');
  });

  test('may say more than is asked', async () => {
    const key = { ...agent.publicJwk, kid: 'k', use: 'sig', alg: 'ES256' };
    await ask(await make({ claims: { nonce: 'n', exp: seconds() + 60 }, header: { jwk: key, kid: 'other', x5c: ['x'] } }));
  });

  test('has one thumbprint, whatever else its jwk says', async () => {
    const jwk = { kid: 'other', ...agent.publicJwk };
    await expect(ask(await make({ header: { jwk } }))).resolves.toBe(agent.thumbprint);
  });

  test.each([
    ['with a query', `${URL_OF_REQUEST}?a=1`],
    ['with a fragment', `${URL_OF_REQUEST}#top`],
    ['with the default port', 'https://asb.example:443/v1/grants'],
    ['with scheme and host in capitals', 'HTTPS://ASB.Example/v1/grants'],
    ['with dot segments', 'https://asb.example/v1/x/../grants'],
    ['with encoded dot segments', 'https://asb.example/v1/x/%2e%2E/grants'],
    ['with unreserved letters encoded', 'https://asb.example/v1/%67rants'],
  ])('is about the same URL %s', async (_name, htu) => {
    await ask(await make({ claims: { htu } }));
    await ask(await make(), { url: htu });
  });

  test.each([
    ['octets in another case', 'https://asb.example/a%2fb', 'https://asb.example/a%2Fb'],
    ['no path and the root', 'https://asb.example', 'https://asb.example/'],
    ['a port of its own', 'http://LOCALHOST:8080/v1/grants', 'http://localhost:8080/v1/grants'],
    ['plain HTTP with its port', 'http://localhost:80/', 'http://localhost/'],
  ])('is about the same URL: %s', async (_name, htu, url) => {
    await ask(await make({ url: htu }), { url });
  });
});

type Attempt = () => Promise<{ proof: string; changes?: Partial<PresentedProof>; credential?: string | null }>;

const withClaims = async (claims: Record<string, unknown>) => ({ proof: await make({ claims }) });
const withHeader = async (header: Record<string, unknown>) => ({ proof: await make({ header }) });
const withUrl = async (htu: string) => ({ proof: await make({ claims: { htu } }) });

const attacks: readonly (readonly [name: string, attempt: Attempt, message: RegExp])[] = [
  ['no proof', async () => ({ proof: '', changes: { proofs: [] } }), /a proof is required/],
  ['two headers', async () => ({ proof: '', changes: { proofs: [await make(), await make()] } }), /exactly one DPoP header/],
  ['one header twice', async () => twice(await make()), /exactly one DPoP header/],
  ['two proofs in one header', async () => ({ proof: `${await make()}, ${await make()}` }), /not a proof/],
  ['an empty header', async () => ({ proof: '' }), /not a proof/],
  ['rubbish', async () => ({ proof: 'rubbish' }), /not a proof/],
  ['a header that is not JSON', async () => ({ proof: `${encodePart('no')}.e30.AAAA` }), /not a proof/],
  ['a header that is null', async () => ({ proof: `${encodePart('null')}.e30.AAAA` }), /not a proof/],
  ['another method', async () => ({ proof: await make({ method: 'GET' }) }), /htm must be the method/],
  ['the method in small letters', async () => ({ proof: await make({ method: 'post' }) }), /htm must be the method/],
  ['another path', () => withUrl('https://asb.example/v1/sessions'), /htu must be the URL/],
  ['a path below', () => withUrl(`${URL_OF_REQUEST}/`), /htu must be the URL/],
  ['the path in capitals', () => withUrl('https://asb.example/v1/Grants'), /htu must be the URL/],
  ['an encoded slash', () => withUrl('https://asb.example/v1%2Fgrants'), /htu must be the URL/],
  ['another host', () => withUrl('https://asb.example.attacker.example/v1/grants'), /htu must be the URL/],
  ['a host with a dot at its end', () => withUrl('https://asb.example./v1/grants'), /htu must be the URL/],
  ['another scheme', () => withUrl('http://asb.example/v1/grants'), /htu must be the URL/],
  ['another port', () => withUrl('https://asb.example:8443/v1/grants'), /htu must be the URL/],
  ['our host as a user', () => withUrl('https://asb.example@attacker.example/v1/grants'), /htu must be the URL/],
  ['a user at our host', () => withUrl('https://me@asb.example/v1/grants'), /htu must be the URL/],
  ['a path alone', () => withUrl('/v1/grants'), /htu must be the URL/],
  ['backslashes', () => withUrl('https:\\\\asb.example\\v1\\grants'), /htu must be the URL/],
  ['a space before', () => withUrl(` ${URL_OF_REQUEST}`), /htu must be the URL/],
  ['a line break inside', () => withUrl('https://asb.example/v1/gr\nants'), /htu must be the URL/],
  ['no URL at all', () => withUrl(''), /htu must be the URL/],
  ['neither side a URL', async () => ({ proof: await make({ url: 'a' }), changes: { url: 'b' } }), /htu must be the URL/],
  ['stale by a minute', () => withClaims({ iat: seconds() - 60 }), /too old/],
  ['from 1970', () => withClaims({ iat: 0 }), /too old/],
  ['from before 1970', () => withClaims({ iat: -1e300 }), /too old/],
  ['made in the future', () => withClaims({ iat: seconds() + 6 }), /dated in the future/],
  ['made at the end of time', () => withClaims({ iat: 1e300 }), /dated in the future/],
  ['expired by its own word', () => withClaims({ exp: seconds() - 10 }), /exp is not acceptable/],
  ['not yet valid by its own word', () => withClaims({ nbf: seconds() + 10 }), /nbf is not acceptable/],
  ['iat as text', () => withClaims({ iat: String(seconds()) }), /not acceptable|iat claim is missing or malformed/],
  ...['jti', 'htm', 'htu', 'iat'].flatMap(
    (name) =>
      [
        [`no ${name}`, () => withClaims({ [name]: undefined }), new RegExp(`${name} claim is missing or malformed`)],
        [`${name} null`, () => withClaims({ [name]: null }), new RegExp(`${name} (claim is missing|is not acceptable)`)],
        [`${name} a list`, () => withClaims({ [name]: ['x'] }), new RegExp(`${name} (claim is missing|is not acceptable)`)],
      ] as const,
  ),
  ['jti empty', () => withClaims({ jti: '' }), /jti claim is missing or malformed/],
  ['jti of 129 characters', () => withClaims({ jti: 'x'.repeat(129) }), /jti claim is missing or malformed/],
  ['no ath', async () => ({ proof: await make({ credential: undefined }) }), /ath must be the SHA-256/],
  ['ath of another credential', async () => ({ proof: await make({ credential: 'other' }) }), /ath must be the SHA-256/],
  ['the credential itself as ath', () => withClaims({ ath: CREDENTIAL }), /ath must be the SHA-256/],
  ['ath with padding', () => withClaims({ ath: `${credentialHash(CREDENTIAL)}=` }), /ath must be the SHA-256/],
  ['ath null', () => withClaims({ ath: null }), /ath claim is missing or malformed/],
  ['no typ', () => withHeader({ typ: undefined }), /typ must be dpop\+jwt/],
  ['typ JWT', () => withHeader({ typ: 'JWT' }), /typ must be dpop\+jwt/],
  ['typ a list', () => withHeader({ typ: ['dpop+jwt'] }), /typ must be dpop\+jwt/],
  ['no jwk', () => withHeader({ jwk: undefined }), /jwk must be the public key/],
  ['jwk null', () => withHeader({ jwk: null }), /jwk must be the public key/],
  ['jwk as text', () => withHeader({ jwk: JSON.stringify(agent.publicJwk) }), /jwk must be the public key/],
  ['jwk a list', () => withHeader({ jwk: [agent.publicJwk] }), /jwk must be the public key/],
  [
    'a key by jku in place of jwk',
    () => withHeader({ jwk: undefined, jku: 'https://a.example' }),
    /jwk must be the public key/,
  ],
  [
    'a key by kid in place of jwk',
    () => withHeader({ jwk: undefined, kid: agent.thumbprint }),
    /jwk must be the public key/,
  ],
  ['the private key in jwk', () => withHeader({ jwk: privateJwk() }), /gives away a private key/],
  ['half a private key in jwk', () => withHeader({ jwk: { ...agent.publicJwk, dp: 'AA' } }), /gives away a private key/],
  ['the jwk of another key', () => withHeader({ jwk: stranger.publicJwk }), /not signed by the key in its header/],
  [
    'another key under our jwk',
    async () => ({ proof: await make({ signer: stranger.privateKey }) }),
    /not signed by the key/,
  ],
  [
    'a point off the curve',
    () => withHeader({ jwk: { ...agent.publicJwk, y: 'A'.repeat(43) } }),
    /jwk must be the public key/,
  ],
  ['a coordinate respelled', () => withHeader({ jwk: respelled() }), /jwk must be the public key/],
  ['a coordinate with padding', () => withHeader({ jwk: padded() }), /jwk must be the public key/],
  ['alg and jwk of two kinds', () => withHeader({ jwk: byEd25519.publicJwk }), /jwk must be the public key/],
  ['alg none', async () => unsigned({ alg: 'none' }), /sign the proof with ES256 or EdDSA or Ed25519/],
  ['alg None', async () => unsigned({ alg: 'None' }), /sign the proof with/],
  ['no alg', async () => unsigned({ alg: undefined }), /sign the proof with/],
  ['alg a list', async () => unsigned({ alg: ['ES256'] }), /sign the proof with/],
  ['alg toString', async () => unsigned({ alg: 'toString' }), /sign the proof with/],
  ['alg __proto__', async () => unsigned({ alg: '__proto__' }), /sign the proof with/],
  ['HS256 keyed with the public key', () => byHmac(), /sign the proof with/],
  ['HS256 with its secret as jwk', () => byHmac({ kty: 'oct', k: 'c2VjcmV0' }), /sign the proof with/],
  ['ES256 with an oct jwk', () => withHeader({ jwk: { kty: 'oct', k: 'c2VjcmV0' } }), /gives away a private key/],
  ['signature dropped', async () => ({ proof: (await make()).replace(/[^.]+$/, '') }), /not a proof/],
  ['signature of zeros', async () => ({ proof: (await make()).replace(/[^.]+$/, 'A'.repeat(86)) }), /not signed by the key/],
  ['larger than 4 KiB', () => withClaims({ pad: 'x'.repeat(4096) }), /not a proof/],
];

const twice = (proof: string) => ({ proof, changes: { proofs: [proof, proof] } });
const privateJwk = () => agent.privateKey.export({ format: 'jwk' });
const respelled = () => ({ ...agent.publicJwk, x: agent.publicJwk.x!.replace(/.$/, (last) => nextLetter(last)) });
const padded = () => ({ ...agent.publicJwk, x: `${agent.publicJwk.x}=` });
/** Differs in a bit that decoders throw away. */
const nextLetter = (letter: string) => String.fromCharCode(letter.charCodeAt(0) + 1);

async function unsigned(header: Record<string, unknown>) {
  const [, payload, signature] = (await make()).split('.');
  const forged = { typ: 'dpop+jwt', jwk: agent.publicJwk, ...header };
  return { proof: `${encodePart(forged)}.${payload}.${signature}` };
}

async function byHmac(jwk: Record<string, unknown> = agent.publicJwk) {
  const [, payload = ''] = (await make()).split('.');
  const proof = await new CompactSign(Buffer.from(payload, 'base64url'))
    .setProtectedHeader({ typ: 'dpop+jwt', alg: 'HS256', jwk })
    .sign(Buffer.from(agent.publicJwk.x!, 'base64url'));
  return { proof };
}

describe('what is no good proof', () => {
  test.each(attacks)('%s is unauthorized and marks nothing as used', async (_name, attempt, message) => {
    const { proof, changes, credential = CREDENTIAL } = await attempt();
    const question: ProofQuestion = { presented: presented(proof, changes), credential };
    await expect(verifier.verify(question)).rejects.toMatchObject({
      name: 'BrokerError',
      code: 'unauthorized',
      message: expect.stringMatching(/^DPoP: /),
    });
    await expect(verifier.verify(question)).rejects.toThrow(message);
    expect(held.size).toBe(0);
  });

  test('a refusal shows nothing of the proof', async () => {
    const canary = 'canary-71c3';
    for (const changes of [
      { claims: { iat: canary } },
      { claims: { jti: { canary } } },
      { claims: { htu: `https://${canary}.example/` } },
      { claims: { exp: 1, canary } },
      { header: { typ: canary } },
      { header: { jwk: { kty: canary } } },
    ]) {
      const refusal: unknown = await ask(await make(changes)).catch((error: unknown) => error);
      expect(refusal).toMatchObject({ code: 'unauthorized' });
      expect(inspect(refusal, { depth: 10, showHidden: true })).not.toContain(canary);
    }
  });
});

describe('a proof is good once', () => {
  test('shown again it is refused, for as long as it is fresh and ever after', async () => {
    const proof = await make({ claims: { iat: seconds() + 5 } });
    await ask(proof);
    for (let passed = 0; passed <= 80; passed += 1) {
      await expect(ask(proof)).rejects.toMatchObject({
        code: 'unauthorized',
        message: expect.stringMatching(/used before|too old/),
      });
      clock.advance(1);
    }
  });

  test('its mark outlives it, so that a replica with a slower clock knows it too', async () => {
    await ask(await make());
    expect([...held.values()].map(({ expiresAt }) => expiresAt)).toEqual([new Date(clock.now().getTime() + 65_000)]);
  });

  test('of 50 uses at once exactly one passes', async () => {
    const proof = await make();
    const results = await Promise.allSettled(Array.from({ length: 50 }, () => ask(proof)));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const result of results) {
      if (result.status === 'rejected')
        expect(result.reason).toMatchObject({ code: 'unauthorized', message: expect.stringMatching(/used before/) });
    }
  });

  test('the same jti in another proof of the same key is a use of the same proof', async () => {
    await ask(await make({ claims: { jti: 'once' } }));
    const other = await make({ claims: { jti: 'once', htm: 'GET' } });
    await expect(ask(other, { method: 'GET' })).rejects.toThrow('used before');
  });

  test('the same jti of another key is none', async () => {
    await ask(await make({ claims: { jti: 'once' } }));
    await expect(ask(await make({ claims: { jti: 'once' } }, stranger))).resolves.toBe(stranger.thumbprint);
  });

  test('whoever steals a jti cannot use it up', async () => {
    const claims = { jti: 'stolen' };
    await expect(ask(await make({ claims, signer: stranger.privateKey }))).rejects.toThrow('not signed');
    await expect(ask(await make({ claims }), { method: 'GET' })).rejects.toThrow('htm');
    await expect(ask(await make({ claims }))).resolves.toBe(agent.thumbprint);
  });

  test('when uses cannot be recorded none passes', async () => {
    const runtime = { claim: vi.fn().mockRejectedValue(unavailable('the store is away')) };
    verifier = makeProofVerifier({ clock, runtime, ids: { tokenId: randomUUID } });
    await expect(ask(await make())).rejects.toMatchObject({ code: 'unavailable' });
  });
});

import { describe, expect, test } from 'vitest';
import type { FetchJson } from '../../src/authn/fetch-json.ts';
import { makeOidcAttestation } from '../../src/authn/oidc-attestation.ts';
import { jwksAt, jwksOfIssuer, RemoteKeys } from '../../src/authn/remote-keys.ts';
import {
  AUDIENCE,
  type ClusterKey,
  ecKey,
  GITHUB_ISSUER,
  makeEcKey,
  mintGitHubToken,
  publicJwk,
  rsaKey,
} from '../support/attestations.ts';
import { FakeClock } from '../support/fake-clock.ts';

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const nextKey = makeEcKey();

/** An issuer whose every answer the test decides. */
class ScriptedIssuer {
  keys: readonly ClusterKey[] = [ecKey];
  isDown = false;
  /** Holds answers back until `release`. */
  isSlow = false;
  attempts = 0;
  failures: unknown[] = [];
  #held: (() => void)[] = [];

  readonly load = async (signal: AbortSignal) => {
    this.attempts += 1;
    if (this.isSlow) {
      await new Promise<void>((resolve, reject) => {
        this.#held.push(resolve);
        signal.addEventListener('abort', () => reject(signal.reason as Error));
      });
    }
    if (this.isDown) throw new Error('connect ECONNREFUSED');
    return this.keys;
  };

  release(): void {
    this.isSlow = false;
    this.#held.splice(0).forEach((go) => go());
  }
}

function setUp() {
  const clock = new FakeClock();
  const issuer = new ScriptedIssuer();
  const source = new RemoteKeys({ load: issuer.load, clock, onFailure: (error) => issuer.failures.push(error) });
  const kids = async (kid: string | null, alg = 'ES256') => (await source.find({ alg, kid })).map((key) => key.kid);
  return { clock, issuer, source, kids };
}

/** Lets background work that needs no time come to its end. */
const settle = () => new Promise(setImmediate);

describe('keys of a remote issuer', () => {
  test('are fetched when they are first needed, once for all who wait', async () => {
    const { issuer, kids } = setUp();
    expect(issuer.attempts).toBe(0);
    expect(await Promise.all([kids(ecKey.kid), kids(ecKey.kid), kids(null)])).toEqual([
      [ecKey.kid],
      [ecKey.kid],
      [ecKey.kid],
    ]);
    expect(issuer.attempts).toBe(1);
  });

  test('are there without a promise once they were fetched', async () => {
    const { source } = setUp();
    await source.prefetch();
    expect(source.find({ alg: 'ES256', kid: ecKey.kid })).toMatchObject([{ kid: ecKey.kid }]);
  });

  test.each([
    ['its key id names', 'ES256', ecKey.kid, [ecKey.kid]],
    ['has its algorithm, when it names none', 'ES256', null, [ecKey.kid, nextKey.kid]],
    ['has both its id and its algorithm', 'ES256', rsaKey.kid, []],
    ['has its algorithm, and there is none', 'EdDSA', null, []],
    ['its algorithm could be, and it is none', 'none', null, []],
    ['its algorithm could be, and it is symmetric', 'HS256', rsaKey.kid, []],
  ])('a token gets the key that %s', async (_name, alg, kid, expected) => {
    const { issuer, kids } = setUp();
    issuer.keys = [ecKey, rsaKey, nextKey];
    expect(await kids(kid, alg)).toEqual(expected);
  });

  test.each([
    '../../../../etc/passwd',
    "' OR 1=1 --",
    '__proto__',
    'constructor',
    '',
    '\0',
    'https://attacker.example/jwks.json',
    'x'.repeat(10_000),
  ])('the key id %j names no key', async (kid) => {
    const { kids } = setUp();
    expect(await kids(kid)).toEqual([]);
  });
});

describe('rotation', () => {
  test('a new key is fetched for the first token that names it', async () => {
    const { clock, issuer, kids } = setUp();
    await kids(ecKey.kid);
    clock.advance(31);
    issuer.keys = [ecKey, nextKey];
    expect(await kids(nextKey.kid)).toEqual([nextKey.kid]);
    expect(issuer.attempts).toBe(2);
  });

  test('old keys are fetched again in the background, and nobody waits for it', async () => {
    const { clock, issuer, source, kids } = setUp();
    await kids(ecKey.kid);
    issuer.keys = [nextKey];
    issuer.isSlow = true;
    clock.advance(10 * MINUTE);
    expect(source.find({ alg: 'ES256', kid: ecKey.kid })).toMatchObject([{ kid: ecKey.kid }]);
    expect(issuer.attempts).toBe(1);
    clock.advance(1);
    expect(source.find({ alg: 'ES256', kid: ecKey.kid })).toMatchObject([{ kid: ecKey.kid }]);
    expect(source.find({ alg: 'ES256', kid: ecKey.kid })).toMatchObject([{ kid: ecKey.kid }]);
    expect(issuer.attempts).toBe(2);
    issuer.release();
    await settle();
    expect(await kids(ecKey.kid)).toEqual([]);
    expect(await kids(nextKey.kid)).toEqual([nextKey.kid]);
  });

  test('a key that was withdrawn while nobody asked for an hour is not used once more', async () => {
    const { clock, issuer, kids } = setUp();
    await kids(ecKey.kid);
    issuer.keys = [nextKey];
    clock.advance(HOUR + 1);
    expect(await Promise.all([kids(ecKey.kid), kids(ecKey.kid)])).toEqual([[], []]);
    expect(issuer.attempts).toBe(2);
  });

  test('a clock that is set back makes the keys old, not new for ever', async () => {
    const { issuer } = setUp();
    let now = new Date('2026-06-01T00:00:00Z');
    const clock = Object.assign(new FakeClock(), { now: () => now });
    const source = new RemoteKeys({ load: issuer.load, clock, onFailure: () => undefined });
    await source.prefetch();
    now = new Date('2026-01-01T00:00:00Z');
    issuer.keys = [nextKey];
    expect(await source.find({ alg: 'ES256', kid: nextKey.kid })).toMatchObject([{ kid: nextKey.kid }]);
  });
});

describe('a flood of unknown key ids', () => {
  test('makes one request in 30 seconds, however many come at once', async () => {
    const { clock, issuer, kids } = setUp();
    await kids(ecKey.kid);
    for (let second = 0; second < 30; second += 1) {
      const flood = Array.from({ length: 1000 }, (_, index) => kids(`made-up-${second}-${index}`));
      expect((await Promise.all(flood)).flat()).toEqual([]);
      clock.advance(1);
    }
    expect(issuer.attempts).toBe(1);
    await Promise.all(Array.from({ length: 1000 }, (_, index) => kids(`made-up-${index}`)));
    expect(issuer.attempts).toBe(2);
  });

  test('by whole tokens makes two requests at most, and lets none in', async () => {
    const { clock, issuer, source } = setUp();
    const attestation = makeOidcAttestation({
      issuer: GITHUB_ISSUER,
      audience: AUDIENCE,
      allowedSubjectPrefixes: ['repo:acme/'],
      keys: source,
      clock,
    });
    const present = async (header: Record<string, unknown>, key = ecKey) =>
      attestation.verify({ kind: 'oidc_jwt', token: await mintGitHubToken({ now: clock.now(), key, header }) });
    await present({});
    clock.advance(30);
    const flood = Array.from({ length: 1000 }, (_, index) => present({ kid: `made-up-${index}` }, nextKey).catch(String));
    expect(new Set(await Promise.all(flood))).toEqual(
      new Set([
        'BrokerError: attestation: token is not signed by a key of the issuer; use a token of the configured issuer',
      ]),
    );
    expect(issuer.attempts).toBe(2);
    await present({});
  });

  test('shares the one attempt that is under way', async () => {
    const { clock, issuer, kids } = setUp();
    await kids(ecKey.kid);
    clock.advance(30);
    issuer.isSlow = true;
    issuer.keys = [ecKey, nextKey];
    const flood = Array.from({ length: 1000 }, () => kids(nextKey.kid));
    await settle();
    expect(issuer.attempts).toBe(2);
    issuer.release();
    expect(new Set((await Promise.all(flood)).flat())).toEqual(new Set([nextKey.kid]));
    expect(issuer.attempts).toBe(2);
  });

  test('does not disturb tokens whose key is here', async () => {
    const { clock, issuer, source, kids } = setUp();
    await kids(ecKey.kid);
    clock.advance(30);
    issuer.isSlow = true;
    const waiting = kids('made-up');
    expect(source.find({ alg: 'ES256', kid: ecKey.kid })).toMatchObject([{ kid: ecKey.kid }]);
    issuer.release();
    expect(await waiting).toEqual([]);
  });

  test('of a broker without keys asks an issuer that is down every five seconds', async () => {
    const { clock, issuer, kids } = setUp();
    issuer.isDown = true;
    for (let second = 0; second < 30; second += 1) {
      const flood = Array.from({ length: 100 }, (_, index) => kids(`made-up-${index}`).catch(() => []));
      await Promise.all(flood);
      clock.advance(1);
    }
    expect(issuer.attempts).toBe(6);
  });
});

describe('an issuer that is away', () => {
  test('from the start is unavailable, and serves as soon as it is back', async () => {
    const { clock, issuer, kids } = setUp();
    issuer.isDown = true;
    await expect(kids(ecKey.kid)).rejects.toMatchObject({ code: 'unavailable', retryAfterSeconds: 5 });
    issuer.isDown = false;
    await expect(kids(ecKey.kid)).rejects.toMatchObject({ code: 'unavailable' });
    clock.advance(5);
    expect(await kids(ecKey.kid)).toEqual([ecKey.kid]);
    expect(issuer.failures).toMatchObject([{ message: 'connect ECONNREFUSED' }]);
  });

  test('leaves its last good keys in use for a day, and no longer', async () => {
    const { clock, issuer, kids } = setUp();
    await kids(ecKey.kid);
    issuer.isDown = true;
    for (let hour = 0; hour < 24; hour += 1) {
      clock.advance(HOUR);
      expect(await kids(ecKey.kid)).toEqual([ecKey.kid]);
      await settle();
    }
    expect(issuer.failures.length).toBeGreaterThanOrEqual(23);
    clock.advance(1);
    await expect(kids(ecKey.kid)).rejects.toMatchObject({ code: 'unavailable' });
    issuer.isDown = false;
    clock.advance(5);
    expect(await kids(ecKey.kid)).toEqual([ecKey.kid]);
  });

  test('refuses unknown key ids as ever', async () => {
    const { clock, issuer, kids } = setUp();
    await kids(ecKey.kid);
    issuer.isDown = true;
    clock.advance(30);
    expect(await kids('made-up')).toEqual([]);
  });

  test('that does not answer within five seconds is given up', async () => {
    const { clock, issuer, kids } = setUp();
    issuer.isSlow = true;
    const waiting = expect(kids(ecKey.kid)).rejects.toMatchObject({ code: 'unavailable' });
    await settle();
    clock.advance(5);
    await waiting;
    expect(issuer.failures).toMatchObject([{ message: 'the issuer did not answer in time' }]);
  });

  test('that answered in time is not aborted afterwards', async () => {
    const clock = new FakeClock();
    const signals: AbortSignal[] = [];
    const load = (signal: AbortSignal) => {
      signals.push(signal);
      return Promise.resolve([ecKey]);
    };
    await new RemoteKeys({ load, clock, onFailure: () => undefined }).prefetch();
    clock.advance(60);
    expect(signals.map((signal) => signal.aborted)).toEqual([false]);
  });
});

const ISSUER_URL = 'https://issuer.example/tenant';
const JWKS = { keys: [publicJwk(ecKey)] };
const never = new AbortController().signal;

/** A web in which each address has a document. */
function web(documents: Record<string, unknown>) {
  const asked: string[] = [];
  const fetchJson: FetchJson = async (url) => {
    asked.push(url.href);
    if (!(url.href in documents)) throw new Error('404');
    return documents[url.href];
  };
  return { asked, fetchJson };
}

describe('discovery', () => {
  const metadataUrl = `${ISSUER_URL}/.well-known/openid-configuration`;
  const metadata = { issuer: ISSUER_URL, jwks_uri: 'https://keys.example/jwks', authorization_endpoint: 'x' };

  test("finds the keys by the issuer's own metadata, on whatever host they are", async () => {
    const { asked, fetchJson } = web({ [metadataUrl]: metadata, 'https://keys.example/jwks': JWKS });
    expect(await jwksOfIssuer(ISSUER_URL, fetchJson)(never)).toMatchObject([{ kid: ecKey.kid }]);
    expect(asked).toEqual([metadataUrl, 'https://keys.example/jwks']);
  });

  test('of an issuer that ends in a slash drops it from the address and keeps it in the name', async () => {
    const { fetchJson } = web({
      [metadataUrl]: { ...metadata, issuer: `${ISSUER_URL}/` },
      'https://keys.example/jwks': JWKS,
    });
    expect(await jwksOfIssuer(`${ISSUER_URL}/`, fetchJson)(never)).toHaveLength(1);
    await expect(jwksOfIssuer(ISSUER_URL, fetchJson)(never)).rejects.toThrow("another issuer's");
  });

  test.each<[string, unknown, RegExp]>([
    ['of another issuer', { ...metadata, issuer: 'https://issuer.example/other' }, /another issuer's/],
    ['of the issuer in another case', { ...metadata, issuer: ISSUER_URL.toUpperCase() }, /another issuer's/],
    ['without an issuer', { jwks_uri: metadata.jwks_uri }, /lack issuer or jwks_uri/],
    ['with a list of issuers', { ...metadata, issuer: [ISSUER_URL] }, /lack issuer or jwks_uri/],
    ['without keys', { issuer: ISSUER_URL }, /lack issuer or jwks_uri/],
    ['with keys at no URL', { ...metadata, jwks_uri: 'jwks' }, /lack issuer or jwks_uri/],
    ['with keys in the clear', { ...metadata, jwks_uri: 'http://keys.example/jwks' }, /must be https/],
    ['with keys on this machine', { ...metadata, jwks_uri: 'http://127.0.0.1:8500/v1/kv' }, /not on this machine/],
    ['with keys on this machine over TLS', { ...metadata, jwks_uri: 'https://localhost/jwks' }, /not on this machine/],
    ['with keys in a file', { ...metadata, jwks_uri: 'file:///etc/passwd' }, /must be https/],
    ['with keys inline', { ...metadata, jwks_uri: 'data:application/json,{}' }, /must be https/],
    ['with keys behind a password', { ...metadata, jwks_uri: 'https://a:b@keys.example/' }, /must be https/],
    ['that is no object', 'metadata', /lack issuer or jwks_uri/],
  ])('by metadata %s fails, before any key is fetched', async (_name, document, message) => {
    const { asked, fetchJson } = web({ [metadataUrl]: document });
    await expect(jwksOfIssuer(ISSUER_URL, fetchJson)(never)).rejects.toThrow(message);
    expect(asked).toEqual([metadataUrl]);
  });

  test('on this machine may lead to keys on this machine', async () => {
    const issuer = 'http://127.0.0.1:9000';
    const { fetchJson } = web({
      [`${issuer}/.well-known/openid-configuration`]: { issuer, jwks_uri: 'http://localhost:9001/jwks' },
      'http://localhost:9001/jwks': JWKS,
    });
    expect(await jwksOfIssuer(issuer, fetchJson)(never)).toHaveLength(1);
  });

  test.each([
    'http://issuer.example',
    'issuer.example',
    'kubernetes/serviceaccount',
    'https://issuer.example/?tenant=1',
    'https://issuer.example/?',
    'https://issuer.example/#a',
    'https://user:pw@issuer.example',
    'http://127.0.0.1.attacker.example',
    'http://localhost.attacker.example',
  ])('cannot be had of the issuer %s', (issuer) => {
    expect(() => jwksOfIssuer(issuer, web({}).fetchJson)).toThrow('discovery needs an issuer that is an https URL');
  });
});

describe('a JWKS URL', () => {
  test('answers the keys', async () => {
    const { fetchJson } = web({ 'https://keys.example/jwks?v=2': JWKS });
    expect(await jwksAt(new URL('https://keys.example/jwks?v=2'), fetchJson)(never)).toMatchObject([{ kid: ecKey.kid }]);
  });

  test('that answers something else fails', async () => {
    const { fetchJson } = web({ 'https://keys.example/jwks': { keys: [] } });
    await expect(jwksAt(new URL('https://keys.example/jwks'), fetchJson)(never)).rejects.toThrow('it is empty');
  });

  test.each(['http://keys.example/jwks', 'file:///keys', 'https://a:b@keys.example/jwks'])('%s is refused', (url) => {
    expect(() => jwksAt(new URL(url), web({}).fetchJson)).toThrow('must be https');
  });
});

import type { JsonValue } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { makeRelayKeys } from '../../dev/browser/relay-keys.ts';
import { type Asb, bodyOf, startAsb } from '../support/asb.ts';
import {
  aBrowserSession,
  aFormGrant,
  aRelay,
  FORM_REQUEST,
  opened,
  ORIGIN,
  PASSWORD,
  type Registered,
  registration,
  SELECTORS,
  unwrap,
  unwrapping,
  USERNAME,
} from '../support/browser.ts';
import { expectNoneIn, writtenDown } from '../support/dumps.ts';

const VALUES = { username: USERNAME, password: PASSWORD };
const BROWSER = {
  ASB_BROWSER_ORIGIN: ORIGIN,
  ASB_BROWSER_USERNAME: USERNAME,
  ASB_BROWSER_PASSWORD: PASSWORD,
  ASB_BROWSER_SELECTOR_USERNAME: SELECTORS.username,
  ASB_BROWSER_SELECTOR_PASSWORD: SELECTORS.password,
};

let asb: Asb;
beforeAll(async () => {
  asb = await startAsb(BROWSER);
});
afterAll(() => asb.close());

/** A session with a relay, and a credential that it may open. */
async function aScene(changes: Record<string, JsonValue> = {}) {
  const session = await aBrowserSession(asb);
  const relay = await aRelay(asb, session.bearer, { changes });
  const grant = await aFormGrant(asb, session.bearer);
  return { ...session, relay, ...grant };
}

describe('a login form', () => {
  test.each([0, 1, 2, 3, 4])('is filled once, by the relay alone (transport %i)', async (index) => {
    const client = asb.clients[index]!;
    const { bearer } = await aBrowserSession(asb);
    const relay = await aRelay(asb, bearer, { client });
    const { artifactId } = await aFormGrant(asb, bearer, { client });
    const answer = await unwrap(asb, artifactId, relay, client);
    expect(answer).toMatchObject({ artifact_id: artifactId, origin: ORIGIN, auto_submit: false });
    expect(answer.fields.map(({ name, selector }) => [name, selector])).toEqual(Object.entries(SELECTORS));
    expect(JSON.stringify(answer)).not.toContain('CANARY');
    expect(await opened(answer, relay)).toEqual(VALUES);
    const again = await client.call('unwrapArtifact', unwrapping(artifactId, relay), { bearer });
    expect(again).toMatchObject({ ok: false, code: 'conflict' });
  });

  test('waits for a person, who is told of it', async () => {
    const { bearer } = await aBrowserSession(asb);
    const answer = bodyOf(await asb.call('requestGrant', FORM_REQUEST, { bearer }));
    expect(answer).toMatchObject({ state: 'pending' });
    expect(answer).not.toHaveProperty('delivery');
  });

  test.each([
    ['https://other.example', 'not_found', /^resource_ref: no form is configured/],
    [`${ORIGIN}/`, 'invalid_request', /^resource_ref: must be written as browsers write it/],
    ['http://ledger.example', 'invalid_request', /^resource_ref: must be https/],
  ])('is not to be had at %s', async (origin, code, message) => {
    const { bearer } = await aBrowserSession(asb);
    const refused = await asb.call(
      'requestGrant',
      { ...FORM_REQUEST, resource_ref: `browser_origin:${origin}` },
      { bearer },
    );
    expect(refused).toMatchObject({ ok: false, code, message: expect.stringMatching(message) });
  });

  test('is opened once, of 50 who try at once', async () => {
    const { relay, artifactId, bearer } = await aScene();
    const tries = Array.from({ length: 50 }, () =>
      asb.clients[0].call('unwrapArtifact', unwrapping(artifactId, relay), { bearer }),
    );
    const answers = await Promise.all(tries);
    expect(answers.filter(({ ok }) => ok)).toHaveLength(1);
    expect(answers.filter((answer) => !answer.ok && answer.code === 'conflict')).toHaveLength(49);
  });

  test('leaves on record who filled it, and with which key', async () => {
    const { relay, artifactId } = await aScene();
    await unwrap(asb, artifactId, relay);
    const [registered] = asb.audit.events.filter(({ type }) => type === 'relay.registered').slice(-1);
    const [used] = asb.audit.events.filter(({ type }) => type === 'artifact.used').slice(-1);
    const at = { key_id: relay.keys.keyId, origin: ORIGIN, tab_id: relay.tabId, key_thumbprint: relay.keys.thumbprint };
    expect(registered?.details).toEqual(at);
    expect(used?.details).toEqual(at);
  });

  test('may be opened by a relay that registered only after people had approved', async () => {
    const { bearer } = await aBrowserSession(asb);
    const { artifactId } = await aFormGrant(asb, bearer);
    const relay = await aRelay(asb, bearer);
    expect(await opened(await unwrap(asb, artifactId, relay), relay)).toEqual(VALUES);
  });
});

describe('what else tries to open it is refused, and the credential is still there', () => {
  type Scene = Awaited<ReturnType<typeof aScene>>;
  type Attempt = (scene: Scene) => Promise<{ request?: Record<string, JsonValue>; bearer?: string }>;
  const attempts: readonly (readonly [name: string, attempt: Attempt, code: string, reason: string | null])[] = [
    ['without a relay', async ({ artifactId }) => ({ request: { artifact_id: artifactId } }), 'invalid_request', null],
    ['without the tab', async () => ({ request: { tab_id: '' } }), 'invalid_request', null],
    ['by a key that nobody registered', async () => ({ request: { key_id: 'nobodys' } }), 'not_found', null],
    ['at another origin', async () => ({ request: { origin: 'https://evil.example' } }), 'forbidden', 'relay_mismatch'],
    [
      'at the same origin, written otherwise',
      async () => ({ request: { origin: `${ORIGIN}/` } }),
      'forbidden',
      'relay_mismatch',
    ],
    ['from another tab', async () => ({ request: { tab_id: '999' } }), 'forbidden', 'relay_mismatch'],
    [
      "at another session's relay",
      async () => {
        const { keys, tabId } = await aRelay(asb, (await aBrowserSession(asb)).bearer);
        return { request: { key_id: keys.keyId, tab_id: tabId } };
      },
      'not_found',
      null,
    ],
    [
      'by another session, at a relay of its own',
      async ({ artifactId }) => {
        const { bearer } = await aBrowserSession(asb);
        return { request: unwrapping(artifactId, await aRelay(asb, bearer)), bearer };
      },
      'not_found',
      null,
    ],
    [
      'by a relay that has no key',
      async ({ bearer, artifactId }) => {
        const relay = await aRelay(asb, bearer, { changes: { public_key: '' } });
        return { request: unwrapping(artifactId, relay) };
      },
      'forbidden',
      'plain_values_not_allowed',
    ],
  ];

  test.each(attempts)('%s', async (_name, attempt, code, reason) => {
    const scene = await aScene();
    const { request, bearer = scene.bearer } = await attempt(scene);
    const before = asb.audit.events.length;
    const asked =
      request?.artifact_id === undefined ? { ...unwrapping(scene.artifactId, scene.relay), ...request } : request;
    const answer = await asb.call('unwrapArtifact', asked, { bearer });
    expect(answer).toMatchObject({ ok: false, code, reason });
    const refusals = asb.audit.events.slice(before).map(({ type }) => type);
    expect(refusals).toEqual(code === 'invalid_request' ? [] : ['unwrap.refused']);
    expect(await opened(await unwrap(asb, scene.artifactId, scene.relay), scene.relay)).toEqual(VALUES);
  });
});

describe('a relay', () => {
  const register = async (changes: Record<string, JsonValue>, bearer?: string) => {
    const keys = await makeRelayKeys('relay-of-a-test');
    const place = { origin: ORIGIN, tabId: '7' };
    const session = bearer ?? (await aBrowserSession(asb)).bearer;
    return asb.call('registerBrowserRelay', { ...registration(keys, place), ...changes }, { bearer: session });
  };

  const small = Buffer.alloc(32).toString('base64url');
  test.each<[name: string, changes: Record<string, JsonValue>, code: string, message: RegExp]>([
    ['at an origin that nobody configured', { origin: 'https://other.example' }, 'not_found', /^origin: /],
    ['at an origin that is no origin', { origin: 'ledger.example' }, 'invalid_request', /^origin: must be an origin/],
    ['at an origin with a path', { origin: `${ORIGIN}/login` }, 'invalid_request', /^origin: must be written as .*ledger/],
    ['without TLS', { origin: 'http://ledger.example' }, 'invalid_request', /^origin: must be https/],
    ['with a key that is no JWK', { public_key: 'ssh-ed25519' }, 'invalid_request', /^public_key: /],
    [
      'with a private key',
      { public_key: JSON.stringify({ kty: 'OKP', crv: 'X25519', x: small.replace('A', 'B'), d: small }) },
      'invalid_request',
      /^public_key: /,
    ],
    [
      'with a key of small order, to which everybody would know the secret',
      { public_key: JSON.stringify({ kty: 'OKP', crv: 'X25519', x: small }) },
      'invalid_request',
      /^public_key: /,
    ],
    [
      'with a selector for an input that the form has not',
      { selectors: { otp: '#otp' } },
      'invalid_request',
      /^selectors\.otp: /,
    ],
    [
      'with a selector that is none',
      { selectors: { password: '#a >' } },
      'invalid_request',
      /^selectors\.password: is no CSS/,
    ],
    [
      'with another selector than the operator configured, such as one of a field that shows what is in it',
      { selectors: { password: '#comment' } },
      'invalid_request',
      /^selectors\.password: the operator has configured another/,
    ],
  ])('is refused %s', async (_name, changes, code, message) => {
    expect(await register(changes)).toMatchObject({ ok: false, code, message: expect.stringMatching(message) });
  });

  test('keeps the name of its key: another one of its session cannot take it over', async () => {
    const { bearer } = await aBrowserSession(asb);
    const relay = await aRelay(asb, bearer);
    const { artifactId } = await aFormGrant(asb, bearer);
    const thief = await makeRelayKeys(relay.keys.keyId);
    const stolen = await asb.call('registerBrowserRelay', registration(thief, relay), { bearer });
    expect(stolen).toMatchObject({ ok: false, code: 'conflict', message: expect.stringMatching(/^key_id: /) });
    expect(await opened(await unwrap(asb, artifactId, relay), relay)).toEqual(VALUES);
  });

  test('of 20 that claim one name at once, one has it', async () => {
    const { bearer } = await aBrowserSession(asb);
    const all = await Promise.all(Array.from({ length: 20 }, () => makeRelayKeys('wanted')));
    const answers = await Promise.all(
      all.map((keys) => asb.call('registerBrowserRelay', registration(keys, { origin: ORIGIN, tabId: '1' }), { bearer })),
    );
    expect(answers.filter(({ ok }) => ok)).toHaveLength(1);
  });

  test.each([0, 1, 2, 3, 4])('may write its key over several lines (transport %i)', async (index) => {
    const { bearer } = await aBrowserSession(asb);
    const keys = await makeRelayKeys('lines');
    const written: unknown = JSON.parse(keys.publicKey);
    const body = { ...registration(keys, { origin: ORIGIN, tabId: '1' }), public_key: JSON.stringify(written, null, 2) };
    bodyOf(await asb.clients[index]!.call('registerBrowserRelay', body, { bearer }));
    expect(asb.audit.events.at(-1)?.details).toMatchObject({ key_thumbprint: keys.thumbprint });
  });

  test('registers again as it was, and lives no longer for that', async () => {
    const { bearer } = await aBrowserSession(asb);
    const keys = await makeRelayKeys('again');
    const body = registration(keys, { origin: ORIGIN, tabId: '1' });
    const first = bodyOf(await asb.call('registerBrowserRelay', body, { bearer }));
    asb.clock.advance(60);
    expect(bodyOf(await asb.call('registerBrowserRelay', body, { bearer }))).toEqual(first);
  });

  test('ends with its session', async () => {
    const { sessionId, bearer } = await aBrowserSession(asb);
    const keys = await makeRelayKeys('short');
    const body = registration(keys, { origin: ORIGIN, tabId: '1' });
    const answer = bodyOf(await asb.call('registerBrowserRelay', body, { bearer }));
    const { expires_at } = z.object({ expires_at: z.string() }).parse(answer);
    const token: unknown = JSON.parse(Buffer.from(bearer.split('.')[1] ?? '', 'base64url').toString());
    const { exp } = z.object({ exp: z.number() }).parse(token);
    expect(Date.parse(expires_at)).toBeLessThanOrEqual(exp * 1000);
    bodyOf(await asb.call('revokeSession', { session_id: sessionId }, { bearer }));
    expect(await asb.call('registerBrowserRelay', body, { bearer })).toMatchObject({ ok: false, code: 'unauthorized' });
  });
});

describe('its credential is gone', () => {
  const attempt = async ({ artifactId, relay }: { artifactId: string; relay: Registered }) =>
    asb.call('unwrapArtifact', unwrapping(artifactId, relay), { bearer: relay.bearer });

  test('when its grant was revoked', async () => {
    const scene = await aScene();
    bodyOf(await asb.call('revokeGrant', { grant_id: scene.grantId }, { bearer: scene.bearer }));
    expect(await attempt(scene)).toMatchObject({ ok: false, code: 'conflict' });
  });

  test('when its session was revoked', async () => {
    const scene = await aScene();
    bodyOf(await asb.call('revokeSession', { session_id: scene.sessionId }, { bearer: scene.bearer }));
    expect(await attempt(scene)).toMatchObject({ ok: false, code: 'unauthorized' });
  });

  test('when its time is up', async () => {
    const scene = await aScene();
    asb.clock.advance(FORM_REQUEST.ttl_seconds);
    expect(await attempt(scene)).toMatchObject({ ok: false, code: 'conflict' });
  });
});

test('it occurs in no log line, event or metric, nor in the stores, and in no answer but sealed', async () => {
  const { relay, artifactId, bearer } = await aScene();
  await aFormGrant(asb, bearer);
  const answer = await unwrap(asb, artifactId, relay);
  const grants = await asb.call('listGrants', { tenant_id: 't_dev' }, { bearer: await asb.operatorToken(['viewer']) });
  const everywhere = await writtenDown(asb, grants, answer);
  expect(everywhere).toContain(relay.keys.thumbprint);
  expectNoneIn(everywhere, [USERNAME, PASSWORD]);
});

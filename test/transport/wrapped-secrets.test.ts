import { create, fromBinary, fromJsonString, toBinary } from '@bufbuild/protobuf';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { GrantAnswer } from '../../src/broker/collect-grant.ts';
import type { UnwrapArtifactResponse } from '../../src/broker/unwrap-artifact.ts';
import { conflict } from '../../src/domain/errors.ts';
import type { ArtifactId, GrantId } from '../../src/domain/ids.ts';
import { UnwrapArtifactRequestSchema, UnwrapArtifactResponseSchema } from '../../src/gen/asb/v1/broker_pb.ts';
import { caseOf } from '../support/call-cases.ts';
import { EveryTransport, TRANSPORT_NAMES, type TransportName } from '../support/every-transport.ts';
import type { Listeners } from '../support/listeners.ts';
import { RawClient, rpcPathOf } from '../support/transports.ts';
import { ARTIFACT_ID, GRANT_ID, TOKEN } from '../support/wire-records.ts';

const CANARY = 'canary-c41d';
const SESSION_LOOKALIKE = 'sess_01890a5d-ac96-774b-bcce-b302099a80ff';

/** What a database hands out: no page to fill in, and values of every kind. */
const CREDENTIAL: UnwrapArtifactResponse = {
  artifactId: ARTIFACT_ID as ArtifactId,
  origin: '',
  fields: [
    { name: 'username', selector: '', value: `v-asb-${CANARY}` },
    { name: 'password', selector: '', value: `${CANARY} "quoted" \\ ünïcode ☃ 😀\nsecond line` },
    // Names that are logged when they are an answer's own.
    { name: 'session_id', selector: '', value: SESSION_LOOKALIKE },
    { name: 'dsn', selector: '', value: `postgres://u:${CANARY}@db:5432/app?sslmode=verify-full` },
  ],
};

const WRAPPED: GrantAnswer = {
  grantId: GRANT_ID as GrantId,
  state: 'issued',
  approvalId: null,
  delivery: { kind: 'wrapped_secret', artifactId: ARTIFACT_ID as ArtifactId },
  expiresAt: new Date('2026-01-02T03:14:05.000Z'),
  endReason: null,
};
const WRAPPED_ON_THE_WIRE = {
  grant_id: GRANT_ID,
  state: 'issued',
  delivery: { kind: 'wrapped_secret', artifact_id: ARTIFACT_ID },
  expires_at: '2026-01-02T03:14:05Z',
};

let transports: EveryTransport;
let raw: RawClient;

beforeAll(async () => {
  transports = await EveryTransport.open();
  raw = new RawClient(transports.using('JSON').listeners.httpUrl);
});
afterAll(async () => {
  raw.close();
  await transports.close();
});
afterEach(() => transports.reset());

const UNWRAP = { artifact_id: ARTIFACT_ID };

describe.each(TRANSPORT_NAMES)('%s', (name: TransportName) => {
  beforeEach(() => {
    const { broker } = transports.using(name).listeners;
    broker.answer('requestGrant', WRAPPED);
    broker.answer('unwrapArtifact', CREDENTIAL);
  });

  it('delivers a wrapped secret as the name of its artifact, and nothing else', async () => {
    const { client } = transports.using(name);
    const asked = { ...caseOf('requestGrant').request, delivery_mode: 'wrapped_secret' };
    const result = await client.call('requestGrant', asked);
    expect(result).toEqual({ ok: true, body: WRAPPED_ON_THE_WIRE, headers: expect.anything() });
  });

  it('delivers it again to whoever asks how the grant stands', async () => {
    const { client, listeners } = transports.using(name);
    listeners.broker.answer('getGrant', { ...WRAPPED, grant: await grantOf(listeners) });
    const result = await client.call('getGrant', { grant_id: 'gr_1' });
    expect(result).toMatchObject({ ok: true, body: { ...WRAPPED_ON_THE_WIRE, grant: { grant_id: GRANT_ID } } });
    if (!result.ok) throw new Error('expected an answer');
    expect(result.body).toHaveProperty('delivery', WRAPPED_ON_THE_WIRE.delivery);
  });

  it('hands out what it holds, word for word and in order, and never submits it', async () => {
    const { client } = transports.using(name);
    const result = await client.call('unwrapArtifact', UNWRAP, { bearer: TOKEN });
    expect(result).toEqual({
      ok: true,
      // Nothing else: an empty origin, empty selectors and a false are left out in protobuf's canonical form.
      body: { artifact_id: ARTIFACT_ID, fields: CREDENTIAL.fields.map(({ name, value }) => ({ name, value })) },
      headers: expect.objectContaining({ cacheControl: 'no-store' }),
    });
  });

  it('asks for it by the token of the header and the id, without a browser', async () => {
    const { client, listeners } = transports.using(name);
    await client.call('unwrapArtifact', UNWRAP, { bearer: TOKEN });
    expect(listeners.broker.received.map(({ request }) => request)).toEqual([
      { sessionToken: TOKEN, artifactId: ARTIFACT_ID, keyId: '', origin: '', tabId: '' },
    ]);
  });

  it('tells whoever comes second that it was used', async () => {
    const { client, listeners } = transports.using(name);
    listeners.broker.before(async () => {
      throw conflict('artifact is already used; request a new grant');
    });
    const result = await client.call('unwrapArtifact', UNWRAP, { bearer: TOKEN });
    expect(result).toMatchObject({ ok: false, code: 'conflict', message: 'artifact is already used; request a new grant' });
  });

  it('leaves no trace of it in the log or the metrics', async () => {
    const { client, listeners } = transports.using(name);
    expect(JSON.stringify(await client.call('unwrapArtifact', UNWRAP, { bearer: TOKEN }))).toContain(CANARY);
    const { body: metrics } = await listeners.deps.metrics.render();
    const written = listeners.logged.join('\n') + metrics;
    expect(listeners.logged).toHaveLength(1);
    expect(written).toContain('UnwrapArtifact');
    expect(written).not.toContain(CANARY);
    expect(written).not.toContain(SESSION_LOOKALIKE);
    expect(written).not.toContain(TOKEN);
  });

  it('leaves no trace of one that cannot be put on the wire', async () => {
    const { client, listeners } = transports.using(name);
    const value = `${CANARY}\ud800\n    at ${CANARY} (/${CANARY}.js:1:1)`;
    listeners.broker.answer('unwrapArtifact', { ...CREDENTIAL, fields: [{ name: 'password', selector: '', value }] });
    const result = await client.call('unwrapArtifact', UNWRAP, { bearer: TOKEN }).catch((error: unknown) => error);
    // JSON can write half a surrogate pair; protobuf cannot.
    if (!name.startsWith('JSON')) {
      expect(result).toMatchObject({ ok: false, code: 'internal' });
      expect(JSON.stringify(result)).not.toContain(CANARY);
    }
    expect(listeners.logged.length).toBeGreaterThan(0);
    expect(listeners.logged.join('\n')).not.toContain(CANARY);
  });
});

/** The grant that the fake broker tells of by itself. */
async function grantOf({ broker }: Listeners) {
  const { grant } = await broker.getGrant({}, { requestId: 'r', proof: null, signal: new AbortController().signal });
  return grant;
}

describe('the bytes of an unwrapped secret', () => {
  beforeEach(() => transports.using('JSON').listeners.broker.answer('unwrapArtifact', CREDENTIAL));

  it('name every field in JSON, the empty ones too', async () => {
    const answer = await raw.postJson(`/v1/artifacts/${ARTIFACT_ID}:unwrap`, { session_token: TOKEN });
    expect(JSON.parse(answer.body.toString())).toStrictEqual({
      artifact_id: ARTIFACT_ID,
      origin: '',
      auto_submit: false,
      fields: CREDENTIAL.fields,
    });
    expect(answer.headers['cache-control']).toBe('no-store');
  });

  it.each(['application/json', 'application/proto'])('say in %s that nothing submits it', async (type) => {
    // Whatever a broker would say about it.
    const eager = { ...CREDENTIAL, autoSubmit: true, auto_submit: true };
    transports.using('JSON').listeners.broker.answer('unwrapArtifact', eager);
    const isJson = type === 'application/json';
    const message = create(UnwrapArtifactRequestSchema, { artifactId: ARTIFACT_ID });
    const body = isJson ? JSON.stringify(UNWRAP) : Buffer.from(toBinary(UnwrapArtifactRequestSchema, message));
    const answer = await raw.send({ path: rpcPathOf('unwrapArtifact'), headers: { 'content-type': type }, body });
    const told = isJson
      ? fromJsonString(UnwrapArtifactResponseSchema, answer.body.toString())
      : fromBinary(UnwrapArtifactResponseSchema, answer.body);
    expect(told).toMatchObject({ artifactId: ARTIFACT_ID, origin: '', autoSubmit: false, fields: CREDENTIAL.fields });
  });

  it('carry the origin and the selectors of a page to fill in', async () => {
    const page: UnwrapArtifactResponse = {
      ...CREDENTIAL,
      origin: 'https://example.com',
      fields: [{ name: 'username', selector: 'input[name="user"]', value: 'somebody' }],
    };
    transports.using('JSON').listeners.broker.answer('unwrapArtifact', page);
    const answer = await raw.postJson(`/v1/artifacts/${ARTIFACT_ID}:unwrap`, { session_token: TOKEN });
    expect(JSON.parse(answer.body.toString())).toStrictEqual({
      artifact_id: ARTIFACT_ID,
      origin: 'https://example.com',
      auto_submit: false,
      fields: page.fields,
    });
  });
});

it('a delivery in JSON has the fields of its kind alone', async () => {
  const { broker } = transports.using('JSON').listeners;
  const deliveryOf = async (): Promise<unknown> => {
    const answer: { delivery?: unknown } = JSON.parse(
      (await raw.postJson('/v1/grants', caseOf('requestGrant').request)).body.toString(),
    );
    return answer.delivery;
  };
  expect(await deliveryOf()).toStrictEqual({ kind: 'proxy_handle', handle: 'ph_handle', artifact_id: ARTIFACT_ID });
  broker.answer('requestGrant', WRAPPED);
  expect(await deliveryOf()).toStrictEqual({ kind: 'wrapped_secret', artifact_id: ARTIFACT_ID });
  // A handle that a store would hand over with it stays behind.
  const delivery = {
    kind: 'wrapped_secret' as const,
    artifactId: ARTIFACT_ID as ArtifactId,
    handle: 'ph_stray',
    token: 't',
  };
  broker.answer('requestGrant', { ...WRAPPED, delivery });
  expect(await deliveryOf()).toStrictEqual({ kind: 'wrapped_secret', artifact_id: ARTIFACT_ID });
});

import { once } from 'node:events';
import { type IncomingMessage, request as httpRequest } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { RateWindows } from '../../src/transport/rate-limit.ts';
import { caseOf } from '../support/call-cases.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { type Listeners, selfSigned, startListeners } from '../support/listeners.ts';
import {
  connectClient,
  grpcClient,
  grpcWebClient,
  jsonClient,
  RawClient,
  RawHttp2Client,
  type RawRequest,
  type TransportClient,
} from '../support/transports.ts';

let listeners: Listeners;
const open: { close(): void }[] = [];

async function start(changes: Parameters<typeof startListeners>[0]): Promise<void> {
  listeners = await startListeners(changes);
}

function opened<T extends { close(): void }>(client: T): T {
  open.push(client);
  return client;
}

afterEach(async () => {
  for (const client of open.splice(0)) client.close();
  await listeners.close();
});

const { request: grant } = caseOf('requestGrant');

it('counts a client over all transports and both listeners, and tells each in its own words', async () => {
  await start({ perMinute: 4 });
  const clients: TransportClient[] = [
    jsonClient(listeners.httpUrl),
    connectClient(listeners.httpUrl),
    grpcWebClient(listeners.httpUrl),
    grpcClient(listeners.grpcUrl),
  ].map(opened);
  for (const client of clients) expect(await client.call('requestGrant', grant), client.name).toMatchObject({ ok: true });
  listeners.clock.advance(18.5);
  for (const client of clients) {
    expect(await client.call('requestGrant', grant), client.name).toMatchObject({
      ok: false,
      code: 'rate_limited',
      message: 'too many requests: 4 a minute are allowed',
      retryAfterSeconds: 42,
      headers: { retryAfter: '42', cacheControl: 'no-store' },
    });
  }
  expect(listeners.broker.received).toHaveLength(4);
  listeners.clock.advance(41.5);
  for (const client of clients) expect(await client.call('requestGrant', grant), client.name).toMatchObject({ ok: true });
});

interface Refusal {
  name: string;
  send: RawRequest;
  status: number;
}

const JSON_HEADERS = { 'content-type': 'application/json' };
const RPC = '/asb.v1.BrokerService/RequestGrant';

const ON_EVERY_LISTENER: readonly Refusal[] = [
  { name: 'an unknown path', send: { path: '/nowhere' }, status: 404 },
  { name: 'bad JSON for an unknown path', send: { path: '/nowhere', headers: JSON_HEADERS, body: '{"a"' }, status: 400 },
  {
    name: 'XML for an unknown path',
    send: { path: '/nowhere', headers: { 'content-type': 'application/xml' }, body: '<a/>' },
    status: 404,
  },
  { name: 'a broken escape', send: { path: '/v1/grants/%zz:revoke' }, status: 400 },
  { name: 'a broken escape in a probe', send: { method: 'GET', path: '/healthz/%zz' }, status: 400 },
  { name: 'a probe with the wrong method', send: { path: '/healthz' }, status: 404 },
  { name: 'OPTIONS for everything', send: { method: 'OPTIONS', path: '*' }, status: 404 },
  { name: 'an expectation nobody knows', send: { path: '/nowhere', headers: { expect: 'a miracle' } }, status: 404 },
  { name: 'an unknown call', send: { path: '/asb.v1.BrokerService/Nope', headers: JSON_HEADERS, body: '{}' }, status: 404 },
  ...['GET', 'HEAD', 'OPTIONS', 'PUT', 'PROPFIND'].map((method) => ({
    name: `${method} for a call`,
    send: { method, path: RPC },
    status: 404,
  })),
  { name: 'a call without a media type', send: { path: RPC }, status: 415 },
  { name: 'a call in text', send: { path: RPC, headers: { 'content-type': 'text/plain' }, body: 'x' }, status: 415 },
  { name: 'a call in bad JSON', send: { path: RPC, headers: JSON_HEADERS, body: '{"a"' }, status: 400 },
  {
    name: 'a call with a timeout that is none',
    send: { path: RPC, headers: { ...JSON_HEADERS, 'connect-timeout-ms': 'soon' }, body: '{}' },
    status: 400,
  },
  {
    name: 'a call in an unknown compression',
    send: { path: RPC, headers: { ...JSON_HEADERS, 'content-encoding': 'zstd' }, body: '{}' },
    status: 501,
  },
];

const ON_JSON_ROUTES: readonly Refusal[] = [
  ...['GET', 'HEAD', 'OPTIONS', 'PUT'].map((method) => ({
    name: `${method} for a route`,
    send: { method, path: '/v1/browser/relay-sessions' },
    status: 404,
  })),
  { name: 'an id that is too long', send: { path: `/v1/grants/${'a'.repeat(2000)}:revoke` }, status: 400 },
  { name: 'no body', send: { path: '/v1/grants' }, status: 400 },
  { name: 'bad JSON', send: { path: '/v1/grants', headers: JSON_HEADERS, body: '{"a"' }, status: 400 },
  {
    name: 'XML',
    send: { path: '/v1/grants', headers: { 'content-type': 'application/xml' }, body: '<a/>' },
    status: 415,
  },
];

const OVER_HTTP1: readonly Refusal[] = [
  { name: 'a host that is none', send: { path: RPC, headers: { ...JSON_HEADERS, host: 'a b' }, body: '{}' }, status: 400 },
  {
    name: 'an upgrade nobody offers',
    send: { method: 'GET', path: '/nowhere', headers: { connection: 'upgrade', upgrade: 'websocket' } },
    status: 404,
  },
];

const OVER_HTTP2: readonly Refusal[] = ['/nowhere', '/healthz', RPC].map((path) => ({
  name: `an invented method for ${path}`,
  send: { method: 'FROB', path },
  status: 404,
}));

const tls = selfSigned();

describe.each([
  {
    transport: 'HTTP/1.1',
    secure: false,
    client: () => new RawClient(listeners.httpUrl),
    refusals: [...ON_EVERY_LISTENER, ...ON_JSON_ROUTES, ...OVER_HTTP1],
  },
  {
    transport: 'HTTP/1.1 with TLS',
    secure: true,
    client: () => new RawClient(listeners.httpUrl, tls.cert),
    refusals: [...ON_EVERY_LISTENER, ...ON_JSON_ROUTES],
  },
  {
    transport: 'HTTP/2 with TLS',
    secure: true,
    client: () => new RawHttp2Client(listeners.httpUrl, tls.cert),
    refusals: [...ON_EVERY_LISTENER, ...ON_JSON_ROUTES, ...OVER_HTTP2],
  },
  {
    transport: 'HTTP/2 on the gRPC port',
    secure: false,
    client: () => new RawHttp2Client(listeners.grpcUrl),
    refusals: [...ON_EVERY_LISTENER, ...OVER_HTTP2],
  },
])('what is refused early over $transport', ({ secure, client, refusals }) => {
  const startHere = (perMinute: number) => start({ perMinute, ...(secure ? { tls } : {}) });

  it.each(refusals)('$name uses up the window, and is then told when to come back', async ({ send, status }) => {
    await startHere(2);
    const raw = opened(client());
    expect([(await raw.send(send)).status, (await raw.send(send)).status]).toEqual([status, status]);
    const answer = await raw.send(send);
    expect(answer.status).toBe(429);
    expect(answer.headers).toMatchObject({
      'retry-after': '60',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'x-request-id': expect.any(String),
    });
    const logged = listeners.logged.map((line): unknown => JSON.parse(line));
    expect(logged).toMatchObject([{ status }, { status }, { status: 429, code: 'rate_limited' }]);
    listeners.clock.advance(60);
    expect((await raw.send(send)).status).toBe(status);
  });

  it('is counted exactly once', async () => {
    await startHere(refusals.length + 1);
    const raw = opened(client());
    for (const { name, send, status } of refusals) expect((await raw.send(send)).status, name).toBe(status);
    expect((await raw.send({ path: '/nowhere' })).status).toBe(404);
    expect((await raw.send({ path: '/nowhere' })).status).toBe(429);
    expect(await listeners.deps.metrics.render()).toMatchObject({
      body: expect.stringMatching(/^asb_requests_in_flight 0$/m),
    });
  });
});

it('a flood of bad JSON for unknown paths uses up the window of who sends it', async () => {
  await start({ perMinute: 20, trustedProxies: ['127.0.0.1'] });
  const raw = opened(new RawClient(listeners.httpUrl));
  const from = (address: string) => ({ 'x-forwarded-for': address });
  const flood = Array.from({ length: 200 }, (_, index) =>
    raw.postJson(`/nowhere/${index}`, '{"a":', from('192.0.2.1')).then(({ status }) => status),
  );
  const statuses = await Promise.all(flood);
  expect(statuses.filter((status) => status === 400)).toHaveLength(20);
  expect(statuses.filter((status) => status === 429)).toHaveLength(180);
  expect((await raw.postJson('/v1/grants', grant, from('192.0.2.1'))).status).toBe(429);
  expect((await raw.postJson('/v1/grants', grant, from('192.0.2.2'))).status).toBe(200);
  expect(listeners.broker.received).toHaveLength(1);
});

it('does not limit probes and documents', async () => {
  await start({ perMinute: 0 });
  const raw = opened(new RawClient(listeners.httpUrl));
  const grpc = opened(new RawHttp2Client(listeners.grpcUrl));
  expect((await raw.send({ path: '/nowhere' })).status).toBe(429);
  for (const method of ['GET', 'HEAD', 'GET']) {
    for (const path of ['/healthz', '/readyz', '/metrics', '/.well-known/jwks.json', '/openapi.json']) {
      expect((await raw.send({ method, path })).status, `${method} ${path}`).toBe(200);
    }
    expect((await grpc.send({ method, path: '/healthz' })).status).toBe(200);
  }
});

it.each(['/v1/sessions', '/asb.v1.BrokerService/CreateSession'])('answers before the body of %s has come', async (path) => {
  await start({ perMinute: 0 });
  const sent = httpRequest(listeners.httpUrl, {
    method: 'POST',
    path,
    headers: { 'content-type': 'application/json', 'content-length': 1000 },
  });
  sent.on('error', () => undefined);
  sent.write('{');
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  expect(response.statusCode).toBe(429);
  sent.destroy();
});

it('tells clients behind a trusted proxy apart, and believes nobody else', async () => {
  await start({ perMinute: 1, trustedProxies: ['127.0.0.1'] });
  const trusting = opened(new RawClient(listeners.httpUrl));
  const ask = (raw: RawClient, from: string) =>
    raw.postJson('/v1/grants', grant, { 'x-forwarded-for': from }).then(({ status }) => status);
  expect([await ask(trusting, '192.0.2.1'), await ask(trusting, '192.0.2.2'), await ask(trusting, '192.0.2.1')]).toEqual([
    200, 200, 429,
  ]);
  await listeners.close();
  await start({ perMinute: 1 });
  const wary = opened(new RawClient(listeners.httpUrl));
  expect([await ask(wary, '192.0.2.1'), await ask(wary, '192.0.2.2')]).toEqual([200, 429]);
});

it('keeps a bounded number of clients in mind', async () => {
  await start({});
  const windows = new RateWindows(new FakeClock(), 1);
  for (let client = 0; client < 100_001; client += 1) windows.hit(`client-${client}`);
  expect(windows.hit('client-100000').current).toBe(2);
  expect(windows.hit('client-0').current).toBe(1);
});

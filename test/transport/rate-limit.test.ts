import { once } from 'node:events';
import { type IncomingMessage, request as httpRequest } from 'node:http';
import { afterEach, expect, it } from 'vitest';
import { RateWindows } from '../../src/transport/rate-limit.ts';
import { caseOf } from '../support/call-cases.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { type Listeners, startListeners } from '../support/listeners.ts';
import {
  connectClient,
  grpcClient,
  grpcWebClient,
  jsonClient,
  RawClient,
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

it('does not limit probes and documents', async () => {
  await start({ perMinute: 1 });
  const raw = opened(new RawClient(listeners.httpUrl));
  for (const path of ['/healthz', '/readyz', '/metrics', '/.well-known/jwks.json', '/openapi.json', '/healthz']) {
    expect((await raw.send({ method: 'GET', path })).status).toBe(200);
  }
  expect((await raw.send({ path: '/nowhere' })).status).toBe(404);
  expect((await raw.send({ path: '/nowhere' })).status).toBe(429);
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

import { once } from 'node:events';
import { connect as connectHttp2, constants } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CallContext } from '../../src/domain/call-context.ts';
import { caseOf } from '../support/call-cases.ts';
import { type Listeners, selfSigned, startListeners } from '../support/listeners.ts';
import {
  connectClient,
  grpcClient,
  grpcWebClient,
  jsonClient,
  RawClient,
  type TransportClient,
} from '../support/transports.ts';

const tls = selfSigned();
let listeners: Listeners;
const open: { close(): void }[] = [];

beforeEach(async () => {
  listeners = await startListeners();
});
afterEach(async () => {
  for (const client of open.splice(0)) client.close();
  await listeners.close();
});

function opened<T extends { close(): void }>(client: T): T {
  open.push(client);
  return client;
}

/** Holds the next call in the broker until told. */
function hold(): { reached: Promise<CallContext>; release: () => void } {
  const { promise: released, resolve: release } = Promise.withResolvers<undefined>();
  const { promise: reached, resolve: reach } = Promise.withResolvers<CallContext>();
  listeners.broker.before((_call, context) => {
    reach(context);
    return released;
  });
  return { reached, release: () => release(undefined) };
}

const port = (url: string): number => Number(new URL(url).port);

async function isRefused(url: string): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port: port(url) });
  return new Promise((resolve) => {
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', () => resolve(true));
  });
}

const WAYS: readonly [string, (secure: boolean) => { client: TransportClient; grpc: boolean }][] = [
  ['JSON', (secure) => ({ client: jsonClient(listeners.httpUrl, secure ? tls.cert : undefined), grpc: false })],
  ['Connect', (secure) => ({ client: connectClient(listeners.httpUrl, secure ? tls.cert : undefined), grpc: false })],
  ['gRPC-Web', (secure) => ({ client: grpcWebClient(listeners.httpUrl, secure ? tls.cert : undefined), grpc: false })],
  ['gRPC', (secure) => ({ client: grpcClient(listeners.grpcUrl, secure ? tls.cert : undefined), grpc: true })],
];

describe.each(['in clear', 'over TLS'])('%s', (how) => {
  beforeEach(async () => {
    if (how === 'in clear') return;
    await listeners.close();
    listeners = await startListeners({ tls });
  });

  it.each(WAYS)('a call under way over %s finishes, then all is closed', async (_name, make) => {
    const { client, grpc } = make(how !== 'in clear');
    opened(client);
    await client.call('requestGrant', caseOf('requestGrant').request);
    const { reached, release } = hold();
    const result = client.call('requestGrant', caseOf('requestGrant').request);
    await reached;
    const server = grpc ? listeners.grpc : listeners.http;
    let drained = false;
    const done = server.drain(30).then(() => {
      drained = true;
    });
    await new Promise(setImmediate);
    expect(await isRefused(grpc ? listeners.grpcUrl : listeners.httpUrl)).toBe(true);
    expect(drained).toBe(false);
    release();
    expect(await result).toMatchObject({ ok: true });
    await done;
  });

  it.each(WAYS)('a call that waits for people over %s ends, and is told to ask again', async (_name, make) => {
    const { client, grpc } = make(how !== 'in clear');
    opened(client);
    const { reached } = hold();
    const result = client.call('getGrant', { grant_id: 'gr_1', wait_seconds: 30 });
    await reached;
    const drained = (grpc ? listeners.grpc : listeners.http).drain(30);
    expect(await result).toMatchObject({
      ok: false,
      code: 'unavailable',
      message: 'this process is stopping; ask again',
      retryAfterSeconds: 1,
    });
    await drained;
  });

  it('connections that do nothing do not hold it up', async () => {
    const sockets: Socket[] = [connect({ host: '127.0.0.1', port: port(listeners.httpUrl) })];
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    const json = opened(jsonClient(listeners.httpUrl, how === 'in clear' ? undefined : tls.cert));
    const grpc = opened(grpcClient(listeners.grpcUrl, how === 'in clear' ? undefined : tls.cert));
    await json.call('requestGrant', caseOf('requestGrant').request);
    await grpc.call('requestGrant', caseOf('requestGrant').request);
    const drained = Promise.all([listeners.http.drain(30), listeners.grpc.drain(30)]);
    await drained;
    for (const socket of sockets) socket.destroy();
  });
});

it('during the notice readiness answers 503, and calls are still taken', async () => {
  const raw = opened(new RawClient(listeners.httpUrl));
  const client = opened(jsonClient(listeners.httpUrl));
  const drained = listeners.http.drain(30, 5);
  const readiness = await raw.send({ method: 'GET', path: '/readyz' });
  expect(readiness.status).toBe(503);
  expect(JSON.parse(readiness.body.toString())).toEqual({ status: 'draining', checks: {} });
  expect((await raw.send({ method: 'GET', path: '/healthz' })).status).toBe(200);
  expect(await client.call('requestGrant', caseOf('requestGrant').request)).toMatchObject({ ok: true });
  listeners.clock.advance(5);
  await drained;
  expect(await isRefused(listeners.httpUrl)).toBe(true);
});

it('a wait goes on during the notice', async () => {
  const raw = opened(new RawClient(listeners.httpUrl));
  const client = opened(jsonClient(listeners.httpUrl));
  const { reached } = hold();
  const waiting = client.call('getGrant', { grant_id: 'gr_1', wait_seconds: 30 });
  const signal = (await reached).signal;
  const drained = listeners.http.drain(30, 5);
  expect((await raw.send({ method: 'GET', path: '/readyz' })).status).toBe(503);
  expect(signal.aborted).toBe(false);
  listeners.clock.advance(5);
  expect(await waiting).toMatchObject({ ok: false, code: 'unavailable' });
  expect(signal.reason).toMatchObject({ code: 'unavailable' });
  await drained;
});

it('a call that does not finish is cut off when the grace period ends', async () => {
  const client = opened(jsonClient(listeners.httpUrl));
  const { reached } = hold();
  const result = client.call('requestGrant', caseOf('requestGrant').request).catch(() => 'cut off');
  await reached;
  const drained = listeners.http.drain(5);
  await new Promise(setImmediate);
  listeners.clock.advance(5);
  await drained;
  expect(await result).toBe('cut off');
});

it('tells HTTP/2 clients to go away', async () => {
  const session = connectHttp2(listeners.grpcUrl);
  await once(session, 'remoteSettings');
  const goaway = once(session, 'goaway');
  const drained = listeners.grpc.drain(30);
  expect((await goaway)[0]).toBe(constants.NGHTTP2_NO_ERROR);
  await drained;
  session.destroy();
});

it('drains once, whoever asks again', async () => {
  const raw = opened(new RawClient(listeners.httpUrl));
  await raw.send({ method: 'GET', path: '/healthz' });
  await Promise.all([listeners.http.drain(1), listeners.http.drain(1)]);
});

import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Readiness } from '../../src/transport/deps.ts';
import type { Server } from '../../src/transport/http/listening-server.ts';
import { makeWorkerServer, type WorkerServerDeps } from '../../src/transport/http/worker-server.ts';
import { makeLogger } from '../../src/transport/logging.ts';
import { makeMetrics } from '../../src/transport/metrics.ts';
import { CALL_CASES } from '../support/call-cases.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { jsonRequest, RawClient, type RawRequest, rpcPathOf } from '../support/transports.ts';

let clock: FakeClock;
let logged: string[];
let deps: WorkerServerDeps;
let server: Server;
let url: string;
let raw: RawClient;
let readiness: () => Promise<Readiness>;

beforeEach(async () => {
  clock = new FakeClock();
  logged = [];
  readiness = async () => ({ checks: { repository: 'ok', runtime: 'ok' }, details: {} });
  let requests = 0;
  deps = {
    clock,
    metrics: makeMetrics(),
    readiness: () => readiness(),
    log: makeLogger({ level: 'debug', destination: { write: (line) => logged.push(line) } }),
    newRequestId: () => `made-${(requests += 1)}`,
  };
  server = makeWorkerServer(deps);
  url = await server.listen({ host: '127.0.0.1', port: 0 });
  raw = new RawClient(url);
});
afterEach(async () => {
  raw.close();
  const drained = server.drain(0);
  await new Promise(setImmediate);
  clock.advance(3600);
  await drained;
});

const get = (path: string) => raw.send({ method: 'GET', path });
const json = (body: Buffer): unknown => JSON.parse(body.toString());

async function isRefused(): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port) });
  return new Promise((resolve) => {
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', () => resolve(true));
  });
}

describe('a worker', () => {
  it('tells that it runs, that it is ready, and its numbers', async () => {
    const health = await get('/healthz');
    expect({ status: health.status, body: json(health.body) }).toEqual({ status: 200, body: { status: 'ok' } });
    const ready = await get('/readyz');
    expect({ status: ready.status, body: json(ready.body) }).toEqual({
      status: 200,
      body: { status: 'ready', checks: { repository: 'ok', runtime: 'ok' } },
    });
    deps.metrics.observeOverdueCalls(2);
    const metrics = await get('/metrics');
    expect(metrics.status).toBe(200);
    expect(metrics.headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(metrics.body.toString()).toMatch(/^asb_overdue_calls_total 2$/m);
  });

  it('tells which of its dependencies is away, and nothing of why', async () => {
    readiness = async () => ({ checks: { repository: 'unavailable', runtime: 'ok' }, details: {} });
    const away = await get('/readyz');
    expect({ status: away.status, body: json(away.body) }).toEqual({
      status: 503,
      body: { status: 'not_ready', checks: { repository: 'unavailable', runtime: 'ok' } },
    });
    readiness = () => Promise.reject(new Error('password=hunter2'));
    const broken = await get('/readyz');
    expect({ status: broken.status, body: json(broken.body) }).toEqual({
      status: 503,
      body: { status: 'not_ready', checks: {} },
    });
    expect(logged.join()).toContain('readiness check failed');
    expect(logged.join()).not.toContain('hunter2');
    expect((await get('/healthz')).status).toBe(200);
  });

  it('waits five seconds for what it depends on', async () => {
    const asked = vi.fn();
    readiness = () => {
      asked();
      return new Promise(() => {});
    };
    const answer = get('/readyz');
    await vi.waitUntil(() => asked.mock.calls.length > 0);
    clock.advance(5);
    expect((await answer).status).toBe(503);
  });

  it('serves no call, no document and no page', async () => {
    const requests: RawRequest[] = [
      ...CALL_CASES.map(({ call, request }) => jsonRequest(call, request)),
      ...CALL_CASES.map(({ call, request }) => ({
        path: rpcPathOf(call),
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(request),
      })),
      ...['/openapi.json', '/.well-known/jwks.json', '/approval', '/', '/metrics/', '//metrics', '/debug/pprof'].map(
        (path) => ({ method: 'GET', path }),
      ),
      ...['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE'].map((method) => ({ method, path: '/metrics' })),
    ];
    for (const request of requests) {
      const { status, body } = await raw.send(request);
      expect(status, `${request.method} ${request.path}`).toBe(404);
      expect(json(body)).toMatchObject({ code: 'not_found', request_id: expect.any(String) });
    }
  });

  it('has the headers of every listener on every answer', async () => {
    for (const path of ['/healthz', '/readyz', '/metrics', '/nowhere', '/%zz']) {
      const { headers } = await get(path);
      expect(headers, path).toMatchObject({
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        'x-request-id': expect.stringMatching(/^made-\d+$/),
      });
    }
    const named = await raw.send({ method: 'GET', path: '/healthz', headers: { 'x-request-id': 'probe-1' } });
    expect(named.headers['x-request-id']).toBe('probe-1');
  });

  it('answers as often as it is asked, and makes its numbers once a second', async () => {
    const render = vi.spyOn(deps.metrics, 'render');
    const flood = await Promise.all(Array.from({ length: 300 }, () => get('/metrics')));
    expect(new Set(flood.map(({ status }) => status))).toEqual(new Set([200]));
    expect(render).toHaveBeenCalledTimes(1);
    for (let count = 0; count < 300; count += 1) expect((await get('/nowhere')).status).toBe(404);
  });

  it('does not log probes, and logs a stranger without what it sent', async () => {
    for (const path of ['/healthz', '/readyz', '/metrics']) await get(path);
    expect(logged).toEqual([]);
    await raw.postJson('/v1/grants?token=canary-77', { session_token: 'canary-77' }, { authorization: 'Bearer canary-77' });
    expect(logged).toHaveLength(1);
    expect(JSON.parse(logged[0] ?? '')).toMatchObject({ message: 'request', status: 404, code: 'not_found' });
    expect(logged.join()).not.toContain('canary-77');
  });

  it('answers bytes that are no HTTP in the common shape', async () => {
    const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port) });
    socket.write('what is this\r\n\r\n');
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(socket, 'close');
    expect(Buffer.concat(chunks).toString()).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n[^]*"code":"invalid_request"/);
  });
});

describe('a worker that stops', () => {
  it('is not ready during the notice, still runs, and is gone after it', async () => {
    const drained = server.drain(30, 5);
    const ready = await get('/readyz');
    expect({ status: ready.status, body: json(ready.body) }).toEqual({
      status: 503,
      body: { status: 'draining', checks: {} },
    });
    expect((await get('/healthz')).status).toBe(200);
    expect((await get('/metrics')).status).toBe(200);
    clock.advance(5);
    await drained;
    expect(await isRefused()).toBe(true);
  });

  it('answers a scrape that is under way, and takes no new one', async () => {
    const { promise: finished, resolve: finish } = Promise.withResolvers<undefined>();
    const { body, contentType } = await deps.metrics.render();
    const render = vi.spyOn(deps.metrics, 'render').mockImplementation(async () => {
      await finished;
      return { contentType, body };
    });
    const scrape = get('/metrics');
    await vi.waitUntil(() => render.mock.calls.length > 0);
    const drained = server.drain(30);
    await new Promise(setImmediate);
    expect(await isRefused()).toBe(true);
    finish(undefined);
    expect((await scrape).status).toBe(200);
    await drained;
  });

  it('cuts off a scrape that does not end within the grace', async () => {
    const render = vi.spyOn(deps.metrics, 'render').mockImplementation(() => new Promise(() => {}));
    const scrape = get('/metrics').catch(() => 'cut off');
    await vi.waitUntil(() => render.mock.calls.length > 0);
    const drained = server.drain(5);
    await new Promise(setImmediate);
    clock.advance(5);
    await drained;
    expect(await scrape).toBe('cut off');
  });
});

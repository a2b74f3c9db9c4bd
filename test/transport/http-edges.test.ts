import { connect } from 'node:net';
import { once } from 'node:events';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { CALL_CASES, caseOf } from '../support/call-cases.ts';
import { type Listeners, startListeners } from '../support/listeners.ts';
import { jsonRequest, type RawAnswer, RawClient, type RawRequest, rpcPathOf } from '../support/transports.ts';

let listeners: Listeners;
let raw: RawClient;

beforeAll(async () => {
  listeners = await startListeners();
  raw = new RawClient(listeners.httpUrl);
});
afterAll(async () => {
  raw.close();
  await listeners.close();
});
afterEach(() => {
  listeners.broker.received.length = 0;
});

const JSON_HEADERS = { 'content-type': 'application/json' };
const SESSION = JSON.stringify(caseOf('createSession').request);
const RPC = '/asb.v1.BrokerService/CreateSession';
const MIB = 1024 * 1024;
const { session_id: _id, ...revokeSession } = caseOf('revokeSession').request;

const parsed = (answer: RawAnswer): Record<string, unknown> =>
  z.record(z.string(), z.unknown()).parse(JSON.parse(answer.body.toString()));

interface Attempt {
  name: string;
  send: RawRequest;
  status: number;
  code: string;
  message?: RegExp;
}

const ATTEMPTS: readonly Attempt[] = [
  { name: 'an unknown path', send: { path: '/v2/sessions' }, status: 404, code: 'not_found' },
  { name: 'the wrong method', send: { method: 'GET', path: '/v1/browser/relay-sessions' }, status: 404, code: 'not_found' },
  {
    name: 'a trailing slash',
    send: { path: '/v1/sessions/', headers: JSON_HEADERS, body: SESSION },
    status: 404,
    code: 'not_found',
  },
  {
    name: 'no body',
    send: { path: '/v1/sessions' },
    status: 400,
    code: 'invalid_request',
    message: /^tenant_id: is required; /,
  },
  {
    name: 'an empty body',
    send: { path: '/v1/sessions', headers: JSON_HEADERS, body: '' },
    status: 400,
    code: 'invalid_request',
    message: /^body: is empty/,
  },
  {
    name: 'half a body',
    send: { path: '/v1/sessions', headers: JSON_HEADERS, body: '{"tenant_id"' },
    status: 400,
    code: 'invalid_request',
    message: /^body: is not valid JSON$/,
  },
  ...['null', '[]', '3', '"x"', 'true'].map((body) => ({
    name: `the body ${body}`,
    send: { path: '/v1/sessions', headers: JSON_HEADERS, body },
    status: 400,
    code: 'invalid_request',
    message: /^body: must be a JSON object$/,
  })),
  {
    name: 'XML',
    send: { path: '/v1/sessions', headers: { 'content-type': 'application/xml' }, body: '<a/>' },
    status: 415,
    code: 'unsupported_media_type',
  },
  {
    name: 'plain text',
    send: { path: '/v1/sessions', headers: { 'content-type': 'text/plain' }, body: SESSION },
    status: 415,
    code: 'unsupported_media_type',
  },
  {
    name: 'a form',
    send: { path: '/v1/sessions', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'a=b' },
    status: 415,
    code: 'unsupported_media_type',
  },
  {
    name: 'a content type that is none',
    send: { path: '/v1/sessions', headers: { 'content-type': ';;;' }, body: SESSION },
    status: 415,
    code: 'unsupported_media_type',
  },
  { name: 'no content type', send: { path: '/v1/sessions', body: SESSION }, status: 415, code: 'unsupported_media_type' },
  {
    name: 'a body over 1 MiB',
    send: { path: '/v1/sessions', headers: JSON_HEADERS, body: `"${'x'.repeat(MIB)}"` },
    status: 413,
    code: 'payload_too_large',
  },
  {
    name: 'a body over 1 MiB in chunks',
    send: {
      path: '/v1/sessions',
      headers: { ...JSON_HEADERS, 'transfer-encoding': 'chunked' },
      body: `"${'x'.repeat(MIB)}"`,
    },
    status: 413,
    code: 'payload_too_large',
  },
  {
    name: 'an unknown field',
    send: { path: '/v1/sessions', headers: JSON_HEADERS, body: SESSION.replace('{', '{"tennant":1,"x":2,') },
    status: 400,
    code: 'invalid_request',
    message: /^tennant: unknown field; x: unknown field$/,
  },
  {
    name: 'an unknown field inside',
    send: { path: '/v1/sessions', headers: JSON_HEADERS, body: SESSION.replace('"kind"', '"kid":1,"kind"') },
    status: 400,
    code: 'invalid_request',
    message: /^attestation\.kid: unknown field$/,
  },
  {
    name: 'many unknown fields',
    send: {
      path: '/v1/sessions',
      headers: JSON_HEADERS,
      body: SESSION.replace('{', `{${Array.from({ length: 500 }, (_, i) => `"f${i}":1,`).join('')}`),
    },
    status: 400,
    code: 'invalid_request',
    message: /f18: unknown field; f19: unknown field; and 480 more$/,
  },
  {
    name: 'a __proto__ field',
    send: { path: '/v1/sessions', headers: JSON_HEADERS, body: SESSION.replace('{', '{"__proto__":{"tenant_id":"x"},') },
    status: 400,
    code: 'invalid_request',
  },
  {
    name: 'a constructor field',
    send: { path: '/v1/sessions', headers: JSON_HEADERS, body: SESSION.replace('{', '{"constructor":{"prototype":{}},') },
    status: 400,
    code: 'invalid_request',
  },
  {
    name: 'a __proto__ in params',
    send: {
      path: '/v1/proxy/github/rest',
      headers: JSON_HEADERS,
      body: '{"proxy_handle":"h","operation":"o","params":{"a":{"__proto__":{}}}}',
    },
    status: 400,
    code: 'invalid_request',
  },
  {
    name: 'numbers where text belongs',
    send: { path: '/v1/sessions', headers: JSON_HEADERS, body: SESSION.replace('"t_acme"', '1') },
    status: 400,
    code: 'invalid_request',
    message: /^tenant_id: must be a string$/,
  },
  {
    name: 'a tool named twice',
    send: { path: '/v1/sessions', headers: JSON_HEADERS, body: SESSION.replace('"db"', '"github"') },
    status: 400,
    code: 'invalid_request',
    message: /^tool_context: must not name a tool twice$/,
  },
  {
    name: 'a time to live of a half',
    send: {
      path: '/v1/grants',
      headers: JSON_HEADERS,
      body: JSON.stringify({ ...caseOf('requestGrant').request, ttl_seconds: 1.5 }),
    },
    status: 400,
    code: 'invalid_request',
    message: /^ttl_seconds: must be a whole number/,
  },
  {
    name: 'an id in the path that is no id',
    send: { path: '/v1/grants/%20:revoke' },
    status: 400,
    code: 'invalid_request',
    message: /^grant_id: must start/,
  },
  {
    name: 'a NUL in the path',
    send: { path: '/v1/grants/a%00b:revoke' },
    status: 400,
    code: 'invalid_request',
    message: /^grant_id: /,
  },
  { name: 'a slash in the id', send: { path: '/v1/grants/..%2fgr_1:revoke' }, status: 404, code: 'not_found' },
  { name: 'a colon in the id', send: { path: '/v1/grants/a:b:revoke' }, status: 404, code: 'not_found' },
  { name: 'no id in the path', send: { path: '/v1/grants/:revoke' }, status: 404, code: 'not_found' },
  {
    name: 'a broken escape',
    send: { path: '/v1/grants/%zz:revoke' },
    status: 400,
    code: 'invalid_request',
    message: /^path: /,
  },
  { name: 'an escape that is no UTF-8', send: { path: '/v1/grants/%E0%A4%A:revoke' }, status: 400, code: 'invalid_request' },
  {
    name: 'a very long id',
    send: { path: `/v1/grants/${'a'.repeat(2000)}:revoke` },
    status: 400,
    code: 'invalid_request',
    message: /^path: /,
  },
  { name: 'another verb', send: { path: '/v1/grants/gr_1:revive' }, status: 404, code: 'not_found' },
  {
    name: 'an id in the body that differs from the path',
    send: { path: '/v1/grants/gr_1:revoke', headers: JSON_HEADERS, body: '{"grant_id":"gr_2"}' },
    status: 400,
    code: 'invalid_request',
    message: /^grant_id: differs/,
  },
  {
    name: 'a session token where only the header counts',
    send: { path: '/v1/grants/gr_1:revoke', headers: JSON_HEADERS, body: '{"session_token":"a"}' },
    status: 400,
    code: 'invalid_request',
    message: /^session_token: unknown field$/,
  },
  { name: 'Connect: GET', send: { method: 'GET', path: RPC }, status: 404, code: 'not_found' },
  {
    name: 'Connect: an unknown method',
    send: { path: '/asb.v1.BrokerService/Nope', headers: JSON_HEADERS, body: '{}' },
    status: 404,
    code: 'not_found',
  },
  {
    name: 'Connect: text',
    send: { path: RPC, headers: { 'content-type': 'text/plain' }, body: SESSION },
    status: 415,
    code: 'unsupported_media_type',
  },
  { name: 'Connect: no content type', send: { path: RPC }, status: 415, code: 'unsupported_media_type' },
  {
    name: 'Connect: a streaming content type',
    send: { path: RPC, headers: { 'content-type': 'application/connect+json' }, body: '' },
    status: 415,
    code: 'unsupported_media_type',
  },
  {
    name: 'Connect: a host that is none',
    send: { path: RPC, headers: { ...JSON_HEADERS, host: 'a b' }, body: SESSION },
    status: 400,
    code: 'invalid_request',
    message: /^host: /,
  },
];

describe.each(ATTEMPTS)('$name', ({ send, status, code, message }) => {
  it(`is answered ${status} ${code}, in the common shape`, async () => {
    const answer = await raw.send({ ...send, headers: { ...send.headers, 'x-request-id': 'mine-2' } });
    expect({ status: answer.status, code: parsed(answer).code }).toEqual({ status, code });
    expect(Object.keys(parsed(answer)).sort()).toEqual(['code', 'error', 'request_id']);
    if (message !== undefined) expect(parsed(answer).error).toMatch(message);
    expect(parsed(answer).request_id).toBe('mine-2');
    expect(answer.headers).toMatchObject({
      'x-request-id': 'mine-2',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'content-type': 'application/json; charset=utf-8',
    });
    expect(listeners.broker.received).toEqual([]);
  });
});

const bomb = gzipSync(Buffer.alloc(64 * MIB, 0x20));

describe('what Connect refuses before a call begins', () => {
  const proto = { 'content-type': 'application/proto' };
  it.each([
    [
      'half a JSON',
      { headers: JSON_HEADERS, body: '{"tenant_id":"t_secret' },
      400,
      'invalid_request',
      'body: is not valid JSON for this call',
    ],
    [
      'an unknown field',
      { headers: JSON_HEADERS, body: SESSION.replace('{', '{"tennant":1,') },
      400,
      'invalid_request',
      'tennant: unknown field',
    ],
    [
      'a __proto__ field',
      { headers: JSON_HEADERS, body: SESSION.replace('{', '{"__proto__":{},') },
      400,
      'invalid_request',
      '__proto__: unknown field',
    ],
    [
      'a number where text belongs',
      { headers: JSON_HEADERS, body: '{"tenant_id":12345}' },
      400,
      'invalid_request',
      'tenant_id: is of the wrong type',
    ],
    [
      'a number where text belongs inside',
      { headers: JSON_HEADERS, body: '{"attestation":{"token":7}}' },
      400,
      'invalid_request',
      'attestation.token: is of the wrong type',
    ],
    [
      'a number in a list of texts',
      { headers: JSON_HEADERS, body: '{"tool_context":["github",7]}' },
      400,
      'invalid_request',
      'tool_context.1: is of the wrong type',
    ],
    [
      'text where an object belongs',
      { headers: JSON_HEADERS, body: '{"attestation":"t_secret"}' },
      400,
      'invalid_request',
      'body: is not valid JSON for this call',
    ],
    [
      'a field given twice, by two names of it',
      { headers: JSON_HEADERS, body: '{"tenant_id":"a","tenantId":"b"}' },
      400,
      'invalid_request',
      'tenant_id: must be given once',
    ],
    [
      'bytes that are no message',
      { headers: proto, body: Buffer.from([0xff, 0xff, 0xff]) },
      400,
      'invalid_request',
      'body: is not a valid message',
    ],
    [
      'a body over 1 MiB',
      { headers: proto, body: Buffer.alloc(MIB + 1) },
      429,
      'payload_too_large',
      'body: must be 1 MiB at most',
    ],
    [
      'a body over 1 MiB in chunks',
      { headers: { ...proto, 'transfer-encoding': 'chunked' }, body: Buffer.alloc(3 * MIB) },
      429,
      'payload_too_large',
      'body: must be 1 MiB at most',
    ],
    [
      '64 MiB in a small gzip',
      { headers: { ...JSON_HEADERS, 'content-encoding': 'gzip' }, body: bomb },
      429,
      'payload_too_large',
      'body: must be 1 MiB at most',
    ],
    [
      'a gzip that ends too soon',
      { headers: { ...JSON_HEADERS, 'content-encoding': 'gzip' }, body: gzipSync(SESSION).subarray(0, 20) },
      400,
      'invalid_request',
      'body: is not a valid message',
    ],
    [
      'a gzip that is none',
      { headers: { ...JSON_HEADERS, 'content-encoding': 'gzip' }, body: SESSION },
      400,
      'invalid_request',
      'body: is not valid JSON for this call',
    ],
    [
      'an unknown compression',
      { headers: { ...JSON_HEADERS, 'content-encoding': 'zstd' }, body: SESSION },
      501,
      'unsupported_media_type',
      'content-encoding: send gzip, br or identity',
    ],
    [
      'a timeout that is none',
      { headers: { ...JSON_HEADERS, 'connect-timeout-ms': 'soon' }, body: SESSION },
      400,
      'invalid_request',
      'timeout: must be a whole number, with its unit in gRPC',
    ],
  ])('%s', async (_name, send, status, code, message) => {
    const answer = await raw.send({ path: RPC, ...send });
    const body = parsed(answer);
    expect({ status: answer.status, message: body.message }).toEqual({ status, message });
    expect(body.details).toMatchObject([
      { type: 'asb.v1.ErrorDetail', debug: { code, requestId: answer.headers['x-request-id'] } },
    ]);
    expect(answer.headers).toMatchObject({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
    expect(listeners.broker.received).toEqual([]);
    expect(JSON.parse(listeners.logged.at(-1) ?? '')).toMatchObject({ code, transport: 'connect', call: 'CreateSession' });
  });

  it('a NaN in a Struct is a mistake of the caller', async () => {
    // params { a: NaN }, by hand: field 3, map entry, key "a", Value.number_value = NaN.
    const number = Buffer.from([0x11, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f]);
    const entry = Buffer.concat([Buffer.from([0x0a, 1, 0x61, 0x12, number.length]), number]);
    const struct = Buffer.concat([Buffer.from([0x0a, entry.length]), entry]);
    const body = Buffer.concat([Buffer.from([0x0a, 1, 0x68, 0x12, 1, 0x6f, 0x1a, struct.length]), struct]);
    const answer = await raw.send({ path: '/asb.v1.BrokerService/ExecuteGitHubProxy', headers: proto, body });
    expect(answer.status).toBe(400);
  });
});

it.each<Record<string, string>>([
  { 'connect-timeout-ms': '9999999999' },
  { 'content-type': 'application/grpc-web+proto', 'grpc-timeout': '99999999H' },
])('a timeout no timer can hold is as good as none: %o', async (headers) => {
  const answer = await raw.send({
    path: RPC,
    headers: { ...JSON_HEADERS, ...headers },
    body: 'grpc-timeout' in headers ? Buffer.from([0, 0, 0, 0, 0]) : SESSION,
  });
  expect(answer.status).toBe(200);
  expect(answer.body.toString()).not.toContain('deadline');
});

it('revocation needs no body', async () => {
  const answer = await raw.send({ path: '/v1/sessions/sess_1:revoke', headers: { authorization: 'bearer tok' } });
  expect(parsed(answer)).toEqual({ state: 'revoked' });
  expect(listeners.broker.received[0]?.request).toEqual({ credential: 'tok', sessionId: 'sess_1', reason: '' });
});

it('an id may stand in path and body when they agree, and be percent-encoded', async () => {
  const body = { ...revokeSession, session_id: 'sess_1' };
  const answer = await raw.postJson('/v1/sessions/sess%5F1%3Arevoke', body);
  expect(answer.status).toBe(200);
});

it('an artifact may be opened without a browser, and what it names must still be sound', async () => {
  const path = '/v1/artifacts/art_1:unwrap';
  expect((await raw.postJson(path, { session_token: 't' })).status).toBe(200);
  expect(listeners.broker.received[0]?.request).toMatchObject({ keyId: '', origin: '', tabId: '' });
  const answer = await raw.postJson(path, { session_token: 't', key_id: 'a b', origin: 'x\ny', tab_id: 7 });
  expect(answer.status).toBe(400);
  expect(parsed(answer).error).toMatch(
    /^key_id: must start .*; origin: must hold only visible ASCII characters; tab_id: must be a string$/,
  );
});

it('null is none', async () => {
  const body = { ...caseOf('requestGrant').request, ttl_seconds: null, reason: null, session_token: null };
  expect((await raw.postJson('/v1/grants', body)).status).toBe(200);
  expect(listeners.broker.received[0]?.request).toMatchObject({ ttlSeconds: null, reason: '', sessionToken: null });
});

it("GitHub's bytes come as they are, with their type and the next page", async () => {
  const answer = await raw.postJson('/v1/proxy/github/rest', caseOf('executeGitHubProxy').request);
  expect(answer.body.toString()).toBe('{"name":"repo","private":true}\n');
  expect(answer.headers).toMatchObject({
    'content-type': 'application/vnd.github+json; charset=utf-8',
    'x-next-page': '2',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
});

it('a request id that cannot stand in a log is replaced', async () => {
  for (const id of ['a b', 'x'.repeat(129), 'a/b', '<script>', '']) {
    const answer = await raw.postJson('/v1/sessions', SESSION, { 'x-request-id': id });
    expect(answer.headers['x-request-id']).toMatch(/^made-\d+$/);
  }
});

it('every answer has the common headers', async () => {
  const requests: RawRequest[] = [
    ...['/healthz', '/readyz', '/metrics', '/.well-known/jwks.json', '/openapi.json', '/nowhere'].map((path) => ({
      method: 'GET',
      path,
    })),
    { method: 'HEAD', path: '/healthz' },
    { method: 'OPTIONS', path: '/v1/sessions' },
    ...CALL_CASES.map(({ call, request }) => jsonRequest(call, request)),
    ...CALL_CASES.map(({ call, request }) => ({
      path: rpcPathOf(call),
      headers: JSON_HEADERS,
      body: JSON.stringify(request),
    })),
  ];
  for (const request of requests) {
    const { headers } = await raw.send(request);
    expect(headers, request.path).toMatchObject({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
    expect(headers['x-request-id']).toMatch(/^made-\d+$/);
    expect(headers).not.toHaveProperty('x-powered-by');
    expect(headers).not.toHaveProperty('access-control-allow-origin');
  }
});

it('bytes that are no HTTP are answered in the common shape', async () => {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(listeners.httpUrl).port) });
  socket.write('what is this\r\n\r\n');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(socket, 'close');
  const [head = '', body = ''] = Buffer.concat(chunks).toString().split('\r\n\r\n');
  expect(head).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
  expect(head).toMatch(/x-request-id: made-\d+/);
  expect(JSON.parse(body)).toMatchObject({ code: 'invalid_request', error: 'request: is not valid HTTP' });
});

it('headers that are too large are answered 431 in the common shape', async () => {
  const answer = await raw.send({ method: 'GET', path: '/healthz', headers: { a: 'x'.repeat(20_000) } });
  expect(answer.status).toBe(431);
  expect(parsed(answer)).toMatchObject({ code: 'invalid_request' });
});

import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { CALLS } from '../../src/transport/calls.ts';
import { routeOf } from '../../src/transport/http/json-routes.ts';
import { CALL_CASES } from '../support/call-cases.ts';
import { type Listeners, startListeners } from '../support/listeners.ts';
import { RawClient } from '../support/transports.ts';

const operation = z.looseObject({
  operationId: z.string(),
  summary: z.string().min(1),
  responses: z.record(z.string(), z.looseObject({})),
});
const documentShape = z.strictObject({
  openapi: z.literal('3.1.1'),
  info: z.looseObject({ title: z.literal('ASB'), version: z.literal('0.0.0-test') }),
  paths: z.record(z.string().startsWith('/'), z.strictObject({ get: operation.optional(), post: operation.optional() })),
  components: z.strictObject({
    securitySchemes: z.looseObject({}),
    schemas: z.record(z.string(), z.looseObject({})),
    responses: z.record(z.string(), z.looseObject({ description: z.string().min(1) })),
  }),
});

let listeners: Listeners;
let raw: RawClient;
let document: z.output<typeof documentShape>;

beforeAll(async () => {
  listeners = await startListeners();
  raw = new RawClient(listeners.httpUrl);
  const answer = await raw.send({ method: 'GET', path: '/openapi.json' });
  document = documentShape.parse(JSON.parse(answer.body.toString()));
});
afterAll(async () => {
  raw.close();
  await listeners.close();
});

function validate(schema: object, value: unknown): string[] {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  formats.default(ajv);
  ajv.addSchema(document, 'openapi');
  const absolute: object = JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"openapi#/'));
  const check = ajv.compile(absolute);
  check(value);
  return (check.errors ?? []).map((error) => `${error.instancePath} ${error.message}`);
}

it('lists every route of the server, and no other', () => {
  const documented = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.keys(item).map((method) => `${method} ${path}`),
  );
  const served = CALLS.map((call) => `post ${call.path}`);
  for (const call of CALLS)
    expect(listeners.http.app.hasRoute({ method: 'POST', url: routeOf(call) }), call.path).toBe(true);
  for (const path of ['/healthz', '/readyz', '/metrics', '/.well-known/jwks.json', '/openapi.json']) {
    expect(listeners.http.app.hasRoute({ method: 'GET', url: path }), path).toBe(true);
    served.push(`get ${path}`);
  }
  expect(documented.sort()).toEqual(served.sort());
  // The routes above, their HEADs, 404's own, and Connect's in every method.
  const printed = listeners.http.app.printRoutes({ commonPrefix: false });
  const posts = printed.split('\n').filter((line) => /\(POST\)$/.test(line));
  expect(posts).toHaveLength(CALLS.length);
});

it('names operations and path parameters', () => {
  const ids = Object.values(document.paths).flatMap((item) =>
    [item.get, item.post].flatMap((one) => one?.operationId ?? []),
  );
  expect(new Set(ids).size).toBe(ids.length);
  for (const [path, item] of Object.entries(document.paths)) {
    const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    const parameters = z.array(z.looseObject({ name: z.string() })).parse(item.post?.parameters ?? []);
    expect(
      parameters.map(({ name }) => name),
      path,
    ).toEqual(names);
  }
});

it('points nowhere that is not there', () => {
  for (const [, pointer = ''] of JSON.stringify(document).matchAll(/"\$ref":"#\/(.*?)"/g)) {
    let target: unknown = document;
    for (const part of pointer.split('/')) target = z.looseObject({}).parse(target)[part];
    expect(target, pointer).toBeDefined();
  }
});

describe.each(CALL_CASES)('$call', ({ call, request, answer, bearer }) => {
  const name = `${call[0]?.toUpperCase()}${call.slice(1)}`;
  const described = CALLS.find((one) => one.name === name);
  const { [described?.pathField ?? '']: id, ...body } = request;

  it('takes what the document says', async () => {
    expect(validate({ $ref: `#/components/schemas/${name}Request` }, body)).toEqual([]);
    expect(validate({ $ref: `#/components/schemas/${name}Request` }, { ...body, unknown: 1 })).not.toEqual([]);
  });

  it('answers what the document says', async () => {
    const path = (described?.path ?? '').replace(/\{\w+\}/, z.string().parse(id ?? ''));
    const headers: Record<string, string> = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` };
    const good = await raw.postJson(path, body, headers);
    expect(good.status).toBe(200);
    if (described?.response !== null) {
      expect(validate({ $ref: `#/components/schemas/${name}Response` }, JSON.parse(good.body.toString()))).toEqual([]);
      expect(answer).toBeDefined();
    }
    const bad = await raw.postJson(path, { unknown: 1 }, headers);
    expect(bad.status).toBe(400);
    expect(validate({ $ref: '#/components/schemas/Error' }, JSON.parse(bad.body.toString()))).toEqual([]);
  });
});

it.each([
  ['/healthz', 200],
  ['/readyz', 200],
  ['/.well-known/jwks.json', 200],
  ['/openapi.json', 200],
] as const)('%s answers what the document says', async (path, status) => {
  const answer = await raw.send({ method: 'GET', path });
  expect(answer.status).toBe(status);
  const responses = z.record(
    z.string(),
    z.looseObject({ content: z.record(z.string(), z.looseObject({ schema: z.looseObject({}) })).optional() }),
  );
  const schema = responses.parse(document.paths[path]?.get?.responses)[status]?.content?.['application/json']?.schema ?? {};
  expect(validate(schema, JSON.parse(answer.body.toString()))).toEqual([]);
});

it('readiness answers 503 and names the check that failed', async () => {
  const failing = await startListeners({ readiness: async () => ({ store: 'ok', runtime: 'unavailable' }) });
  const broken = await startListeners({ readiness: () => Promise.reject(new Error('password=hunter2')) });
  for (const [one, checks] of [
    [failing, { store: 'ok', runtime: 'unavailable' }],
    [broken, {}],
  ] as const) {
    const client = new RawClient(one.httpUrl);
    const answer = await client.send({ method: 'GET', path: '/readyz' });
    expect(answer.status).toBe(503);
    expect(JSON.parse(answer.body.toString())).toEqual({ status: 'not_ready', checks });
    client.close();
    await one.close();
  }
  expect(broken.logged.join()).toContain('readiness check failed');
  expect(broken.logged.join()).not.toContain('hunter2');
});

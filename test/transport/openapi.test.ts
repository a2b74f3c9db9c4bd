import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { forbidden } from '../../src/domain/errors.ts';
import { CALLS } from '../../src/transport/calls.ts';
import { routeOf } from '../../src/transport/http/json-routes.ts';
import { CALL_CASES, caseOf } from '../support/call-cases.ts';
import { type Listeners, startListeners } from '../support/listeners.ts';
import { jsonRequest, RawClient } from '../support/transports.ts';

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

/** Routes that are no calls. */
const OTHERS = ['/healthz', '/readyz', '/metrics', '/.well-known/jwks.json', '/openapi.json', '/approval'];

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

const parametersOf = (one: z.output<typeof operation>) =>
  z
    .array(
      z.strictObject({
        name: z.string(),
        in: z.enum(['path', 'query']),
        required: z.boolean(),
        schema: z.looseObject({}),
      }),
    )
    .parse(one.parameters ?? []);

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
  const served = CALLS.map((call) => `${call.httpMethod.toLowerCase()} ${call.path}`);
  for (const call of CALLS)
    expect(listeners.http.app.hasRoute({ method: call.httpMethod, url: routeOf(call) }), call.path).toBe(true);
  for (const path of OTHERS) {
    expect(listeners.http.app.hasRoute({ method: 'GET', url: path }), path).toBe(true);
    served.push(`get ${path}`);
  }
  expect(documented.sort()).toEqual(served.sort());
  // The routes above, the HEADs of those that are no calls, and Connect's in every method.
  const printed = listeners.http.app.printRoutes({ commonPrefix: false });
  const methods = printed.split('\n').flatMap((line) => / \(([A-Z, ]+)\)$/.exec(line)?.[1]?.split(', ') ?? []);
  const count = (method: string) => methods.filter((one) => one === method).length;
  const reads = CALLS.filter((call) => call.httpMethod === 'GET').length;
  const rest = count('PUT');
  expect(rest).toBe(CALLS.length);
  expect(count('POST') - rest).toBe(CALLS.length - reads);
  expect(count('GET') - rest).toBe(reads + OTHERS.length);
  expect(count('HEAD') - rest).toBe(OTHERS.length);
});

it('names operations and path parameters', () => {
  const ids = Object.values(document.paths).flatMap((item) =>
    [item.get, item.post].flatMap((one) => one?.operationId ?? []),
  );
  expect(new Set(ids).size).toBe(ids.length);
  for (const [path, item] of Object.entries(document.paths)) {
    const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    for (const one of [item.get, item.post]) {
      if (one === undefined) continue;
      const inPath = parametersOf(one).filter((parameter) => parameter.in === 'path');
      expect(
        inPath.map(({ name }) => name),
        path,
      ).toEqual(names);
      expect(inPath.every(({ required }) => required)).toBe(true);
    }
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
  const described = CALLS.find(({ method }) => method.localName === call);
  if (described === undefined) throw new Error(`${call} is not described`);
  const { name, path, pathField, httpMethod } = described;
  const { [pathField ?? '']: _id, ...body } = request;
  const authorization: Record<string, string> = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` };
  const send = jsonRequest(call, request);
  const documented = () => document.paths[path]?.[httpMethod === 'GET' ? 'get' : 'post'];

  it('takes what the document says', () => {
    if (httpMethod === 'POST') {
      expect(validate({ $ref: `#/components/schemas/${name}Request` }, body)).toEqual([]);
      expect(validate({ $ref: `#/components/schemas/${name}Request` }, { ...body, unknown: 1 })).not.toEqual([]);
      return;
    }
    const query = parametersOf(documented() ?? operation.parse({})).filter((parameter) => parameter.in === 'query');
    expect(query.map((parameter) => parameter.name).sort()).toEqual(expect.arrayContaining(Object.keys(body).sort()));
    for (const parameter of query) {
      if (parameter.name in body) expect(validate(parameter.schema, body[parameter.name]), parameter.name).toEqual([]);
      else expect(parameter.required, parameter.name).toBe(false);
      expect(validate(parameter.schema, null), parameter.name).not.toEqual([]);
    }
  });

  it('answers what the document says', async () => {
    const good = await raw.send({ ...send, headers: { ...send.headers, ...authorization } });
    expect(good.status).toBe(200);
    if (described.response !== null) {
      expect(validate({ $ref: `#/components/schemas/${name}Response` }, JSON.parse(good.body.toString()))).toEqual([]);
      expect(answer).toBeDefined();
    }
    const mistake =
      httpMethod === 'GET'
        ? { path: `${send.path}${send.path.includes('?') ? '&' : '?'}unknown=1` }
        : { body: '{"unknown":1}' };
    const bad = await raw.send({ ...send, ...mistake });
    expect(bad.status).toBe(400);
    expect(JSON.parse(bad.body.toString())).toMatchObject({ error: expect.stringMatching(/unknown: unknown field/) });
    expect(validate({ $ref: '#/components/schemas/Error' }, JSON.parse(bad.body.toString()))).toEqual([]);
  });

  it('names who may call it', () => {
    const { security } = z.looseObject({ security: z.array(z.record(z.string(), z.array(z.string()))) }).parse(documented());
    const schemes = new Set(security.flatMap((way) => Object.keys(way)));
    expect(schemes.has('operatorToken')).toBe(described.tokens.includes('operator'));
    expect(schemes.has('sessionToken')).toBe(described.tokens.includes('session'));
  });
});

it('tells a refusal with reason and rule as the document says', async () => {
  listeners.broker.before(async () => {
    throw forbidden('policy_missing', 'no policy', { rule: 'policy:repo.read' });
  });
  const send = jsonRequest('requestGrant', caseOf('requestGrant').request);
  const answer = await raw.send(send);
  listeners.broker.before(null);
  const body: unknown = JSON.parse(answer.body.toString());
  expect(body).toMatchObject({ reason: 'policy_missing', rule: 'policy:repo.read' });
  expect(validate({ $ref: '#/components/schemas/Error' }, body)).toEqual([]);
  expect(
    validate({ $ref: '#/components/schemas/Error' }, { error: '', code: 'forbidden', request_id: '', reason: 'x' }),
  ).not.toEqual([]);
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

it('readiness answers 503 and names the check that failed, and tells what it can live with', async () => {
  const rejected = { configuration: 'rejected: the file on disk has mistakes; revision abc stays in force' };
  const [failing, broken, living] = await Promise.all([
    startListeners({ readiness: async () => ({ checks: { store: 'ok', runtime: 'unavailable' }, details: rejected }) }),
    startListeners({ readiness: () => Promise.reject(new Error('password=hunter2')) }),
    startListeners({ readiness: async () => ({ checks: { store: 'ok' }, details: rejected }) }),
  ]);
  for (const [one, status, told] of [
    [failing, 503, { status: 'not_ready', checks: { store: 'ok', runtime: 'unavailable' }, details: rejected }],
    [broken, 503, { status: 'not_ready', checks: {} }],
    [living, 200, { status: 'ready', checks: { store: 'ok' }, details: rejected }],
  ] as const) {
    const client = new RawClient(one.httpUrl);
    const answer = await client.send({ method: 'GET', path: '/readyz' });
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.body.toString())).toEqual(told);
    const documented = z
      .looseObject({ content: z.looseObject({ 'application/json': z.looseObject({ schema: z.looseObject({}) }) }) })
      .parse(document.paths['/readyz']?.get?.responses[status]);
    expect(validate(documented.content['application/json'].schema, told)).toEqual([]);
    client.close();
    await one.close();
  }
  expect(broken.logged.join()).toContain('readiness check failed');
  expect(broken.logged.join()).not.toContain('hunter2');
});

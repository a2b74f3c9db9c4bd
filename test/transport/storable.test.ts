import { create, fromJson, type JsonValue, toBinary } from '@bufbuild/protobuf';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  CreateSessionRequestSchema,
  ExecuteGitHubProxyRequestSchema,
  RequestGrantRequestSchema,
} from '../../src/gen/asb/v1/broker_pb.ts';
import { CALLS } from '../../src/transport/calls.ts';
import { requireStorable } from '../../src/transport/storable.ts';
import { CALL_CASES, type CallCase, caseOf } from '../support/call-cases.ts';
import { EveryTransport, TRANSPORT_NAMES, type TransportName } from '../support/every-transport.ts';
import { type RawAnswer, RawClient, rpcPathOf } from '../support/transports.ts';

const WHAT = 'must be well-formed Unicode without U+0000';
const NUL = '\0';
const HIGH = '\ud83d';
const LOW = '\ude00';
const MAX_BODY = 1024 * 1024;

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

type Path = readonly (string | number)[];

/** Where in a request texts stand; a number in digits is none. */
function textsIn(value: JsonValue, path: Path = []): Path[] {
  if (typeof value === 'string') return path.at(-1) === 'ttl_seconds' ? [] : [path];
  if (Array.isArray(value)) return value.flatMap((item, index) => textsIn(item, [...path, index]));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inside]) => textsIn(inside, [...path, key]));
}

/** The same request with `change` made to one of its texts. */
function withText(value: JsonValue, [key, ...rest]: Path, change: (text: string) => string): JsonValue {
  if (key === undefined) return change(z.string().parse(value));
  if (Array.isArray(value)) {
    return value.map((item, index) => (index === key ? withText(item, rest, change) : item));
  }
  const fields = z.record(z.string(), z.json()).parse(value);
  return { ...fields, [key]: withText(fields[key] ?? null, rest, change) };
}

interface Attempt extends CallCase {
  path: Path;
  where: string;
}

const ATTEMPTS: readonly Attempt[] = CALL_CASES.flatMap((one) =>
  textsIn(one.request).map((path) => ({ ...one, path, where: path.join('.') })),
);

const inTheMiddle = (bad: string) => (text: string) => text.slice(0, 1) + bad + text.slice(1);

async function refusalOver(name: TransportName, { call, request, bearer, path }: Attempt, bad: string) {
  const { client, listeners } = transports.using(name);
  const sent = withText(request, path, inTheMiddle(bad));
  const result = await client.call(call, sent, bearer === undefined ? {} : { bearer });
  expect(listeners.broker.received).toEqual([]);
  if (result.ok) throw new Error('expected a refusal');
  return { code: result.code, message: result.message };
}

describe.each(TRANSPORT_NAMES)('%s', (name) => {
  it.each(ATTEMPTS)('refuses a NUL in $where of $call', async (attempt) => {
    expect(await refusalOver(name, attempt, NUL)).toEqual({
      code: 'invalid_request',
      message: `${attempt.where}: ${WHAT}`,
    });
  });

  it.each([
    ['the name of a parameter', { 'per\0page': 5 }, 'params.per?page'],
    ['the name of one inside', { filter: [{ 'a\0': 1 }] }, 'params.filter.0.a?'],
    ['a parameter in a list of lists', { a: [['b', 'c\0']] }, 'params.a.0.1'],
    ['a parameter as deep as one may be', nested(15, NUL), `params.${'a.'.repeat(15)}b`],
    ['the name of a parameter as deep as one may be', nested(15, '', 'b\0'), `params.${'a.'.repeat(15)}b?`],
  ])('refuses a NUL in %s', async (_what, params, where) => {
    const { client, listeners } = transports.using(name);
    const result = await client.call('executeGitHubProxy', { ...caseOf('executeGitHubProxy').request, params });
    expect(result).toMatchObject({ ok: false, code: 'invalid_request', message: `${where}: ${WHAT}` });
    expect(listeners.broker.received).toEqual([]);
  });

  it('refuses a NUL in the name of a selector', async () => {
    const request = { ...caseOf('registerBrowserRelay').request, selectors: { 'user\0': '#user' } };
    const result = await transports.using(name).client.call('registerBrowserRelay', request);
    expect(result).toMatchObject({ ok: false, code: 'invalid_request', message: `selectors.user?: ${WHAT}` });
  });

  it('carries every other character that a text may hold', async () => {
    const { client, listeners } = transports.using(name);
    const reason = `\t\u0085é☃${HIGH}${LOW}\u{10ffff}\ufeff\ufffd\uffff`;
    const result = await client.call('requestGrant', { ...caseOf('requestGrant').request, reason });
    expect(result).toMatchObject({ ok: true });
    expect(listeners.broker.received[0]?.request).toMatchObject({ reason });
  });

  it('refuses a parameter that is longer than a body may be', async () => {
    const { client, listeners } = transports.using(name);
    const params = { a: 'x'.repeat(MAX_BODY) };
    const result = await client.call('executeGitHubProxy', { ...caseOf('executeGitHubProxy').request, params });
    expect(result).toMatchObject({ ok: false, code: 'payload_too_large' });
    expect(listeners.broker.received).toEqual([]);
  });
});

function nested(depth: number, text: string, key = 'b'): { [key: string]: JsonValue } {
  let inside: { [key: string]: JsonValue } = { [key]: text };
  for (let level = 0; level < depth; level += 1) inside = { a: inside };
  return inside;
}

// Neither a path, a query nor protobuf's binary form can carry one.
describe.each(['JSON', 'Connect JSON'] as const)('%s', (name) => {
  const carried = ATTEMPTS.filter(({ call, path, where }) => {
    const described = CALLS.find((one) => one.method.localName === call);
    return name === 'Connect JSON' || (described?.httpMethod === 'POST' && where !== described.pathField && path.length > 0);
  });

  it.each(carried.flatMap((attempt) => [HIGH, LOW].map((half) => ({ ...attempt, half }))))(
    'refuses half a surrogate pair in $where of $call',
    async ({ half, ...attempt }) => {
      // Protobuf's reader does not say which of the filters it was.
      const where = name === 'JSON' ? attempt.where : attempt.where.replace('resource_filters.0.', 'resource_filters.');
      expect(await refusalOver(name, attempt, half)).toEqual({ code: 'invalid_request', message: `${where}: ${WHAT}` });
    },
  );

  it.each([
    ['the name of a parameter', { [`a${HIGH}`]: 1 }, 'params.a?'],
    ['a parameter inside', { a: [{ b: LOW + HIGH }] }, 'params.a.0.b'],
  ])('refuses half a surrogate pair in %s', async (_what, params, where) => {
    const { client } = transports.using(name);
    const result = await client.call('executeGitHubProxy', { ...caseOf('executeGitHubProxy').request, params });
    expect(result).toMatchObject({ ok: false, code: 'invalid_request', message: `${where}: ${WHAT}` });
  });

  it('refuses half a surrogate pair in the name of a selector', async () => {
    const request = { ...caseOf('registerBrowserRelay').request, selectors: { [`user${HIGH}`]: '#user' } };
    const result = await transports.using(name).client.call('registerBrowserRelay', request);
    expect(result).toMatchObject({
      ok: false,
      code: 'invalid_request',
      message: expect.stringMatching(/^selectors(\.user\?)?: must be well-formed/),
    });
  });
});

const envelope = (message: Uint8Array): Buffer => {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
};

/** What gRPC-Web says of a refusal, in the trailers at the end of its body. */
const grpcMessage = ({ body }: RawAnswer): string =>
  decodeURIComponent(/grpc-message: (.*)\r\n/.exec(body.toString('latin1'))?.[1] ?? '');

describe('bytes that are no UTF-8', () => {
  // A text of one letter that is there once, and in its place a surrogate by itself, as CESU-8 writes it.
  const broken = (message: Uint8Array): Buffer => {
    const hex = Buffer.from(message).toString('hex');
    expect(hex).toContain('7a7a7a');
    return Buffer.from(hex.replace('7a7a7a', 'eda080'), 'hex');
  };
  const MESSAGES: readonly (readonly [string, Parameters<typeof rpcPathOf>[0], Uint8Array])[] = [
    [
      'a text',
      'requestGrant',
      toBinary(
        RequestGrantRequestSchema,
        fromJson(RequestGrantRequestSchema, { ...caseOf('requestGrant').request, reason: 'zzz' }),
      ),
    ],
    [
      'a text inside',
      'createSession',
      toBinary(CreateSessionRequestSchema, create(CreateSessionRequestSchema, { attestation: { token: 'zzz' } })),
    ],
    [
      'a parameter',
      'executeGitHubProxy',
      toBinary(ExecuteGitHubProxyRequestSchema, create(ExecuteGitHubProxyRequestSchema, { params: { a: ['zzz'] } })),
    ],
    [
      'the name of a parameter',
      'executeGitHubProxy',
      toBinary(ExecuteGitHubProxyRequestSchema, create(ExecuteGitHubProxyRequestSchema, { params: { zzz: 1 } })),
    ],
  ];

  const sendOver = (type: string, path: string, body: Buffer): Promise<RawAnswer> =>
    raw.send({ path, headers: { 'content-type': type }, body });

  it.each(MESSAGES)('are refused in %s by Connect and gRPC-Web', async (_what, call, message) => {
    const path = rpcPathOf(call);
    const connect = await sendOver('application/proto', path, broken(message));
    expect(connect.status).toBe(400);
    expect(JSON.parse(connect.body.toString())).toMatchObject({ message: 'body: is not a valid message' });
    const web = await sendOver('application/grpc-web+proto', path, envelope(broken(message)));
    expect(grpcMessage(web)).toBe('body: is not a valid message');
    expect(transports.using('Connect').listeners.broker.received).toEqual([]);
  });

  it('come out as U+FFFD in a JSON body, whoever reads it', async () => {
    const { session_token: _token, ...request } = caseOf('requestGrant').request;
    const text = Buffer.from(JSON.stringify({ ...request, reason: 'zzz' })).toString('hex');
    const body = Buffer.from(text.replace('7a7a7a', '7aff7a'), 'hex');
    for (const path of ['/v1/grants', rpcPathOf('requestGrant')]) {
      expect((await sendOver('application/json', path, body)).status).toBe(200);
    }
    const { received } = transports.using('JSON').listeners.broker;
    expect(received.map((one) => one.request)).toMatchObject([{ reason: 'z\ufffdz' }, { reason: 'z\ufffdz' }]);
  });
});

it('refuses half a surrogate pair in the JSON of gRPC-Web as in that of Connect', async () => {
  const body = Buffer.from(JSON.stringify({ ...caseOf('requestGrant').request, reason: `a${HIGH}` }));
  const answer = await raw.send({
    path: rpcPathOf('requestGrant'),
    headers: { 'content-type': 'application/grpc-web+json' },
    body: envelope(body),
  });
  expect(grpcMessage(answer)).toBe(`reason: ${WHAT}`);
});

describe('a request', () => {
  it.each<[string, unknown, string]>([
    ['that is nothing but a text', `a${NUL}`, 'body'],
    ['that is a list', ['a', `b${HIGH}`], '1'],
    ['with an unknown field', { [`x${NUL}`]: 1 }, 'x?'],
    ['with a pair the wrong way round', { reason: LOW + HIGH }, 'reason'],
    ['with half a pair at the end', { reason: `long enough ${HIGH}` }, 'reason'],
    ['with a name that would not fit a message', { ['k'.repeat(500)]: NUL }, 'k'.repeat(64)],
  ])('%s is refused, and says where', (_what, wire, where) => {
    expect(() => requireStorable(wire)).toThrow(
      expect.objectContaining({ code: 'invalid_request', message: `${where}: ${WHAT}` }),
    );
  });

  it.each<[string, unknown]>([
    ['no body', null],
    ['numbers and flags', { a: 1, b: true, c: null, d: [1.5, false] }],
    ['pairs', { a: `${HIGH}${LOW}`, [`${HIGH}${LOW}`]: '' }],
    ['what looks like an escape', { a: '\\u0000', b: '%00' }],
    ['what nobody may nest so deep', JSON.parse('['.repeat(100_000) + ']'.repeat(100_000))],
  ])('of %s passes', (_what, wire) => {
    expect(() => requireStorable(wire)).not.toThrow();
  });
});

describe('lengths', () => {
  const schema = z.looseObject({
    type: z.string().optional(),
    maxLength: z.number().optional(),
    pattern: z.string().optional(),
    enum: z.array(z.unknown()).optional(),
    const: z.unknown().optional(),
  });

  /** Paths of the texts in a schema that may be as long as they like. */
  function unbounded(value: unknown, path: Path = []): string[] {
    if (Array.isArray(value)) return value.flatMap((one, index) => unbounded(one, [...path, index]));
    if (typeof value !== 'object' || value === null) return [];
    // What is no schema is a list of fields, one of which may be called `type`.
    const { type, maxLength, pattern, enum: values, const: constant } = schema.safeParse(value).data ?? {};
    const isBounded =
      maxLength !== undefined || values !== undefined || constant !== undefined || pattern === '^[0-9]{0,5}$';
    if (type === 'string' && !isBounded) return [path.join('.')];
    return Object.entries(value).flatMap(([key, one]) => unbounded(one, [...path, key]));
  }

  it('are looked for everywhere', () => {
    const free = z.strictObject({
      type: z.string(),
      a: z.array(z.string().min(1)).max(3),
      b: z.record(z.string().max(2), z.string()),
    });
    expect(unbounded(z.toJSONSchema(free))).toEqual([
      'properties.type',
      'properties.a.items',
      'properties.b.additionalProperties',
    ]);
  });

  it.each(CALLS)('every text of $name has a bound', (call) => {
    const found = unbounded(z.toJSONSchema(call.request, { io: 'input' }));
    // The names of parameters: the body bounds them, as it does what they name.
    expect(found.filter((path) => !/^properties\.params\b/.test(path))).toEqual([]);
  });
});

import { z } from 'zod';
import { REFUSAL_REASONS } from '../domain/errors.ts';
import { type Call, CALLS } from './calls.ts';
import { ERROR_CODES, ERROR_TABLE } from './errors.ts';

type Json = Readonly<Record<string, unknown>>;

const JSON_TYPE = 'application/json';
const ref = (name: string): Json => ({ $ref: `#/components/schemas/${name}` });
const jsonContent = (schema: Json): Json => ({ [JSON_TYPE]: { schema } });

const ANSWER_HEADERS: Json = {
  'x-request-id': { description: 'Names this request in our log.', schema: { type: 'string' } },
  'cache-control': { schema: { type: 'string', const: 'no-store' } },
};

const STATUS_WORDS: Readonly<Record<number, string>> = {
  400: 'The request is malformed; the message names every mistake.',
  401: 'An attestation, token or handle is not valid.',
  403: 'A policy, binding, role or allowlist says no; `reason` tells why, and `rule` which one it was.',
  404: "Not there, or not the caller's.",
  409: 'The state moved on: decided, used or revoked.',
  413: 'The body is larger than 1 MiB.',
  415: 'The body is not application/json.',
  429: 'A budget is used up, or requests come too fast.',
  500: 'An error of ours; quote the request id.',
  501: 'The delivery mode is not offered.',
  502: 'A downstream system failed.',
  503: 'A dependency of ours is away.',
  504: 'The deadline passed.',
};

/** The OpenAPI 3.1 description of every HTTP route but Connect's (https://spec.openapis.org/oas/v3.1.1.html). */
export function openApiDocument(version: string): Json {
  return {
    openapi: '3.1.1',
    info: {
      title: 'ASB',
      version,
      description:
        'An agents-first secret broker: attested agent runs get narrow, short-lived access and never hold a credential.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    paths: { ...callPaths(), ...systemPaths() },
    components: {
      securitySchemes: SECURITY_SCHEMES,
      schemas: { Error: errorSchema(), ...Object.fromEntries(CALLS.flatMap((call) => Object.entries(schemasOf(call)))) },
      responses: errorResponses(),
    },
  };
}

const SECURITY_SCHEMES: Json = {
  sessionToken: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'What CreateSession answered.' },
  operatorToken: {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description: "From an issuer of operators' identities.",
  },
  proof: {
    type: 'apiKey',
    in: 'header',
    name: 'DPoP',
    description:
      'A proof of possession (RFC 9449). CreateSession binds the session to its key; then each use of the token and its handles needs one.',
  },
};

function callPaths(): Json {
  const paths: Record<string, Json> = {};
  for (const call of CALLS) paths[call.path] = { ...paths[call.path], [call.httpMethod.toLowerCase()]: operation(call) };
  return paths;
}

function operation(call: Call): Json {
  const { required = [] } = z.toJSONSchema(call.request, { io: 'input' });
  const needsBody = required.some((field) => field !== call.pathField);
  const body = { required: needsBody, content: jsonContent(ref(`${call.name}Request`)) };
  return {
    operationId: call.name,
    summary: call.summary,
    parameters: parametersOf(call),
    ...(call.httpMethod === 'GET' ? {} : { requestBody: body }),
    security: securityOf(call),
    responses: { 200: success(call), ...errorReferences() },
  };
}

/** The path's own, and for a GET all the others as well. */
function parametersOf(call: Call): Json[] {
  const { properties = {}, required = [] } = z.toJSONSchema(call.request, { io: 'input' });
  return Object.entries(properties)
    .filter(([field]) => field === call.pathField || call.httpMethod === 'GET')
    .map(([name, schema]) => {
      const inPath = name === call.pathField;
      return { name, in: inPath ? 'path' : 'query', required: inPath || required.includes(name), schema: nonNull(schema) };
    });
}

/** A parameter is never null, which the same field in a body may be. */
function nonNull(schema: z.core.JSONSchema._JSONSchema): z.core.JSONSchema._JSONSchema {
  if (typeof schema !== 'object' || schema.anyOf === undefined) return schema;
  const [first, ...rest] = schema.anyOf.filter((one) => typeof one !== 'object' || one.type !== 'null');
  return first !== undefined && rest.length === 0 ? first : schema;
}

/** Every way in, and each of them with a proof where a session may be bound to a key. */
function securityOf(call: Call): Json[] {
  const fields = Object.keys(call.request.shape);
  // The token may stand in the body instead, so the header is never the only way where a body field exists.
  const ways: Json[] = call.tokens.map((kind) => ({ [`${kind}Token`]: [] }));
  if (['session_token', 'proxy_handle', 'attestation'].some((field) => fields.includes(field))) ways.unshift({});
  const mayProve = ways.filter((way) => !('operatorToken' in way));
  return [...ways, ...mayProve.map((way) => ({ ...way, proof: [] }))];
}

function success(call: Call): Json {
  if (call.response !== null) {
    return { description: 'Done.', headers: ANSWER_HEADERS, content: jsonContent(ref(`${call.name}Response`)) };
  }
  const nextPage = { description: 'The page to ask for next; absent on the last.', schema: { type: 'integer', minimum: 1 } };
  return {
    description: "GitHub's answer as it came.",
    headers: { ...ANSWER_HEADERS, 'x-next-page': nextPage },
    content: { [JSON_TYPE]: {}, '*/*': {} },
  };
}

/** What a call takes in its body and answers, and the records that its answer is made of. */
function schemasOf(call: Call): Json {
  const fields = Object.entries<z.ZodType>(call.request.shape).filter(([field]) => field !== call.pathField);
  const body = z.strictObject(Object.fromEntries(fields));
  return {
    ...(call.httpMethod === 'GET' ? {} : named(`${call.name}Request`, z.toJSONSchema(body, { io: 'input' }))),
    ...(call.response === null ? {} : named(`${call.name}Response`, z.toJSONSchema(call.response))),
  };
}

/** A schema under its name, without the dialect, which the document as a whole declares; its definitions stand beside it. */
function named(name: string, { $schema: _dialect, $defs = {}, ...schema }: z.core.JSONSchema.BaseSchema): Json {
  const definitions = Object.entries($defs).map(([record, { id: _id, ...definition }]) => [record, definition]);
  const text = JSON.stringify(Object.fromEntries([[name, schema], ...definitions]));
  return z.record(z.string(), z.unknown()).parse(JSON.parse(text.replaceAll('"#/$defs/', '"#/components/schemas/')));
}

const errorSchema = (): Json => ({
  type: 'object',
  required: ['error', 'code', 'request_id'],
  additionalProperties: false,
  properties: {
    error: { type: 'string', description: 'What to change.' },
    code: { type: 'string', enum: ERROR_CODES },
    request_id: { type: 'string' },
    reason: { type: 'string', enum: REFUSAL_REASONS, description: 'Why it was refused; with every 403.' },
    rule: { type: 'string', description: 'The configured rule that said no, such as `policy:repo.read`.' },
  },
});

const errorStatuses = (): number[] => [...new Set(ERROR_CODES.map((code) => ERROR_TABLE[code].status))];
const errorReferences = (): Json =>
  Object.fromEntries(errorStatuses().map((status) => [status, { $ref: `#/components/responses/Error${status}` }]));

function errorResponses(): Json {
  return Object.fromEntries(
    errorStatuses().map((status) => {
      const retryAfter = { description: 'Seconds to wait.', schema: { type: 'integer', minimum: 1 } };
      const waits = status === 429 || status === 503;
      const challenge = { description: 'What to prove, and how.', schema: { type: 'string' } };
      const headers = {
        ...ANSWER_HEADERS,
        ...(waits ? { 'retry-after': retryAfter } : {}),
        ...(status === 401 ? { 'www-authenticate': challenge } : {}),
      };
      return [
        `Error${status}`,
        { description: STATUS_WORDS[status] ?? 'Error.', headers, content: jsonContent(ref('Error')) },
      ];
    }),
  );
}

function systemPaths(): Json {
  const stringMap = { type: 'object', additionalProperties: { type: 'string' } };
  const checks = { checks: stringMap };
  const status = (words: readonly string[], more: Json = {}, optional: Json = {}): Json => ({
    type: 'object',
    required: ['status', ...Object.keys(more)],
    additionalProperties: false,
    properties: { status: { type: 'string', enum: words }, ...more, ...optional },
  });
  const get = (operationId: string, summary: string, responses: Json): Json => ({
    get: {
      operationId,
      summary,
      security: [],
      responses: { ...responses, 500: { $ref: '#/components/responses/Error500' } },
    },
  });
  const answer = (description: string, content: Json): Json => ({ description, headers: ANSWER_HEADERS, content });
  return {
    '/healthz': get('Health', 'Whether the process runs.', { 200: answer('It does.', jsonContent(status(['ok']))) }),
    '/readyz': get('Readiness', 'Whether calls can be served.', {
      200: answer('They can.', jsonContent(status(['ready'], checks, { details: stringMap }))),
      503: answer('Not now.', jsonContent(status(['not_ready', 'draining'], checks, { details: stringMap }))),
    }),
    '/metrics': get('Metrics', 'Numbers for Prometheus.', {
      200: answer('Exposition format.', { 'text/plain': { schema: { type: 'string' } } }),
    }),
    '/.well-known/jwks.json': get('PublicKeys', 'Keys that verify session tokens (RFC 7517).', {
      200: answer(
        'A key set.',
        jsonContent({
          type: 'object',
          required: ['keys'],
          properties: { keys: { type: 'array', items: { type: 'object' } } },
        }),
      ),
    }),
    '/approval': get('ApprovalPage', 'Where one-time links of notifications lead; it decides nothing by itself.', {
      200: answer('A page for people.', { 'text/html': { schema: { type: 'string' } } }),
    }),
    '/openapi.json': get('Description', 'This document.', { 200: answer('OpenAPI 3.1.', jsonContent({ type: 'object' })) }),
  };
}

import { z } from 'zod';
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
  403: 'A policy, binding or allowlist says no; `reason` names the rule.',
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
    paths: { ...Object.fromEntries(CALLS.map((call) => [call.path, { post: operation(call) }])), ...systemPaths() },
    components: {
      securitySchemes: { sessionToken: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } },
      schemas: { Error: errorSchema(), ...Object.fromEntries(CALLS.flatMap(schemasOf)) },
      responses: errorResponses(),
    },
  };
}

function operation(call: Call): Json {
  const parameters =
    call.pathField === null ? [] : [{ name: call.pathField, in: 'path', required: true, schema: pathSchema(call) }];
  return {
    operationId: call.name,
    summary: call.summary,
    parameters,
    requestBody: { required: call.pathField === null, content: jsonContent(ref(`${call.name}Request`)) },
    // The token may stand in the body instead, so the header is never the only way where a body field exists.
    security: call.takesSessionToken
      ? ['session_token' in call.request.shape ? {} : null, { sessionToken: [] }].filter((way) => way !== null)
      : [],
    responses: { 200: success(call), ...errorReferences() },
  };
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

const pathSchema = (call: Call): Json => {
  const shape: Readonly<Record<string, z.ZodType>> = call.request.shape;
  const field = call.pathField === null ? undefined : shape[call.pathField];
  return field === undefined
    ? { type: 'string' }
    : inlined(z.toJSONSchema(z.object({ field }), { io: 'input' }).properties?.field);
};

function schemasOf(call: Call): [string, Json][] {
  const fields = Object.entries<z.ZodType>(call.request.shape).filter(([field]) => field !== call.pathField);
  const body = z.strictObject(Object.fromEntries(fields));
  const request: [string, Json] = [`${call.name}Request`, inlined(z.toJSONSchema(body, { io: 'input' }))];
  return call.response === null ? [request] : [request, [`${call.name}Response`, inlined(z.toJSONSchema(call.response))]];
}

/** Without the dialect, which the document as a whole declares. */
function inlined(schema: unknown): Json {
  const { $schema: _dialect, ...rest } = { ...(typeof schema === 'object' ? schema : null), $schema: undefined };
  return rest;
}

const errorSchema = (): Json => ({
  type: 'object',
  required: ['error', 'code', 'request_id'],
  additionalProperties: false,
  properties: {
    error: { type: 'string', description: 'What to change.' },
    code: { type: 'string', enum: ERROR_CODES },
    request_id: { type: 'string' },
    reason: { type: 'string', description: 'The rule that said no; with 403.' },
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
      const headers = waits ? { ...ANSWER_HEADERS, 'retry-after': retryAfter } : ANSWER_HEADERS;
      return [
        `Error${status}`,
        { description: STATUS_WORDS[status] ?? 'Error.', headers, content: jsonContent(ref('Error')) },
      ];
    }),
  );
}

function systemPaths(): Json {
  const stringMap = { type: 'object', additionalProperties: { type: 'string' } };
  const status = (words: readonly string[], more: Json = {}): Json => ({
    type: 'object',
    required: ['status', ...Object.keys(more)],
    additionalProperties: false,
    properties: { status: { type: 'string', enum: words }, ...more },
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
      200: answer('They can.', jsonContent(status(['ready'], { checks: stringMap }))),
      503: answer('Not now.', jsonContent(status(['not_ready', 'draining'], { checks: stringMap }))),
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
    '/openapi.json': get('Description', 'This document.', { 200: answer('OpenAPI 3.1.', jsonContent({ type: 'object' })) }),
  };
}

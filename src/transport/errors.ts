import { Code } from '@connectrpc/connect';
import { withoutBearerSecrets } from '../domain/bearer-secrets.ts';
import { BrokerError, type ErrorCode, invalidRequest } from '../domain/errors.ts';

/**
 * How each code is told: the HTTP status of the JSON routes, the code of Connect, gRPC and gRPC-Web.
 * `conflict` is FAILED_PRECONDITION, not ABORTED: clients retry ABORTED on their own
 * (https://grpc.io/docs/guides/status-codes/), and what was decided, used or revoked stays so.
 */
export const ERROR_TABLE: Readonly<Record<ErrorCode, { status: number; connect: Code }>> = {
  invalid_request: { status: 400, connect: Code.InvalidArgument },
  unauthorized: { status: 401, connect: Code.Unauthenticated },
  forbidden: { status: 403, connect: Code.PermissionDenied },
  not_found: { status: 404, connect: Code.NotFound },
  conflict: { status: 409, connect: Code.FailedPrecondition },
  payload_too_large: { status: 413, connect: Code.ResourceExhausted },
  unsupported_media_type: { status: 415, connect: Code.InvalidArgument },
  resource_budget_exceeded: { status: 429, connect: Code.ResourceExhausted },
  rate_limited: { status: 429, connect: Code.ResourceExhausted },
  delivery_mode_not_implemented: { status: 501, connect: Code.Unimplemented },
  upstream_error: { status: 502, connect: Code.Unavailable },
  unavailable: { status: 503, connect: Code.Unavailable },
  deadline_exceeded: { status: 504, connect: Code.DeadlineExceeded },
  internal: { status: 500, connect: Code.Internal },
};

/** Names of every code, for documents and label sets. */
export const ERROR_CODES = [
  'invalid_request',
  'unauthorized',
  'forbidden',
  'not_found',
  'conflict',
  'payload_too_large',
  'unsupported_media_type',
  'resource_budget_exceeded',
  'rate_limited',
  'delivery_mode_not_implemented',
  'upstream_error',
  'unavailable',
  'deadline_exceeded',
  'internal',
] as const satisfies readonly ErrorCode[];

/** How a call ended: well, with a code, or because its caller went away and nobody heard the answer. */
export type Outcome = 'ok' | 'canceled' | ErrorCode;

/** The caller went away while its call ran. Nobody hears this error; it ends the work and shows in the log as `canceled`. */
export class CallerGone extends Error {
  constructor() {
    super('the caller went away');
    this.name = 'CallerGone';
  }
}

export const MAX_BODY_BYTES = 1024 * 1024;

export const bodyTooLarge = (): BrokerError => new BrokerError('payload_too_large', 'body: must be 1 MiB at most');
export const wrongMediaType = (): BrokerError =>
  new BrokerError('unsupported_media_type', 'content-type: send application/json');

/** What a caller is told about an error nobody foresaw; the log has the rest. */
const INTERNAL_MESSAGE = 'internal error; quote the request id to the operator';

// Codes of https://fastify.dev/docs/latest/Reference/Errors/ that callers can cause.
const FASTIFY_ERRORS: Readonly<Record<string, () => BrokerError>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: wrongMediaType,
  FST_ERR_CTP_BODY_TOO_LARGE: bodyTooLarge,
  FST_ERR_CTP_EMPTY_JSON_BODY: () => invalidRequest('body: is empty; send a JSON object, or no content-type'),
  FST_ERR_CTP_INVALID_JSON_BODY: () => invalidRequest('body: is not valid JSON'),
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: () => invalidRequest('body: is not as long as content-length says'),
  FST_ERR_BAD_URL: () => invalidRequest('path: is not a valid URL path'),
  FST_ERR_MAX_PARAM_LENGTH: () => invalidRequest('path: holds an id that is too long'),
};

/**
 * What a caller may be told about any error: a BrokerError as it is, Fastify's own complaints about a request in our words,
 * everything else as `internal` without detail.
 */
export function toBrokerError(error: unknown): BrokerError {
  if (error instanceof BrokerError) return error;
  if (error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('FST_')) {
    const known = FASTIFY_ERRORS[error.code];
    if (known !== undefined) return known();
  }
  if (error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number') {
    if (error.statusCode >= 400 && error.statusCode < 500) return invalidRequest('request: is malformed');
  }
  return new BrokerError('internal', INTERNAL_MESSAGE, { cause: error });
}

export interface ErrorBody {
  error: string;
  code: ErrorCode;
  request_id: string;
  reason?: string;
  rule?: string;
}

/** The body of every JSON error. */
export function errorBody(error: BrokerError, requestId: string): ErrorBody {
  const body: ErrorBody = { error: publicMessage(error), code: error.code, request_id: requestId };
  if (error.reason !== null) body.reason = error.reason;
  const rule = publicRule(error);
  if (rule !== null) body.rule = rule;
  return body;
}

/** An `internal` error keeps its words to itself whoever made it. No error repeats a handle or token that came in the place of a name. */
export const publicMessage = (error: BrokerError): string =>
  error.code === 'internal' ? INTERNAL_MESSAGE : withoutBearerSecrets(error.message);

/** The rule that said no. It may be named after what the caller asked for; null where none did. */
export const publicRule = ({ rule }: BrokerError): string | null => (rule === null ? null : withoutBearerSecrets(rule));

/** Whole seconds for `Retry-After` (RFC 9110 section 10.2.3), null when waiting does not help. */
export const retryAfterSeconds = (error: BrokerError): number | null =>
  error.retryAfterSeconds === null ? null : Math.max(1, Math.ceil(error.retryAfterSeconds));

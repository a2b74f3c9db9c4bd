import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { isFieldError } from '@bufbuild/protobuf/reflect';
import { Code, ConnectError } from '@connectrpc/connect';
import { BrokerError, deadlineExceeded, invalidRequest } from '../../domain/errors.ts';
import { ErrorDetailSchema } from '../../gen/asb/v1/error_pb.ts';
import { bodyTooLarge, CallerGone, ERROR_TABLE, publicMessage, publicRule, retryAfterSeconds } from '../errors.ts';
import { NOT_STORABLE } from '../storable.ts';
import { quotedKey, quotedPath } from '../wire-fields.ts';

/** The error of Connect, gRPC and gRPC-Web for one of ours, with the detail that says what the JSON body says. */
export function toConnectError(error: BrokerError, requestId: string): ConnectError {
  const { connect } = ERROR_TABLE[error.code];
  return new ConnectError(publicMessage(error), connect, undefined, [detailOf(error, requestId)]);
}

const detailOf = (error: BrokerError, requestId: string) => ({
  desc: ErrorDetailSchema,
  value: {
    code: error.code,
    requestId,
    reason: error.reason ?? '',
    rule: publicRule(error) ?? '',
    retryAfterSeconds: retryAfterSeconds(error) ?? 0,
  },
});

/**
 * Makes one of ours out of what Connect throws by itself, before a call begins: a body that it cannot read as `input`, a limit, a
 * timeout. Its own words may quote the body, so none are kept.
 */
export function fromConnectError(error: ConnectError, input: DescMessage): BrokerError | CallerGone {
  switch (error.code) {
    case Code.ResourceExhausted:
      return bodyTooLarge();
    case Code.DeadlineExceeded:
      return callersDeadline();
    case Code.Canceled:
    case Code.Aborted:
      return new CallerGone();
    case Code.Unimplemented:
      return error.rawMessage.startsWith('unknown compression')
        ? new BrokerError('unsupported_media_type', 'content-encoding: send gzip, br or identity')
        : invalidRequest('body: must be one message');
    case Code.InvalidArgument:
      return invalidRequest(unreadable(error, input));
    // Connect blames itself for bytes that are no protobuf message, or that end before their compression does.
    case Code.Internal:
      if (/^(parse binary|decompression failed)/.test(error.rawMessage)) {
        return invalidRequest('body: is not a valid message');
      }
  }
  return new BrokerError('internal', 'unexpected', { cause: error });
}

export const callersDeadline = (): BrokerError => deadlineExceeded("the caller's own deadline has passed");

// The texts of @bufbuild/protobuf's JSON reader, of which only the names of fields may go back.
const UNKNOWN_KEY = /from JSON: key "([^"]*)" is unknown$/;
const LIST_ITEM = /^list item #(\d+): /;
const MAP_ENTRY = /^map entry "([^"]*)": /;
const ILL_FORMED = /: invalid UTF8$/;
const REPEATED = 'set multiple times';

function unreadable(error: ConnectError, input: DescMessage): string {
  const unknown = UNKNOWN_KEY.exec(error.rawMessage)?.[1];
  if (unknown !== undefined) return `${quotedKey(unknown)}: unknown field`;
  const mistaken = error.cause instanceof Error ? error.cause.cause : null;
  const field = isFieldError(mistaken) ? mistaken.field() : null;
  const path = field?.kind === 'field' ? pathTo(field, input) : null;
  if (isFieldError(mistaken) && path !== null) {
    return `${quotedPath([...path, ...entryOf(mistaken.message)])}: ${mistakeOf(mistaken.message)}`;
  }
  if (error.rawMessage.includes('timeout')) return 'timeout: must be a whole number, with its unit in gRPC';
  return 'body: is not valid JSON for this call';
}

function mistakeOf(message: string): string {
  if (ILL_FORMED.test(message)) return NOT_STORABLE;
  return message === REPEATED ? 'must be given once' : 'is of the wrong type';
}

/** The names that lead to a field of a message of ours; none of these holds itself. Null when it has no such field. */
function pathTo(field: DescField, message: DescMessage): string[] | null {
  for (const own of message.fields) {
    if (own === field) return [own.name];
    if (own.message?.file.proto.package !== message.file.proto.package) continue;
    const below = pathTo(field, own.message);
    if (below !== null) return [own.name, ...below];
  }
  return null;
}

/** Which item of a list, counted from nought, or which entry of a map it is. */
function entryOf(message: string): string[] {
  const item = LIST_ITEM.exec(message)?.[1];
  if (item !== undefined) return [String(Number(item) - 1)];
  const key = MAP_ENTRY.exec(message)?.[1];
  return key === undefined ? [] : [key];
}

/**
 * Rewrites, in place, an error that Connect is about to send by itself, so that it says what our own errors say.
 * The signal of a call is the one place where such errors pass on their way to the wire.
 */
export function rewriteConnectError(error: ConnectError, told: BrokerError, requestId: string): void {
  const ours = toConnectError(told, requestId);
  // gRPC asks for UNIMPLEMENTED where a compression is not known.
  const code = error.code === Code.Unimplemented ? Code.Unimplemented : ours.code;
  Object.assign(error, { code, rawMessage: ours.rawMessage, message: ours.message, details: ours.details });
}

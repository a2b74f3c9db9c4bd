import { type BrokerError, unavailable } from '../../domain/errors.ts';

/** What Redis answers with: an upper-case word before the text (https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors). */
const REPLY_CODE = /^[A-Z][A-Z0-9_]*\b/;
/** Where the client repeats what a server answered. */
const REPEATED_REPLY = /(Last error: (?:ReplyError: )?[A-Z]{2,})\b.*$/s;

/** Differs from one attempt to the next. */
const RETRY = / Retrying from scratch after \d+ms\./;

/** Whatever goes wrong with Redis, the caller can only come again. */
export const redisUnavailable = (error: unknown): BrokerError =>
  unavailable('the store of runtime state cannot be used right now; try again in a few seconds', {
    cause: loggableError(error),
  });

/**
 * What the log may keep of an error. The client's own carry the command with its arguments, which at the handshake are the password,
 * and a server may repeat these in its answer: of that only the code stays.
 */
export function loggableError(error: unknown): Error {
  if (!(error instanceof Error)) return new Error('Redis: unknown error');
  if (error.name === 'ReplyError') {
    const code = REPLY_CODE.exec(error.message)?.[0];
    return withCode(new Error(`Redis answered ${code ?? 'with an error'}`), code);
  }
  const code = 'code' in error ? String(error.code) : undefined;
  // Node's errors about several addresses of one host have no message of their own.
  const text = error.message === '' && code !== undefined ? code : error.message;
  const words = `Redis: ${text.replace(REPEATED_REPLY, '$1').replace(RETRY, '')}${lastNodeError(error)}`;
  return withCode(new Error(words), code);
}

/** The log keeps an error's code, and no foreign words. */
const withCode = (error: Error, code: string | undefined): Error =>
  code === undefined ? error : Object.assign(error, { code });

/** A cluster's client tells what its last node said. */
const lastNodeError = (error: Error): string =>
  'lastNodeError' in error && error.lastNodeError instanceof Error ? ` (${loggableError(error.lastNodeError).message})` : '';

import {
  type BrokerError,
  type ErrorOptions,
  forbidden,
  invalidRequest,
  notFound,
  rateLimited,
  upstreamError,
} from '../../domain/errors.ts';
import { type GitHubOperation, isWrite } from './operation.ts';
import type { AnswerHeaders } from './upstream.ts';

/** An answer that is no success. `body` is what was read of it; it decides, and goes no further. */
export interface RefusingAnswer {
  status: number;
  headers: AnswerHeaders;
  body: string;
}

/** "Otherwise, wait for at least one minute before retrying." (https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api) */
const DEFAULT_WAIT_SECONDS = 60;
/** Longer than any wait GitHub documents: what is above is a mistake in the header. */
const MAX_WAIT_SECONDS = 24 * 60 * 60;
const SECONDARY_LIMIT = /secondary rate limit|abuse detection/i;

/** What an answer that is no success means to the caller. The error and its cause hold nothing of the answer's body. */
export function errorFromAnswer(answer: RefusingAnswer, operation: GitHubOperation, now: Date): BrokerError {
  const { status } = answer;
  const options: ErrorOptions = { cause: new Error(describeAnswer(answer, operation.route)) };
  if (isRateLimit(answer)) {
    const retryAfterSeconds = waitSeconds(answer.headers, now);
    return rateLimited(`GitHub's rate limit is used up; retry in ${retryAfterSeconds} seconds`, {
      ...options,
      retryAfterSeconds,
    });
  }
  switch (status) {
    case 400:
    case 422:
      return invalidRequest(
        `GitHub does not accept these params for ${operation.name}${isWrite(operation) ? '' : '; a page may be out of its range'}`,
        options,
      );
    case 401:
      return upstreamError("GitHub did not accept ASB's own credential; tell the operator", options);
    case 403:
    case 451:
      return forbidden('upstream_refused', `GitHub refuses ${operation.name} to ASB's credential`, {
        ...options,
        rule: 'upstream:github',
      });
    case 404:
      return notFound(`GitHub has no such ${operation.subject}, or ASB's credential may not see it`, options);
    case 410:
      return notFound(`GitHub no longer has this ${operation.subject}, or the feature is switched off for it`, options);
    default:
      return upstreamError(`GitHub failed with status ${status}; ${adviceFor(operation)}`, options);
  }
}

/**
 * What a call that broke off means to the caller. The cause keeps the error's kind and code alone: a message from below may
 * quote the request's headers.
 */
export function errorFromFailure(failure: unknown, operation: GitHubOperation | null = null): BrokerError {
  const cause = new Error(`GitHub could not be reached: ${codesOf(failure).join(' < ') || 'unknown failure'}`);
  return upstreamError(`GitHub could not be reached or broke off its answer; ${adviceFor(operation)}`, { cause });
}

const adviceFor = (operation: GitHubOperation | null): string =>
  operation !== null && isWrite(operation) ? 'look whether it was done before you ask again' : 'retry later';

/** In parts far shorter than a credential in hex. */
const REQUEST_ID = /^[0-9A-F]{1,12}(?::[0-9A-F]{1,12}){0,7}$/;

/** GitHub's own id of the exchange helps its support; nothing else of the answer is worth keeping. */
export function describeAnswer({ status, headers }: RefusingAnswer, what: string): string {
  const requestId = REQUEST_ID.exec(headers.get('x-github-request-id') ?? '')?.[0] ?? 'none';
  return `${what} answered ${status}, GitHub request id ${requestId}`;
}

/** https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit */
export function isRateLimit({ status, headers, body }: RefusingAnswer): boolean {
  if (status === 429) return true;
  if (status !== 403) return false;
  return headers.get('x-ratelimit-remaining') === '0' || headers.has('retry-after') || SECONDARY_LIMIT.test(body);
}

/** How long to wait by an answer that is a rate limit, in seconds, at least 1. */
export function waitSeconds(headers: AnswerHeaders, now: Date): number {
  const wait = retryAfter(headers.get('retry-after'), now) ?? untilReset(headers, now) ?? DEFAULT_WAIT_SECONDS;
  return Math.min(Math.max(Math.ceil(wait), 1), MAX_WAIT_SECONDS);
}

/** Seconds or an HTTP date (RFC 9110 section 10.2.3). */
function retryAfter(value: string | null, now: Date): number | null {
  if (value === null) return null;
  if (/^[0-9]+$/.test(value)) return Number(value);
  const at = Date.parse(value);
  return Number.isNaN(at) ? null : (at - now.getTime()) / 1000;
}

/** `x-ratelimit-reset` is a time in epoch seconds, and the primary limit's alone. */
function untilReset(headers: AnswerHeaders, now: Date): number | null {
  const reset = headers.get('x-ratelimit-reset') ?? '';
  if (headers.get('x-ratelimit-remaining') !== '0' || !/^[0-9]+$/.test(reset)) return null;
  return Number(reset) - now.getTime() / 1000;
}

const MAX_CAUSES = 5;
/** As Node and undici write them: `ECONNREFUSED`, `UND_ERR_SOCKET`. */
const ERROR_CODE = /^[A-Z][A-Z_]{1,40}$/;

function codesOf(failure: unknown): readonly string[] {
  const codes: string[] = [];
  for (let error = failure; error instanceof Error && codes.length < MAX_CAUSES; error = error.cause) {
    const code =
      'code' in error && typeof error.code === 'string' && ERROR_CODE.test(error.code) ? error.code : error.constructor.name;
    codes.push(code);
  }
  return codes;
}

import { Agent, type Dispatcher, request } from 'undici';
import type { Clock } from '../domain/clock.ts';
import type { SendResult } from '../domain/notifier.ts';

export interface Message {
  url: URL;
  headers: Readonly<Record<string, string>>;
  /** JSON. */
  body: string;
}

/** Posts a message once. Never rejects. */
export type Post = (message: Message, signal: AbortSignal) => Promise<SendResult>;

/** What an answer's body says is nobody's business; this much of it is read to keep the connection. */
const MAX_ANSWER_BYTES = 16 * 1024;
const NO_ANSWER: SendResult = { kind: 'failed', why: 'no answer in time', retryAfterSeconds: null, receiverDown: true };

/**
 * Posts to receivers. Whatever they answer, the request goes to the configured host alone: redirects are not followed. It has no
 * time limit but the signal's. Results name neither the address nor anything that the receiver said.
 */
export function makePost(clock: Clock): Post {
  const dispatcher = new Agent({ headersTimeout: 0, bodyTimeout: 0 });
  return async ({ url, headers, body }, signal) => {
    let answer: Dispatcher.ResponseData;
    try {
      answer = await request(url, {
        dispatcher,
        signal,
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json', 'user-agent': 'asb' },
        body,
      });
    } catch (error) {
      return signal.aborted ? NO_ANSWER : notReached(error);
    }
    // The status has said it all, whether or not the rest comes.
    await answer.body.dump({ limit: MAX_ANSWER_BYTES, signal }).catch(() => undefined);
    return resultOf(answer.statusCode, waitOf(answer.headers['retry-after'], clock.now()));
  };
}

/**
 * Standard Webhooks, "Response status codes": any 2xx is delivered, 410 ends it, 429, 502 and 504 ask for patience, and a redirect
 * is a failure. https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
function resultOf(status: number, retryAfterSeconds: number | null): SendResult {
  if (status >= 200 && status < 300) return { kind: 'delivered' };
  if (status === 410) return { kind: 'refused', why: 'the receiver answered 410: it is gone' };
  const isRedirect = status >= 300 && status < 400;
  const why = `the receiver answered ${status}${isRedirect ? '; redirects are not followed' : ''}`;
  const receiverDown = status === 429 || status >= 500;
  return { kind: 'failed', why, retryAfterSeconds: receiverDown ? retryAfterSeconds : null, receiverDown };
}

/** Seconds or an HTTP date (RFC 9110 section 10.2.3). */
function waitOf(header: string | string[] | undefined, now: Date): number | null {
  if (typeof header !== 'string') return null;
  if (/^[0-9]+$/.test(header)) return Number(header);
  const at = Date.parse(header);
  return Number.isNaN(at) ? null : Math.max((at - now.getTime()) / 1000, 0);
}

/** As Node and undici write them: `ECONNREFUSED`, `UND_ERR_SOCKET`. Messages may quote the address. */
const ERROR_CODE = /^[A-Z][A-Z_]{1,40}$/;

function notReached(error: unknown): SendResult {
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
  const why = `the receiver could not be reached${ERROR_CODE.test(code) ? ` (${code})` : ''}`;
  return { kind: 'failed', why, retryAfterSeconds: null, receiverDown: true };
}

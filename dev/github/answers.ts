import type { IncomingMessage, ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';

/** Answers one request by hand, instead of the stand-in's routes. */
export type ScriptedAnswer = (request: IncomingMessage, response: ServerResponse) => void;

const DOCS = 'https://docs.github.com/rest';
const RATE_LIMIT_DOCS = `${DOCS}/using-the-rest-api/rate-limits-for-the-rest-api`;
export const JSON_TYPE = 'application/json; charset=utf-8';

/** The body of GitHub's errors: https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api */
export function errorBody(status: number, message: string, documentationUrl = DOCS): object {
  return { message, documentation_url: documentationUrl, status: String(status) };
}

export function json(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): ScriptedAnswer {
  return raw(status, JSON.stringify(body), { 'content-type': JSON_TYPE, ...headers });
}

export function raw(status: number, body: string | Buffer, headers: Readonly<Record<string, string>>): ScriptedAnswer {
  return (_request, response) => void response.writeHead(status, headers).end(body);
}

/** One of GitHub's errors, such as 403 `Resource not accessible by personal access token`. */
export function failure(status: number, message: string, headers: Readonly<Record<string, string>> = {}): ScriptedAnswer {
  return json(status, errorBody(status, message), headers);
}

/** The hourly limit is used up until `reset` (epoch seconds). GitHub sends 403 or 429. */
export function primaryRateLimit(status: 403 | 429, reset: number): ScriptedAnswer {
  return json(status, errorBody(status, 'API rate limit exceeded for user ID 102.', RATE_LIMIT_DOCS), {
    'x-ratelimit-limit': '5000',
    'x-ratelimit-remaining': '0',
    'x-ratelimit-used': '5000',
    'x-ratelimit-reset': String(reset),
    'x-ratelimit-resource': 'core',
  });
}

/** Too many calls in a burst. GitHub sends 403 or 429, and not always with `retry-after`. */
export function secondaryRateLimit(status: 403 | 429, retryAfter?: string): ScriptedAnswer {
  const message = 'You have exceeded a secondary rate limit. Please wait a few minutes before you try again.';
  return json(status, errorBody(status, message, `${RATE_LIMIT_DOCS}#about-secondary-rate-limits`), {
    'x-ratelimit-remaining': '4000',
    ...(retryAfter === undefined ? {} : { 'retry-after': retryAfter }),
  });
}

/** https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api#validation-failed */
export function validationFailed(): ScriptedAnswer {
  const errors = [{ resource: 'Issue', field: 'sort', code: 'invalid' }];
  return json(422, { ...errorBody(422, 'Validation Failed'), errors });
}

/** What a load balancer in front of GitHub says. */
export function badGateway(): ScriptedAnswer {
  return raw(502, '<html><body><h1>502 Bad Gateway</h1></body></html>', { 'content-type': 'text/html' });
}

export function redirect(status: number, location: string): ScriptedAnswer {
  return json(status, { ...errorBody(status, 'Moved Permanently'), url: location }, { location });
}

/** Takes the request and never answers. */
export function hang(): ScriptedAnswer {
  return () => undefined;
}

/** Sends the head and the beginning of a body, and then nothing more. */
export function stall(beginning: string, status = 200): ScriptedAnswer {
  return (_request, response) => void response.writeHead(status, { 'content-type': JSON_TYPE }).write(beginning);
}

/** Breaks the connection in the middle of the body. */
export function cutOff(status = 200): ScriptedAnswer {
  return (_request, response) => {
    response.writeHead(status, { 'content-type': JSON_TYPE, 'content-length': '1000' });
    response.write('{"half":', () => response.destroy());
  };
}

/** A body of `bytes`, sent as fast as it is read. */
export function huge(bytes: number, status = 200): ScriptedAnswer {
  const chunk = Buffer.alloc(64 * 1024, ' ');
  return (_request, response) => {
    let left = bytes;
    const send = (): void => {
      while (left > 0 && !response.destroyed) {
        const part = chunk.subarray(0, Math.min(left, chunk.byteLength));
        left -= part.byteLength;
        if (!response.write(part)) return;
      }
      response.end();
    };
    response.writeHead(status, { 'content-type': JSON_TYPE }).on('drain', send);
    send();
  };
}

/** A body of `bytes` that is small on the wire. */
export function compressed(bytes: number): ScriptedAnswer {
  return raw(200, gzipSync(Buffer.alloc(bytes, ' ')), { 'content-type': JSON_TYPE, 'content-encoding': 'gzip' });
}

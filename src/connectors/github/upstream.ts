import type { LookupFunction } from 'node:net';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { Agent, request } from 'undici';

export interface UpstreamRequest {
  method: 'GET' | 'POST' | 'DELETE';
  /** JSON; null for none. */
  body: string | null;
  headers: Readonly<Record<string, string>>;
  /** Ends the exchange, its body included. */
  signal: AbortSignal;
}

export interface UpstreamAnswer {
  status: number;
  headers: AnswerHeaders;
  /** Decoded. It may fail at any time, and destroying it ends the transfer. */
  body: Readable;
}

/** Makes one request, follows nothing and tries nothing again. Rejects when no answer came. */
export type Upstream = (url: string, request: UpstreamRequest) => Promise<UpstreamAnswer>;

/** The headers of an answer, by lower-case name. */
export class AnswerHeaders {
  readonly #values: Readonly<Record<string, string | string[] | undefined>>;

  constructor(values: Readonly<Record<string, string | string[] | undefined>>) {
    this.#values = values;
  }

  /** Values of a header that came more than once are joined by commas (RFC 9110 section 5.3). */
  get(name: string): string | null {
    const value = Object.hasOwn(this.#values, name) ? this.#values[name] : undefined;
    return Array.isArray(value) ? value.join(', ') : (value ?? null);
  }

  has(name: string): boolean {
    return this.get(name) !== null;
  }
}

const ignoreLateFailure = (): void => undefined;

/**
 * Requests over connections that are kept. undici's own interface, because the web's `fetch` on top of it doubles the cost of a call.
 * It has no time limits but the signal's. `lookup` resolves the names of hosts.
 */
export function makeUpstream(lookup: LookupFunction): Upstream {
  const dispatcher = new Agent({ headersTimeout: 0, bodyTimeout: 0, connect: { lookup } });
  return async (url, { method, body, headers, signal }) => {
    const type = body === null ? {} : { 'content-type': 'application/json' };
    const allHeaders = { ...headers, ...type, 'accept-encoding': 'gzip' };
    const answer = await request(url, { dispatcher, method, body, signal, headers: allHeaders });
    const answerHeaders = new AnswerHeaders(answer.headers);
    return {
      status: answer.statusCode,
      headers: answerHeaders,
      body: decoded(answer.body, answerHeaders.get('content-encoding')),
    };
  };
}

function decoded(body: Readable, encoding: string | null): Readable {
  // Whoever reads it sees its failure; when nobody reads any more, it is nobody's business.
  body.on('error', ignoreLateFailure);
  if (encoding === null || encoding === 'identity') return body;
  if (encoding !== 'gzip') {
    body.destroy();
    throw new Error('an encoding that was not asked for');
  }
  return pipeline(body, createGunzip(), ignoreLateFailure);
}

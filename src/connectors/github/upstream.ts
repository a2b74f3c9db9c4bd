import type { LookupFunction } from 'node:net';
import { Agent, type Dispatcher } from 'undici';
import { ArrivingBody, gunzipped, type ResponseBody } from './response-body.ts';

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
  body: ResponseBody;
}

/** Makes one request, follows nothing and tries nothing again. Rejects when no answer came. */
export type Upstream = (url: string, request: UpstreamRequest) => Promise<UpstreamAnswer>;

type AnswerValues = Readonly<Record<string, string | string[] | undefined>>;

/** The headers of an answer, by lower-case name. */
export class AnswerHeaders {
  readonly #values: AnswerValues;

  constructor(values: AnswerValues) {
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

/**
 * Requests over connections that are kept. undici's own interface (https://undici.nodejs.org/#/docs/api/Dispatcher?id=dispatcherdispatchoptions-handler),
 * because the web's `fetch` on top of it doubles the cost of a call. It has no time limits but the signal's. `lookup` resolves the names of hosts.
 */
export function makeUpstream(lookup: LookupFunction): Upstream {
  const dispatcher = new Agent({ headersTimeout: 0, bodyTimeout: 0, connect: { lookup } });
  return async (url, { method, body, headers, signal }) => {
    const { origin, pathname, search } = new URL(url);
    const type = body === null ? {} : { 'content-type': 'application/json' };
    const allHeaders = { ...headers, ...type, 'accept-encoding': 'gzip' };
    const exchange = new Exchange(signal);
    if (signal.aborted) exchange.onAbort();
    else dispatcher.dispatch({ origin, path: pathname + search, method, body, headers: allHeaders }, exchange);
    return await exchange.answer;
  };
}

/** One request and its answer. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #signal: AbortSignal;
  readonly #settle = Promise.withResolvers<UpstreamAnswer>();
  #controller: Dispatcher.DispatchController | null = null;
  #body: ArrivingBody | null = null;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener('abort', this.onAbort, { once: true });
  }

  get answer(): Promise<UpstreamAnswer> {
    return this.#settle.promise;
  }

  readonly onAbort = (): void => {
    const reason: unknown = this.#signal.reason;
    const failure = reason instanceof Error ? reason : new Error('aborted');
    if (this.#controller === null) this.#forget();
    else this.#controller.abort(failure);
    this.#settle.reject(failure);
  };

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // It waited for a connection until then.
    if (this.#signal.aborted) controller.abort(new Error('aborted'));
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, values: AnswerValues): void {
    if (status < 200) return;
    const headers = new AnswerHeaders(values);
    const arriving = new ArrivingBody(controller, () => this.#forget());
    this.#body = arriving;
    const encoding = headers.get('content-encoding');
    if (encoding === null || encoding === 'identity' || encoding === 'gzip') {
      this.#settle.resolve({ status, headers, body: encoding === 'gzip' ? gunzipped(arriving) : arriving });
      return;
    }
    this.#settle.reject(new Error('an encoding that was not asked for'));
    arriving.destroy();
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Uint8Array): void {
    this.#body?.push(chunk);
  }

  onResponseEnd(): void {
    this.#body?.finish(null);
  }

  onResponseError(_controller: Dispatcher.DispatchController, failure: Error): void {
    if (this.#body === null) this.#forget();
    else this.#body.finish(failure);
    this.#settle.reject(failure);
  }

  #forget(): void {
    this.#signal.removeEventListener('abort', this.onAbort);
  }
}

import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { Dispatcher } from 'undici';

/** The body of an answer, as it arrives. */
export interface ResponseBody {
  /** The next chunk; null at the end. Rejects when the body breaks off. One at a time. */
  next(): Promise<Uint8Array | null>;
  /** Ends the transfer, if more is on its way. */
  destroy(): void;
}

/** So much may wait to be read before no more is taken from the connection. */
const MAX_WAITING_BYTES = 64 * 1024;

/** A body from the connection, without the streams that undici would put around it: they cost more than all else of a small answer. */
export class ArrivingBody implements ResponseBody {
  readonly #controller: Dispatcher.DispatchController;
  readonly #onEnd: () => void;
  readonly #chunks: Uint8Array[] = [];
  #waitingBytes = 0;
  #reader: PromiseWithResolvers<Uint8Array | null> | null = null;
  #end: { failure: Error | null } | null = null;

  /** `onEnd` is called once, when nothing more will arrive. */
  constructor(controller: Dispatcher.DispatchController, onEnd: () => void) {
    this.#controller = controller;
    this.#onEnd = onEnd;
  }

  next(): Promise<Uint8Array | null> {
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) {
      this.#waitingBytes -= chunk.byteLength;
      if (this.#controller.paused && this.#waitingBytes === 0) this.#controller.resume();
      return Promise.resolve(chunk);
    }
    if (this.#end !== null) return this.#end.failure === null ? Promise.resolve(null) : Promise.reject(this.#end.failure);
    this.#reader = Promise.withResolvers();
    return this.#reader.promise;
  }

  destroy(): void {
    this.#chunks.length = 0;
    if (this.#end === null) this.#controller.abort(new Error('the rest of the answer is not wanted'));
  }

  /** Takes what has arrived. */
  push(chunk: Uint8Array): void {
    if (this.#reader !== null) {
      this.#takeReader()?.resolve(chunk);
      return;
    }
    this.#chunks.push(chunk);
    this.#waitingBytes += chunk.byteLength;
    if (this.#waitingBytes > MAX_WAITING_BYTES) this.#controller.pause();
  }

  /** Nothing more arrives: the body is whole, or broken off by a failure. */
  finish(failure: Error | null): void {
    if (this.#end !== null) return;
    this.#end = { failure };
    this.#onEnd();
    const reader = this.#takeReader();
    if (failure === null) reader?.resolve(null);
    else reader?.reject(failure);
  }

  #takeReader(): PromiseWithResolvers<Uint8Array | null> | null {
    const reader = this.#reader;
    this.#reader = null;
    return reader;
  }
}

/** A body that was sent with `content-encoding: gzip`. */
export function gunzipped(body: ResponseBody): ResponseBody {
  const gunzip = createGunzip();
  const encoded = Readable.from(chunksOf(body));
  encoded.on('error', (failure) => gunzip.destroy(failure));
  // Whoever reads it sees its failure; when nobody reads any more, it is nobody's business.
  gunzip.on('error', () => undefined);
  const chunks: AsyncIterator<unknown> = encoded.pipe(gunzip)[Symbol.asyncIterator]();
  return {
    async next() {
      const next = await chunks.next();
      return next.value instanceof Uint8Array ? next.value : null;
    },
    destroy() {
      gunzip.destroy();
      encoded.destroy();
      body.destroy();
    },
  };
}

async function* chunksOf(body: ResponseBody): AsyncGenerator<Uint8Array> {
  for (let chunk = await body.next(); chunk !== null; chunk = await body.next()) yield chunk;
}

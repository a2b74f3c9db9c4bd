import type { FastifyReply } from 'fastify';
import { type BrokerError, unavailable } from '../domain/errors.ts';
import type { OnGone } from './deadline.ts';

const CLOSING_RETRY_SECONDS = 1;

/** The answers under way; a listener that closes tells them to be their connection's last, and to wait for nobody. */
export class OpenReplies {
  readonly #replies = new Set<FastifyReply>();
  readonly #waiting = new Set<(reason: Error) => void>();
  #closing = false;

  add(reply: FastifyReply): void {
    this.#replies.add(reply);
    if (this.#closing) makeLast(reply);
  }

  delete(reply: FastifyReply): void {
    this.#replies.delete(reply);
  }

  close(): void {
    this.#closing = true;
    for (const reply of this.#replies) makeLast(reply);
    for (const end of [...this.#waiting]) end(closing());
  }

  /** Ends a call that waits for people when the listener closes: whoever asks again finds another process. */
  readonly whenClosing: OnGone = (end) => {
    if (this.#closing) end(closing());
    else this.#waiting.add(end);
    return () => void this.#waiting.delete(end);
  };
}

const closing = (): BrokerError =>
  unavailable('this process is stopping; ask again', { retryAfterSeconds: CLOSING_RETRY_SECONDS });

// HTTP/2 has GOAWAY for this and forbids the header (RFC 9113 section 8.2.2).
function makeLast(reply: FastifyReply): void {
  if (reply.request.raw.httpVersionMajor === 1 && !reply.raw.headersSent) reply.raw.setHeader('connection', 'close');
}

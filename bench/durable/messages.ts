const LENGTH_BYTES = 4;
const TYPE_BYTES = 1;

/**
 * Takes one direction of a connection to Postgres apart: a type of one letter, the length of the rest, a body. What a client begins with
 * has no type (https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-MESSAGE-CONCEPTS). Not for TLS.
 */
export class Messages {
  readonly #onMessage: (type: string, body: Buffer) => void;
  #unread: Buffer = Buffer.alloc(0);
  #isTyped: boolean;

  constructor(isTypedFromTheStart: boolean, onMessage: (type: string, body: Buffer) => void) {
    this.#isTyped = isTypedFromTheStart;
    this.#onMessage = onMessage;
  }

  read(chunk: Buffer): void {
    this.#unread = Buffer.concat([this.#unread, chunk]);
    for (;;) {
      const start = this.#isTyped ? TYPE_BYTES : 0;
      if (this.#unread.length < start + LENGTH_BYTES) return;
      const end = start + this.#unread.readInt32BE(start);
      if (this.#unread.length < end) return;
      if (this.#isTyped) {
        this.#onMessage(String.fromCharCode(this.#unread[0] ?? 0), this.#unread.subarray(start + LENGTH_BYTES, end));
      }
      this.#isTyped = true;
      this.#unread = this.#unread.subarray(end);
    }
  }
}

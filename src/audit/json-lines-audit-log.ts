import type { AuditEvent } from '../domain/audit-event.ts';
import type { AuditLog } from '../domain/audit-log.ts';
import { type BrokerError, unavailable } from '../domain/errors.ts';
import type { Descriptor } from './descriptor.ts';
import { eventJson, jsonLine } from './event-json.ts';

/** How long a full pipe may keep us waiting before the write, and with it the request, fails. */
const MAX_WAIT_MS = 1000;
const PAUSE_MS = 5;

/** A pipe takes this much in one piece or not at all (PIPE_BUF). */
const MAX_PROBE_BYTES = 4096;

export const LINE_FEED = 0x0a;

/** Where lines go. */
export interface Destination {
  descriptor: Descriptor;
  /** True when what was written before ends in the middle of a line. */
  startsMidLine?: boolean;
}

/**
 * Audit events as JSON, one object a line, all events of a unit of work in one write. Blocks until they are with the
 * kernel; a power failure may lose what it has not put on disk yet.
 *
 * A write that fails half way may leave events of a change that did not happen; never the other way round. The line it
 * tore stays torn, and the next event starts on a line of its own.
 */
export class JsonLinesAuditLog implements AuditLog {
  readonly #openAgain: (() => Destination) | null;
  #descriptor: Descriptor;
  #isMidLine: boolean;
  /** How many bytes the last write was to bring out and did not; 0 when it went through. */
  #failedBytes = 0;
  #closed = false;

  /** `openAgain` is for `reopen`; a destination that has no such thing stays the same. */
  constructor({ descriptor, startsMidLine = false }: Destination, openAgain: (() => Destination) | null = null) {
    this.#descriptor = descriptor;
    this.#isMidLine = startsMidLine;
    this.#openAgain = openAgain;
  }

  /**
   * Throws `unavailable` when the events could not be written in full. Waits for a slow reader, unless the write before
   * failed: a reader that has stalled is waited for once, not by every request.
   */
  append(events: readonly AuditEvent[]): void {
    if (events.length === 0) return;
    try {
      if (this.#closed) throw closedError();
      const start = this.#isMidLine ? '\n' : '';
      this.#writeAll(Buffer.from(start + events.map(toLine).join('')));
    } catch (cause) {
      throw cannotBeWritten(cause);
    }
  }

  /** After a write that failed, tries whether as much goes through now; what it writes is blank. */
  ping(): void {
    try {
      if (this.#closed) throw closedError();
      if (this.#failedBytes > 0) this.#probe();
    } catch (cause) {
      throw cannotBeWritten(cause);
    }
  }

  /** Goes on in the destination as it is opened now. Throws what opening it throws; the one in use then stays in use. */
  reopen(): void {
    if (this.#closed || this.#openAgain === null) return;
    const { descriptor, startsMidLine = false } = this.#openAgain();
    const old = this.#descriptor;
    this.#descriptor = descriptor;
    this.#isMidLine = startsMidLine;
    old.close();
  }

  /** Later events are refused with `unavailable`. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#descriptor.close();
  }

  #writeAll(bytes: Uint8Array): void {
    const patienceMs = this.#failedBytes > 0 ? 0 : MAX_WAIT_MS;
    this.#failedBytes = bytes.length;
    let waitedMs = 0;
    let offset = 0;
    while (offset < bytes.length) {
      const written = this.#writeSome(bytes, offset);
      if (written > 0) {
        offset += written;
        waitedMs = 0;
        this.#isMidLine = bytes[offset - 1] !== LINE_FEED;
      } else if (waitedMs < patienceMs) {
        this.#descriptor.pause(PAUSE_MS);
        waitedMs += PAUSE_MS;
      } else {
        throw new Error(`no write went through for ${patienceMs} ms`);
      }
    }
    this.#failedBytes = 0;
  }

  /**
   * Writes as much as failed to go, so that room for less is no false hope: the end of a torn line, then spaces, which JSON
   * allows before the next event's line.
   */
  #probe(): void {
    const blank = Buffer.alloc(Math.min(this.#failedBytes, MAX_PROBE_BYTES), ' ');
    if (this.#isMidLine) blank[0] = LINE_FEED;
    const written = this.#writeSome(blank, 0);
    if (written > 0) this.#isMidLine = false;
    if (written < blank.length) throw new Error('too few bytes go through');
    this.#failedBytes = 0;
  }

  /** Zero when the descriptor takes nothing now: a non-blocking pipe whose reader is slow answers EAGAIN. */
  #writeSome(bytes: Uint8Array, offset: number): number {
    try {
      return this.#descriptor.write(bytes, offset, bytes.length - offset);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'EAGAIN') return 0;
      throw error;
    }
  }
}

const closedError = (): Error => new Error('the audit log is closed');
const cannotBeWritten = (cause: unknown): BrokerError => unavailable('audit log cannot be written', { cause });

const toLine = (event: AuditEvent): string => jsonLine(eventJson(event, event.at.toISOString()));

import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import type { AuditEvent } from '../domain/audit-event.ts';
import type { AuditLog } from '../domain/audit-log.ts';
import { unavailable } from '../domain/errors.ts';

/** How long a full pipe may keep us waiting before the write, and with it the request, fails. */
const MAX_WAIT_MS = 1000;
const PAUSE_MS = 5;

const STDOUT_FD = 1;
const LINE_FEED = 0x0a;

/** A file descriptor's own calls; tests put failing ones in their place. */
export interface Descriptor {
  /** As write(2): answers how many bytes went, or throws. */
  write(bytes: Uint8Array, offset: number, length: number): number;
  close(): void;
  /** Blocks this thread for `ms` milliseconds. */
  pause(ms: number): void;
}

export interface JsonLinesOptions {
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
  readonly #descriptor: Descriptor;
  #isMidLine: boolean;
  #closed = false;

  constructor({ descriptor, startsMidLine = false }: JsonLinesOptions) {
    this.#descriptor = descriptor;
    this.#isMidLine = startsMidLine;
  }

  /** Throws `unavailable` when the events could not be written in full. */
  append(events: readonly AuditEvent[]): void {
    if (events.length === 0) return;
    try {
      if (this.#closed) throw new Error('the audit log is closed');
      const start = this.#isMidLine ? '\n' : '';
      const lines = start + events.map(toLine).join('');
      this.#writeAll(Buffer.from(lines.replace(UNSAFE_IN_A_LINE, escapeCharacter)));
    } catch (cause) {
      throw unavailable('audit log cannot be written', { cause });
    }
  }

  /** Later events are refused with `unavailable`. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#descriptor.close();
  }

  #writeAll(bytes: Uint8Array): void {
    let waitedMs = 0;
    let offset = 0;
    while (offset < bytes.length) {
      const written = this.#writeSome(bytes, offset);
      if (written > 0) {
        offset += written;
        waitedMs = 0;
        this.#isMidLine = bytes[offset - 1] !== LINE_FEED;
      } else if (waitedMs < MAX_WAIT_MS) {
        this.#descriptor.pause(PAUSE_MS);
        waitedMs += PAUSE_MS;
      } else {
        throw new Error(`no write went through for ${MAX_WAIT_MS} ms`);
      }
    }
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

/**
 * Appends to a regular file of this process, mode 0600, made when absent. Throws when the path is anything else (a directory,
 * a device, a symbolic link: whoever may place one must not redirect the audit trail) or cannot be opened for reading and writing.
 */
export function openAuditFile(path: string): JsonLinesAuditLog {
  const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDWR } = constants;
  let fd: number;
  try {
    // Non-blocking, because opening a FIFO would wait for its other end.
    fd = openSync(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
  } catch (cause) {
    throw new Error(`audit file ${path} cannot be opened`, { cause });
  }
  try {
    return new JsonLinesAuditLog({ descriptor: fileDescriptor(fd), startsMidLine: endsMidLine(fd, path) });
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Writes to standard output, which stays open when the log is closed. */
export function auditToStdout(): JsonLinesAuditLog {
  return new JsonLinesAuditLog({ descriptor: { ...fileDescriptor(STDOUT_FD), close: () => undefined } });
}

/** The calls of an open file descriptor. */
export function fileDescriptor(fd: number): Descriptor {
  return {
    write: (bytes, offset, length) => writeSync(fd, bytes, offset, length),
    close: () => closeSync(fd),
    pause: (ms) => void Atomics.wait(PAUSE_CELL, 0, 0, ms),
  };
}

const PAUSE_CELL = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));

/** A process that was killed while it wrote leaves half a line. */
function endsMidLine(fd: number, path: string): boolean {
  const stat = fstatSync(fd);
  if (!stat.isFile()) throw new Error(`audit file ${path} is not a regular file`);
  if (stat.size === 0) return false;
  const last = new Uint8Array(1);
  readSync(fd, last, 0, 1, stat.size - 1);
  return last[0] !== LINE_FEED;
}

/**
 * What JSON leaves as it is and a reader may break a line at or a terminal act upon: C1 controls (NEL and CSI among them),
 * the Unicode line separators, and the bidirectional controls of UAX #9.
 */
const UNSAFE_IN_A_LINE = /[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g;

const escapeCharacter = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

function toLine(event: AuditEvent): string {
  const { subject } = event;
  const json = JSON.stringify({
    id: event.id,
    at: event.at.toISOString(),
    type: event.type,
    request_id: event.requestId,
    tenant_id: subject.tenantId,
    agent_id: subject.agentId,
    run_id: subject.runId,
    workload_hash: subject.workloadHash,
    session_id: subject.sessionId,
    grant_id: subject.grantId,
    artifact_id: subject.artifactId,
    approval_id: subject.approvalId,
    code: event.code,
    reason: event.reason,
    revision: event.revision,
    details: event.details,
  });
  return `${json}\n`;
}

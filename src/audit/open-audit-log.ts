import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { fileDescriptor } from './descriptor.ts';
import { type Destination, JsonLinesAuditLog, LINE_FEED } from './json-lines-audit-log.ts';

const STDOUT_FD = 1;

/**
 * Appends to a regular file of this process, mode 0600, made when absent; `reopen` opens what the path names by then. Throws
 * when the path is anything else (a directory, a device, a symbolic link: whoever may place one must not redirect the audit
 * trail) or cannot be opened for reading and writing. The message says what is wrong with the file, without its path.
 */
export function openAuditFile(path: string): JsonLinesAuditLog {
  return new JsonLinesAuditLog(openDestination(path), () => openDestination(path));
}

/** Writes to standard output, which stays as it is when the log is reopened or closed. */
export function auditToStdout(): JsonLinesAuditLog {
  return new JsonLinesAuditLog({ descriptor: { ...fileDescriptor(STDOUT_FD), close: () => undefined } });
}

function openDestination(path: string): Destination {
  const fd = openFile(path);
  try {
    return { descriptor: fileDescriptor(fd), startsMidLine: endsMidLine(fd) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function openFile(path: string): number {
  const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDWR } = constants;
  try {
    // Non-blocking, because opening a FIFO would wait for its other end.
    return openSync(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
    if (code === 'ELOOP') throw new Error('the file must not be a symbolic link', { cause });
    throw new Error(`the file cannot be opened for reading and writing (${code})`, { cause });
  }
}

/** A process that was killed while it wrote leaves half a line. */
function endsMidLine(fd: number): boolean {
  const stat = fstatSync(fd);
  if (!stat.isFile()) throw new Error('the file must be a regular one');
  if (stat.size === 0) return false;
  const last = new Uint8Array(1);
  readSync(fd, last, 0, 1, stat.size - 1);
  return last[0] !== LINE_FEED;
}

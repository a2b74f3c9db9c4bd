import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { exposure } from './config-file/file-content.ts';

/** Far above any key. */
const MAX_BYTES = 64 * 1024;

/**
 * The text of a file that holds a secret, and that nobody but ASB and root may use; symbolic links are followed, since that is how
 * Kubernetes mounts secrets. What is checked is what is read: the open file, not the path. Throws an Error that says what is wrong,
 * without the path and the content.
 */
export function readPrivateText(path: string): string {
  const fd = open(path);
  try {
    const { mode, uid, size, ...stats } = statsOf(fd);
    if (!stats.isFile) throw new Error('the file must be a regular file');
    if (size > MAX_BYTES) throw new Error(`the file is larger than ${MAX_BYTES} bytes`);
    const exposed = exposure({ mode: mode & 0o777, uid }, process.geteuid?.() ?? 0);
    if (exposed !== null) throw new Error(exposed);
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

function statsOf(fd: number) {
  const stats = fstatSync(fd);
  return { mode: stats.mode, uid: stats.uid, size: stats.size, isFile: stats.isFile() };
}

function open(path: string): number {
  try {
    // Non-blocking, because opening a FIFO would wait for its other end.
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
    throw new Error(`the file cannot be read (${code})`, { cause });
  }
}

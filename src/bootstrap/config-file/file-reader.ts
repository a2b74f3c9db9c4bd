import { hash } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';

/** A file as it was at one moment. */
export interface FileContent {
  bytes: Buffer;
  /** Permission bits, as in 0o600. */
  mode: number;
  /** Whose file it is. */
  uid: number;
}

/** What a file held, or why it could not be read, in words of ours. */
export type FileReading = FileContent | { failure: string };

export type FileReader = (path: string) => Promise<FileReading>;

/** Far above any list of keys or tenants. */
const MAX_BYTES = 2 ** 20;
const TOO_LARGE = 'is larger than 1 MiB';

/** Reads a file of 1 MiB at most, through symbolic links. Never rejects, and never waits for a pipe or a device. */
export const readRegularFile: FileReader = async (path) => {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = await file.stat();
    if (!stats.isFile()) return { failure: 'is not a regular file' };
    if (stats.size > MAX_BYTES) return { failure: TOO_LARGE };
    const bytes = await file.readFile();
    // It may have grown since.
    if (bytes.length > MAX_BYTES) return { failure: TOO_LARGE };
    return { bytes, mode: stats.mode & 0o777, uid: stats.uid };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    return { failure: `cannot be read (${code})` };
  }
};

/** Names what was read: the same content with the same permissions has the same name. */
export function fingerprint(reading: FileReading): string {
  if ('failure' in reading) return reading.failure;
  return `${hash('sha256', reading.bytes)} ${reading.mode} ${reading.uid}`;
}

/** UTF-8; null when it is something else. */
export function textOf({ bytes }: FileContent): string | null {
  try {
    // A byte order mark is kept, for whoever counts columns.
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

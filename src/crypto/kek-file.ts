import { randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import type { KeyManagement } from '../domain/key-management.ts';
import { KEK_BYTES, makeLocalKeyManagement } from './local-key-management.ts';

/** The one that wraps, and far more than are still to be unwrapped after it has been replaced. */
const MAX_KEYS = 16;
const MAX_FILE_BYTES = 64 * 1024;
/** 32 bytes as `openssl rand -base64 32` prints them; the last character has bits to spare, which are nought. */
const KEY_LINE = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/;
const HOW_TO_MAKE_ONE = 'make one with: openssl rand -base64 32';
/** 32 random bytes have about 30 different values; fewer than 16 never come about by chance. */
const MIN_DIFFERENT_BYTES = 16;

/**
 * Key-encryption keys from a file: one a line, base64 of 32 random bytes; `#` begins a line of comment. The first wraps, all unwrap:
 * to rotate, put a new one on top, and drop the old one when nothing that it wrapped is left.
 * Throws an Error that says what to change, without the path and without anything of a key.
 */
export function openKekFile(path: string): KeyManagement {
  const bytes = readPrivateFile(path);
  const keys = parseKeys(bytes.toString('latin1'));
  bytes.fill(0);
  return erasing(keys, () => makeLocalKeyManagement(keys));
}

/**
 * A key that dies with this process: what is sealed under it cannot be opened after a restart or in another replica. For
 * development; whoever uses it should say so at the start.
 */
export function ephemeralKeyManagement(): KeyManagement {
  const keys = [randomBytes(KEK_BYTES)];
  return erasing(keys, () => makeLocalKeyManagement(keys));
}

function erasing<T>(keys: readonly Buffer[], use: () => T): T {
  try {
    return use();
  } finally {
    for (const key of keys) key.fill(0);
  }
}

/** The bytes of a file that its owner alone may use. What is checked is what is read: the open file, not the path. */
function readPrivateFile(path: string): Buffer {
  const fd = openFile(path);
  try {
    const stats = fstatSync(fd);
    const { mode, uid } = stats;
    if (!stats.isFile()) throw new Error('the key file must be a regular file');
    if ((mode & 0o077) !== 0) {
      const octal = (mode & 0o777).toString(8).padStart(4, '0');
      throw new Error(`the key file may be used by others than its owner (mode ${octal}); make it 0600 or 0400`);
    }
    if (uid !== 0 && uid !== process.geteuid?.()) {
      throw new Error('the key file must belong to the user that ASB runs as, or to root');
    }
    if (stats.size > MAX_FILE_BYTES) throw new Error(`the key file is larger than ${MAX_FILE_BYTES} bytes`);
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

function openFile(path: string): number {
  const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
  try {
    // Non-blocking, because opening a FIFO would wait for its other end.
    return openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
    if (code === 'ELOOP') throw new Error('the key file must not be a symbolic link; name the file itself', { cause });
    throw new Error(`the key file cannot be read (${code})`, { cause });
  }
}

function parseKeys(text: string): readonly Buffer[] {
  const lines = text.split('\n').map((line, index) => ({ line: line.trim(), where: `line ${index + 1} of the key file` }));
  const written = lines.filter(({ line }) => line !== '' && !line.startsWith('#'));
  if (written.length === 0) throw new Error(`the key file holds no key; ${HOW_TO_MAKE_ONE}`);
  if (written.length > MAX_KEYS) throw new Error(`the key file holds ${written.length} keys; at most ${MAX_KEYS} are read`);
  const seen = new Map<string, string>();
  return written.map(({ line, where }) => {
    const first = seen.get(line);
    if (first !== undefined) throw new Error(`${where} repeats the key of ${first}; remove one of them`);
    seen.set(line, where);
    return parseKey(line, where);
  });
}

function parseKey(line: string, where: string): Buffer {
  if (!KEY_LINE.test(line)) {
    throw new Error(`${where} is not the base64 of ${KEK_BYTES} bytes and nothing else; ${HOW_TO_MAKE_ONE}`);
  }
  const key = Buffer.from(line, 'base64');
  if (isGuessable(key)) throw new Error(`${where} is not a random key; ${HOW_TO_MAKE_ONE}`);
  return key;
}

/** Keys that people make up: one byte or a few over and over, bytes counted up, a line of text. */
function isGuessable(key: Buffer): boolean {
  if (new Set(key).size < MIN_DIFFERENT_BYTES) return true;
  const steps = new Set(key.subarray(1).map((byte, index) => byte - (key[index] ?? 0)));
  return steps.size === 1 || key.every((byte) => byte >= 0x20 && byte < 0x7f);
}

import { readFileSync } from 'node:fs';

/** The text of a file. Throws an Error that says why there is none, without the path: the caller knows which setting names it. */
export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
    throw new Error(`the file cannot be read (${code})`, { cause });
  }
}

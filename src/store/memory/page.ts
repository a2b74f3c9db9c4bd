import { invalidRequest } from '../../domain/errors.ts';
import type { Page } from '../../domain/repository.ts';
import { copyRow } from './row-copy.ts';

/** How many rows one page looks at: some milliseconds' worth. With too few matches among them it ends short and says where to go on. */
export const MAX_LOOKED_AT = 20_000;
/** Longer than any id in base64url. */
const MAX_CURSOR_LENGTH = 128;

/** Takes a page of copies from rows that come newest first, and start after the page before. */
export function takePage<Row extends { id: string }>(
  rows: Iterable<Row>,
  matches: (row: Row) => boolean,
  limit: number,
): Page<Row> {
  const taken: Row[] = [];
  let lookedAt = 0;
  let last: Row | null = null;
  for (const row of rows) {
    if (lookedAt === MAX_LOOKED_AT) return { rows: taken, next: last && cursorOf(last) };
    lookedAt += 1;
    if (matches(row)) {
      if (taken.length === limit) return { rows: taken, next: last && cursorOf(last) };
      taken.push(copyRow(row));
    }
    last = row;
  }
  return { rows: taken, next: null };
}

/** A cursor names the row that a page ended with; those that come or go do not move it. */
const cursorOf = ({ id }: { id: string }): string => Buffer.from(id).toString('base64url');

/** The id that a cursor stands for. Throws `invalid_request` for one that no list of such ids gave out. */
export function readCursor(after: string | null, prefix: string): string | null {
  if (after === null) return null;
  if (after.length <= MAX_CURSOR_LENGTH) {
    const id = Buffer.from(after, 'base64url').toString();
    if (id.startsWith(prefix) && cursorOf({ id }) === after) return id;
  }
  throw invalidRequest('page_token: is not one that this list answered; leave it out to start from the newest');
}

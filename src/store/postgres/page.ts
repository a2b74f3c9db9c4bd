import { invalidRequest } from '../../domain/errors.ts';
import type { Page } from '../../domain/repository.ts';

/** Longer than any id in base64url. */
const MAX_CURSOR_LENGTH = 128;

/** A page of rows of which one more was asked for than it holds, so as to know whether another follows. */
export function pageOf<Row extends { id: string }>(rows: readonly Row[], limit: number): Page<Row> {
  if (rows.length <= limit) return { rows, next: null };
  const taken = rows.slice(0, limit);
  const last = taken.at(-1);
  return { rows: taken, next: last === undefined ? null : cursorOf(last) };
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

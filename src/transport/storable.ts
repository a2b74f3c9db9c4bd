import { invalidRequest } from '../domain/errors.ts';
import { isStorable } from '../domain/storable-text.ts';
import { MAX_PARAMS_DEPTH, quotedPath } from './wire-fields.ts';

/** What is wrong with a text that no store could keep. */
export const NOT_STORABLE = 'must be well-formed Unicode without U+0000';

/**
 * Throws `invalid_request` that names the first text, or name of a field, that cannot be kept, wherever it stands in a request and
 * whatever its call: also what is only passed on may be told in an event.
 */
export function requireStorable(wire: unknown): void {
  const path = unstorable(wire, 0);
  if (path !== null) throw invalidRequest(`${quotedPath(path) || 'body'}: ${NOT_STORABLE}`);
}

// The parameters lie right below the request, and nothing else in one is nested as deep: what is deeper is refused for that.
function unstorable(value: unknown, depth: number): string[] | null {
  if (typeof value === 'string') return isStorable(value) ? null : [];
  if (typeof value !== 'object' || value === null || depth > MAX_PARAMS_DEPTH) return null;
  // Every request passes here, and a list of a megabyte would cost ten times as much by its keys.
  if (Array.isArray(value)) return firstOf(value.entries(), depth);
  for (const key of Object.keys(value)) {
    if (!isStorable(key)) return [key];
    const path = unstorable(Reflect.get(value, key), depth + 1);
    if (path !== null) return [key, ...path];
  }
  return null;
}

function firstOf(items: Iterable<[number, unknown]>, depth: number): string[] | null {
  for (const [index, item] of items) {
    const path = unstorable(item, depth + 1);
    if (path !== null) return [String(index), ...path];
  }
  return null;
}

/** What JSON.stringify makes of U+0000 and of half a surrogate pair, and here and there of an innocent backslash. */
const SUSPICIOUS = /\\u(?:0000|d[89a-f])/;

/**
 * A text as Postgres can keep it: U+0000 and halves of surrogate pairs become U+FFFD
 * (https://www.postgresql.org/docs/current/datatype-character.html, RFC 3629 section 3).
 */
export const storableText = (text: string): string => text.toWellFormed().replaceAll('\0', '\uFFFD');

/** The JSON of a value, with every text in it as Postgres can keep it. */
export function storableJson(value: unknown): string {
  const json = JSON.stringify(value);
  return SUSPICIOUS.test(json) ? JSON.stringify(storable(JSON.parse(json))) : json;
}

function storable(value: unknown): unknown {
  if (typeof value === 'string') return storableText(value);
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(storable);
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [storableText(name), storable(inner)]));
}

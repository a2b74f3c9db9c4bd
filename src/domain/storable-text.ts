/**
 * Whether every store can keep a text as it is. Postgres has no room for U+0000 in text and JSON
 * (https://www.postgresql.org/docs/current/datatype-json.html), and UTF-8 none for half a surrogate pair (RFC 3629 section 3); escapes
 * of JSON bring both.
 */
export const isStorable = (text: string): boolean => text.isWellFormed() && !text.includes('\0');

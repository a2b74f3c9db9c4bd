/** Where in a value something stands: names in mappings, numbers in lists. */
export type FieldPath = readonly (string | number)[];

/** One mistake in a configuration file, or one doubt about it. */
export interface Problem {
  /** Counted from 1. */
  line: number;
  column: number;
  /** Empty when it is about the file as a whole. */
  path: FieldPath;
  /** What is wrong and what to write; never holds a value of the file, but for names that a condition uses. */
  message: string;
}

// Wide enough for every name of the schema. A secret that slipped into the place of a key has digits or is longer.
const QUOTABLE_KEY = /^[A-Za-z_-]{1,32}$/;

/** A key as a message may show it: a question mark when it does not look like a field's name. */
export const quotedKey = (key: string): string => (QUOTABLE_KEY.test(key) ? key : '?');

/** `FILE:LINE:COLUMN: path.to[0].field: what is wrong`. */
function formatProblem(file: string, { line, column, path, message }: Problem): string {
  const field = formatPath(path);
  return `${file}:${line}:${column}: ${field === '' ? '' : `${field}: `}${message}`;
}

/** More than anybody mends in one go; the rest is counted. */
const MAX_LINES = 200;

/** One line for each problem, from the top of the file. */
export function formatProblems(file: string, problems: readonly Problem[]): readonly string[] {
  const sorted = problems.toSorted((one, other) => one.line - other.line || one.column - other.column);
  const lines = sorted.slice(0, MAX_LINES).map((problem) => formatProblem(file, problem));
  const unlisted = problems.length - lines.length;
  return unlisted === 0 ? lines : [...lines, `${file}: and ${unlisted} more`];
}

function formatPath(path: FieldPath): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    return text === '' ? quotedKey(part) : `${text}.${quotedKey(part)}`;
  }, '');
}

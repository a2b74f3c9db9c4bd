/**
 * Whether a value is what a pattern names: exactly that, or whatever begins with what stands before a trailing `*`. Any other
 * `*` stands for itself.
 */
export function matchesPattern(pattern: string, value: string): boolean {
  return pattern.endsWith('*') ? value.startsWith(pattern.slice(0, -1)) : value === pattern;
}

/** Whether one of the patterns names the value. */
export const matchesAny = (patterns: readonly string[], value: string): boolean =>
  patterns.some((pattern) => matchesPattern(pattern, value));

/** What is wrong with a pattern that an operator wrote; null when nothing is. */
export function patternProblem(pattern: string): string | null {
  if (pattern === '') return 'is empty; write a name, or * for any';
  const star = pattern.indexOf('*');
  return star === -1 || star === pattern.length - 1 ? null : 'has a * before its end; only the last character may be one';
}

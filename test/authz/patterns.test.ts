import { describe, expect, test } from 'vitest';
import { matchesAny, matchesPattern, patternProblem } from '../../src/authz/patterns.ts';

describe('a pattern names exactly itself, or what begins with what stands before its last *', () => {
  test.each<[pattern: string, value: string, matches: boolean]>([
    ['repo.read', 'repo.read', true],
    ['repo.read', 'repo.readers', false],
    ['repo.read', 'Repo.read', false],
    ['repo.*', 'repo.read', true],
    ['repo.*', 'repo.', true],
    ['repo.*', 'repo', false],
    ['*', 'anything', true],
    ['*', '', true],
    ['r*.read', 'repo.read', false],
    ['r*.read', 'r*.reality', false],
    ['r*.read', 'r*.read', true],
    ['**', '*a', true],
    ['**', 'a', false],
    ['repo.rea?', 'repo.read', false],
    ['repo.(read|write)', 'repo.read', false],
    ['', '', true],
    ['', 'a', false],
  ])('%j on %j: %s', (pattern, value, matches) => {
    expect(matchesPattern(pattern, value)).toBe(matches);
  });

  test('of several patterns one is enough, and none matches nothing', () => {
    expect(matchesAny(['db.*', 'repo.read'], 'repo.read')).toBe(true);
    expect(matchesAny([], 'repo.read')).toBe(false);
  });

  test('a pattern that cannot be meant is told to the operator', () => {
    expect(['*', 'a', 'a*', 'a.b*'].map(patternProblem)).toEqual([null, null, null, null]);
    expect(patternProblem('')).toMatch(/empty/);
    expect(patternProblem('a*b')).toMatch(/before its end/);
    expect(patternProblem('**')).toMatch(/before its end/);
    expect(patternProblem('*a')).toMatch(/before its end/);
  });
});

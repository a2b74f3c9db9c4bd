import { describe, expect, test } from 'vitest';
import { makeSubjectMatcher } from '../../src/authn/subject-prefixes.ts';

describe('allowed subject prefixes', () => {
  test.each([
    ['repo:acme/', 'repo:acme/site:ref:refs/heads/main', true],
    ['repo:acme/', 'repo:acme/', true],
    ['repo:acme/', 'repo:acme-evil/site:ref:refs/heads/main', false],
    ['repo:acme/', 'repo:acme', false],
    ['repo:acme/', 'Repo:Acme/site', false],
    ['repo:acme/', 'xrepo:acme/site', false],
    ['repo:acme/', ' repo:acme/site', false],
    ['repo:acme', 'repo:acme/site:ref:refs/heads/main', true],
    ['repo:acme', 'repo:acme', true],
    ['repo:acme', 'repo:acme-evil/site', false],
    ['repo:acme', 'repo:acmeevil/site', false],
    ['repo:acme', 'repo:acme.evil/site', false],
    ['repo:acme', 'repo:acme@7/site', false],
    ['repo:acme/site', 'repo:acme/site:ref:refs/heads/main', true],
    ['repo:acme/site', 'repo:acme/site-internal:ref:refs/heads/main', false],
    ['repo:acme/site:environment:production', 'repo:acme/site:environment:production', true],
    ['repo:acme/site:environment:production', 'repo:acme/site:environment:production-test', false],
    ['repo:acme/site:ref:refs/heads/', 'repo:acme/site:ref:refs/heads/main', true],
    ['spiffe://acme.example', 'spiffe://acme.example.attacker.example/agent', false],
    ['spiffe://acme.example', 'spiffe://acme.example/agent', true],
    ['auth0|', 'auth0|5f7c', true],
    ['alice', 'alice@attacker.example', false],
    ['alice', 'alice', true],
  ])('%s and the subject %s: %s', (prefix, subject, expected) => {
    expect(makeSubjectMatcher([prefix])(subject)).toBe(expected);
    expect(makeSubjectMatcher(['other:', prefix])(subject)).toBe(expected);
  });

  test.each([
    ['none', [], 'at least one'],
    ['an empty one', ['repo:acme/', ''], 'would let everybody in'],
    ['a star', ['repo:acme/*'], 'without *'],
    ['a star alone', ['*'], 'without *'],
    ['white space', ['repo:acme/ '], 'white space'],
    ['a line break', ['repo:acme/\n'], 'white space'],
    ['a letter that does not show', ['repo:acme\u200b/'], 'white space'],
  ])('%s is refused', (_name, prefixes, message) => {
    expect(() => makeSubjectMatcher(prefixes)).toThrow(message);
  });
});

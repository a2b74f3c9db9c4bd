import { describe, expect, it } from 'vitest';
import { isSameName, parseRepositoryName } from '../../../src/connectors/github/repository-name.ts';
import { refusalOf } from './setup.ts';

describe('a repository name', () => {
  it.each([
    'acme/widgets',
    'a/b',
    'Acme-Corp/Widgets.js',
    'jane_acme/x',
    'acme/.github',
    'acme/...',
    `${'a'.repeat(39)}/${'b'.repeat(100)}`,
  ])('%s is one', (name) => {
    const { owner, repo } = parseRepositoryName(name);
    expect(`${owner}/${repo}`).toBe(name);
  });

  it.each([
    ['no slash', 'widgets'],
    ['three parts', 'acme/widgets/pulls'],
    ['an empty owner', '/widgets'],
    ['an empty name', 'acme/'],
    ['a dot', 'acme/.'],
    ['two dots', 'acme/..'],
    ['dots as owner', '../widgets'],
    ['an encoded slash', 'acme/a%2fb'],
    ['encoded dots', 'acme/%2e%2e'],
    ['a query', 'acme/widgets?x='],
    ['a fragment', 'acme/widgets#'],
    ['a backslash', 'acme\\widgets'],
    ['a line break at the end', 'acme/widgets\n'],
    ['NUL', 'acme/wid\0gets'],
    ['a space', 'acme/wid gets'],
    ['fullwidth dots', 'acme/\uff0e\uff0e'],
    ['a letter from another script', 'acme/w\u0456dgets'],
    ['user information', 'acme@evil/widgets'],
    ['a template', '{owner}/{repo}'],
    ['the clone alias', 'acme/widgets.git'],
    ['the clone alias in capitals', 'acme/widgets.GIT'],
    ['an owner of 40', `${'a'.repeat(40)}/widgets`],
    ['a name of 101', `acme/${'a'.repeat(101)}`],
  ])('%s is refused', async (_name, attempt) => {
    expect((await refusalOf(() => parseRepositoryName(attempt))).code).toBe('invalid_request');
  });

  it('is compared without case', () => {
    expect(isSameName('Acme', 'aCME')).toBe(true);
    expect(isSameName('acme', 'acme2')).toBe(false);
  });
});

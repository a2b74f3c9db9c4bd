import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BrokerError } from '../../../src/domain/errors.ts';
import { parseResourceRef } from '../../../src/domain/resource.ts';
import { connectorFor, recordingUpstream, refusalOf, unlimited, WIDGETS } from './setup.ts';

const BASE = 'https://ghe.example/api/v3';
const seen: URL[] = [];
const connector = connectorFor(BASE, { upstream: recordingUpstream(seen) });

const prepare = (operation: string, params: Readonly<Record<string, unknown>>) =>
  connector.prepare({ capability: 'repo.read', resource: WIDGETS, operation, params });

async function urlSent(operation: string, params: Record<string, unknown>): Promise<string> {
  await prepare(operation, params).send(unlimited());
  return seen.at(-1)?.href ?? '';
}

describe('what is sent', () => {
  it.each<[string, string, Record<string, unknown>, string]>([
    ['a pull request', 'pull_request_metadata', { pull_number: 7 }, '/pulls/7'],
    ['a number as text', 'pull_request_metadata', { pull_number: '7' }, '/pulls/7'],
    [
      'a page of files',
      'pull_request_files',
      { pull_number: 7, page: 2, per_page: 100 },
      '/pulls/7/files?page=2&per_page=100',
    ],
    ['pages as text', 'pull_request_files', { pull_number: 7, page: '2' }, '/pulls/7/files?page=2'],
    ['the repository', 'repository_metadata', {}, ''],
    ['the repository, named again', 'repository_metadata', { owner: 'ACME', repo: 'Widgets' }, ''],
    ['issues', 'repository_issues', { page: 3 }, '/issues?page=3'],
    [
      'filtered issues',
      'repository_issues',
      { state: 'all', labels: 'bug,a&b=c', sort: 'updated', direction: 'asc', since: '2026-01-01T00:00:00Z' },
      '/issues?state=all&labels=bug%2Ca%26b%3Dc&sort=updated&direction=asc&since=2026-01-01T00%3A00%3A00Z',
    ],
  ])('%s', async (_name, operation, params, expected) => {
    expect(await urlSent(operation, params)).toBe(`${BASE}/repos/acme/widgets${expected}`);
    expect(await urlSent(operation, params)).toBe(`${BASE}/repos/acme/widgets${expected}`);
  });
});

describe('mistakes in params', () => {
  it.each<[string, string, Record<string, unknown>, string]>([
    ['a missing number', 'pull_request_metadata', {}, 'params.pull_number: must be a positive whole number'],
    [
      'an unknown key',
      'pull_request_files',
      { pull_number: 1, foo: 1 },
      'params.foo: unknown parameter; pull_request_files takes pull_number, page, per_page',
    ],
    [
      'a key of another operation',
      'repository_metadata',
      { page: 1 },
      'params.page: unknown parameter; repository_metadata takes no parameters of its own',
    ],
    [
      'an odd key',
      'repository_metadata',
      { 'a\n"b': 1 },
      'params."a\\n\\"b": unknown parameter; repository_metadata takes no parameters of its own',
    ],
    [
      'all of them at once',
      'pull_request_files',
      { pull_number: 'x', page: 0, per_page: 101 },
      'params.pull_number: must be a positive whole number; params.page: must be a positive whole number; params.per_page: must be a whole number from 1 to 100',
    ],
    ['a state that is none', 'repository_issues', { state: 'OPEN' }, 'params.state: must be open, closed or all'],
    [
      'a day for a time',
      'repository_issues',
      { since: '2026-01-01' },
      'params.since: must be a time such as 2026-01-02T03:04:05Z',
    ],
    [
      'half a character',
      'repository_issues',
      { labels: '\ud800' },
      'params.labels: must be label names separated by commas',
    ],
    ['a list of labels', 'repository_issues', { labels: ['bug'] }, 'params.labels: must be label names separated by commas'],
    ['an ill-typed owner', 'repository_metadata', { owner: 1 }, 'params.owner: must be text'],
  ])('%s', async (_name, operation, params, message) => {
    const error = await refusalOf(() => prepare(operation, params));
    expect([error.code, error.message]).toEqual(['invalid_request', message]);
  });

  it('are counted, not all listed, when there are very many', async () => {
    const params = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`k${index}`, 1]));
    const error = await refusalOf(() => prepare('repository_metadata', params));
    expect(error.message).toMatch(/and 990 more$/);
    expect(error.message.length).toBeLessThan(2000);
  });
});

const NOT_A_NUMBER: readonly (readonly [string, unknown])[] = [
  ['a way up', '1/../../..'],
  ['an encoded way up', '..%2f..%2fuser'],
  ['an encoded slash', '1%2Ffiles'],
  ['a path', '1/files'],
  ['a query', '1?page=2'],
  ['a fragment', '1#'],
  ['a semicolon', '1;x'],
  ['dots', '..'],
  ['zero', 0],
  ['zero as text', '0'],
  ['minus one', -1],
  ['minus one as text', '-1'],
  ['a fraction', 1.5],
  ['a fraction as text', '1.0'],
  ['infinity', Number.POSITIVE_INFINITY],
  ['a number too big for a number', JSON.parse('1e400')],
  ['an exponent as text', '1e3'],
  ['not a number', Number.NaN],
  ['NaN as text', 'NaN'],
  ['hexadecimal', '0x10'],
  ['a leading zero', '007'],
  ['a leading plus', '+7'],
  ['a leading space', ' 7'],
  ['a line break', '7\n'],
  ['NUL', '7\0'],
  ['digits of another script', '\u0667'],
  ['fullwidth digits', '\uff17'],
  ['nothing', ''],
  ['null', null],
  ['true', true],
  ['a list', [7]],
  ['a list of two', [7, 8]],
  ['an object', { toString: () => '7' }],
  ['beyond exactness', 9007199254740993],
  ['beyond exactness as text', '9007199254740993'],
  ['ten thousand digits', '9'.repeat(10_000)],
];

describe('attacks on a number', () => {
  for (const key of ['pull_number', 'page', 'per_page']) {
    it.each(NOT_A_NUMBER)(`${key}: %s`, async (_name, value) => {
      const error = await refusalOf(() => prepare('pull_request_files', { pull_number: 7, [key]: value }));
      expect(error.code).toBe('invalid_request');
      expect(error.message).toMatch(new RegExp(`^params\\.${key}: must be`));
    });
  }
});

const OUTSIDE: readonly (readonly [string, Record<string, unknown>])[] = [
  ['another owner', { owner: 'evil' }],
  ['another repository', { repo: 'vault' }],
  ['a way up as owner', { owner: '../acme' }],
  ['two dots', { repo: '..' }],
  ['encoded dots', { repo: '%2e%2e' }],
  ['an encoded slash', { repo: 'widgets%2f..%2fvault' }],
  ['a path', { repo: 'widgets/../vault' }],
  ['three parts', { owner: 'a/b/c' }],
  ['a query', { repo: 'widgets?x=' }],
  ['a fragment', { repo: 'widgets#' }],
  ['a line break', { repo: 'widgets\n' }],
  ['NUL', { repo: 'widgets\0' }],
  ['fullwidth dots', { repo: '\uff0e\uff0e' }],
  ['a look-alike letter', { repo: 'w\u0456dgets' }],
  ['nothing', { owner: '' }],
];

describe('attacks on the repository', () => {
  it.each(OUTSIDE)('params with %s', async (_name, params) => {
    const error = await refusalOf(() => prepare('repository_metadata', params));
    expect([error.code, error.reason]).toEqual(['forbidden', 'resource_outside_grant']);
  });

  it.each<[string, Record<string, unknown>]>([
    ['a base URL', { baseUrl: 'https://evil.example' }],
    ['a URL', { url: 'https://evil.example' }],
    ['a method', { method: 'DELETE' }],
    ['headers', { headers: { authorization: 'x' } }],
    ['request options', { request: {} }],
    ['a media type', { mediaType: { format: 'raw' } }],
    ['data', { data: {} }],
    ['a prototype', JSON.parse('{"__proto__": {"pull_number": 1}}')],
    ['a constructor', JSON.parse('{"constructor": {"prototype": {}}}')],
  ])('params that bring %s', async (_name, params) => {
    const error = await refusalOf(() => prepare('repository_metadata', params));
    expect([error.code, error.message]).toEqual([
      'invalid_request',
      expect.stringMatching(/^params\.\w+: unknown parameter/),
    ]);
  });

  it.each(['github:repo:acme', 'github:repo:acme/..', 'github:repo:acme/widgets/pulls', 'dbrole:acme/widgets'])(
    'a grant for %s',
    async (ref) => {
      const resource = parseResourceRef(ref);
      const attempt = { capability: 'repo.read', resource, operation: 'repository_metadata', params: {} };
      expect((await refusalOf(() => connector.prepare(attempt))).code).toBe('invalid_request');
      expect((await refusalOf(() => connector.checkResource(resource))).code).toBe('invalid_request');
    },
  );
});

describe('an operation', () => {
  it.each(['', 'delete_repository', 'toString', '__proto__', 'REPOSITORY_METADATA'])(
    '%j is not allowed',
    async (operation) => {
      const error = await refusalOf(() => prepare(operation, {}));
      expect([error.code, error.reason]).toEqual(['forbidden', 'operation_not_allowed']);
      expect(error.message).toContain(
        'allowed: pull_request_metadata, pull_request_files, repository_metadata, repository_issues',
      );
    },
  );

  it('that exists is still refused when it is not on the list', async () => {
    const narrow = connectorFor(BASE, { allowedOperations: ['repository_metadata'] });
    const attempt = { capability: 'repo.read', resource: WIDGETS, operation: 'repository_issues', params: {} };
    const error = await refusalOf(() => narrow.prepare(attempt));
    expect([error.reason, error.message]).toEqual([
      'operation_not_allowed',
      'operation: is not allowed; allowed: repository_metadata',
    ]);
  });

  it('that does not exist cannot be allowed', () => {
    expect(() => connectorFor(BASE, { allowedOperations: ['delete_repository'] })).toThrow(
      /"delete_repository" does not exist/,
    );
  });
});

describe('for any params at all', () => {
  const anything = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string(),
    fc.constantFrom('acme', 'widgets', 'ACME', '..', '7', '%2e%2e', 'open', 'asc'),
    fc.integer(),
    fc.double(),
    fc.anything(),
  );
  const keys = ['owner', 'repo', 'pull_number', 'page', 'per_page', 'state', 'labels', 'sort', 'direction', 'since'];
  const params = fc.oneof(
    fc.record(Object.fromEntries(keys.map((key) => [key, anything])), { requiredKeys: [] }),
    fc.record({ pull_number: fc.nat(), labels: fc.string({ unit: 'binary' }) }, { requiredKeys: [] }),
    fc.dictionary(fc.string(), anything),
  );
  const operations = fc.constantFrom(
    'pull_request_metadata',
    'pull_request_files',
    'repository_metadata',
    'repository_issues',
  );

  it('a call is refused, or stays exactly within its repository', async () => {
    await fc.assert(
      fc.asyncProperty(operations, params, async (operation, given) => {
        const before = seen.length;
        try {
          await prepare(operation, given).send(unlimited());
        } catch (error) {
          if (!(error instanceof BrokerError) || !['invalid_request', 'forbidden'].includes(error.code)) throw error;
          expect(seen.length).toBe(before);
          return;
        }
        const { origin, pathname } = new URL(seen.at(-1) ?? '');
        expect(origin).toBe('https://ghe.example');
        expect(pathname).toMatch(/^\/api\/v3\/repos\/acme\/widgets(\/issues|\/pulls\/[1-9][0-9]*(\/files)?)?$/);
      }),
      { numRuns: 1000 },
    );
  });

  it('a resource is refused, or names exactly one repository', async () => {
    const names = fc.oneof(
      fc.string(),
      fc.string({ unit: 'binary' }),
      fc.tuple(fc.string(), fc.string()).map((parts) => parts.join('/')),
      fc.stringMatching(/^[.%a-f2e/-]{1,12}$/),
    );
    await fc.assert(
      fc.asyncProperty(names, async (name) => {
        const resource = { kind: 'github_repo' as const, name, ref: `github:repo:${name}` };
        try {
          await connector
            .prepare({ capability: 'repo.read', resource, operation: 'repository_metadata', params: {} })
            .send(unlimited());
        } catch (error) {
          if (!(error instanceof BrokerError) || error.code !== 'invalid_request') throw error;
          return;
        }
        expect(new URL(seen.at(-1) ?? '').pathname).toBe(`/api/v3/repos/${name}`);
      }),
      { numRuns: 1000 },
    );
  });
});

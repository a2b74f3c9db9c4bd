import { describe, expect, it } from 'vitest';
import { cutOff, failure, redirect } from '../../../dev/github/answers.ts';
import type { ProxyConnector } from '../../../src/domain/connector.ts';
import { READ_OPERATIONS } from '../../../src/connectors/github/operations.ts';
import { CANARY, connectorFor, refusalOf, unlimited, useStandIn, WIDGETS } from './setup.ts';

const world = useStandIn();
const ISSUE = { title: 'It squeaks', body: 'A lot: <&>"\u2028 é', labels: ['bug'] };

const write = (operation: string, params: Record<string, unknown>, connector: ProxyConnector = world().connector) =>
  connector.prepare({ capability: 'repo.write', resource: WIDGETS, operation, params }).send(unlimited());

describe('a write', () => {
  it.each([
    ['create_issue', ISSUE, 'issue', ISSUE, { title: ISSUE.title, body: ISSUE.body }],
    ['create_pull_request_comment', { pull_number: 10, body: 'Oil it' }, 'comment', { body: 'Oil it' }, { body: 'Oil it' }],
    [
      'create_check_run',
      { name: 'squeak', head_sha: 'b'.repeat(40), conclusion: 'success' },
      'check_run',
      { name: 'squeak', head_sha: 'b'.repeat(40), conclusion: 'success' },
      { status: 'completed', conclusion: 'success' },
    ],
  ])('%s is made once, and its answer given', async (operation, params, kind, content, answer) => {
    const { payload, contentType, nextPage } = await write(operation, params);
    expect(world().standIn.written).toEqual([{ repository: 'acme/widgets', kind, content }]);
    expect(JSON.parse(Buffer.from(payload).toString())).toMatchObject(answer);
    expect([contentType, nextPage]).toEqual(['application/json; charset=utf-8', null]);
    expect(world().standIn.requests.map(({ authorization }) => authorization)).toEqual([`Bearer ${CANARY}`]);
  });

  it('may name owner and repository as the grant does, and they are not sent', async () => {
    await write('create_issue', { ...ISSUE, owner: 'ACME', repo: 'widgets' });
    expect(world().standIn.written[0]?.content).toEqual(ISSUE);
  });

  it('follows a repository that was renamed', async () => {
    const attempt = {
      capability: 'repo.write',
      resource: { ...WIDGETS, name: 'acme/old-widgets' },
      operation: 'create_issue',
      params: ISSUE,
    };
    // The stand-in serves no writes by id; that it was asked there, and with the body, is what counts.
    await refusalOf(() => world().connector.prepare(attempt).send(unlimited()));
    expect(world().standIn.requests.map(({ method, url }) => `${method} ${url}`)).toEqual([
      'POST /repos/acme/old-widgets/issues',
      'POST /repositories/1296269/issues',
    ]);
  });
});

describe('a write is never made twice', () => {
  it.each([
    ['when its answer breaks off', cutOff(201), 'look whether it was done before you ask again'],
    ['when GitHub fails', failure(502, 'Bad Gateway'), 'look whether it was done before you ask again'],
    ['when GitHub fails by itself', failure(500, 'Server Error'), 'look whether it was done before you ask again'],
    ['when a redirect would make a GET of it', redirect(301, '/repositories/1296269/issues'), 'would lose what was to be'],
    ['when another would', redirect(302, '/repositories/1296269/issues'), 'would lose what was to be'],
    ['when it is refused', failure(401, 'Bad credentials'), 'did not accept'],
  ])('%s', async (_name, answer, words) => {
    world().standIn.answerNext(answer);
    const error = await refusalOf(() => write('create_issue', ISSUE));
    expect([error.code, error.message]).toEqual(['upstream_error', expect.stringContaining(words)]);
    expect(world().standIn.requests).toHaveLength(1);
    expect(world().standIn.written).toEqual([]);
  });

  it('when the connection cannot be made', async () => {
    const error = await refusalOf(() => write('create_issue', ISSUE, connectorFor('http://127.0.0.1:1')));
    expect(error.message).toContain('look whether it was done');
  });
});

describe('a capability runs its own operations and no others', () => {
  it.each([
    ['repo.read', 'create_issue', ISSUE],
    ['repo.read', 'create_pull_request_comment', { pull_number: 10, body: 'x' }],
    ['repo.read', 'create_check_run', { name: 'x', head_sha: 'a'.repeat(40) }],
    ['repo.write', 'repository_metadata', {}],
    ['repo.write', 'repository_issues', {}],
    ['repo.wri', 'create_issue', ISSUE],
    ['', 'create_issue', ISSUE],
    ['toString', 'create_issue', ISSUE],
  ])('%s does not run %s', async (capability, operation, params) => {
    const attempt = { capability, resource: WIDGETS, operation, params };
    const error = await refusalOf(() => world().connector.prepare(attempt));
    expect([error.code, error.reason]).toEqual(['forbidden', 'operation_not_allowed']);
    expect(world().standIn.requests).toEqual([]);
  });

  it('and serves none of which nothing is allowed', () => {
    const reads = connectorFor('https://api.github.com', { allowedOperations: [...READ_OPERATIONS.keys()] });
    const comments = connectorFor('https://api.github.com', { allowedOperations: ['create_issue'] });
    expect([reads.capabilities, comments.capabilities]).toEqual([['repo.read'], ['repo.write']]);
    expect(world().connector.capabilities).toEqual(['repo.read', 'repo.write']);
  });
});

describe('what is written is bounded', () => {
  it.each<[name: string, operation: string, params: Record<string, unknown>, message: string]>([
    ['no title', 'create_issue', {}, 'params.title: must be a text of 1 to 256 characters'],
    ['a title without end', 'create_issue', { title: 'x'.repeat(257) }, 'params.title: must be'],
    ['a body without end', 'create_issue', { title: 'x', body: 'x'.repeat(65_536) }, 'params.body: must be'],
    ['half a surrogate pair', 'create_issue', { title: '\ud800' }, 'params.title: must be'],
    ['labels that are no list', 'create_issue', { title: 'x', labels: 'bug' }, 'params.labels: must be a list'],
    ['labels without end', 'create_issue', { title: 'x', labels: Array(51).fill('x') }, 'params.labels: must be 50'],
    [
      'somebody to work on it',
      'create_issue',
      { title: 'x', assignees: ['octavia'] },
      'params.assignees: unknown parameter',
    ],
    ['Octokit’s own words', 'create_issue', { title: 'x', baseUrl: 'https://evil.example' }, 'params.baseUrl: unknown'],
    ['a method', 'create_issue', { title: 'x', method: 'DELETE' }, 'params.method: unknown parameter'],
    ['headers', 'create_issue', { title: 'x', headers: { authorization: 'x' } }, 'params.headers: unknown parameter'],
    [
      'another repository',
      'create_issue',
      { title: 'x', repo: 'vault' },
      'params.repo: the grant is for acme/widgets alone',
    ],
    ['no pull request', 'create_pull_request_comment', { body: 'x' }, 'params.pull_number: must be'],
    ['a path', 'create_pull_request_comment', { pull_number: '7/../8', body: 'x' }, 'params.pull_number: must be'],
    ['no body', 'create_pull_request_comment', { pull_number: 7 }, 'params.body: must be'],
    ['another name for it', 'create_pull_request_comment', { issue_number: 7, body: 'x' }, 'unknown parameter'],
    ['no commit', 'create_check_run', { name: 'x' }, 'params.head_sha: must be the SHA of a commit'],
    ['a branch', 'create_check_run', { name: 'x', head_sha: 'main' }, 'params.head_sha: must be the SHA of a commit'],
    [
      'a script',
      'create_check_run',
      { name: 'x', head_sha: 'a'.repeat(40), details_url: 'javascript:alert(1)' },
      'params.details_url: must be an http(s) URL',
    ],
    [
      'an output of more',
      'create_check_run',
      { name: 'x', head_sha: 'a'.repeat(40), output: { title: 'x', summary: 'x', images: [] } },
      'params.images: unknown parameter',
    ],
  ])('%s', async (_name, operation, params, message) => {
    const error = await refusalOf(() => write(operation, params));
    expect(['invalid_request', 'forbidden']).toContain(error.code);
    expect(error.message).toContain(message);
    expect(world().standIn.requests).toEqual([]);
  });
});

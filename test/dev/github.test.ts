import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  badGateway,
  failure,
  primaryRateLimit,
  redirect,
  type ScriptedAnswer,
  secondaryRateLimit,
  validationFailed,
} from '../../dev/github/answers.ts';
import { BIG_PULL, BIG_PULL_FILES, buildRepositories, ISSUE_COUNT } from '../../dev/github/fixtures.ts';
import { type GitHubStandIn, startGitHubStandIn } from '../../dev/github/server.ts';
import { type GitHubDescription, loadGitHubDescription } from './github-description.ts';

const TOKEN = 'a-token';
let github: GitHubDescription;
let standIn: GitHubStandIn;

beforeAll(() => {
  github = loadGitHubDescription();
});
beforeEach(async () => {
  standIn = await startGitHubStandIn({ token: TOKEN });
});
afterEach(() => standIn.close());

const get = (path: string, authorization = `Bearer ${TOKEN}`): Promise<Response> =>
  fetch(standIn.url + path, { headers: { authorization }, redirect: 'manual' });
const numbers = z.array(z.object({ number: z.number() }));

describe('the description', () => {
  it('refuses what is not GitHub’s answer', () => {
    const route = github.routeOf('/repos/acme/widgets');
    expect(route?.mistakesInAnswer(200, {})).not.toEqual([]);
    expect(github.routeOf('/repos/acme/widgets/issues')?.mistakesInAnswer(200, [{ number: 'seven' }])).not.toEqual([]);
    expect(
      github.routeOf('/repos/acme/widgets/issues')?.mistakesInQuery(new URLSearchParams('pages=2&state=x')),
    ).toHaveLength(2);
    expect(github.routeOf('/repos/acme/widgets/nonsense/7')).toBeNull();
  });
});

describe('an answer of the stand-in', () => {
  it.each([
    '/repos/acme/widgets',
    '/repos/acme/vault',
    '/repos/acme/widgets/issues',
    '/repos/acme/widgets/issues?state=all&per_page=100',
    '/repos/acme/widgets/issues?state=all&per_page=100&page=2',
    '/repos/acme/widgets/issues?labels=bug&sort=comments&direction=asc&since=2025-02-01T00%3A00%3A00Z',
    '/repos/acme/widgets/pulls/10',
    '/repos/acme/widgets/pulls/130',
    `/repos/acme/widgets/pulls/${BIG_PULL}/files`,
    `/repos/acme/widgets/pulls/${BIG_PULL}/files?per_page=20&page=3`,
  ])('to %s is as GitHub describes it, and so is the question', async (path) => {
    const { pathname, searchParams } = new URL(path, standIn.url);
    const route = github.routeOf(pathname);
    const response = await get(path);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(route?.mistakesInQuery(searchParams)).toEqual([]);
    expect(route?.mistakesInAnswer(200, await response.json())).toEqual([]);
  });

  it.each([
    ['a repository that is not there', '/repos/acme/nothing'],
    ['a pull request that is not there', '/repos/acme/widgets/pulls/9999'],
    ['the files of one', '/repos/acme/widgets/pulls/9999/files'],
    ['an issue as pull request', '/repos/acme/widgets/pulls/1'],
    ['issues of nothing', '/repos/acme/nothing/issues'],
  ])('about %s is GitHub’s 404', async (_name, path) => {
    const response = await get(path);
    const body: unknown = await response.json();
    expect(response.status).toBe(404);
    expect(body).toEqual({ message: 'Not Found', documentation_url: 'https://docs.github.com/rest', status: '404' });
    expect(github.mistakesBySchema('basic-error', body)).toEqual([]);
  });

  it.each<[string, () => ScriptedAnswer, number, string, string]>([
    ['a used-up limit', () => primaryRateLimit(403, 1), 403, 'basic-error', '/repos/acme/widgets'],
    ['a used-up limit, the newer way', () => primaryRateLimit(429, 1), 429, 'basic-error', '/repos/acme/widgets'],
    ['a burst', () => secondaryRateLimit(403, '60'), 403, 'basic-error', '/repos/acme/widgets'],
    ['a failed validation', validationFailed, 422, 'validation-error', '/repos/acme/widgets/issues'],
    ['an internal error', () => failure(500, 'Server Error'), 500, 'basic-error', '/repos/acme/widgets/pulls/10'],
    ['a service away', () => failure(503, 'Unavailable'), 503, 'basic-error', '/repos/acme/widgets/pulls/10'],
    [
      'a refusal',
      () => failure(403, 'Resource not accessible by personal access token'),
      403,
      'basic-error',
      '/repos/acme/widgets',
    ],
    ['a move', () => redirect(301, '/repositories/1'), 301, 'basic-error', '/repos/acme/widgets'],
  ])('scripted as %s is as GitHub describes it', async (_name, answer, status, schema, path) => {
    standIn.answerNext(answer());
    const response = await get(path);
    const body: unknown = await response.json();
    expect(response.status).toBe(status);
    expect(github.mistakesBySchema(schema, body)).toEqual([]);
    expect(github.routeOf(path)?.mistakesInAnswer(status, body) ?? []).toEqual([]);
  });

  it.each(['', 'Bearer', 'Bearer wrong', `Basic ${TOKEN}`, TOKEN])(
    'to the authorization %j is GitHub’s 401',
    async (authorization) => {
      const response = await get('/repos/acme/widgets', authorization);
      const body: unknown = await response.json();
      expect(response.status).toBe(401);
      expect(body).toMatchObject({ message: 'Bad credentials', status: '401' });
      expect(github.mistakesBySchema('basic-error', body)).toEqual([]);
    },
  );

  it('to the older form of authorization is given too', async () => {
    expect((await get('/repos/acme/widgets', `token ${TOKEN}`)).status).toBe(200);
  });
});

describe('the stand-in', () => {
  it('pages as GitHub does: 30 by default, 100 at most, with links', async () => {
    const first = await get('/repos/acme/widgets/issues?state=all');
    const at = `${standIn.url}/repositories/1296269/issues?state=all`;
    expect(numbers.parse(await first.json())).toHaveLength(30);
    expect(first.headers.get('link')).toBe(`<${at}&page=2>; rel="next", <${at}&page=5>; rel="last"`);
    const middle = await get('/repos/acme/widgets/issues?state=all&page=2');
    expect(middle.headers.get('link')).toBe(
      `<${at}&page=1>; rel="prev", <${at}&page=3>; rel="next", <${at}&page=5>; rel="last", <${at}&page=1>; rel="first"`,
    );
    const last = await get('/repos/acme/widgets/issues?state=all&page=5');
    expect(numbers.parse(await last.json())).toHaveLength(ISSUE_COUNT - 120);
    expect(last.headers.get('link')).toBe(`<${at}&page=4>; rel="prev", <${at}&page=1>; rel="first"`);
    const big = await get('/repos/acme/widgets/issues?state=all&per_page=1000');
    expect(numbers.parse(await big.json())).toHaveLength(100);
    const files = await get(`/repos/acme/widgets/pulls/${BIG_PULL}/files?per_page=100`);
    expect(await files.json()).toHaveLength(BIG_PULL_FILES);
    expect(files.headers.get('link')).toBeNull();
  });

  it('follows its own links', async () => {
    const first = await get('/repos/acme/widgets/issues?per_page=2');
    const next = /<[^>]*(\/repositories[^>]*)>; rel="next"/.exec(first.headers.get('link') ?? '')?.[1] ?? '';
    expect(numbers.parse(await (await get(next)).json())).toHaveLength(2);
  });

  it('shows open issues, newest first, unless told otherwise', async () => {
    const open = numbers.parse(await (await get('/repos/acme/widgets/issues?per_page=3')).json());
    expect(open.map(({ number }) => number)).toEqual([130, 129, 128]);
    const closed = numbers.parse(
      await (await get('/repos/acme/widgets/issues?state=closed&direction=asc&per_page=2')).json(),
    );
    expect(closed.map(({ number }) => number)).toEqual([1, 6]);
  });

  it('sends a renamed repository’s caller to its id', async () => {
    const response = await get('/repos/acme/old-widgets/issues?per_page=1');
    expect(response.status).toBe(301);
    expect(response.headers.get('location')).toBe(`${standIn.url}/repositories/1296269/issues?per_page=1`);
  });

  it('answers as scripted once, in order, and then by itself', async () => {
    standIn.answerNext(failure(500, 'first'));
    standIn.answerNext(badGateway());
    const statuses = [];
    for (let times = 0; times < 3; times++) statuses.push((await get('/repos/acme/widgets')).status);
    expect(statuses).toEqual([500, 502, 200]);
    expect(standIn.requests.map(({ method, url }) => `${method} ${url}`)).toEqual(Array(3).fill('GET /repos/acme/widgets'));
  });

  it('has the same data every time', () => {
    expect(buildRepositories()).toEqual(buildRepositories());
  });
});

import { describe, expect, it } from 'vitest';
import { redirect } from '../../../dev/github/answers.ts';
import { startGitHubStandIn } from '../../../dev/github/server.ts';
import { parseResourceRef } from '../../../src/domain/resource.ts';
import { CANARY, connectorFor, refusalOf, unlimited, useStandIn, WIDGETS } from './setup.ts';

const ID = 1296269;

describe.each(['', '/api/v3'])('a redirect, with the API at "%s"', (basePath) => {
  const world = useStandIn({ basePath });

  it('of a renamed repository is followed with its rest and the token', async () => {
    const resource = parseResourceRef('github:repo:acme/old-widgets');
    const params = { page: 2, per_page: 10 };
    const call = connectorFor(world().standIn.url).prepare({
      capability: 'repo.read',
      resource,
      operation: 'repository_issues',
      params,
    });
    expect((await call.send(unlimited())).nextPage).toBe(3);
    expect(world().standIn.requests.map(({ url, authorization }) => [url, authorization])).toEqual([
      [`${basePath}/repos/acme/old-widgets/issues?page=2&per_page=10`, `Bearer ${CANARY}`],
      [`${basePath}/repositories/${ID}/issues?page=2&per_page=10`, `Bearer ${CANARY}`],
    ]);
  });

  it.each([301, 302, 307, 308])('with status %d is followed', async (status) => {
    world().standIn.answerNext(redirect(status, `${world().standIn.url}/repositories/${ID}`));
    await world().call('repository_metadata');
    expect(world().standIn.requests).toHaveLength(2);
  });

  it.each([
    ['by its path alone', `${basePath}/repositories/${ID}`],
    ['to the same name in other case', `${basePath}/repos/ACME/Widgets`],
  ])('%s is followed', async (_name, location) => {
    world().standIn.answerNext(redirect(301, location));
    await world().call('repository_metadata');
    expect(world().standIn.requests.at(-1)?.url).toBe(location);
  });

  it('takes its query from the call, not from GitHub', async () => {
    world().standIn.answerNext(redirect(301, `${basePath}/repositories/${ID}/issues?state=all&page=9`));
    await world().call('repository_issues', { page: 1 });
    expect(world().standIn.requests.at(-1)?.url).toBe(`${basePath}/repositories/${ID}/issues?page=1`);
  });

  it('three times is followed, and a fourth is not', async () => {
    for (let times = 0; times < 3; times++) world().standIn.answerNext(redirect(301, `${basePath}/repositories/${ID}`));
    await world().call('repository_metadata');
    for (let times = 0; times < 4; times++) world().standIn.answerNext(redirect(301, `${basePath}/repositories/${ID}`));
    const error = await refusalOf(() => world().call('repository_metadata'));
    expect([error.code, error.message]).toEqual(['upstream_error', 'GitHub redirected more than 3 times']);
    expect(world().standIn.requests).toHaveLength(8);
  });

  it.each<[string, (origin: string) => string, string]>([
    ['another host', () => `https://evil.example/repositories/${ID}`, 'upstream_error'],
    ['a host named like ours', (origin) => `${origin}.evil.example${basePath}/repositories/${ID}`, 'upstream_error'],
    ['a host after our name as user', (origin) => `${origin}@evil.example${basePath}/repositories/${ID}`, 'upstream_error'],
    [
      'our host with a user',
      (origin) => origin.replace('//', '//x:y@') + `${basePath}/repositories/${ID}`,
      'upstream_error',
    ],
    [
      'another name of our host',
      (origin) => origin.replace('127.0.0.1', 'localhost') + `${basePath}/repositories/${ID}`,
      'upstream_error',
    ],
    ['another port', () => `http://127.0.0.1:1${basePath}/repositories/${ID}`, 'upstream_error'],
    ['another scheme', (origin) => origin.replace('http:', 'https:') + `${basePath}/repositories/${ID}`, 'upstream_error'],
    ['no scheme', () => `//evil.example/repositories/${ID}`, 'upstream_error'],
    ['backslashes', () => `\\\\evil.example\\repositories\\${ID}`, 'upstream_error'],
    ['data', () => 'data:application/json,{}', 'upstream_error'],
    ['a file', () => 'file:///etc/passwd', 'upstream_error'],
    ['nowhere', () => '', 'upstream_error'],
    ['no address', () => 'http://[', 'upstream_error'],
    ['another repository', () => `${basePath}/repos/acme/vault`, 'forbidden'],
    ['another owner', () => `${basePath}/repos/evil/widgets`, 'forbidden'],
    ['another repository, by dots', () => `${basePath}/repos/acme/widgets/../vault`, 'forbidden'],
    [
      'another repository, by encoded dots',
      () => `${basePath}/repositories/${ID}/%2e%2e/%2e%2e/repos/acme/vault`,
      'forbidden',
    ],
    ['an encoded slash', () => `${basePath}/repos/acme/widgets%2f..%2fvault`, 'forbidden'],
    ['another part of the repository', () => `${basePath}/repositories/${ID}/contents`, 'upstream_error'],
    ['an id that is none', () => `${basePath}/repositories/${ID}x`, 'upstream_error'],
    ['no id', () => `${basePath}/repositories/`, 'upstream_error'],
    ['another part of the API', () => `${basePath}/user`, 'upstream_error'],
    ['graphql', () => `${basePath}/graphql`, 'upstream_error'],
    ['beside the base path', () => `${basePath || '/'}x/repositories/${ID}`, 'upstream_error'],
    ['above the base path', () => `${basePath}/../../repositoriesx/${ID}`, 'upstream_error'],
  ])('to %s is refused', async (_name, location, code) => {
    const { origin } = new URL(world().standIn.url);
    world().standIn.answerNext(redirect(302, location(origin)));
    const error = await refusalOf(() => world().call('repository_metadata'));
    expect([error.code, error.reason]).toEqual([code, code === 'forbidden' ? 'resource_outside_grant' : null]);
    expect(world().standIn.requests).toHaveLength(1);
  });

  it('never takes the token to another server', async () => {
    const other = await startGitHubStandIn({ token: CANARY, basePath });
    world().standIn.answerNext(redirect(301, `${other.url}/repos/acme/widgets`));
    const call = world().connector.prepare({
      capability: 'repo.read',
      resource: WIDGETS,
      operation: 'repository_metadata',
      params: {},
    });
    expect((await refusalOf(() => call.send(unlimited()))).code).toBe('upstream_error');
    expect(other.requests).toEqual([]);
    await other.close();
  });
});

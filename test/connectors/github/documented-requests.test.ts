import { beforeAll, describe, expect, it } from 'vitest';
import { GITHUB_OPERATIONS } from '../../../src/connectors/github/operations.ts';
import { type GitHubDescription, loadGitHubDescription } from '../../dev/github-description.ts';
import { connectorFor, recordingUpstream, unlimited, WIDGETS } from './setup.ts';

const ALL_PARAMS: Readonly<Record<string, Record<string, unknown>>> = {
  pull_request_metadata: { pull_number: 7 },
  pull_request_files: { pull_number: 7, page: 2, per_page: 100 },
  repository_metadata: {},
  repository_issues: {
    page: 2,
    per_page: 100,
    state: 'all',
    labels: 'bug,ui',
    sort: 'comments',
    direction: 'asc',
    since: '2026-01-02T03:04:05Z',
  },
};

let github: GitHubDescription;
beforeAll(() => {
  github = loadGitHubDescription();
});

describe('each request the connector can make is one that GitHub describes', () => {
  it.each([...GITHUB_OPERATIONS.values()])('$name', async ({ name, route }) => {
    const sent: URL[] = [];
    const connector = connectorFor('https://api.github.com', { upstream: recordingUpstream(sent) });
    const params = ALL_PARAMS[name] ?? {};
    await connector.prepare({ capability: 'repo.read', resource: WIDGETS, operation: name, params }).send(unlimited());

    const [url] = sent;
    const documented = github.routeOf(url?.pathname ?? '');
    expect(`GET ${documented?.path}`).toBe(route);
    expect(documented?.mistakesInQuery(url?.searchParams ?? new URLSearchParams())).toEqual([]);
    expect([...(url?.searchParams.keys() ?? [])]).toEqual(Object.keys(params).filter((key) => key !== 'pull_number'));
  });
});

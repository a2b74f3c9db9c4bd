import { beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
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
  create_issue: { title: 'It squeaks', body: 'A lot.', labels: ['bug', 'ui'] },
  create_pull_request_comment: { pull_number: 7, body: 'Oil it.' },
  create_check_run: {
    name: 'squeak',
    head_sha: '0123456789abcdef0123456789abcdef01234567',
    status: 'completed',
    conclusion: 'failure',
    details_url: 'https://ci.example/7',
    external_id: '7',
    started_at: '2026-01-02T03:04:05Z',
    completed_at: '2026-01-02T03:05:05Z',
    output: { title: 'Squeaks', summary: 'One part does.', text: 'The third one.' },
  },
};

let github: GitHubDescription;
beforeAll(() => {
  github = loadGitHubDescription();
});

/** Those that name the place, and are in the path. */
const IN_PATH = ['pull_number'];

describe('each request the connector can make is one that GitHub describes', () => {
  it.each([...GITHUB_OPERATIONS.values()])('$name', async ({ name, route, capability }) => {
    const sent: URL[] = [];
    const bodies: (string | null)[] = [];
    const connector = connectorFor('https://api.github.com', { upstream: recordingUpstream(sent, bodies) });
    const params = ALL_PARAMS[name] ?? {};
    await connector.prepare({ capability, resource: WIDGETS, operation: name, params }).send(unlimited());

    const [url] = sent;
    const method = route.startsWith('GET ') ? 'get' : 'post';
    const documented = github.routeOf(url?.pathname ?? '', method);
    expect(`${method.toUpperCase()} ${documented?.path}`).toBe(route);
    expect(documented?.mistakesInQuery(url?.searchParams ?? new URLSearchParams())).toEqual([]);
    const given = Object.keys(params).filter((key) => !IN_PATH.includes(key));
    const [body = null] = bodies;
    if (method === 'get') {
      expect([...(url?.searchParams.keys() ?? [])]).toEqual(given);
      expect(body).toBeNull();
    } else {
      const content = z.record(z.string(), z.unknown()).parse(JSON.parse(body ?? ''));
      expect(documented?.mistakesInBody(content)).toEqual([]);
      expect(content).toEqual(Object.fromEntries(given.map((key) => [key, params[key]])));
      expect(url?.search).toBe('');
    }
  });
});

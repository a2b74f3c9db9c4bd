import { issueFilters, pagination, paramsParser, pullNumber, type QueryParams } from './params.ts';
import type { RepositoryName } from './repository-name.ts';

/** One call of GitHub's REST API that can be made under a grant. */
export interface GitHubOperation {
  name: string;
  /** Octokit's form of GitHub's documented route. */
  route: `GET /repos/{owner}/{repo}${string}`;
  /** What a 404 says is not there. */
  subject: string;
  /** See `paramsParser`. */
  parseParams(params: Readonly<Record<string, unknown>>, granted: RepositoryName): QueryParams;
}

/** The capability that covers every operation below: they read, and nothing else. */
export const READ_CAPABILITY = 'repo.read';

const OPERATIONS: readonly GitHubOperation[] = [
  {
    // https://docs.github.com/rest/pulls/pulls#get-a-pull-request
    name: 'pull_request_metadata',
    route: 'GET /repos/{owner}/{repo}/pulls/{pull_number}',
    subject: 'pull request',
    parseParams: paramsParser('pull_request_metadata', { pull_number: pullNumber }),
  },
  {
    // https://docs.github.com/rest/pulls/pulls#list-pull-requests-files
    name: 'pull_request_files',
    route: 'GET /repos/{owner}/{repo}/pulls/{pull_number}/files',
    subject: 'pull request',
    parseParams: paramsParser('pull_request_files', { pull_number: pullNumber, ...pagination }),
  },
  {
    // https://docs.github.com/rest/repos/repos#get-a-repository
    name: 'repository_metadata',
    route: 'GET /repos/{owner}/{repo}',
    subject: 'repository',
    parseParams: paramsParser('repository_metadata', {}),
  },
  {
    // https://docs.github.com/rest/issues/issues#list-repository-issues
    name: 'repository_issues',
    route: 'GET /repos/{owner}/{repo}/issues',
    subject: 'repository',
    parseParams: paramsParser('repository_issues', { ...pagination, ...issueFilters }),
  },
];

/** Every operation this connector knows, by name. */
export const GITHUB_OPERATIONS: ReadonlyMap<string, GitHubOperation> = new Map(
  OPERATIONS.map((operation) => [operation.name, operation]),
);

import { type GitHubOperation, READ_CAPABILITY } from './operation.ts';
import { issueFilters, pagination, paramsParser, pullNumber } from './params.ts';
import { WRITES } from './write-operations.ts';

const READ = { capability: READ_CAPABILITY, permissions: null } as const;

const READS: readonly GitHubOperation[] = [
  {
    // https://docs.github.com/rest/pulls/pulls#get-a-pull-request
    ...READ,
    name: 'pull_request_metadata',
    route: 'GET /repos/{owner}/{repo}/pulls/{pull_number}',
    subject: 'pull request',
    parseParams: paramsParser('pull_request_metadata', { pull_number: pullNumber }),
  },
  {
    // https://docs.github.com/rest/pulls/pulls#list-pull-requests-files
    ...READ,
    name: 'pull_request_files',
    route: 'GET /repos/{owner}/{repo}/pulls/{pull_number}/files',
    subject: 'pull request',
    parseParams: paramsParser('pull_request_files', { pull_number: pullNumber, ...pagination }),
  },
  {
    // https://docs.github.com/rest/repos/repos#get-a-repository
    ...READ,
    name: 'repository_metadata',
    route: 'GET /repos/{owner}/{repo}',
    subject: 'repository',
    parseParams: paramsParser('repository_metadata', {}),
  },
  {
    // https://docs.github.com/rest/issues/issues#list-repository-issues
    ...READ,
    name: 'repository_issues',
    route: 'GET /repos/{owner}/{repo}/issues',
    subject: 'repository',
    parseParams: paramsParser('repository_issues', { ...pagination, ...issueFilters }),
  },
];

/** The operations that read, by name. */
export const READ_OPERATIONS = byName(READS);

/** Every operation this connector knows, by name. */
export const GITHUB_OPERATIONS = byName([...READS, ...WRITES]);

function byName(operations: readonly GitHubOperation[]): ReadonlyMap<string, GitHubOperation> {
  return new Map(operations.map((operation) => [operation.name, operation]));
}

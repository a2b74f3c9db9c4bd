import type { CallParams } from './params.ts';
import type { Permissions } from './permissions.ts';
import type { RepositoryName } from './repository-name.ts';

/** One call of GitHub's REST API that can be made under a grant. */
export interface GitHubOperation {
  name: string;
  /** Octokit's form of GitHub's documented route. */
  route: `${'GET' | 'POST'} /repos/{owner}/{repo}${string}`;
  /** The only capability under which it runs. */
  capability: string;
  /** What a token of an App must be allowed for it, and no more; null for what all reads share. */
  permissions: Permissions | null;
  /** What a 404 says is not there. */
  subject: string;
  /** See `paramsParser`. */
  parseParams(params: Readonly<Record<string, unknown>>, granted: RepositoryName): CallParams;
}

/** Covers the operations that read, and nothing else. */
export const READ_CAPABILITY = 'repo.read';
/** Covers the operations that write, and nothing else. */
export const WRITE_CAPABILITY = 'repo.write';

export const isWrite = ({ route }: GitHubOperation): boolean => !route.startsWith('GET ');

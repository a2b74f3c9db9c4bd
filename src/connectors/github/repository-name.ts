import { invalidRequest } from '../../domain/errors.ts';

/** A repository as a grant names it. Both parts are plain ASCII that means nothing special in a URL's path. */
export interface RepositoryName {
  owner: string;
  repo: string;
}

// https://docs.github.com/enterprise-cloud@latest/admin/managing-iam/iam-configuration-reference/username-considerations-for-external-authentication
// (the underscore separates the short code of an enterprise's managed accounts).
const OWNER = /^[A-Za-z0-9_-]{1,39}$/;
const REPO = /^[A-Za-z0-9._-]{1,100}$/;

/**
 * Reads `OWNER/NAME` by GitHub's rules for account and repository names; case is kept.
 * Throws `invalid_request` for anything else: no third part, no encoding, no `.` or `..`. A name ending in `.git` is
 * refused because GitHub has none and may read it as an alias of the name without.
 */
export function parseRepositoryName(name: string): RepositoryName {
  const [owner = '', repo = '', ...rest] = name.split('/');
  const wellFormed = rest.length === 0 && OWNER.test(owner) && REPO.test(repo);
  if (!wellFormed || repo === '.' || repo === '..' || repo.toLowerCase().endsWith('.git')) {
    throw invalidRequest('resource_ref: write github:repo:OWNER/NAME, as in github:repo:acme/widgets');
  }
  return { owner, repo };
}

/** Whether two account or repository names are the same to GitHub, which ignores their case. */
export function isSameName(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

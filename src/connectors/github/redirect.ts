import { type BrokerError, forbidden, upstreamError } from '../../domain/errors.ts';
import { isSameName, type RepositoryName } from './repository-name.ts';

/** Where a call goes: the API's base, the repository's place below it, and the rest of the path and query. */
export interface CallTarget {
  /** Without a trailing slash. */
  base: string;
  /** `/repos/OWNER/NAME` or `/repositories/ID`. */
  repositoryPath: string;
  /** What follows it, such as `/pulls/7/files`, or nothing. */
  tail: string;
  /** `?` and the query, or nothing. */
  query: string;
}

export const MAX_REDIRECTS = 3;
const REDIRECT_STATUSES: ReadonlySet<number> = new Set([301, 302, 307, 308]);
const REPOSITORY_PATH = /^(?:\/repositories\/[0-9]{1,19}|\/repos\/([^/]+)\/([^/]+))(?=\/|$)/;

export function isRedirect(status: number): boolean {
  return REDIRECT_STATUSES.has(status);
}

export function urlOf(target: CallTarget): string {
  return target.base + target.repositoryPath + target.tail + target.query;
}

/**
 * Where a redirect leads. The token goes along, so only the repository's place is taken from `location`; host, rest of the
 * path and query stay what they were, and a location that says otherwise is refused with `upstream_error`.
 *
 * GitHub answers for a renamed or transferred repository with `/repositories/ID`
 * (https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api#follow-redirects). That is followed:
 * it is the repository the granted name stands for by GitHub's own book, and only an administrator of that repository can
 * make a name lead there. A redirect to another `/repos/OWNER/NAME` names something the policy has not looked at, and is
 * `forbidden` (`resource_outside_grant`).
 */
export function redirectedTarget(current: CallTarget, location: string | null, granted: RepositoryName): CallTarget {
  const base = new URL(current.base);
  const basePath = base.pathname.replace(/\/$/, '');
  const url = location ? URL.parse(location, urlOf(current)) : null;
  if (url === null || url.origin !== base.origin || url.username !== '' || url.password !== '') throw leavesTheApi();
  if (!url.pathname.startsWith(`${basePath}/`)) throw leavesTheApi();

  const path = url.pathname.slice(basePath.length);
  const match = REPOSITORY_PATH.exec(path);
  if (match === null) throw leavesTheApi();
  const [repositoryPath, owner, repo] = match;
  if (owner !== undefined && repo !== undefined && !(isSameName(owner, granted.owner) && isSameName(repo, granted.repo))) {
    throw forbidden('resource_outside_grant', 'GitHub names another repository now; request a grant for its new name', {
      rule: 'grant',
    });
  }
  if (path.slice(repositoryPath.length) !== current.tail) throw leavesTheApi();
  return { ...current, repositoryPath };
}

function leavesTheApi(): BrokerError {
  return upstreamError('GitHub sent a redirect that ASB does not follow: it leads away from the repository in its API');
}

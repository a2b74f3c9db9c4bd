import type { Issue } from './fixtures.ts';

/** Query parameters, each given once. */
export type Query = Readonly<Record<string, string | undefined>>;

const DEFAULT_PER_PAGE = 30;
const MAX_PER_PAGE = 100;

/**
 * One page of a list and the `Link` header to the others, null when there are none
 * (https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api). `path` is where the list is found.
 */
export function pageOf<T>(items: readonly T[], query: Query, path: string): { page: readonly T[]; link: string | null } {
  const perPage = Math.min(numberOr(query.per_page, DEFAULT_PER_PAGE), MAX_PER_PAGE);
  const number = numberOr(query.page, 1);
  const last = Math.max(Math.ceil(items.length / perPage), 1);
  const to = (page: number, relation: string): string => {
    const search = new URLSearchParams({ ...withoutGaps(query), page: String(page) });
    return `<${path}?${search.toString()}>; rel="${relation}"`;
  };
  const links = [
    ...(number > 1 ? [to(Math.min(number - 1, last), 'prev')] : []),
    ...(number < last ? [to(number + 1, 'next'), to(last, 'last')] : []),
    ...(number > 1 ? [to(1, 'first')] : []),
  ];
  return { page: items.slice((number - 1) * perPage, number * perPage), link: links.join(', ') || null };
}

/** Filters and sorts as https://docs.github.com/rest/issues/issues#list-repository-issues says. */
export function selectIssues(issues: readonly Issue[], query: Query): readonly Issue[] {
  const { state = 'open', sort = 'created', direction = 'desc' } = query;
  const labels = query.labels?.split(',') ?? [];
  const since = Date.parse(query.since ?? '1970-01-01T00:00:00Z');
  const rank = (issue: Issue): number => {
    if (sort === 'comments') return issue.comments;
    return Date.parse(sort === 'updated' ? issue.updated_at : issue.created_at);
  };
  return issues
    .filter((issue) => state === 'all' || issue.state === state)
    .filter((issue) => labels.every((label) => issue.labels.some(({ name }) => name === label)))
    .filter((issue) => Date.parse(issue.updated_at) >= since)
    .toSorted((a, b) => (direction === 'asc' ? rank(a) - rank(b) : rank(b) - rank(a)));
}

function numberOr(value: string | undefined, otherwise: number): number {
  return value !== undefined && /^[1-9][0-9]*$/.test(value) ? Number(value) : otherwise;
}

function withoutGaps(query: Query): Record<string, string> {
  return Object.fromEntries(Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
}

import { API, day, issue, type Json, nodeId, ORGANIZATION, type RepositoryFixture, user, WEB } from './fixtures.ts';

/** Who writes: an App's own account. */
const BOT = user('asb-broker[bot]', 103, 'Bot');
export const APP_SLUG = 'asb-broker';

/** What a caller sent. */
export type Content = Readonly<Record<string, unknown>>;

/** https://docs.github.com/rest/issues/issues#create-an-issue */
export function createdIssue({ names: [fullName], issues }: RepositoryFixture, content: Content): Json {
  const number = issues.length + 1;
  const labels = Array.isArray(content.labels) ? content.labels.map((name) => label(fullName, String(name))) : [];
  const { pull_request: _none, ...fields } = issue(fullName, number);
  const opened = { state: 'open', state_reason: null, closed_at: null, comments: 0, user: BOT };
  return { ...fields, ...opened, labels, title: content.title, body: content.body ?? null };
}

function label(fullName: string, name: string): Json {
  const url = `${API}/repos/${fullName}/labels/${encodeURIComponent(name)}`;
  return { id: 1, node_id: nodeId('Label', 1), url, name, description: null, color: 'ededed', default: false };
}

/** https://docs.github.com/rest/issues/comments#create-an-issue-comment */
export function createdComment({ names: [fullName] }: RepositoryFixture, number: number, content: Content): Json {
  const id = 9_000_000 + number;
  return {
    url: `${API}/repos/${fullName}/issues/comments/${id}`,
    html_url: `${WEB}/${fullName}/pull/${number}#issuecomment-${id}`,
    issue_url: `${API}/repos/${fullName}/issues/${number}`,
    id,
    node_id: nodeId('IssueComment', id),
    user: BOT,
    created_at: day(300),
    updated_at: day(300),
    body: content.body,
    author_association: 'NONE',
  };
}

/** https://docs.github.com/rest/checks/runs#create-a-check-run */
export function createdCheckRun({ names: [fullName] }: RepositoryFixture, content: Content): Json {
  const { output, conclusion = null } = content;
  const id = 4;
  return {
    id,
    name: content.name,
    node_id: nodeId('CheckRun', id),
    head_sha: content.head_sha,
    external_id: content.external_id ?? '',
    url: `${API}/repos/${fullName}/check-runs/${id}`,
    html_url: `${WEB}/${fullName}/runs/${id}`,
    details_url: content.details_url ?? `${WEB}/apps/${APP_SLUG}`,
    status: conclusion === null ? (content.status ?? 'queued') : 'completed',
    conclusion,
    started_at: content.started_at ?? day(300),
    completed_at: content.completed_at ?? (conclusion === null ? null : day(300)),
    output: {
      ...{ title: null, summary: null, text: null },
      ...(typeof output === 'object' ? output : {}),
      annotations_count: 0,
      annotations_url: `${API}/repos/${fullName}/check-runs/${id}/annotations`,
    },
    check_suite: { id: 5 },
    app: appFields(37, {}),
    pull_requests: [],
  };
}

/** https://docs.github.com/rest/apps/apps#get-the-authenticated-app */
export function appFields(id: number, permissions: Content): Json {
  return {
    id,
    slug: APP_SLUG,
    node_id: nodeId('App', id),
    owner: ORGANIZATION,
    name: 'ASB broker',
    description: '',
    external_url: 'https://asb.example',
    html_url: `${WEB}/apps/${APP_SLUG}`,
    created_at: day(0),
    updated_at: day(0),
    permissions,
    events: [],
  };
}

/** https://docs.github.com/rest/apps/apps#get-a-repository-installation-for-the-authenticated-app */
export function installationFields(id: number, appId: number, permissions: Content, suspendedAt: string | null): Json {
  return {
    id,
    account: ORGANIZATION,
    repository_selection: 'selected',
    access_tokens_url: `${API}/app/installations/${id}/access_tokens`,
    repositories_url: `${API}/installation/repositories`,
    html_url: `${WEB}/organizations/acme/settings/installations/${id}`,
    app_id: appId,
    app_slug: APP_SLUG,
    target_id: 101,
    target_type: 'Organization',
    permissions,
    events: [],
    created_at: day(0),
    updated_at: day(0),
    single_file_name: null,
    has_multiple_single_files: false,
    single_file_paths: [],
    suspended_by: suspendedAt === null ? null : ORGANIZATION,
    suspended_at: suspendedAt,
  };
}

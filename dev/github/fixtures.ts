export const API = 'https://api.github.com';
export const WEB = 'https://github.com';
const FIRST_DAY = Date.parse('2025-01-01T00:00:00Z');
const DAY_MS = 24 * 60 * 60 * 1000;

/** Something that lives in GitHub's answers; the stand-in reads only what it filters and sorts by. */
export type Json = Readonly<Record<string, unknown>>;

export interface Issue extends Json {
  number: number;
  state: 'open' | 'closed';
  labels: readonly (Json & { name: string })[];
  comments: number;
  created_at: string;
  updated_at: string;
}

export interface RepositoryFixture {
  id: number;
  /** `OWNER/NAME`, then the names it had before. */
  names: readonly [current: string, ...former: string[]];
  metadata: Json;
  issues: readonly Issue[];
  pulls: ReadonlyMap<number, { metadata: Json; files: readonly Json[] }>;
}

/** Issues of acme/widgets, more than fit on one page; every tenth is a pull request. */
export const ISSUE_COUNT = 130;
/** A pull request with so many files that they take several pages. */
export const BIG_PULL = 20;
export const BIG_PULL_FILES = 45;

/** Every repository that the stand-in serves: the same in every run. */
export function buildRepositories(): readonly RepositoryFixture[] {
  return [
    buildRepository(1296269, ['acme/widgets', 'acme/old-widgets'], false, ISSUE_COUNT),
    buildRepository(1296270, ['acme/vault'], true, 3),
  ];
}

function buildRepository(
  id: number,
  names: RepositoryFixture['names'],
  isPrivate: boolean,
  issueCount: number,
): RepositoryFixture {
  const [fullName] = names;
  const numbers = Array.from({ length: issueCount }, (_, index) => index + 1);
  const metadata = repository(id, fullName, isPrivate, issueCount);
  const pulls = numbers.filter(isPull).map((number) => {
    const files = Array.from({ length: number === BIG_PULL ? BIG_PULL_FILES : 3 }, (_, index) =>
      file(fullName, number, index),
    );
    return [number, { metadata: pullRequest(metadata, fullName, number, files.length), files }] as const;
  });
  return { id, names, metadata, issues: numbers.map((number) => issue(fullName, number)), pulls: new Map(pulls) };
}

function isPull(number: number): boolean {
  return number % 10 === 0;
}

function isOpen(number: number): boolean {
  return number % 5 !== 1;
}

export function day(number: number): string {
  return new Date(FIRST_DAY + number * DAY_MS).toISOString().replace('.000Z', 'Z');
}

export function nodeId(kind: string, id: number): string {
  return Buffer.from(`${kind}:${id}`).toString('base64');
}

function sha(seed: string): string {
  return Buffer.from(seed).toString('hex').padEnd(40, '0').slice(0, 40);
}

export function user(login: string, id: number, type = 'User'): Json {
  // An App's own account ends in [bot].
  const name = encodeURIComponent(login);
  const url = `${API}/users/${name}`;
  return {
    login,
    id,
    node_id: nodeId('User', id),
    avatar_url: `https://avatars.githubusercontent.com/u/${id}?v=4`,
    gravatar_id: '',
    url,
    html_url: `${WEB}/${name}`,
    followers_url: `${url}/followers`,
    following_url: `${url}/following{/other_user}`,
    gists_url: `${url}/gists{/gist_id}`,
    starred_url: `${url}/starred{/owner}{/repo}`,
    subscriptions_url: `${url}/subscriptions`,
    organizations_url: `${url}/orgs`,
    repos_url: `${url}/repos`,
    events_url: `${url}/events{/privacy}`,
    received_events_url: `${url}/received_events`,
    type,
    user_view_type: 'public',
    site_admin: false,
  };
}

export const ORGANIZATION = user('acme', 101, 'Organization');
const AUTHOR = user('octavia', 102);

/** The addresses below a repository, with the templates that GitHub leaves in some of them. */
const REPOSITORY_URLS: Readonly<Record<string, string>> = {
  archive_url: '/{archive_format}{/ref}',
  assignees_url: '/assignees{/user}',
  blobs_url: '/git/blobs{/sha}',
  branches_url: '/branches{/branch}',
  collaborators_url: '/collaborators{/collaborator}',
  comments_url: '/comments{/number}',
  commits_url: '/commits{/sha}',
  compare_url: '/compare/{base}...{head}',
  contents_url: '/contents/{+path}',
  contributors_url: '/contributors',
  deployments_url: '/deployments',
  downloads_url: '/downloads',
  events_url: '/events',
  forks_url: '/forks',
  git_commits_url: '/git/commits{/sha}',
  git_refs_url: '/git/refs{/sha}',
  git_tags_url: '/git/tags{/sha}',
  hooks_url: '/hooks',
  issue_comment_url: '/issues/comments{/number}',
  issue_events_url: '/issues/events{/number}',
  issues_url: '/issues{/number}',
  keys_url: '/keys{/key_id}',
  labels_url: '/labels{/name}',
  languages_url: '/languages',
  merges_url: '/merges',
  milestones_url: '/milestones{/number}',
  notifications_url: '/notifications{?since,all,participating}',
  pulls_url: '/pulls{/number}',
  releases_url: '/releases{/id}',
  stargazers_url: '/stargazers',
  statuses_url: '/statuses/{sha}',
  subscribers_url: '/subscribers',
  subscription_url: '/subscription',
  tags_url: '/tags',
  teams_url: '/teams',
  trees_url: '/git/trees{/sha}',
};

function repository(id: number, fullName: string, isPrivate: boolean, openIssues: number): Json {
  const url = `${API}/repos/${fullName}`;
  const web = `${WEB}/${fullName}`;
  return {
    id,
    node_id: nodeId('Repository', id),
    name: fullName.split('/')[1],
    full_name: fullName,
    private: isPrivate,
    owner: ORGANIZATION,
    html_url: web,
    description: `What ${fullName} is made of`,
    fork: false,
    url,
    ...Object.fromEntries(Object.entries(REPOSITORY_URLS).map(([name, path]) => [name, url + path])),
    created_at: day(0),
    updated_at: day(200),
    pushed_at: day(200),
    git_url: `git://github.com/${fullName}.git`,
    ssh_url: `git@github.com:${fullName}.git`,
    clone_url: `${web}.git`,
    svn_url: web,
    homepage: null,
    mirror_url: null,
    size: 4096,
    stargazers_count: 80,
    watchers_count: 80,
    watchers: 80,
    language: 'TypeScript',
    has_issues: true,
    has_projects: true,
    has_downloads: true,
    has_wiki: false,
    has_pages: false,
    has_discussions: false,
    forks_count: 9,
    forks: 9,
    archived: false,
    disabled: false,
    open_issues_count: openIssues,
    open_issues: openIssues,
    license: {
      key: 'apache-2.0',
      name: 'Apache License 2.0',
      spdx_id: 'Apache-2.0',
      url: `${API}/licenses/apache-2.0`,
      node_id: nodeId('License', 2),
    },
    allow_forking: true,
    is_template: false,
    web_commit_signoff_required: false,
    topics: ['widgets'],
    visibility: isPrivate ? 'private' : 'public',
    default_branch: 'main',
    permissions: { admin: false, maintain: false, push: false, triage: false, pull: true },
    organization: ORGANIZATION,
    network_count: 9,
    subscribers_count: 42,
  };
}

function pullLinks(fullName: string, number: number): Record<'url' | 'html_url' | 'diff_url' | 'patch_url', string> {
  const web = `${WEB}/${fullName}/pull/${number}`;
  return {
    url: `${API}/repos/${fullName}/pulls/${number}`,
    html_url: web,
    diff_url: `${web}.diff`,
    patch_url: `${web}.patch`,
  };
}

function labelsOf(fullName: string, number: number): Issue['labels'] {
  if (number % 3 !== 0) return [];
  const name = 'bug';
  const url = `${API}/repos/${fullName}/labels/${name}`;
  return [
    {
      id: 208045946,
      node_id: nodeId('Label', 208045946),
      url,
      name,
      description: 'Does not work',
      color: 'd73a4a',
      default: true,
    },
  ];
}

export function issue(fullName: string, number: number): Issue {
  const url = `${API}/repos/${fullName}/issues/${number}`;
  return {
    url,
    repository_url: `${API}/repos/${fullName}`,
    labels_url: `${url}/labels{/name}`,
    comments_url: `${url}/comments`,
    events_url: `${url}/events`,
    html_url: `${WEB}/${fullName}/${isPull(number) ? 'pull' : 'issues'}/${number}`,
    id: 5_000_000 + number,
    node_id: nodeId('Issue', number),
    number,
    title: `Widget ${number} squeaks`,
    user: AUTHOR,
    labels: labelsOf(fullName, number),
    state: isOpen(number) ? 'open' : 'closed',
    state_reason: isOpen(number) ? null : 'completed',
    locked: false,
    assignee: null,
    assignees: [],
    milestone: null,
    comments: number % 7,
    created_at: day(number),
    updated_at: day(number + 1),
    closed_at: isOpen(number) ? null : day(number + 1),
    author_association: 'CONTRIBUTOR',
    body: `Turning widget ${number} to the left makes it squeak.`,
    ...(isPull(number) ? { draft: false, pull_request: { ...pullLinks(fullName, number), merged_at: null } } : {}),
  };
}

function pullRequest(base: Json, fullName: string, number: number, fileCount: number): Json {
  const { url, ...web } = pullLinks(fullName, number);
  const issueUrl = `${API}/repos/${fullName}/issues/${number}`;
  const head = sha(`head ${number}`);
  const urls = {
    issue_url: issueUrl,
    commits_url: `${url}/commits`,
    review_comments_url: `${url}/comments`,
    review_comment_url: `${API}/repos/${fullName}/pulls/comments{/number}`,
    comments_url: `${issueUrl}/comments`,
    statuses_url: `${API}/repos/${fullName}/statuses/${head}`,
  };
  return {
    url,
    id: 7_000_000 + number,
    node_id: nodeId('PullRequest', number),
    ...web,
    ...urls,
    number,
    state: isOpen(number) ? 'open' : 'closed',
    locked: false,
    title: `Oil widget ${number}`,
    user: AUTHOR,
    body: 'It no longer squeaks.',
    labels: labelsOf(fullName, number),
    milestone: null,
    created_at: day(number),
    updated_at: day(number + 1),
    closed_at: isOpen(number) ? null : day(number + 1),
    merged_at: null,
    merge_commit_sha: sha(`merge ${number}`),
    assignee: null,
    assignees: [],
    requested_reviewers: [],
    requested_teams: [],
    draft: false,
    head: { label: 'acme:oil', ref: 'oil', sha: head, user: ORGANIZATION, repo: base },
    base: { label: 'acme:main', ref: 'main', sha: sha('base'), user: ORGANIZATION, repo: base },
    _links: Object.fromEntries(
      Object.entries({
        self: url,
        html: web.html_url,
        issue: urls.issue_url,
        comments: urls.comments_url,
        review_comments: urls.review_comments_url,
        review_comment: urls.review_comment_url,
        commits: urls.commits_url,
        statuses: urls.statuses_url,
      }).map(([name, href]) => [name, { href }]),
    ),
    author_association: 'CONTRIBUTOR',
    auto_merge: null,
    active_lock_reason: null,
    merged: false,
    mergeable: true,
    rebaseable: true,
    mergeable_state: 'clean',
    merged_by: null,
    comments: number % 7,
    review_comments: 0,
    maintainer_can_modify: true,
    commits: 1,
    additions: 2 * fileCount,
    deletions: fileCount,
    changed_files: fileCount,
  };
}

function file(fullName: string, number: number, index: number): Json {
  const filename = `src/widget-${number}-${index + 1}.ts`;
  const head = sha(`head ${number}`);
  return {
    sha: sha(`file ${number} ${index}`),
    filename,
    status: 'modified',
    additions: 2,
    deletions: 1,
    changes: 3,
    blob_url: `${WEB}/${fullName}/blob/${head}/${filename}`,
    raw_url: `${WEB}/${fullName}/raw/${head}/${filename}`,
    contents_url: `${API}/repos/${fullName}/contents/${filename}?ref=${head}`,
    patch: '@@ -1,2 +1,3 @@\n-squeak();\n+oil();\n+turn();\n stop();',
  };
}

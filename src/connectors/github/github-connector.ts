import { Octokit } from '@octokit/rest';
import type { Clock } from '../../domain/clock.ts';
import type { ProxyAnswer, ProxyConnector, SendOptions } from '../../domain/connector.ts';
import { forbidden, invalidRequest, upstreamError } from '../../domain/errors.ts';
import type { ResourceRef } from '../../domain/resource.ts';
import { nextPageNumber } from './link-header.ts';
import { GITHUB_OPERATIONS, type GitHubOperation, READ_CAPABILITY } from './operations.ts';
import type { QueryParams } from './params.ts';
import { type CallTarget, isRedirect, MAX_REDIRECTS, redirectedTarget, urlOf } from './redirect.ts';
import { parseRepositoryName, type RepositoryName } from './repository-name.ts';
import type { TokenSource } from './token-source.ts';
import { readBody, readErrorBody, untilAborted } from './transfer.ts';
import { errorFromAnswer, errorFromFailure } from './translate-error.ts';
import { guardedLookup } from '../guarded-lookup.ts';
import { makeUpstream, type Upstream, type UpstreamAnswer, type UpstreamRequest } from './upstream.ts';

export interface GitHubConnectorConfig {
  /** `https://api.github.com`, or `https://HOST/api/v3` of a GitHub Enterprise Server. */
  baseUrl: URL;
  tokens: TokenSource;
  /** Names of operations, each one of `GITHUB_OPERATIONS`. */
  allowedOperations: readonly string[];
  clock: Clock;
  /** Makes the HTTP calls; one of the connector's own when left out. */
  upstream?: Upstream;
}

/** A checked call and all it takes to make it. */
interface GitHubCall {
  operation: GitHubOperation;
  repository: RepositoryName;
  target: CallTarget;
}

/** https://docs.github.com/rest/about-the-rest-api/api-versions */
const API_VERSION = '2022-11-28';
/** Building a request's address costs Octokit as much as half the exchange costs Node, and agents ask the same again. */
const MAX_KEPT_URLS = 1000;
const JSON_CONTENT = /^application\/([a-z0-9.+-]+\+)?json\s*(;|$)/i;

/**
 * Reads repositories, pull requests and issues for the holder of a grant. Octokit builds each request from GitHub's documented
 * route; it is sent from here, because Octokit's own sending reads error bodies whole and keeps the token in its errors.
 *
 * Throws when `baseUrl` cannot be the base of an API or `allowedOperations` names an operation that does not exist.
 */
export function makeGitHubConnector(config: GitHubConnectorConfig): ProxyConnector {
  const base = baseOf(config.baseUrl);
  const upstream = config.upstream ?? makeUpstream(guardedLookup([]));
  const allowed = allowedOperations(config.allowedOperations);
  const { endpoint } = new Octokit({ baseUrl: base, userAgent: 'asb' }).request;
  const headers = {
    ...userAgentOf(endpoint.DEFAULTS.headers),
    accept: 'application/vnd.github+json',
    'x-github-api-version': API_VERSION,
  };

  const urls = new Map<string, string>();

  const targetOf = (operation: GitHubOperation, { owner, repo }: RepositoryName, query: QueryParams): CallTarget => {
    const params = { ...query, owner, repo };
    const key = JSON.stringify([operation.name, params]);
    let url = urls.get(key);
    if (url === undefined) {
      url = endpoint(operation.route, params).url;
      if (urls.size >= MAX_KEPT_URLS) urls.clear();
      urls.set(key, url);
    }
    return splitTarget(url, base, `/repos/${owner}/${repo}`);
  };

  return {
    name: 'github',
    resourceKind: 'github_repo',
    capabilities: [READ_CAPABILITY],
    deliveryModes: ['proxy'],
    checkResource: (resource) => void repositoryOf(resource),
    prepare({ resource, operation: name, params }) {
      const operation = allowed.get(name);
      if (operation === undefined) {
        throw forbidden(
          'operation_not_allowed',
          `operation: is not allowed; allowed: ${[...allowed.keys()].join(', ') || 'none'}`,
          { rule: 'connector:github' },
        );
      }
      const repository = repositoryOf(resource);
      const query = operation.parseParams(params, repository);
      const call = { operation, repository, target: targetOf(operation, repository, query) };
      return {
        send: (options) => untilAborted(options.signal, () => send({ ...config, upstream }, headers, call, options)),
      };
    },
  };
}

async function send(
  config: GitHubConnectorConfig & { upstream: Upstream },
  headers: Readonly<Record<string, string>>,
  call: GitHubCall,
  options: SendOptions,
): Promise<ProxyAnswer> {
  const token = await config.tokens.tokenFor(call.repository);
  const request = { headers: { ...headers, authorization: `Bearer ${token.reveal()}` }, signal: options.signal };
  const answer = await getWithinRepository(config.upstream, call, request);
  if (answer.status !== 200) {
    const { status } = answer;
    const body = await readErrorBody(answer.body, options);
    throw errorFromAnswer({ status, headers: answer.headers, body }, call.operation, config.clock.now());
  }
  const contentType = answer.headers.get('content-type') ?? '';
  if (!JSON_CONTENT.test(contentType)) {
    answer.body.destroy();
    throw upstreamError('GitHub answered with something other than JSON; tell the operator to check the API base URL');
  }
  return {
    payload: await readBody(answer.body, options),
    contentType,
    nextPage: nextPageNumber(answer.headers.get('link')),
  };
}

/** Follows redirects as `redirectedTarget` allows. Answers with whatever is no redirect. */
async function getWithinRepository(upstream: Upstream, call: GitHubCall, request: UpstreamRequest): Promise<UpstreamAnswer> {
  let { target } = call;
  for (let redirects = 0; ; redirects++) {
    const answer = await upstream(urlOf(target), request).catch((failure: unknown) => {
      throw errorFromFailure(failure);
    });
    if (!isRedirect(answer.status)) return answer;
    answer.body.destroy();
    if (redirects === MAX_REDIRECTS) throw upstreamError(`GitHub redirected more than ${MAX_REDIRECTS} times`);
    target = redirectedTarget(target, answer.headers.get('location'), call.repository);
  }
}

function repositoryOf(resource: ResourceRef): RepositoryName {
  if (resource.kind !== 'github_repo') throw invalidRequest('resource_ref: write github:repo:OWNER/NAME');
  return parseRepositoryName(resource.name);
}

/** Takes a built address apart, and with that makes sure that it lies where the grant says. */
function splitTarget(url: string, base: string, repositoryPath: string): CallTarget {
  const prefix = base + repositoryPath;
  const rest = url.slice(prefix.length);
  if (!url.startsWith(prefix) || !/^(?:$|[/?])/.test(rest))
    throw new Error('a GitHub request was built outside its repository');
  const queryAt = rest.includes('?') ? rest.indexOf('?') : rest.length;
  return { base, repositoryPath, tail: rest.slice(0, queryAt), query: rest.slice(queryAt) };
}

function baseOf(url: URL): string {
  const plain = url.username === '' && url.password === '' && url.search === '' && url.hash === '';
  if (!plain || !['http:', 'https:'].includes(url.protocol)) {
    throw new Error('the GitHub API base URL must be http(s)://HOST[/PATH] without credentials, query or fragment');
  }
  return url.origin + url.pathname.replace(/\/+$/, '');
}

function allowedOperations(names: readonly string[]): ReadonlyMap<string, GitHubOperation> {
  return new Map(
    names.map((name) => {
      const operation = GITHUB_OPERATIONS.get(name);
      if (operation === undefined) {
        throw new Error(
          `GitHub operation ${JSON.stringify(name)} does not exist; known: ${[...GITHUB_OPERATIONS.keys()].join(', ')}`,
        );
      }
      return [name, operation];
    }),
  );
}

/** GitHub refuses requests without a User-Agent. */
function userAgentOf(defaults: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> {
  return { 'user-agent': String(defaults['user-agent']) };
}

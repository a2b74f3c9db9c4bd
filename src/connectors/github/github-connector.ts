import { Octokit } from '@octokit/rest';
import type { Clock } from '../../domain/clock.ts';
import type { ProxyAnswer, ProxyConnector, ProxyRequest, SendOptions } from '../../domain/connector.ts';
import { type BrokerError, forbidden, invalidRequest, upstreamError } from '../../domain/errors.ts';
import type { ResourceRef } from '../../domain/resource.ts';
import type { Secret } from '../../domain/secret.ts';
import { type LeakScan, makeLeakScanner } from '../leak-scan.ts';
import { nextPageNumber } from './link-header.ts';
import { type GitHubOperation, isWrite } from './operation.ts';
import { GITHUB_OPERATIONS } from './operations.ts';
import type { CallParams } from './params.ts';
import { type Permissions, READ_PERMISSIONS } from './permissions.ts';
import { type CallTarget, isRedirect, MAX_REDIRECTS, redirectedTarget, urlOf } from './redirect.ts';
import { parseRepositoryName, type RepositoryName } from './repository-name.ts';
import type { TokenSource } from './token-source.ts';
import { readErrorBody, readScannedBody, untilAborted } from './transfer.ts';
import { errorFromAnswer, errorFromFailure } from './translate-error.ts';
import { guardedLookup } from '../guarded-lookup.ts';
import { makeUpstream, type Upstream, type UpstreamAnswer, type UpstreamRequest } from './upstream.ts';

export interface GitHubConnectorConfig {
  /** `https://api.github.com`, or `https://HOST/api/v3` of a GitHub Enterprise Server. */
  baseUrl: URL;
  tokens: TokenSource;
  /** What tokens for reading are asked for with; what the reads need when left out. */
  readPermissions?: Permissions;
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
  permissions: Permissions;
  target: CallTarget;
  /** JSON; null for none. */
  body: string | null;
}

/** What all calls share. */
interface Sending {
  tokens: TokenSource;
  clock: Clock;
  upstream: Upstream;
  headers: Readonly<Record<string, string>>;
  scannerFor: (token: Secret) => () => LeakScan;
}

/** https://docs.github.com/rest/about-the-rest-api/api-versions */
const API_VERSION = '2022-11-28';
/** Building a request's address costs Octokit as much as half the exchange costs Node, and agents ask the same again. */
const MAX_KEPT_URLS = 1000;
const KEEPS_METHOD: ReadonlySet<number> = new Set([307, 308]);
const JSON_CONTENT = /^application\/([a-z0-9.+-]+\+)?json\s*(;|$)/i;

/**
 * Reads repositories, pull requests and issues for the holder of a grant, and writes what is allowed by name. Octokit builds each request from GitHub's documented
 * route; it is sent from here, because Octokit's own sending reads error bodies whole and keeps the token in its errors.
 *
 * Throws when `baseUrl` cannot be the base of an API or `allowedOperations` names an operation that does not exist.
 */
export function makeGitHubConnector(config: GitHubConnectorConfig): ProxyConnector {
  const base = baseOf(config.baseUrl);
  const upstream = config.upstream ?? makeUpstream(guardedLookup([]));
  const allowed = allowedOperations(config.allowedOperations);
  const { endpoint } = new Octokit({ baseUrl: base, userAgent: 'asb' }).request;
  const sending: Sending = {
    tokens: config.tokens,
    clock: config.clock,
    upstream,
    headers: gitHubHeaders(),
    scannerFor: rememberedScanners(),
  };

  const urls = new Map<string, string>();

  const urlFor = (operation: GitHubOperation, params: CallParams): string => {
    const key = JSON.stringify([operation.name, params]);
    let url = urls.get(key);
    if (url === undefined) {
      url = endpoint(operation.route, params).url;
      if (urls.size >= MAX_KEPT_URLS) urls.clear();
      urls.set(key, url);
    }
    return url;
  };

  /** Of what GitHub takes in the body, Octokit puts nothing into the address. */
  const requestFor = (operation: GitHubOperation, params: CallParams): { url: string; body: string | null } => {
    if (!isWrite(operation)) return { url: urlFor(operation, params), body: null };
    const request = endpoint(operation.route, params);
    const body: unknown = request.body;
    return { url: request.url, body: JSON.stringify(body) };
  };

  return {
    name: 'github',
    resourceKind: 'github_repo',
    capabilities: [...new Set([...allowed.values()].map(({ capability }) => capability))],
    deliveryModes: ['proxy'],
    checkResource: (resource) => void repositoryOf(resource),
    prepare({ capability, resource, operation: name, params }) {
      const operation = allowedOperation(allowed, capability, name);
      const repository = repositoryOf(resource);
      const { owner, repo } = repository;
      const { url, body } = requestFor(operation, { ...operation.parseParams(params, repository), owner, repo });
      const target = splitTarget(url, base, `/repos/${owner}/${repo}`);
      const permissions = operation.permissions ?? config.readPermissions ?? READ_PERMISSIONS;
      const call = { operation, repository, permissions, target, body };
      return { send: (options) => untilAborted(options.signal, () => send(sending, call, options)) };
    },
  };
}

/** What every request to GitHub carries. */
export function gitHubHeaders(): Readonly<Record<string, string>> {
  const { endpoint } = new Octokit({ userAgent: 'asb' }).request;
  return {
    ...userAgentOf(endpoint.DEFAULTS.headers),
    accept: 'application/vnd.github+json',
    'x-github-api-version': API_VERSION,
  };
}

function allowedOperation(
  allowed: ReadonlyMap<string, GitHubOperation>,
  capability: string,
  name: ProxyRequest['operation'],
): GitHubOperation {
  const operation = allowed.get(name);
  if (operation?.capability === capability) return operation;
  const covered = [...allowed.values()].filter((each) => each.capability === capability).map((each) => each.name);
  const why = operation === undefined ? 'is not allowed' : `is not covered by ${capability}`;
  throw forbidden('operation_not_allowed', `operation: ${why}; allowed: ${covered.join(', ') || 'none'}`, {
    rule: 'connector:github',
  });
}

/** Making one costs as much as some calls, and a token serves many. */
function rememberedScanners(): Sending['scannerFor'] {
  const scanners = new WeakMap<Secret, () => LeakScan>();
  return (token) => {
    const scanner = scanners.get(token) ?? makeLeakScanner(token);
    scanners.set(token, scanner);
    return scanner;
  };
}

async function send(sending: Sending, call: GitHubCall, options: SendOptions): Promise<ProxyAnswer> {
  const { operation } = call;
  const { answer, token } = await ask(sending, call, options.signal);
  if (answer.status !== (isWrite(operation) ? 201 : 200)) {
    const { status } = answer;
    const body = await readErrorBody(answer.body, options);
    throw errorFromAnswer({ status, headers: answer.headers, body }, operation, sending.clock.now());
  }
  const contentType = jsonTypeOf(answer.headers.get('content-type') ?? '');
  if (contentType === null) {
    answer.body.destroy();
    throw upstreamError('GitHub answered with something other than JSON; tell the operator to check the API base URL');
  }
  const scan = sending.scannerFor(token)();
  const payload = await readScannedBody(answer.body, options, failureOf(operation), scan);
  const { redactions } = scan;
  const nextPage = nextPageNumber(answer.headers.get('link'));
  return { payload, contentType, nextPage, ...(redactions > 0 ? { redactions } : {}) };
}

/** Asks with a token, and once more with another one when GitHub refuses it: what is answered 401 has surely not been done. */
async function ask(
  { tokens, upstream, headers }: Sending,
  call: GitHubCall,
  signal: AbortSignal,
): Promise<{ answer: UpstreamAnswer; token: Secret }> {
  const { operation, repository, permissions, body } = call;
  const method = isWrite(operation) ? 'POST' : 'GET';
  const askWith = async (token: Secret) => {
    const authorized = { ...headers, authorization: `Bearer ${token.reveal()}` };
    const answer = await askWithinRepository(upstream, call, { method, body, headers: authorized, signal });
    return { answer, token };
  };
  const first = await askWith(await tokens.tokenFor({ repository, permissions, refused: null }));
  if (first.answer.status !== 401) return first;
  const other = await tokens.tokenFor({ repository, permissions, refused: first.token });
  if (other.reveal() === first.token.reveal()) return first;
  first.answer.body.destroy();
  return askWith(other);
}

/** Follows redirects as `redirectedTarget` allows. Answers with whatever is no redirect. */
async function askWithinRepository(upstream: Upstream, call: GitHubCall, request: UpstreamRequest): Promise<UpstreamAnswer> {
  let { target } = call;
  for (let redirects = 0; ; redirects++) {
    const answer = await upstream(urlOf(target), request).catch((failure: unknown) => {
      throw failureOf(call.operation)(failure);
    });
    if (!isRedirect(answer.status)) return answer;
    answer.body.destroy();
    if (redirects === MAX_REDIRECTS) throw upstreamError(`GitHub redirected more than ${MAX_REDIRECTS} times`);
    // The others let a client make a GET of it (RFC 9110 section 15.4).
    if (request.method !== 'GET' && !KEEPS_METHOD.has(answer.status)) {
      throw upstreamError('GitHub sent a redirect that ASB does not follow: it would lose what was to be written');
    }
    target = redirectedTarget(target, answer.headers.get('location'), call.repository);
  }
}

const failureOf =
  (operation: GitHubOperation) =>
  (failure: unknown): BrokerError =>
    errorFromFailure(failure, operation);

/** Written anew, so that nothing of the answer's own passes; null when it is not JSON. JSON is UTF-8 (RFC 8259 section 8.1). */
const jsonTypeOf = (contentType: string): string | null =>
  JSON_CONTENT.test(contentType) ? 'application/json; charset=utf-8' : null;

/** The repository that a resource is. Throws `invalid_request` when it is none. */
export function repositoryOf(resource: ResourceRef): RepositoryName {
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

/** The API's base without a trailing slash. Throws when `url` cannot be one. */
export function baseOf(url: URL): string {
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

import type { IncomingMessage, ServerResponse } from 'node:http';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { z } from 'zod';
import { errorBody, JSON_TYPE, redirect, type ScriptedAnswer } from './answers.ts';
import { type Caller, type Levels, NOT_FOUND, type Refusal, StandInApp, type StandInAppOptions } from './app.ts';
import { buildRepositories, type Json, type RepositoryFixture } from './fixtures.ts';
import { pageOf, type Query, selectIssues } from './pages.ts';
import {
  appFields,
  type Content as Sent,
  createdCheckRun,
  createdComment,
  createdIssue,
  installationFields,
} from './written.ts';

export interface GitHubStandInOptions {
  /** The token that may do everything. */
  token: string;
  /** A GitHub App, whose installation tokens are accepted besides. */
  app?: StandInAppOptions;
  /** `/api/v3` makes it look like a GitHub Enterprise Server. */
  basePath?: string;
  host?: string;
  /** 0 takes any free port. */
  port?: number;
}

/** A request as it arrived. */
export interface RecordedRequest {
  method: string;
  /** Path and query. */
  url: string;
  authorization: string | undefined;
  accept: string | undefined;
  userAgent: string | undefined;
  apiVersion: string | undefined;
  /** Resolves when the exchange is over: how much of the answer was sent, and whether the client stayed to the end. */
  ended: Promise<{ bytesSent: number; complete: boolean }>;
}

/** Something that a caller had made. */
export interface Written {
  /** `OWNER/NAME` */
  repository: string;
  kind: 'issue' | 'comment' | 'check_run';
  content: Sent;
}

export interface GitHubStandIn {
  /** The API's base URL. */
  url: string;
  /** What arrived so far, oldest first. */
  requests: readonly RecordedRequest[];
  /** What was written so far, oldest first. */
  written: readonly Written[];
  /** Null without one. */
  app: StandInApp | null;
  /** Answers the next request that nothing else is waiting for. */
  answerNext(answer: ScriptedAnswer): void;
  /** Resolves when the next request arrives. */
  nextRequest(): Promise<RecordedRequest>;
  close(): Promise<void>;
}

const RATE_LIMIT = 5000;
const RATE_WINDOW_SECONDS = 3600;

/** Starts a local stand-in for the part of GitHub's REST API that ASB uses. Its data is the same in every run. */
export async function startGitHubStandIn(options: GitHubStandInOptions): Promise<GitHubStandIn> {
  const app = fastify({ forceCloseConnections: true });
  const requests: RecordedRequest[] = [];
  const scripted: ScriptedAnswer[] = [];
  const awaited: ((request: RecordedRequest) => void)[] = [];
  const written: Written[] = [];
  const gitHubApp = options.app === undefined ? null : new StandInApp(options.app);
  const callers = new WeakMap<FastifyRequest, Caller>();

  app.addHook('onRequest', async (request, reply) => {
    const record = recordOf(request.raw, reply.raw);
    requests.push(record);
    for (const arrived of awaited.splice(0)) arrived(record);
    const answer = scripted.shift();
    if (answer !== undefined) {
      reply.hijack();
      answer(request.raw, reply.raw);
      return reply;
    }
    setCommonHeaders(reply, requests.length);
    const credential = /^(?:Bearer|token) (.+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
    const caller = await callerOf(gitHubApp, options.token, credential);
    if ('status' in caller) return refuse(reply, caller);
    callers.set(request, caller);
    return undefined;
  });
  app.setNotFoundHandler((_request, reply) => notFound(reply));

  const basePath = options.basePath ?? '';
  const baseUrl = (): string => `${app.listeningOrigin}${basePath}`;
  await app.register(
    (routes, _options, done) => {
      const callerFor = (request: FastifyRequest): Caller => callers.get(request) ?? { kind: 'app' };
      addRoutes(routes, { basePath, baseUrl, app: gitHubApp, callerFor, written });
      done();
    },
    { prefix: basePath },
  );
  await app.listen({ host: options.host ?? '127.0.0.1', port: options.port ?? 0 });
  return {
    url: baseUrl(),
    requests,
    written,
    app: gitHubApp,
    answerNext: (answer) => void scripted.push(answer),
    nextRequest: () => new Promise((resolve) => awaited.push(resolve)),
    close: () => app.close(),
  };
}

async function callerOf(app: StandInApp | null, token: string, credential: string): Promise<Caller | Refusal> {
  if (credential === token) return { kind: 'owner' };
  return (await app?.callerOf(credential)) ?? { status: 401, message: 'Bad credentials' };
}

interface Route {
  Params: { owner?: string; repo?: string; id?: string; number?: string };
  Querystring: Query;
}

/** What the routes work with. */
interface Scene {
  basePath: string;
  baseUrl: () => string;
  app: StandInApp | null;
  callerFor: (request: FastifyRequest) => Caller;
  written: Written[];
}

/** What a route says about a repository; null is a 404. */
type Content = (repository: RepositoryFixture, request: FastifyRequest<Route>) => Json | List | null;

interface List {
  items: readonly Json[];
}

/** GitHub serves a repository under its name and, as its redirects and links show, under its id. */
function addRoutes(routes: FastifyInstance, scene: Scene): void {
  const { basePath, baseUrl, app, callerFor, written } = scene;
  const repositories = buildRepositories();
  const byName = ({ owner, repo }: Route['Params']): RepositoryFixture | undefined => {
    const name = `${owner}/${repo}`.toLowerCase();
    return repositories.find(({ names }) => names.some((each) => each.toLowerCase() === name));
  };

  /** Why a caller may not do something; null when it may. Any one of the permissions will do. */
  const refusalOf = (request: FastifyRequest, found: RepositoryFixture, needed: Levels): Refusal | null => {
    const caller = callerFor(request);
    if (caller.kind === 'owner') return null;
    if (caller.kind === 'app' || app === null) return NO_JWT_HERE;
    return app.refusalOf(caller.mint, found, needed);
  };

  /** Sends the caller on when the repository has another name now. */
  const isMoved = (found: RepositoryFixture | undefined, request: FastifyRequest<Route>, reply: FastifyReply): boolean => {
    const name = `${request.params.owner}/${request.params.repo}`;
    if (found === undefined || found.names[0].toLowerCase() === name.toLowerCase()) return false;
    const rest = request.url.slice(`${basePath}/repos/${name}`.length);
    const status = request.method === 'GET' ? 301 : 307;
    redirect(status, `${baseUrl()}/repositories/${found.id}${rest}`)(request.raw, reply.hijack().raw);
    return true;
  };

  const serve = (path: string, needed: Levels, content: Content): void => {
    const answer = (
      found: RepositoryFixture | undefined,
      request: FastifyRequest<Route>,
      reply: FastifyReply,
    ): FastifyReply => {
      const refusal = found === undefined ? NOT_FOUND : refusalOf(request, found, needed);
      if (found === undefined || refusal !== null) return refuse(reply, refusal ?? NOT_FOUND);
      const says = content(found, request);
      if (says === null) return notFound(reply);
      if (!isList(says)) return send(reply, says);
      const place = `${baseUrl()}/repositories/${found.id}${path.replace(':number', request.params.number ?? '')}`;
      const { page, link } = pageOf(says.items, request.query, place);
      if (link !== null) reply.header('link', link);
      return send(reply, page);
    };
    routes.get<Route>(`/repositories/:id${path}`, (request, reply) =>
      answer(
        repositories.find(({ id }) => String(id) === request.params.id),
        request,
        reply,
      ),
    );
    routes.get<Route>(`/repos/:owner/:repo${path}`, (request, reply) => {
      const found = byName(request.params);
      return isMoved(found, request, reply) ? reply : answer(found, request, reply);
    });
  };

  const write = (path: string, kind: Written['kind'], needed: Levels, make: Making): void => {
    routes.post<Route>(`/repos/:owner/:repo${path}`, (request, reply) => {
      const found = byName(request.params);
      if (isMoved(found, request, reply)) return reply;
      const refusal = found === undefined ? NOT_FOUND : refusalOf(request, found, needed);
      if (found === undefined || refusal !== null) return refuse(reply, refusal ?? NOT_FOUND);
      const sent = sentContent.parse(request.body);
      const made = make(found, sent, Number(request.params.number));
      if (made === null) return notFound(reply);
      written.push({ repository: found.names[0], kind, content: sent });
      return send(reply.code(201), made);
    });
  };

  serve('', { metadata: 'read' }, ({ metadata }) => metadata);
  serve('/pulls/:number', { pull_requests: 'read' }, ({ pulls }, { params }) => {
    return pulls.get(Number(params.number))?.metadata ?? null;
  });
  serve('/pulls/:number/files', { pull_requests: 'read' }, ({ pulls }, { params }) => {
    const pull = pulls.get(Number(params.number));
    return pull === undefined ? null : { items: pull.files };
  });
  serve('/issues', { issues: 'read' }, ({ issues }, { query }) => ({ items: selectIssues(issues, query) }));

  write('/issues', 'issue', { issues: 'write' }, createdIssue);
  write('/issues/:number/comments', 'comment', { issues: 'write', pull_requests: 'write' }, (repository, content, number) =>
    repository.issues.some((each) => each.number === number) ? createdComment(repository, number, content) : null,
  );
  write('/check-runs', 'check_run', { checks: 'write' }, createdCheckRun);
  if (app !== null) addAppRoutes(routes, app, { callerFor, byName, repositories, isMoved });
}

type Making = (repository: RepositoryFixture, content: Sent, number: number) => Json | null;

const sentContent = z.record(z.string(), z.unknown());
const tokenRequest = z.object({
  repositories: z.array(z.string()),
  permissions: z.record(z.string(), z.enum(['read', 'write', 'admin'])),
});

const NO_JWT_HERE: Refusal = { status: 403, message: 'Resource not accessible by integration' };
const JWT_ONLY: Refusal = { status: 401, message: 'A JSON web token could not be decoded' };

interface AppScene {
  callerFor: (request: FastifyRequest) => Caller;
  byName: (params: Route['Params']) => RepositoryFixture | undefined;
  repositories: readonly RepositoryFixture[];
  isMoved: (found: RepositoryFixture | undefined, request: FastifyRequest<Route>, reply: FastifyReply) => boolean;
}

/** What GitHub answers to the App itself, and to its tokens about themselves. */
function addAppRoutes(routes: FastifyInstance, app: StandInApp, scene: AppScene): void {
  const { callerFor, byName, repositories, isMoved } = scene;
  const isApp = (request: FastifyRequest): boolean => callerFor(request).kind === 'app';

  routes.get('/app', (request, reply) =>
    isApp(request) ? send(reply, appFields(app.appId, app.permissions)) : refuse(reply, JWT_ONLY),
  );
  routes.get<Route>('/repos/:owner/:repo/installation', (request, reply) => {
    if (!isApp(request)) return refuse(reply, JWT_ONLY);
    const found = byName(request.params);
    if (isMoved(found, request, reply)) return reply;
    const installation = found === undefined ? null : app.installationOf(found);
    if (installation === null) return notFound(reply);
    return send(reply, installationFields(installation.id, app.appId, app.permissions, installation.suspendedAt));
  });
  routes.post<Route>('/app/installations/:id/access_tokens', (request, reply) => {
    if (!isApp(request)) return refuse(reply, JWT_ONLY);
    const { repositories: names, permissions } = tokenRequest.parse(request.body);
    const made = app.mint(Number(request.params.id), repositories, names, permissions);
    if ('status' in made) return refuse(reply, made);
    const { token, expiresAt, permissions: given } = made.mint;
    return send(reply.code(201), {
      token,
      expires_at: expiresAt.toISOString().replace('.000Z', 'Z'),
      permissions: given,
      repository_selection: 'selected',
      repositories: [made.repository.metadata],
    });
  });
  routes.delete('/installation/token', (request, reply) => {
    const caller = callerFor(request);
    if (caller.kind !== 'installation') return refuse(reply, NO_JWT_HERE);
    app.revoke(caller.mint);
    return reply.code(204).send();
  });
}

function refuse(reply: FastifyReply, { status, message }: Refusal): FastifyReply {
  return send(reply.code(status), errorBody(status, message));
}

function isList(content: Json | List): content is List {
  return Array.isArray(content.items);
}

function send(reply: FastifyReply, body: unknown): FastifyReply {
  return reply.header('content-type', JSON_TYPE).send(JSON.stringify(body));
}

function notFound(reply: FastifyReply): FastifyReply {
  return send(reply.code(404), errorBody(404, 'Not Found'));
}

function setCommonHeaders(reply: FastifyReply, used: number): void {
  reply.headers({
    'x-github-media-type': 'github.v3; format=json',
    'x-github-request-id': `C0DE:${used.toString(16).toUpperCase()}`,
    'x-ratelimit-limit': String(RATE_LIMIT),
    'x-ratelimit-remaining': String(Math.max(RATE_LIMIT - used, 0)),
    'x-ratelimit-used': String(used),
    'x-ratelimit-reset': String(Math.ceil(Date.now() / 1000) + RATE_WINDOW_SECONDS),
    'x-ratelimit-resource': 'core',
  });
}

function recordOf(request: IncomingMessage, response: ServerResponse): RecordedRequest {
  const { promise: ended, resolve } = Promise.withResolvers<{ bytesSent: number; complete: boolean }>();
  const { socket } = request;
  const sentBefore = socket.bytesWritten;
  response.once('close', () =>
    resolve({ bytesSent: socket.bytesWritten - sentBefore, complete: response.writableFinished }),
  );
  const { headers } = request;
  return {
    method: request.method ?? '',
    url: request.url ?? '',
    authorization: headers.authorization,
    accept: headers.accept,
    userAgent: headers['user-agent'],
    apiVersion: headers['x-github-api-version']?.toString(),
    ended,
  };
}

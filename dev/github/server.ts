import type { IncomingMessage, ServerResponse } from 'node:http';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { errorBody, JSON_TYPE, redirect, type ScriptedAnswer } from './answers.ts';
import { buildRepositories, type Json, type RepositoryFixture } from './fixtures.ts';
import { pageOf, type Query, selectIssues } from './pages.ts';

export interface GitHubStandInOptions {
  /** The one token that is accepted. */
  token: string;
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

export interface GitHubStandIn {
  /** The API's base URL. */
  url: string;
  /** What arrived so far, oldest first. */
  requests: readonly RecordedRequest[];
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
    const accepted = [`Bearer ${options.token}`, `token ${options.token}`];
    if (!accepted.includes(request.headers.authorization ?? '')) {
      return send(reply.code(401), errorBody(401, 'Bad credentials'));
    }
    return undefined;
  });
  app.setNotFoundHandler((_request, reply) => notFound(reply));

  const basePath = options.basePath ?? '';
  const baseUrl = (): string => `${app.listeningOrigin}${basePath}`;
  await app.register(
    (routes, _options, done) => {
      addRoutes(routes, basePath, baseUrl);
      done();
    },
    { prefix: basePath },
  );
  await app.listen({ host: options.host ?? '127.0.0.1', port: options.port ?? 0 });
  return {
    url: baseUrl(),
    requests,
    answerNext: (answer) => void scripted.push(answer),
    nextRequest: () => new Promise((resolve) => awaited.push(resolve)),
    close: () => app.close(),
  };
}

interface Route {
  Params: { owner?: string; repo?: string; id?: string; number?: string };
  Querystring: Query;
}

/** What a route says about a repository; null is a 404. */
type Content = (repository: RepositoryFixture, request: FastifyRequest<Route>) => Json | List | null;

interface List {
  items: readonly Json[];
}

/** GitHub serves a repository under its name and, as its redirects and links show, under its id. */
function addRoutes(routes: FastifyInstance, basePath: string, baseUrl: () => string): void {
  const repositories = buildRepositories();

  const serve = (path: string, content: Content): void => {
    const answer = (
      found: RepositoryFixture | undefined,
      request: FastifyRequest<Route>,
      reply: FastifyReply,
    ): FastifyReply => {
      const says = found === undefined ? null : content(found, request);
      if (found === undefined || says === null) return notFound(reply);
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
      const name = `${request.params.owner}/${request.params.repo}`;
      const found = repositories.find(({ names }) => names.some((each) => each.toLowerCase() === name.toLowerCase()));
      if (found === undefined || found.names[0].toLowerCase() === name.toLowerCase()) return answer(found, request, reply);
      const rest = request.url.slice(`${basePath}/repos/${name}`.length);
      redirect(301, `${baseUrl()}/repositories/${found.id}${rest}`)(request.raw, reply.hijack().raw);
      return reply;
    });
  };

  serve('', ({ metadata }) => metadata);
  serve('/pulls/:number', ({ pulls }, { params }) => pulls.get(Number(params.number))?.metadata ?? null);
  serve('/pulls/:number/files', ({ pulls }, { params }) => {
    const pull = pulls.get(Number(params.number));
    return pull === undefined ? null : { items: pull.files };
  });
  serve('/issues', ({ issues }, { query }) => ({ items: selectIssues(issues, query) }));
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

import type { Socket } from 'node:net';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { addConnectRoutes } from '../connect/routes.ts';
import type { HttpDeps, TransportDeps } from '../deps.ts';
import { MAX_BODY_BYTES } from '../errors.ts';
import { addRateLimit } from '../rate-limit.ts';
import { requestIdOf } from '../request-id.ts';
import { addApprovalPage } from './approval-page.ts';
import { answerMalformed } from './malformed.ts';
import { addJsonRoutes } from './json-routes.ts';
import { addLifecycle, addNotFound, answerUnrouted, RECEIVE_TIMEOUT_MS } from './lifecycle.ts';
import { ListeningServer, type Server } from './listening-server.ts';
import { addHealth, addSystemRoutes } from './system-routes.ts';

export type { Server } from './listening-server.ts';

const HEADERS_TIMEOUT_MS = 10_000;
// Longer than the idle timeout of common load balancers (60 s), so that they close first.
const KEEP_ALIVE_TIMEOUT_MS = 72_000;
// Silence in the middle of an exchange; longer than the longest deadline.
const SILENCE_TIMEOUT_MS = 60_000;
const MAX_STREAMS_PER_SESSION = 100;
// An id is 200 characters at most, thrice that when percent-encoded.
const MAX_PARAM_LENGTH = 600;

/**
 * The main listener: JSON, Connect and gRPC-Web, health, metrics and documents. With TLS, gRPC as well: clients choose
 * HTTP/2 or HTTP/1.1 by ALPN (RFC 7301).
 */
export async function makeHttpServer(deps: HttpDeps): Promise<Server> {
  const app = deps.tls === null ? clearHttp1(deps) : tlsWithAlpn(deps, deps.tls);
  await addRateLimit(app, deps.rateWindows);
  const open = addLifecycle(app, deps);
  const server = new ListeningServer(app, deps.clock, open);
  addNotFound(app);
  addJsonRoutes(app, deps, open);
  addSystemRoutes(app, deps, () => server.draining);
  addApprovalPage(app);
  await addConnectRoutes(app, deps, open);
  return server;
}

/** The listener for gRPC over HTTP/2 without TLS, or with it when it is configured. Health besides, and nothing else. */
export async function makeGrpcServer(deps: TransportDeps): Promise<Server> {
  const app = deps.tls === null ? clearHttp2(deps) : tlsWithAlpn(deps, deps.tls);
  await addRateLimit(app, deps.rateWindows);
  const open = addLifecycle(app, deps);
  const server = new ListeningServer(app, deps.clock, open);
  addNotFound(app);
  addHealth(app);
  await addConnectRoutes(app, deps, open);
  return server;
}

// Fastify types instances, requests and replies by their server. Our routes use what the servers have in common, and the
// rest of this folder is written for the plain one.
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller says which of the three it is
const asPlain = <T extends FastifyInstance | FastifyRequest | FastifyReply>(of: unknown): T => of as T;

function options(deps: TransportDeps) {
  return {
    logger: false,
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: RECEIVE_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    connectionTimeout: SILENCE_TIMEOUT_MS,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    trustProxy: deps.trustedProxies.length === 0 ? false : [...deps.trustedProxies],
    genReqId: (raw: { headers: Record<string, string | string[] | undefined> }) =>
      requestIdOf(raw.headers['x-request-id'], deps.newRequestId),
    frameworkErrors: (error: Error, request: unknown, reply: unknown) =>
      answerUnrouted(deps, error, asPlain<FastifyRequest>(request), asPlain<FastifyReply>(reply)),
    clientErrorHandler: (error: Error, socket: Socket) => answerMalformed(error, socket, deps.newRequestId()),
    // What arrives on an open connection while the listener closes is still served.
    return503OnClosing: false,
  };
}

function clearHttp1(deps: TransportDeps): FastifyInstance {
  return Fastify({ ...options(deps), http: { headersTimeout: HEADERS_TIMEOUT_MS } });
}

function clearHttp2(deps: TransportDeps): FastifyInstance {
  // Fastify hands `http` to http2.createServer as well; its types do not say so.
  const http2 = { http2: true, http: { settings: { maxConcurrentStreams: MAX_STREAMS_PER_SESSION } } } as const;
  return asPlain(Fastify({ ...options(deps), ...http2 }));
}

function tlsWithAlpn(deps: TransportDeps, { cert, key }: { cert: string; key: string }): FastifyInstance {
  const settings = { maxConcurrentStreams: MAX_STREAMS_PER_SESSION };
  const app: FastifyInstance = asPlain(
    Fastify({ ...options(deps), http2: true, https: { allowHTTP1: true, minVersion: 'TLSv1.2', cert, key, settings } }),
  );
  // Fastify sets these on HTTP/1.1 servers alone; this one speaks it too.
  app.server.requestTimeout = RECEIVE_TIMEOUT_MS;
  app.server.headersTimeout = HEADERS_TIMEOUT_MS;
  app.server.keepAliveTimeout = KEEP_ALIVE_TIMEOUT_MS;
  return app;
}

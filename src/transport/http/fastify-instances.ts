import type { Socket } from 'node:net';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { TransportDeps } from '../deps.ts';
import { MAX_BODY_BYTES } from '../errors.ts';
import { requestIdOf } from '../request-id.ts';
import { answerUnrouted, RECEIVE_TIMEOUT_MS } from './lifecycle.ts';
import { answerMalformed } from './malformed.ts';

export type InstanceDeps = Pick<TransportDeps, 'clock' | 'metrics' | 'log' | 'newRequestId' | 'trustedProxies'>;

const HEADERS_TIMEOUT_MS = 10_000;
// Longer than the idle timeout of common load balancers (60 s), so that they close first.
const KEEP_ALIVE_TIMEOUT_MS = 72_000;
// Silence in the middle of an exchange; longer than the longest deadline.
const SILENCE_TIMEOUT_MS = 60_000;
const MAX_STREAMS_PER_SESSION = 100;
// An id is 200 characters at most, thrice that when percent-encoded.
const MAX_PARAM_LENGTH = 600;

// Fastify types instances, requests and replies by their server. Our routes use what the servers have in common, and the
// rest of this folder is written for the plain one.
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller says which of the three it is
const asPlain = <T extends FastifyInstance | FastifyRequest | FastifyReply>(of: unknown): T => of as T;

function options(deps: InstanceDeps) {
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

/** HTTP/1.1 in clear. */
export function clearHttp1(deps: InstanceDeps): FastifyInstance {
  return Fastify({ ...options(deps), http: { headersTimeout: HEADERS_TIMEOUT_MS } });
}

/** HTTP/2 in clear, with prior knowledge. */
export function clearHttp2(deps: InstanceDeps): FastifyInstance {
  // Fastify hands `http` to http2.createServer as well; its types do not say so.
  const http2 = { http2: true, http: { settings: { maxConcurrentStreams: MAX_STREAMS_PER_SESSION } } } as const;
  return asPlain(Fastify({ ...options(deps), ...http2 }));
}

/** Both over TLS; clients choose by ALPN (RFC 7301). `cert` and `key` are PEM. */
export function tlsWithAlpn(deps: InstanceDeps, { cert, key }: { cert: string; key: string }): FastifyInstance {
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

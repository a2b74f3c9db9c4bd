import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../../domain/clock.ts';
import { BrokerError, type ErrorCode } from '../../domain/errors.ts';
import { challengeOf } from '../challenge.ts';
import type { TransportDeps } from '../deps.ts';
import { ERROR_CODES, ERROR_TABLE, errorBody, type Outcome, retryAfterSeconds } from '../errors.ts';
import { commonHeaders, exchangeOf, fail } from '../exchange.ts';
import type { LogLevel } from '../logging.ts';
import { OpenReplies } from '../open-replies.ts';

type LifecycleDeps = Pick<TransportDeps, 'clock' | 'metrics' | 'log'>;

/** A request that is not here after this long is an attack or a dead peer: 1 MiB in 20 s is a slow modem's pace. */
export const RECEIVE_TIMEOUT_MS = 20_000;
const NOT_FOUND = new BrokerError('not_found', 'no such route; see /openapi.json');
// Nobody reads it; the number is what nginx logs for a client that left.
const STATUS_CALLER_GONE = 499;

/** Answers in JSON with an error, and notes it for the log and the metrics. */
export function sendError(request: FastifyRequest, reply: FastifyReply, error: unknown): FastifyReply {
  const exchange = exchangeOf(request);
  const told = fail(exchange, error);
  if (exchange.outcome === 'canceled') return reply.code(STATUS_CALLER_GONE).send();
  const seconds = retryAfterSeconds(told);
  if (seconds !== null) reply.header('retry-after', seconds);
  const challenge = challengeOf(told, exchange.call, request.headers);
  if (challenge !== null) reply.header('www-authenticate', challenge);
  return reply.code(ERROR_TABLE[told.code].status).type('application/json; charset=utf-8').send(errorBody(told, request.id));
}

/**
 * What every listener does around a request, whatever its transport: rate limit, common headers, one log line, metrics,
 * errors. The limit counts here and nowhere else, before anything can refuse the request; only probes and documents go
 * uncounted.
 */
export function addLifecycle(app: FastifyInstance, deps: LifecycleDeps): OpenReplies {
  const open = new OpenReplies();
  app.decorateRequest('exchange', null);
  app.decorateRequest('refusal', null);
  // Fastify would read it; nothing here takes text.
  app.removeContentTypeParser('text/plain');
  app.addHook('onRequest', (request, reply, done) => {
    const exchange = exchangeOf(request);
    deps.metrics.requestStarted();
    open.add(reply);
    if (request.raw.httpVersionMajor === 2) limitReceiving(deps.clock, request, reply);
    commonHeaders(reply, request.id);
    if (exchange.quiet) {
      done();
      return;
    }
    app.countRequest(request).then((refusal) => {
      request.refusal = refusal;
      if (refusal === null || request.routeOptions.config.tellsRefusal === true) done();
      else done(refusal);
    }, done);
  });
  app.addHook('onResponse', (request, reply, done) => {
    open.delete(reply);
    conclude(deps, request, reply);
    done();
  });
  app.setErrorHandler((error, request, reply) => {
    // HTTP/2 lets any method through; for one that Fastify's router does not know, no hook has run.
    if (!request.exchange) answerUnrouted(deps, NOT_FOUND, request, reply);
    else sendError(request, reply, error);
  });
  // Node would answer 417 past every hook; what else is expected may as well be ignored (RFC 9110 section 10.1.1).
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response));
  return open;
}

/** Answers every path and method that no route has. */
export function addNotFound(app: FastifyInstance): void {
  app.setNotFoundHandler((request, reply) => sendError(request, reply, NOT_FOUND));
}

/**
 * Answers what Fastify refuses before it has a route, such as a path with a broken escape; no hook runs then.
 */
export function answerUnrouted(deps: LifecycleDeps, error: Error, request: FastifyRequest, reply: FastifyReply): void {
  deps.metrics.requestStarted();
  commonHeaders(reply, request.id);
  void request.server.countRequest(request).then((refusal) => {
    sendError(request, reply, refusal ?? error);
    conclude(deps, request, reply);
  });
}

// Node limits this for HTTP/1.1 alone.
function limitReceiving(clock: Clock, request: FastifyRequest, reply: FastifyReply): void {
  // Nobody reads the body of these, and until somebody does, one that is empty is not complete either.
  if (request.method === 'GET' || request.method === 'HEAD') request.raw.resume();
  const cancel = clock.schedule(RECEIVE_TIMEOUT_MS, () => {
    if (!request.raw.complete) reply.raw.destroy();
  });
  reply.raw.once('close', cancel);
}

function conclude(deps: Pick<TransportDeps, 'metrics' | 'log'>, request: FastifyRequest, reply: FastifyReply): void {
  const exchange = exchangeOf(request);
  const status = reply.raw.statusCode;
  const outcome = outcomeOf(exchange.outcome, status, reply.raw.writableEnded);
  const milliseconds = reply.elapsedTime;
  if (exchange.quiet && outcome !== 'internal') {
    deps.metrics.requestSkipped();
    return;
  }
  deps.metrics.requestEnded(exchange.transport, exchange.call, outcome, milliseconds / 1000);
  const { failure } = exchange;
  const level = levelOf(outcome);
  deps.log[level](
    {
      request_id: request.id,
      transport: exchange.transport,
      call: exchange.call,
      method: request.method,
      route: request.routeOptions.url,
      status,
      code: outcome,
      reason: failure instanceof BrokerError ? failure.reason : null,
      rule: failure instanceof BrokerError ? failure.rule : null,
      duration_ms: Math.round(milliseconds * 100) / 100,
      session_id: exchange.sessionId,
      grant_id: exchange.grantId,
      approval_id: exchange.approvalId,
      client: exchange.client,
      error: level === 'error' || level === 'warn' ? failure : null,
    },
    'request',
  );
}

function outcomeOf(noted: Outcome, status: number, ended: boolean): Outcome {
  if (noted !== 'ok') return noted;
  if (!ended) return 'canceled';
  // Connect answers a few mistakes, such as an unknown encoding, with a bare status.
  if (status >= 400) return ERROR_CODES.find((code: ErrorCode) => ERROR_TABLE[code].status === status) ?? 'invalid_request';
  return 'ok';
}

function levelOf(outcome: Outcome): LogLevel {
  if (outcome === 'internal') return 'error';
  if (outcome === 'unavailable' || outcome === 'upstream_error' || outcome === 'deadline_exceeded') return 'warn';
  // What went well is in the metrics and, with its request id, in the audit log.
  return outcome === 'ok' ? 'debug' : 'info';
}

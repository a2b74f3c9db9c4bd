import type { FastifyReply, FastifyRequest } from 'fastify';
import type { BrokerError } from '../domain/errors.ts';
import type { Answer } from './calls.ts';
import { CallerGone, type Outcome, toBrokerError } from './errors.ts';

export type Transport = 'json' | 'connect' | 'grpc' | 'grpc-web';

/** One request and its answer, as the log and the metrics will tell of it. */
export interface Exchange {
  transport: Transport;
  /** Name of the call, or `unknown`. */
  call: string;
  outcome: Outcome;
  /** What went wrong, as it was thrown. */
  failure: unknown;
  sessionId: string | null;
  grantId: string | null;
  approvalId: string | null;
  /** Probes and documents: neither counted nor logged unless they fail. */
  quiet: boolean;
  /** Address of the client, read while its connection is there to be asked; null when it was gone by then. */
  client: string | null;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Null for the moment before the first hook. */
    exchange: Exchange | null;
  }
  interface FastifyContextConfig {
    /** Name of the call behind this route. */
    call?: string;
    quiet?: boolean;
  }
}

/** The exchange of a request that has passed the first hook. */
export function exchangeOf(request: FastifyRequest): Exchange {
  request.exchange ??= {
    transport: 'json',
    call: request.routeOptions.config.call ?? 'unknown',
    outcome: 'ok',
    failure: null,
    sessionId: null,
    grantId: null,
    approvalId: null,
    quiet: request.routeOptions.config.quiet ?? false,
    client: request.raw.socket.destroyed ? null : request.ip,
  };
  return request.exchange;
}

/** Notes how an exchange failed and answers what its caller is told. */
export function fail(exchange: Exchange, error: unknown): BrokerError {
  const told = toBrokerError(error);
  exchange.outcome = error instanceof CallerGone ? 'canceled' : told.code;
  exchange.failure = error;
  return told;
}

/** Headers that every answer carries, whatever the transport. */
export function commonHeaders(reply: FastifyReply, requestId: string): void {
  reply.header('x-request-id', requestId).header('cache-control', 'no-store').header('x-content-type-options', 'nosniff');
}

/** Notes which session, grant and approval an answer speaks of. */
export function noteIds(exchange: Exchange, answer: Answer): void {
  if (answer.kind !== 'json') return;
  const { session_id: sessionId, grant_id: grantId, approval_id: approvalId } = answer.body;
  if (typeof sessionId === 'string') exchange.sessionId = sessionId;
  if (typeof grantId === 'string') exchange.grantId = grantId;
  if (typeof approvalId === 'string') exchange.approvalId = approvalId;
}

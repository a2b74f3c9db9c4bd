import { create, type DescMessage, fromJsonString, type Message, type MessageInitShape, toJson } from '@bufbuild/protobuf';
import { Code, ConnectError, createContextKey, createContextValues, type HandlerContext } from '@connectrpc/connect';
import { contentTypeUnaryRegExp } from '@connectrpc/connect/protocol-connect';
import { contentTypeRegExp as grpcContentType } from '@connectrpc/connect/protocol-grpc';
import { contentTypeRegExp as grpcWebContentType } from '@connectrpc/connect/protocol-grpc-web';
import { fastifyConnectPlugin } from '@connectrpc/connect-fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { BrokerError, invalidRequest } from '../../domain/errors.ts';
import { ExecuteGitHubProxyResponseSchema } from '../../gen/asb/v1/broker_pb.ts';
import { type Answer, type Call, CALLS } from '../calls.ts';
import { challengeOf } from '../challenge.ts';
import { either, type OnGone, withinDeadline } from '../deadline.ts';
import type { TransportDeps } from '../deps.ts';
import { CallerGone, MAX_BODY_BYTES, retryAfterSeconds, wrongMediaType } from '../errors.ts';
import { exchangeOf, fail, noteIds, type Transport } from '../exchange.ts';
import type { OpenReplies } from '../open-replies.ts';
import { presentedProof } from '../presented-proof.ts';
import { presentedToken } from '../presented-token.ts';
import { callersDeadline, fromConnectError, rewriteConnectError, toConnectError } from './errors.ts';

/** The Fastify side of a call: where its exchange and its headers are. */
interface Carrier {
  request: FastifyRequest;
  reply: FastifyReply;
}

const CARRIER = createContextKey<Carrier | null>(null, { description: 'fastify request and reply' });

type ConnectDeps = Pick<TransportDeps, 'broker' | 'clock' | 'publicBaseUrl' | 'tls'> & { open: OpenReplies };

/** Connect, gRPC-Web and gRPC for every call, at /asb.v1.BrokerService/ and /asb.v1.OperatorService/. */
export async function addConnectRoutes(app: FastifyInstance, transport: TransportDeps, open: OpenReplies): Promise<void> {
  const deps: ConnectDeps = { ...transport, open };
  const replies = new WeakMap<FastifyRequest, FastifyReply>();
  await app.register(async (scope) => {
    scope.addHook('onRoute', (route) => {
      route.config = { ...route.config, call: route.url.split('/').at(-1) ?? 'unknown', tellsRefusal: true };
    });
    scope.addHook('onRequest', (request, reply, done) => {
      replies.set(request, reply);
      const mistake = admit(request);
      if (mistake === null) done();
      else done(request.refusal ?? mistake);
    });
    scope.addHook('preHandler', (request, _reply, done) => {
      // Connect stops reading a body that is too long; that must not tear the connection from under its answer.
      request.body = request.raw.iterator({ destroyOnReturn: false });
      done();
    });
    await scope.register(fastifyConnectPlugin, {
      contextValues: (request) => {
        const reply = replies.get(request);
        return createContextValues().set(CARRIER, reply === undefined ? null : { request, reply });
      },
      requestGate: admitCall,
      readMaxBytes: MAX_BODY_BYTES,
      jsonOptions: { ignoreUnknownFields: false },
      routes: (router) => {
        for (const call of CALLS) {
          router.rpc(call.method, (message, context) => answerCall(deps, call, message, context));
        }
      },
    });
  });
}

const TRANSPORTS: readonly (readonly [RegExp, Transport])[] = [
  [contentTypeUnaryRegExp, 'connect'],
  [grpcContentType, 'grpc'],
  [grpcWebContentType, 'grpc-web'],
];

/** Notes the transport; answers what Connect itself would refuse without a word, or choke on. */
function admit(request: FastifyRequest): Error | null {
  const exchange = exchangeOf(request);
  exchange.transport = 'connect';
  if (request.method !== 'POST') return new BrokerError('not_found', 'no such route: send POST');
  const contentType = request.headers['content-type'] ?? '';
  const transport = TRANSPORTS.find(([pattern]) => pattern.test(contentType))?.[1];
  if (transport === undefined) return wrongMediaType();
  exchange.transport = transport;
  dropLongTimeout(request.raw.headers);
  // Connect makes a URL of it and never answers when that fails.
  if (!URL.canParse(`http://${String(request.headers[':authority'] ?? request.headers.host ?? '')}`)) {
    return invalidRequest('host: is not a valid host');
  }
  return null;
}

const LONG_MS = 3_600_000;
const GRPC_UNITS_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 0.001, n: 0.000_001 };

/**
 * Forgets a caller's timeout that is longer than any call may take here: some clients send weeks, which no timer of Node can
 * hold (it would fire at once), and our own deadline ends the call long before.
 */
function dropLongTimeout(headers: Record<string, string | string[] | undefined>): void {
  const grpc = /^(\d{1,8})([HMSmun])$/.exec(String(headers['grpc-timeout'] ?? ''));
  if (grpc !== null && Number(grpc[1]) * (GRPC_UNITS_MS[grpc[2] ?? ''] ?? 0) >= LONG_MS) delete headers['grpc-timeout'];
  const connect = /^\d{1,10}$/.exec(String(headers['connect-timeout-ms'] ?? ''));
  if (connect !== null && Number(connect[0]) >= LONG_MS) delete headers['connect-timeout-ms'];
}

function carrierOf(context: HandlerContext): Carrier {
  const carrier = context.values.get(CARRIER);
  if (carrier === null) throw new Error('a call came without its request');
  return carrier;
}

/** Runs before a body is read: tells a refusal, and keeps the watch over errors that Connect throws without us. */
function admitCall(context: HandlerContext): void {
  const carrier = carrierOf(context);
  context.signal.addEventListener('abort', () => noteForeignError(carrier, context.method.input, context.signal.reason));
  const { refusal } = carrier.request;
  if (refusal !== null) throw failCall(carrier, refusal);
}

function noteForeignError({ request, reply }: Carrier, input: DescMessage, error: unknown): void {
  const exchange = exchangeOf(request);
  if (exchange.outcome !== 'ok' || !(error instanceof ConnectError)) return;
  const reason = fromConnectError(error, input);
  const told = fail(exchange, reason);
  if (!(reason instanceof CallerGone)) rewriteConnectError(error, told, request.id);
  // The rest of a body nobody wants is let through and dropped, and the connection is not used again.
  if (request.raw.httpVersionMajor === 1 && !request.raw.complete) {
    reply.header('connection', 'close');
    request.raw.resume();
  }
}

function failCall({ request, reply }: Carrier, error: unknown): ConnectError {
  const exchange = exchangeOf(request);
  const told = fail(exchange, error);
  if (exchange.outcome === 'canceled') return new ConnectError('canceled', Code.Canceled);
  const seconds = retryAfterSeconds(told);
  if (seconds !== null) reply.header('retry-after', seconds);
  const challenge = challengeOf(told, exchange.call, request.headers);
  if (challenge !== null) reply.header('www-authenticate', challenge);
  return toConnectError(told, request.id);
}

async function answerCall(
  deps: ConnectDeps,
  call: Call,
  message: Message,
  context: HandlerContext,
): Promise<MessageInitShape<DescMessage>> {
  const carrier = carrierOf(context);
  try {
    const ready = call.read(wireRequest(call, message), presentedToken(context.requestHeader.get('authorization')));
    const { request } = carrier;
    const gone = whenAborted(context.signal);
    const onGone = call.waits ? either(gone, deps.open.whenClosing) : gone;
    const limits = { clock: deps.clock, seconds: call.deadlineSeconds, onGone };
    const caller = { requestId: request.id, proof: presentedProof(request, deps) };
    const answer = await withinDeadline(limits, caller, (call) => ready(deps.broker(), call));
    noteIds(exchangeOf(request), answer);
    return responseMessage(call, answer);
  } catch (error) {
    throw failCall(carrier, error);
  }
}

/** The message as the JSON routes would have received it, so that both read it by the same rules. */
function wireRequest(call: Call, message: Message): unknown {
  try {
    return toJson(call.method.input, message, { useProtoFieldName: true });
  } catch (error) {
    // Such as a NaN in a Struct.
    throw invalidRequest('body: holds a value that JSON cannot hold', { cause: error });
  }
}

function responseMessage(call: Call, answer: Answer): MessageInitShape<DescMessage> {
  if (answer.kind === 'json') return fromJsonString(call.method.output, JSON.stringify(answer.body));
  const { payload, contentType, nextPage } = answer;
  return create(ExecuteGitHubProxyResponseSchema, { payload, contentType, nextPage: nextPage ?? 0 });
}

const whenAborted =
  (signal: AbortSignal): OnGone =>
  (listener) => {
    const onAbort = (): void => {
      const reason: unknown = signal.reason;
      const late = reason instanceof ConnectError && reason.code === Code.DeadlineExceeded;
      listener(late ? callersDeadline() : new CallerGone());
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    return () => signal.removeEventListener('abort', onAbort);
  };

import { once } from 'node:events';
import http from 'node:http';
import {
  type ClientHttp2Session,
  connect as connectHttp2,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
} from 'node:http2';
import https from 'node:https';
import { type DescMethod, type DescMethodUnary, fromJson, type JsonValue, toJson } from '@bufbuild/protobuf';
import { base64Encode } from '@bufbuild/protobuf/wire';
import { ConnectError, type Transport } from '@connectrpc/connect';
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
  Http2SessionManager,
} from '@connectrpc/connect-node';
import { z } from 'zod';
import { BrokerService } from '../../src/gen/asb/v1/broker_pb.ts';
import { ErrorDetailSchema } from '../../src/gen/asb/v1/error_pb.ts';
import { OperatorService } from '../../src/gen/asb/v1/operator_pb.ts';

export type MethodName = keyof typeof BrokerService.method | keyof typeof OperatorService.method;

export interface CallOptions {
  bearer?: string;
  headers?: Readonly<Record<string, string>>;
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** Headers every answer has, as they came. */
export interface AnswerHeaders {
  requestId: string | null;
  cacheControl: string | null;
  retryAfter: string | null;
  challenge: string | null;
}

export type CallResult =
  | { ok: true; body: JsonValue; headers: AnswerHeaders }
  | {
      ok: false;
      code: string;
      message: string;
      reason: string | null;
      rule: string | null;
      retryAfterSeconds: number | null;
      requestId: string;
      headers: AnswerHeaders;
    };

/** One way to reach both services. Requests and answers are wire JSON, in protobuf's canonical form, whatever travels. */
export interface TransportClient {
  readonly name: string;
  call(method: MethodName, request: JsonValue, options?: CallOptions): Promise<CallResult>;
  close(): void;
}

const METHODS: Readonly<Record<MethodName, DescMethodUnary>> = { ...BrokerService.method, ...OperatorService.method };
const methodOf = (name: MethodName): DescMethodUnary => METHODS[name];

/** Where Connect, gRPC and gRPC-Web find a call. */
export const rpcPathOf = (name: MethodName): string => `/${METHODS[name].parent.typeName}/${METHODS[name].name}`;

/** The JSON routes as a client's documentation lists them: method, path, and the field that stands in it. */
const JSON_ROUTES: Readonly<Record<MethodName, readonly [method: 'GET' | 'POST', path: string, field?: string]>> = {
  createSession: ['POST', '/v1/sessions'],
  requestGrant: ['POST', '/v1/grants'],
  getGrant: ['GET', '/v1/grants/{}', 'grant_id'],
  approveGrant: ['POST', '/v1/approvals/{}:approve', 'approval_id'],
  denyGrant: ['POST', '/v1/approvals/{}:deny', 'approval_id'],
  revokeGrant: ['POST', '/v1/grants/{}:revoke', 'grant_id'],
  revokeSession: ['POST', '/v1/sessions/{}:revoke', 'session_id'],
  executeGitHubProxy: ['POST', '/v1/proxy/github/rest'],
  registerBrowserRelay: ['POST', '/v1/browser/relay-sessions'],
  unwrapArtifact: ['POST', '/v1/artifacts/{}:unwrap', 'artifact_id'],
  listSessions: ['GET', '/v1/sessions'],
  getSession: ['GET', '/v1/sessions/{}', 'session_id'],
  listGrants: ['GET', '/v1/grants'],
  listApprovals: ['GET', '/v1/approvals'],
  getApproval: ['GET', '/v1/approvals/{}', 'approval_id'],
  listRevocations: ['GET', '/v1/revocations'],
  listAuditEvents: ['GET', '/v1/audit-events'],
  revokeRun: ['POST', '/v1/runs/{}:revoke', 'run_id'],
  revokeWorkload: ['POST', '/v1/workloads/{}:revoke', 'workload_hash'],
  explainDecision: ['POST', '/v1/decisions:explain'],
  decideByCallback: ['POST', '/v1/approvals/{}:callback', 'approval_id'],
};

const plainRequest = z.record(z.string(), z.json());

/** A call as its JSON route takes it. */
export function jsonRequest(name: MethodName, request: JsonValue): RawRequest & { headers: Record<string, string> } {
  const [method, template, field] = JSON_ROUTES[name];
  const { [field ?? '']: id = '', ...rest } = plainRequest.parse(request);
  const path = template.replace('{}', encodeURIComponent(z.string().parse(id)));
  if (method === 'POST') {
    return { method, path, headers: { 'content-type': 'application/json' }, body: JSON.stringify(rest) };
  }
  const query = new URLSearchParams(
    Object.entries(rest).map(([key, value]): [string, string] => [
      key,
      typeof value === 'string' ? value : JSON.stringify(value),
    ]),
  );
  return { method, path: query.size === 0 ? path : `${path}?${query.toString()}`, headers: {} };
}

export interface RawAnswer {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: Buffer;
}

export interface RawRequest {
  method?: string;
  path: string;
  headers?: Readonly<Record<string, string | number | string[]>>;
  body?: string | Buffer;
  signal?: AbortSignal;
}

/** Plain HTTP/1.1, for what no well-made client would send. */
export class RawClient {
  readonly #url: string;
  readonly #agent: http.Agent;

  constructor(url: string, ca?: string) {
    this.#url = url;
    this.#agent = url.startsWith('https:') ? new https.Agent({ keepAlive: true, ca }) : new http.Agent({ keepAlive: true });
  }

  send({ method = 'POST', path, headers = {}, body, signal }: RawRequest): Promise<RawAnswer> {
    const { request } = this.#url.startsWith('https:') ? https : http;
    return new Promise((resolve, reject) => {
      const sent = request(this.#url, { method, path, headers, agent: this.#agent, signal }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
        );
        response.on('error', reject);
      });
      sent.on('error', reject);
      sent.end(body);
    });
  }

  postJson(path: string, body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<RawAnswer> {
    return this.send({
      path,
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** Plain HTTP/2, for what no well-made client would send. */
export class RawHttp2Client {
  readonly #session: ClientHttp2Session;

  constructor(url: string, ca?: string) {
    this.#session = connectHttp2(url, ca === undefined ? {} : { ca });
  }

  async send({ method = 'POST', path, headers = {}, body }: RawRequest): Promise<RawAnswer> {
    const stream = this.#session.request({ ...headers, ':method': method, ':path': path });
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    const ended = once(stream, 'end');
    stream.end(body);
    const [received] = (await once(stream, 'response')) as [IncomingHttpHeaders & IncomingHttpStatusHeader];
    await ended;
    return { status: received[':status'] ?? 0, headers: received, body: Buffer.concat(chunks) };
  }

  close(): void {
    this.#session.destroy();
  }
}

const errorBody = z.strictObject({
  error: z.string(),
  code: z.string(),
  request_id: z.string(),
  reason: z.string().optional(),
  rule: z.string().optional(),
});

const one = (value: string | string[] | undefined): string | null => (Array.isArray(value) ? value.join() : (value ?? null));

const rawHeaders = (headers: http.IncomingHttpHeaders): AnswerHeaders => ({
  requestId: one(headers['x-request-id']),
  cacheControl: one(headers['cache-control']),
  retryAfter: one(headers['retry-after']),
  challenge: one(headers['www-authenticate']),
});

function authorization({ bearer, headers }: CallOptions): Record<string, string> {
  return { ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }), ...headers };
}

/** The JSON routes under /v1. */
export function jsonClient(url: string, ca?: string): TransportClient {
  const raw = new RawClient(url, ca);
  return {
    name: 'JSON',
    async call(method, request, options = {}) {
      const send = jsonRequest(method, request);
      const answer = await raw.send({
        ...send,
        headers: { ...send.headers, ...authorization(options) },
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      });
      const headers = rawHeaders(answer.headers);
      if (answer.status !== 200) {
        const told = errorBody.parse(JSON.parse(answer.body.toString()));
        return {
          ok: false,
          code: told.code,
          message: told.error,
          reason: told.reason ?? null,
          rule: told.rule ?? null,
          retryAfterSeconds: headers.retryAfter === null ? null : Number(headers.retryAfter),
          requestId: told.request_id,
          headers,
        };
      }
      return {
        ok: true,
        body: canonical(
          methodOf(method),
          method === 'executeGitHubProxy' ? proxyJson(answer) : z.json().parse(JSON.parse(answer.body.toString())),
        ),
        headers,
      };
    },
    close: () => raw.close(),
  };
}

function proxyJson({ headers, body }: RawAnswer): JsonValue {
  const nextPage = headers['x-next-page'];
  return {
    payload: base64Encode(body),
    content_type: headers['content-type'] ?? '',
    ...(nextPage === undefined ? {} : { next_page: Number(nextPage) }),
  };
}

/** As protobuf writes it: unset and empty fields left out. */
function canonical(method: DescMethod, body: JsonValue): JsonValue {
  return toJson(method.output, fromJson(method.output, body), { useProtoFieldName: true });
}

/** Connect with JSON bodies, made by hand, so that it can carry any mistake. */
export function connectJsonClient(url: string, ca?: string): TransportClient {
  const raw = new RawClient(url, ca);
  const connectError = z.object({
    message: z.string().optional(),
    details: z.array(z.object({ type: z.literal('asb.v1.ErrorDetail'), debug: z.json() })).length(1),
  });
  return {
    name: 'Connect JSON',
    async call(method, request, options = {}) {
      const answer = await raw.send({
        path: rpcPathOf(method),
        headers: { 'content-type': 'application/json', ...authorization(options) },
        body: JSON.stringify(request),
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      });
      const headers = rawHeaders(answer.headers);
      const body: unknown = JSON.parse(answer.body.toString());
      if (answer.status === 200) return { ok: true, body: canonical(methodOf(method), z.json().parse(body)), headers };
      const { message, details } = connectError.parse(body);
      return refused(message ?? '', fromJson(ErrorDetailSchema, details[0]?.debug ?? null), headers);
    },
    close: () => raw.close(),
  };
}

function refused(
  message: string,
  detail: { code: string; requestId: string; reason: string; rule: string; retryAfterSeconds: number },
  headers: AnswerHeaders,
): CallResult {
  const { code, requestId } = detail;
  const reason = detail.reason === '' ? null : detail.reason;
  const rule = detail.rule === '' ? null : detail.rule;
  const retryAfterSeconds = detail.retryAfterSeconds === 0 ? null : detail.retryAfterSeconds;
  return { ok: false, code, message, reason, rule, retryAfterSeconds, requestId, headers };
}

const webHeaders = (headers: Headers): AnswerHeaders => ({
  requestId: headers.get('x-request-id'),
  cacheControl: headers.get('cache-control'),
  retryAfter: headers.get('retry-after'),
  challenge: headers.get('www-authenticate'),
});

function transportClient(name: string, transport: Transport, close: () => void): TransportClient {
  return {
    name,
    async call(method, request, options = {}) {
      const description = methodOf(method);
      const message = fromJson(description.input, request);
      try {
        const response = await transport.unary(
          description,
          options.signal,
          options.timeoutMs,
          authorization(options),
          message,
        );
        const body = toJson(description.output, response.message, { useProtoFieldName: true });
        return { ok: true, body, headers: webHeaders(response.header) };
      } catch (thrown) {
        if (!(thrown instanceof ConnectError)) throw thrown;
        const detail = thrown.findDetails(ErrorDetailSchema)[0];
        if (detail === undefined) throw thrown;
        return refused(thrown.rawMessage, detail, webHeaders(thrown.metadata));
      }
    },
    close,
  };
}

/** Connect with binary bodies over HTTP/1.1. */
export function connectClient(url: string, ca?: string): TransportClient {
  const agent = url.startsWith('https:') ? new https.Agent({ keepAlive: true, ca }) : new http.Agent({ keepAlive: true });
  const transport = createConnectTransport({
    baseUrl: url,
    httpVersion: '1.1',
    useBinaryFormat: true,
    nodeOptions: { agent },
  });
  return transportClient('Connect', transport, () => agent.destroy());
}

/** gRPC-Web over HTTP/1.1. */
export function grpcWebClient(url: string, ca?: string): TransportClient {
  const agent = url.startsWith('https:') ? new https.Agent({ keepAlive: true, ca }) : new http.Agent({ keepAlive: true });
  return transportClient(
    'gRPC-Web',
    createGrpcWebTransport({ baseUrl: url, httpVersion: '1.1', nodeOptions: { agent } }),
    () => agent.destroy(),
  );
}

/** gRPC over HTTP/2: in clear with prior knowledge for an http URL, by ALPN for an https one. */
export function grpcClient(url: string, ca?: string): TransportClient {
  const sessionManager = new Http2SessionManager(url, {}, ca === undefined ? {} : { ca });
  const transport = createGrpcTransport({ baseUrl: url, sessionManager });
  return transportClient(url.startsWith('https:') ? 'gRPC over TLS' : 'gRPC over h2c', transport, () =>
    sessionManager.abort(),
  );
}

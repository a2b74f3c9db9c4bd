import type { DescMethodUnary } from '@bufbuild/protobuf';
import type { z } from 'zod';
import type { Broker } from '../broker/broker.ts';
import type { UseCase } from '../broker/use-case.ts';
import type { CallContext } from '../domain/call-context.ts';
import { invalidRequest } from '../domain/errors.ts';
import { BrokerService } from '../gen/asb/v1/broker_pb.ts';
import { describeMistakes } from './wire-fields.ts';
import * as schemas from './wire-schemas.ts';

/** What goes back: JSON of ours, or bytes that a downstream system sent. */
export type Answer =
  | { kind: 'json'; body: Readonly<Record<string, unknown>> }
  | { kind: 'bytes'; payload: Uint8Array; contentType: string; nextPage: number | null };

/** A call whose request has been read; all that is left is to make it. */
export type ReadyCall = (broker: Broker, context: CallContext) => Promise<Answer>;

/** One call of BrokerService, described once for every transport. */
export interface Call {
  readonly name: string;
  readonly method: DescMethodUnary;
  /** Path of the JSON route, with `{field}` where a field of the request stands in it. */
  readonly path: string;
  readonly pathField: string | null;
  readonly summary: string;
  /** Whether the caller shows a session token. */
  readonly takesSessionToken: boolean;
  readonly deadlineSeconds: number;
  readonly request: z.ZodObject;
  /** Null when the answer is another system's JSON. */
  readonly response: z.ZodObject | null;
  /**
   * Reads a request in its JSON form. `bearer` is the token of the Authorization header. Throws `invalid_request` naming
   * every mistake.
   */
  read(wire: unknown, bearer: string | null): ReadyCall;
}

interface Description<Fields extends z.ZodObject, Request, Response> {
  method: DescMethodUnary;
  path: string;
  summary: string;
  /** Leave out for calls that no session token opens. */
  token?: 'header' | ((fields: z.output<Fields>) => string | null);
  deadlineSeconds?: number;
  request: Fields;
  decode: (fields: z.output<Fields>, token: string | null) => Request;
  useCase: (broker: Broker) => UseCase<Request, Response>;
}

// Longer than any store or key server takes when it is well, shorter than a client's own patience.
const DEADLINE_SECONDS = 10;
// GitHub is slower than our own store, and its answers are larger.
const PROXY_DEADLINE_SECONDS = 20;

/** RFC 3339 in UTC, without a fraction when there is none: the way protobuf writes a Timestamp. */
const rfc3339 = (date: Date): string => date.toISOString().replace('.000Z', 'Z');

function describe<Fields extends z.ZodObject, Request, Response>(
  description: Description<Fields, Request, Response>,
  response: z.ZodObject | null,
  encode: (response: Response) => Answer,
): Call {
  const { method, path, summary, token, request, decode, useCase } = description;
  return {
    name: method.name,
    method,
    path,
    pathField: /\{(\w+)\}/.exec(path)?.[1] ?? null,
    summary,
    takesSessionToken: token !== undefined,
    deadlineSeconds: description.deadlineSeconds ?? DEADLINE_SECONDS,
    request,
    response,
    read(wire, bearer) {
      const parsed = request.safeParse(wire);
      if (!parsed.success) throw invalidRequest(describeMistakes(parsed.error));
      const inBody = typeof token === 'function' ? token(parsed.data) : null;
      const decoded = decode(parsed.data, oneToken(inBody, bearer));
      return async (broker, context) => encode(await useCase(broker)(decoded, context));
    },
  };
}

function describeJson<Fields extends z.ZodObject, Body extends z.ZodObject, Request, Response>(
  description: Description<Fields, Request, Response> & { response: Body; encode(response: Response): z.output<Body> },
): Call {
  return describe(description, description.response, (response) => ({ kind: 'json', body: description.encode(response) }));
}

function oneToken(inBody: string | null, bearer: string | null): string | null {
  if (inBody !== null && bearer !== null && inBody !== bearer) {
    throw invalidRequest('session_token: differs from the token in the Authorization header; send one of them');
  }
  return inBody ?? bearer;
}

const createSession = describeJson({
  method: BrokerService.method.createSession,
  path: '/v1/sessions',
  summary: 'Attests the calling workload and opens one agent run.',
  request: schemas.createSessionRequest,
  response: schemas.createSessionResponse,
  decode: (fields) => ({
    tenantId: fields.tenant_id,
    agentId: fields.agent_id,
    runId: fields.run_id,
    toolContext: fields.tool_context,
    attestation: fields.attestation,
    delegationAssertion: fields.delegation_assertion,
  }),
  useCase: (broker) => broker.createSession,
  encode: ({ sessionId, sessionToken, expiresAt }) => ({
    session_id: sessionId,
    session_token: sessionToken,
    expires_at: rfc3339(expiresAt),
  }),
});

const requestGrant = describeJson({
  method: BrokerService.method.requestGrant,
  path: '/v1/grants',
  summary: 'Asks for one capability on one resource through one tool.',
  token: (fields) => fields.session_token,
  request: schemas.requestGrantRequest,
  response: schemas.requestGrantResponse,
  decode: (fields, sessionToken) => ({
    sessionToken,
    tool: fields.tool,
    capability: fields.capability,
    resourceRef: fields.resource_ref,
    deliveryMode: fields.delivery_mode,
    ttlSeconds: fields.ttl_seconds,
    reason: fields.reason,
  }),
  useCase: (broker) => broker.requestGrant,
  encode: ({ grantId, state, delivery, expiresAt }) => ({
    grant_id: grantId,
    state,
    delivery: { kind: delivery.kind, handle: delivery.handle, artifact_id: delivery.artifactId },
    expires_at: rfc3339(expiresAt),
  }),
});

const decideApproval = (fields: z.output<typeof schemas.decideApprovalRequest>) => ({
  approvalId: fields.approval_id,
  approver: fields.approver,
  comment: fields.comment,
});

const approveGrant = describeJson({
  method: BrokerService.method.approveGrant,
  path: '/v1/approvals/{approval_id}:approve',
  summary: "Records a human's yes. The agent collects the delivery itself.",
  request: schemas.decideApprovalRequest,
  response: schemas.approveGrantResponse,
  decode: decideApproval,
  useCase: (broker) => broker.approveGrant,
  encode: ({ grantId, state, approvalId, expiresAt }) => ({
    grant_id: grantId,
    state,
    approval_id: approvalId,
    expires_at: rfc3339(expiresAt),
  }),
});

const denyGrant = describeJson({
  method: BrokerService.method.denyGrant,
  path: '/v1/approvals/{approval_id}:deny',
  summary: "Records a human's no.",
  request: schemas.decideApprovalRequest,
  response: schemas.denyGrantResponse,
  decode: decideApproval,
  useCase: (broker) => broker.denyGrant,
  encode: ({ state }) => ({ state }),
});

const revokeGrant = describeJson({
  method: BrokerService.method.revokeGrant,
  path: '/v1/grants/{grant_id}:revoke',
  summary: 'Ends one grant and what was issued for it.',
  token: 'header',
  request: schemas.revokeGrantRequest,
  response: schemas.revokeResponse,
  decode: (fields, sessionToken) => ({ sessionToken, grantId: fields.grant_id, reason: fields.reason }),
  useCase: (broker) => broker.revokeGrant,
  encode: ({ state }) => ({ state }),
});

const revokeSession = describeJson({
  method: BrokerService.method.revokeSession,
  path: '/v1/sessions/{session_id}:revoke',
  summary: 'Ends a session and every grant of it.',
  token: 'header',
  request: schemas.revokeSessionRequest,
  response: schemas.revokeResponse,
  decode: (fields, sessionToken) => ({ sessionToken, sessionId: fields.session_id, reason: fields.reason }),
  useCase: (broker) => broker.revokeSession,
  encode: ({ state }) => ({ state }),
});

const executeGitHubProxy = describe(
  {
    method: BrokerService.method.executeGitHubProxy,
    path: '/v1/proxy/github/rest',
    summary: "Runs one allowed GitHub operation behind a proxy handle and answers GitHub's own JSON.",
    deadlineSeconds: PROXY_DEADLINE_SECONDS,
    request: schemas.executeGitHubProxyRequest,
    decode: (fields) => ({ proxyHandle: fields.proxy_handle, operation: fields.operation, params: fields.params }),
    useCase: (broker) => broker.executeGitHubProxy,
  },
  null,
  (answer) => ({ kind: 'bytes', ...answer }),
);

const registerBrowserRelay = describeJson({
  method: BrokerService.method.registerBrowserRelay,
  path: '/v1/browser/relay-sessions',
  summary: "Binds a browser extension's key to a session, an origin and a tab.",
  token: (fields) => fields.session_token,
  request: schemas.registerBrowserRelayRequest,
  response: schemas.registerBrowserRelayResponse,
  decode: (fields, sessionToken) => ({
    sessionToken,
    keyId: fields.key_id,
    publicKey: fields.public_key,
    origin: fields.origin,
    tabId: fields.tab_id,
    selectors: fields.selectors,
  }),
  useCase: (broker) => broker.registerBrowserRelay,
  encode: ({ sessionId, keyId, expiresAt }) => ({
    session_id: sessionId,
    key_id: keyId,
    expires_at: rfc3339(expiresAt),
  }),
});

const unwrapArtifact = describeJson({
  method: BrokerService.method.unwrapArtifact,
  path: '/v1/artifacts/{artifact_id}:unwrap',
  summary: 'Opens a wrapped secret, once.',
  token: (fields) => fields.session_token,
  request: schemas.unwrapArtifactRequest,
  response: schemas.unwrapArtifactResponse,
  decode: (fields, sessionToken) => ({
    sessionToken,
    artifactId: fields.artifact_id,
    keyId: fields.key_id,
    origin: fields.origin,
    tabId: fields.tab_id,
  }),
  useCase: (broker) => broker.unwrapArtifact,
  encode: ({ artifactId, origin, fields }) => ({
    artifact_id: artifactId,
    origin,
    auto_submit: false as const,
    fields: fields.map((field) => ({ name: field.name, selector: field.selector, value: field.value })),
  }),
});

/** Every call of BrokerService. */
export const CALLS: readonly Call[] = [
  createSession,
  requestGrant,
  approveGrant,
  denyGrant,
  revokeGrant,
  revokeSession,
  executeGitHubProxy,
  registerBrowserRelay,
  unwrapArtifact,
];

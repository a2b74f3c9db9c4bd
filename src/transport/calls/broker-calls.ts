import type { z } from 'zod';
import type { GrantAnswer } from '../../broker/collect-grant.ts';
import type { Delivery } from '../../domain/delivery.ts';
import { BrokerService } from '../../gen/asb/v1/broker_pb.ts';
import { MAX_WAIT_SECONDS } from '../wire-fields.ts';
import * as schemas from './broker-schemas.ts';
import { type Call, describe, describeJson, rfc3339 } from './describe.ts';
import { encodeGrant } from './records.ts';

// GitHub is slower than our own store, and its answers are larger.
const PROXY_DEADLINE_SECONDS = 20;
// What a wait may take, and as long again for the rest as a call that does not wait needs when all is well.
const WAIT_DEADLINE_SECONDS = MAX_WAIT_SECONDS + 5;

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

const encodeGrantAnswer = (answer: GrantAnswer): z.output<typeof schemas.requestGrantResponse> => ({
  grant_id: answer.grantId,
  state: answer.state,
  approval_id: answer.approvalId ?? undefined,
  delivery: answer.delivery === null ? undefined : encodeDelivery(answer.delivery),
  expires_at: rfc3339(answer.expiresAt),
  end_reason: answer.endReason ?? undefined,
});

function encodeDelivery(delivery: Delivery): z.output<typeof schemas.delivery> {
  const { kind, artifactId } = delivery;
  return {
    kind,
    handle: kind === 'proxy_handle' ? delivery.handle : undefined,
    token: kind === 'minted_token' ? delivery.token.reveal() : undefined,
    artifact_id: artifactId,
  };
}

const requestGrant = describeJson({
  method: BrokerService.method.requestGrant,
  path: '/v1/grants',
  summary: 'Asks for one capability on one resource through one tool.',
  tokens: ['session'],
  tokenInBody: (fields) => fields.session_token,
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
    requestId: fields.request_id === '' ? null : fields.request_id,
  }),
  useCase: (broker) => broker.requestGrant,
  encode: encodeGrantAnswer,
});

const getGrant = describeJson({
  method: BrokerService.method.getGrant,
  httpMethod: 'GET',
  path: '/v1/grants/{grant_id}',
  summary: 'Tells how a grant stands, and can wait for one that people still decide about.',
  tokens: ['session', 'operator'],
  deadlineSeconds: WAIT_DEADLINE_SECONDS,
  waits: true,
  request: schemas.getGrantRequest,
  response: schemas.getGrantResponse,
  decode: (fields, credential) => ({ credential, grantId: fields.grant_id, waitSeconds: fields.wait_seconds }),
  useCase: (broker) => broker.getGrant,
  encode: (answer) => ({ ...encodeGrantAnswer(answer), grant: encodeGrant(answer.grant) }),
});

const decideApproval = (fields: z.output<typeof schemas.decideApprovalRequest>, credential: string | null) => ({
  credential,
  approvalId: fields.approval_id,
  approver: fields.approver,
  comment: fields.comment,
});

const approveGrant = describeJson({
  method: BrokerService.method.approveGrant,
  path: '/v1/approvals/{approval_id}:approve',
  summary: "Records a human's yes. The agent collects the delivery itself.",
  tokens: ['operator'],
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
  tokens: ['operator'],
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
  tokens: ['session', 'operator'],
  request: schemas.revokeGrantRequest,
  response: schemas.revokeResponse,
  decode: (fields, credential) => ({ credential, grantId: fields.grant_id, reason: fields.reason }),
  useCase: (broker) => broker.revokeGrant,
  encode: ({ state }) => ({ state }),
});

const revokeSession = describeJson({
  method: BrokerService.method.revokeSession,
  path: '/v1/sessions/{session_id}:revoke',
  summary: 'Ends a session and every grant of it.',
  tokens: ['session', 'operator'],
  request: schemas.revokeSessionRequest,
  response: schemas.revokeResponse,
  decode: (fields, credential) => ({ credential, sessionId: fields.session_id, reason: fields.reason }),
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
  tokens: ['session'],
  tokenInBody: (fields) => fields.session_token,
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
  tokens: ['session'],
  tokenInBody: (fields) => fields.session_token,
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
export const BROKER_CALLS: readonly Call[] = [
  createSession,
  requestGrant,
  getGrant,
  approveGrant,
  denyGrant,
  revokeGrant,
  revokeSession,
  executeGitHubProxy,
  registerBrowserRelay,
  unwrapArtifact,
];

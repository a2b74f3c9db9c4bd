import type { JsonValue } from '@bufbuild/protobuf';
import type { CallName } from './fake-broker.ts';
import { OPERATOR_CALL_CASES } from './operator-call-cases.ts';
import { APPROVAL_ID, ARTIFACT_ID, GRANT_ID, grantRecord, OPERATOR, SESSION_ID, TOKEN } from './wire-records.ts';

/** A well-made call, what the broker is asked for it, and what the fake broker's answer looks like on the wire. */
export interface CallCase {
  call: CallName;
  request: Record<string, JsonValue>;
  bearer?: string;
  asked: Record<string, unknown>;
  answer: JsonValue;
}

/** One case for each call, every field filled. */
export const CALL_CASES: readonly CallCase[] = [
  {
    call: 'createSession',
    request: {
      tenant_id: 't_acme',
      agent_id: 'agent-1',
      run_id: 'run/2026-01-02',
      tool_context: ['github', 'db'],
      attestation: { kind: 'k8s_sa_jwt', token: 'a.b.c' },
      delegation_assertion: 'd.e.f',
    },
    asked: {
      tenantId: 't_acme',
      agentId: 'agent-1',
      runId: 'run/2026-01-02',
      toolContext: ['github', 'db'],
      attestation: { kind: 'k8s_sa_jwt', token: 'a.b.c' },
      delegationAssertion: 'd.e.f',
    },
    answer: {
      session_id: SESSION_ID,
      session_token: TOKEN,
      expires_at: '2026-01-02T03:14:05Z',
    },
  },
  {
    call: 'requestGrant',
    request: {
      session_token: TOKEN,
      tool: 'github',
      capability: 'repo.read',
      resource_ref: 'github:repo:acme/api',
      delivery_mode: 'proxy',
      ttl_seconds: '600',
      reason: 'look at the open pull requests',
      request_id: 'ask-1',
    },
    asked: {
      sessionToken: TOKEN,
      tool: 'github',
      capability: 'repo.read',
      resourceRef: 'github:repo:acme/api',
      deliveryMode: 'proxy',
      ttlSeconds: 600,
      reason: 'look at the open pull requests',
      requestId: 'ask-1',
    },
    answer: {
      grant_id: GRANT_ID,
      state: 'issued',
      delivery: { kind: 'proxy_handle', handle: 'ph_handle', artifact_id: ARTIFACT_ID },
      expires_at: '2026-01-02T03:14:05.250Z',
    },
  },
  {
    call: 'getGrant',
    request: { grant_id: 'gr_1', wait_seconds: 30 },
    bearer: TOKEN,
    asked: { credential: TOKEN, grantId: 'gr_1', waitSeconds: 30 },
    answer: {
      grant_id: GRANT_ID,
      state: 'denied',
      approval_id: APPROVAL_ID,
      expires_at: '2026-01-02T03:14:05Z',
      end_reason: 'not today',
      grant: grantRecord('denied', { ended_at: '2026-01-02T03:09:05.500Z', end_reason: 'not today' }),
    },
  },
  {
    call: 'approveGrant',
    request: { approval_id: 'ap_1', approver: 'ana', comment: 'fine' },
    bearer: OPERATOR,
    asked: { credential: OPERATOR, approvalId: 'ap_1', approver: 'ana', comment: 'fine' },
    answer: {
      grant_id: GRANT_ID,
      state: 'issued',
      approval_id: APPROVAL_ID,
      expires_at: '2026-01-02T03:14:05Z',
    },
  },
  {
    call: 'denyGrant',
    request: { approval_id: 'ap_1', approver: 'ana', comment: 'no' },
    bearer: OPERATOR,
    asked: { credential: OPERATOR, approvalId: 'ap_1', approver: 'ana', comment: 'no' },
    answer: { state: 'denied' },
  },
  {
    call: 'revokeGrant',
    request: { grant_id: 'gr_1', reason: 'done' },
    bearer: TOKEN,
    asked: { credential: TOKEN, grantId: 'gr_1', reason: 'done' },
    answer: { state: 'revoked' },
  },
  {
    call: 'revokeSession',
    request: { session_id: 'sess_1', reason: 'done' },
    bearer: TOKEN,
    asked: { credential: TOKEN, sessionId: 'sess_1', reason: 'done' },
    answer: { state: 'revoked' },
  },
  {
    call: 'executeGitHubProxy',
    request: {
      proxy_handle: 'ph_handle',
      operation: 'pulls/list',
      params: { owner: 'acme', per_page: 5, labels: ['a', null, { deep: true }] },
    },
    asked: {
      proxyHandle: 'ph_handle',
      operation: 'pulls/list',
      params: { owner: 'acme', per_page: 5, labels: ['a', null, { deep: true }] },
    },
    answer: {
      payload: Buffer.from('{"name":"repo","private":true}\n').toString('base64'),
      content_type: 'application/vnd.github+json; charset=utf-8',
      next_page: 2,
    },
  },
  {
    call: 'registerBrowserRelay',
    request: {
      session_token: TOKEN,
      key_id: 'key-1',
      public_key: 'MCowBQYDK2VwAyEA',
      origin: 'https://example.com',
      tab_id: '17',
      selectors: { username: '#user', password: 'input[type=password]' },
    },
    asked: {
      sessionToken: TOKEN,
      keyId: 'key-1',
      publicKey: 'MCowBQYDK2VwAyEA',
      origin: 'https://example.com',
      tabId: '17',
      selectors: { username: '#user', password: 'input[type=password]' },
    },
    answer: {
      session_id: SESSION_ID,
      key_id: 'key-1',
      expires_at: '2026-01-02T03:14:05Z',
    },
  },
  {
    call: 'unwrapArtifact',
    request: {
      session_token: TOKEN,
      artifact_id: 'art_1',
      key_id: 'key-1',
      origin: 'https://example.com',
      tab_id: '17',
    },
    asked: {
      sessionToken: TOKEN,
      artifactId: 'art_1',
      keyId: 'key-1',
      origin: 'https://example.com',
      tabId: '17',
    },
    answer: {
      artifact_id: 'art_1',
      origin: 'https://example.com',
      fields: [{ name: 'username', selector: '#user', value: 'somebody' }],
    },
  },
  ...OPERATOR_CALL_CASES,
];

/** The case of one call. */
export function caseOf(call: CallName): CallCase {
  const found = CALL_CASES.find((candidate) => candidate.call === call);
  if (found === undefined) throw new Error(`no case for ${call}`);
  return found;
}

import type { JsonValue } from '@bufbuild/protobuf';
import type { CallName } from './fake-broker.ts';

/** A well-made call, what the broker is asked for it, and what the fake broker's answer looks like on the wire. */
export interface CallCase {
  call: CallName;
  request: Record<string, JsonValue>;
  bearer?: string;
  asked: Record<string, unknown>;
  answer: JsonValue;
}

const TOKEN = 'header.payload.signature';

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
      session_id: 'sess_01890a5d-ac96-774b-bcce-b302099a8057',
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
    },
    asked: {
      sessionToken: TOKEN,
      tool: 'github',
      capability: 'repo.read',
      resourceRef: 'github:repo:acme/api',
      deliveryMode: 'proxy',
      ttlSeconds: 600,
      reason: 'look at the open pull requests',
    },
    answer: {
      grant_id: 'gr_01890a5d-ac96-774b-bcce-b302099a8058',
      state: 'issued',
      delivery: { kind: 'proxy_handle', handle: 'ph_handle', artifact_id: 'art_01890a5d-ac96-774b-bcce-b302099a8059' },
      expires_at: '2026-01-02T03:14:05.250Z',
    },
  },
  {
    call: 'approveGrant',
    request: { approval_id: 'ap_1', approver: 'ana', comment: 'fine' },
    asked: { approvalId: 'ap_1', approver: 'ana', comment: 'fine' },
    answer: {
      grant_id: 'gr_01890a5d-ac96-774b-bcce-b302099a8058',
      state: 'issued',
      approval_id: 'ap_1',
      expires_at: '2026-01-02T03:14:05Z',
    },
  },
  {
    call: 'denyGrant',
    request: { approval_id: 'ap_1', approver: 'ana', comment: 'no' },
    asked: { approvalId: 'ap_1', approver: 'ana', comment: 'no' },
    answer: { state: 'denied' },
  },
  {
    call: 'revokeGrant',
    request: { grant_id: 'gr_1', reason: 'done' },
    bearer: TOKEN,
    asked: { sessionToken: TOKEN, grantId: 'gr_1', reason: 'done' },
    answer: { state: 'revoked' },
  },
  {
    call: 'revokeSession',
    request: { session_id: 'sess_1', reason: 'done' },
    bearer: TOKEN,
    asked: { sessionToken: TOKEN, sessionId: 'sess_1', reason: 'done' },
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
      session_id: 'sess_01890a5d-ac96-774b-bcce-b302099a8057',
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
];

/** The case of one call. */
export function caseOf(call: CallName): CallCase {
  const found = CALL_CASES.find((candidate) => candidate.call === call);
  if (found === undefined) throw new Error(`no case for ${call}`);
  return found;
}

import type { JsonValue } from '@bufbuild/protobuf';

export const TOKEN = 'header.payload.signature';
export const OPERATOR = 'operator.payload.signature';
export const SESSION_ID = 'sess_01890a5d-ac96-774b-bcce-b302099a8057';
export const GRANT_ID = 'gr_01890a5d-ac96-774b-bcce-b302099a8058';
export const ARTIFACT_ID = 'art_01890a5d-ac96-774b-bcce-b302099a8059';
export const APPROVAL_ID = 'ap_01890a5d-ac96-774b-bcce-b302099a8060';
export const HASH = 'a'.repeat(64);

/** The fake broker's records as the wire shows them. */
export const SESSION_RECORD: JsonValue = {
  session_id: SESSION_ID,
  tenant_id: 't_acme',
  agent_id: 'agent-1',
  run_id: 'run/2026-01-02',
  state: 'revoked',
  tool_context: ['github', 'db'],
  workload: {
    type: 'k8s_sa',
    issuer: 'https://k8s.example',
    subject: 'system:serviceaccount:agents:runner',
    audience: 'asb-control-plane',
    namespace: 'agents',
    service_account: 'runner',
    attributes: { pod_name: 'runner-1' },
  },
  workload_hash: HASH,
  delegation: {
    issuer: 'https://people.example',
    subject: 'ana',
    id: 'delegation-1',
    allowed_capabilities: ['repo.*'],
    resource_filters: [{ resource_kind: 'github_repo', names: ['acme/api'] }, { resource_kind: 'browser_origin' }],
    expires_at: '2026-01-02T03:14:05Z',
  },
  proof_key_thumbprint: 'thumbprint',
  created_at: '2026-01-02T03:04:05Z',
  expires_at: '2026-01-02T03:14:05Z',
  ended_at: '2026-01-02T03:09:05.500Z',
  end_reason: 'done',
};

const ASKED = {
  tool: 'github',
  capability: 'repo.read',
  resource_ref: 'github:repo:acme/api',
  delivery_mode: 'proxy',
  ttl_seconds: 600,
  reason: 'look at the open pull requests',
  request_hash: 'b'.repeat(64),
};

export const grantRecord = (state: string, more: Record<string, string>) => ({
  grant_id: GRANT_ID,
  tenant_id: 't_acme',
  session_id: SESSION_ID,
  agent_id: 'agent-1',
  run_id: 'run/2026-01-02',
  state,
  ...ASKED,
  request_id: 'ask-1',
  approval_id: APPROVAL_ID,
  created_at: '2026-01-02T03:04:05Z',
  expires_at: '2026-01-02T03:14:05Z',
  ...more,
});

export const APPROVAL_RECORD: JsonValue = {
  approval_id: APPROVAL_ID,
  tenant_id: 't_acme',
  session_id: SESSION_ID,
  grant_id: GRANT_ID,
  agent_id: 'agent-1',
  run_id: 'run/2026-01-02',
  state: 'denied',
  ...ASKED,
  required_approvers: 2,
  reuse: true,
  decisions: [
    {
      approver: { issuer: 'https://people.example', subject: 'ben' },
      decision: 'approve',
      decided_at: '2026-01-02T03:04:05Z',
    },
    {
      approver: { issuer: 'https://people.example', subject: 'cy' },
      decision: 'deny',
      comment: 'not today',
      decided_at: '2026-01-02T03:09:05.500Z',
    },
  ],
  excluded: [{ issuer: 'https://people.example', subject: 'ana' }],
  created_at: '2026-01-02T03:04:05Z',
  expires_at: '2026-01-02T03:14:05Z',
  ended_at: '2026-01-02T03:09:05.500Z',
};

const REVOCATION = {
  revocation_id: 'rev_01890a5d-ac96-774b-bcce-b302099a8062',
  tenant_id: 't_acme',
  session_id: SESSION_ID,
  grant_id: GRANT_ID,
  agent_id: 'agent-1',
  run_id: 'run/2026-01-02',
  connector: 'vaultdb',
  resource_ref: 'dbrole:reporting_ro',
  created_at: '2026-01-02T03:04:05Z',
};
const LEASE_ID = 'database/creds/reporting_ro/2f6a614c';
const EXPIRES_AT = '2026-01-02T03:14:05Z';

export const REVOCATION_RECORDS: JsonValue = [
  { ...REVOCATION, state: 'requested', lease_expires_at: EXPIRES_AT },
  { ...REVOCATION, state: 'held', lease_id: LEASE_ID, lease_expires_at: EXPIRES_AT },
  {
    ...REVOCATION,
    state: 'due',
    lease_expires_at: EXPIRES_AT,
    attempts: 3,
    next_attempt_at: '2026-01-02T03:09:05.500Z',
    last_error: 'Vault is away',
  },
  {
    ...REVOCATION,
    state: 'done',
    lease_id: LEASE_ID,
    attempts: 4,
    last_error: 'Vault is away',
    outcome: 'expired',
    ended_at: '2026-01-02T03:09:05.500Z',
  },
];

import type { Broker } from '../../src/broker/broker.ts';
import type { Approval } from '../../src/domain/approval.ts';
import type { AuditEvent } from '../../src/domain/audit-event.ts';
import type { CallContext } from '../../src/domain/call-context.ts';
import type { Grant } from '../../src/domain/grant.ts';
import type {
  AgentId,
  ApprovalId,
  ArtifactId,
  EventId,
  GrantId,
  ProxyHandle,
  RevocationId,
  RunId,
  SessionId,
  TenantId,
  WorkloadHash,
} from '../../src/domain/ids.ts';
import type { Revocation, RevocationTerms } from '../../src/domain/revocation.ts';
import type { Session } from '../../src/domain/session.ts';

export type CallName = keyof Broker;

/** What reached one use case. */
export interface ReceivedCall {
  call: CallName;
  request: unknown;
  context: CallContext;
}

const CREATED_AT = new Date('2026-01-02T03:04:05.000Z');
const EXPIRES_AT = new Date('2026-01-02T03:14:05.000Z');
const ENDED_AT = new Date('2026-01-02T03:09:05.500Z');
export const FAKE_PAYLOAD = new TextEncoder().encode('{"name":"repo","private":true}\n');

const SESSION_ID = 'sess_01890a5d-ac96-774b-bcce-b302099a8057' as SessionId;
const GRANT_ID = 'gr_01890a5d-ac96-774b-bcce-b302099a8058' as GrantId;
const ARTIFACT_ID = 'art_01890a5d-ac96-774b-bcce-b302099a8059' as ArtifactId;
const APPROVAL_ID = 'ap_01890a5d-ac96-774b-bcce-b302099a8060' as ApprovalId;
const TENANT_ID = 't_acme' as TenantId;
const AGENT_ID = 'agent-1' as AgentId;
const RUN_ID = 'run/2026-01-02' as RunId;

/** A session with everything that one can have. What must never leave says so. */
const SESSION: Session = {
  id: SESSION_ID,
  tenantId: TENANT_ID,
  agentId: AGENT_ID,
  runId: RUN_ID,
  toolContext: ['github', 'db'],
  workload: {
    type: 'k8s_sa',
    issuer: 'https://k8s.example',
    subject: 'system:serviceaccount:agents:runner',
    audience: 'asb-control-plane',
    namespace: 'agents',
    serviceAccount: 'runner',
    attributes: { pod_name: 'runner-1' },
  },
  workloadHash: 'a'.repeat(64) as WorkloadHash,
  tokenId: 'never-on-the-wire',
  delegation: {
    issuer: 'https://people.example',
    subject: 'ana',
    id: 'delegation-1',
    tenantId: TENANT_ID,
    agentId: AGENT_ID,
    allowedCapabilities: ['repo.*'],
    resourceFilters: { github_repo: ['acme/api'], browser_origin: [] },
    expiresAt: EXPIRES_AT,
  },
  proofKeyThumbprint: 'thumbprint',
  createdAt: CREATED_AT,
  expiresAt: EXPIRES_AT,
  state: 'revoked',
  endedAt: ENDED_AT,
  endReason: 'done',
};

const PENDING_GRANT: Grant = {
  id: GRANT_ID,
  tenantId: TENANT_ID,
  sessionId: SESSION_ID,
  agentId: AGENT_ID,
  runId: RUN_ID,
  tool: 'github',
  capability: 'repo.read',
  resourceRef: 'github:repo:acme/api',
  deliveryMode: 'proxy',
  ttlSeconds: 600,
  reason: 'look at the open pull requests',
  requestId: 'ask-1',
  requestHash: 'b'.repeat(64),
  approvalId: APPROVAL_ID,
  createdAt: CREATED_AT,
  expiresAt: EXPIRES_AT,
  state: 'pending',
};
const ISSUED_GRANT: Grant = { ...PENDING_GRANT, state: 'issued', artifactId: ARTIFACT_ID, issuedAt: ENDED_AT };
const DENIED_GRANT: Grant = { ...PENDING_GRANT, state: 'denied', endedAt: ENDED_AT, endReason: 'not today' };

const APPROVAL: Approval = {
  id: APPROVAL_ID,
  tenantId: TENANT_ID,
  sessionId: SESSION_ID,
  grantId: GRANT_ID,
  agentId: AGENT_ID,
  runId: RUN_ID,
  requestHash: 'b'.repeat(64),
  requiredApprovers: 2,
  reuse: true,
  excluded: [{ issuer: 'https://people.example', subject: 'ana' }],
  createdAt: CREATED_AT,
  expiresAt: EXPIRES_AT,
  state: 'denied',
  decisions: [
    {
      approver: { issuer: 'https://people.example', subject: 'ben' },
      decision: 'approve',
      comment: '',
      at: CREATED_AT,
    },
    {
      approver: { issuer: 'https://people.example', subject: 'cy' },
      decision: 'deny',
      comment: 'not today',
      at: ENDED_AT,
    },
  ],
  endedAt: ENDED_AT,
};

const REVOCATION: RevocationTerms = {
  id: 'rev_01890a5d-ac96-774b-bcce-b302099a8062' as RevocationId,
  tenantId: TENANT_ID,
  sessionId: SESSION_ID,
  grantId: GRANT_ID,
  agentId: AGENT_ID,
  runId: RUN_ID,
  workloadHash: 'a'.repeat(64) as WorkloadHash,
  connector: 'vaultdb',
  resourceRef: 'dbrole:reporting_ro',
  createdAt: CREATED_AT,
};
const LEASE_ID = 'database/creds/reporting_ro/2f6a614c';

/** One in each state. */
const REVOCATIONS: readonly Revocation[] = [
  { ...REVOCATION, state: 'requested', leaseExpiresAt: EXPIRES_AT },
  { ...REVOCATION, state: 'held', leaseId: LEASE_ID, leaseExpiresAt: EXPIRES_AT },
  {
    ...REVOCATION,
    state: 'due',
    leaseId: null,
    leaseExpiresAt: EXPIRES_AT,
    attempts: 3,
    nextAttemptAt: ENDED_AT,
    lastError: 'Vault is away',
  },
  {
    ...REVOCATION,
    state: 'done',
    leaseId: LEASE_ID,
    outcome: 'expired',
    attempts: 4,
    lastError: 'Vault is away',
    endedAt: ENDED_AT,
  },
];

const EVENT: AuditEvent = {
  id: 'evt_01890a5d-ac96-774b-bcce-b302099a8061' as EventId,
  at: ENDED_AT,
  type: 'grant.refused',
  requestId: 'req-1',
  subject: { tenantId: TENANT_ID, agentId: AGENT_ID, sessionId: SESSION_ID },
  code: 'forbidden',
  reason: 'policy_missing',
  revision: 'c'.repeat(64),
  details: { tool: 'github', bytes: 12, cut_off: false, approvers: ['ben', 'cy'] },
};

/** A broker that answers every call well, remembers what it was asked, and can be told to do otherwise. */
export class FakeBroker implements Broker {
  readonly received: ReceivedCall[] = [];
  #override: ((call: CallName, context: CallContext) => Promise<void>) | null = null;
  readonly #answers = new Map<CallName, unknown>();

  /** Runs before each answer; what it throws is what the call rejects with. */
  before(override: ((call: CallName, context: CallContext) => Promise<void>) | null): void {
    this.#override = override;
  }

  /** What a call answers from now on. */
  answer<Name extends CallName>(call: Name, response: Awaited<ReturnType<Broker[Name]>>): void {
    this.#answers.set(call, response);
  }

  /** Answers every call well again, by itself, and forgets what it was asked. */
  reset(): void {
    this.#override = null;
    this.#answers.clear();
    this.received.length = 0;
  }

  createSession = this.#answering('createSession', {
    sessionId: SESSION_ID,
    sessionToken: 'header.payload.signature',
    expiresAt: EXPIRES_AT,
  });
  requestGrant = this.#answering('requestGrant', {
    grantId: GRANT_ID,
    state: 'issued' as const,
    approvalId: null,
    delivery: { kind: 'proxy_handle' as const, handle: 'ph_handle' as ProxyHandle, artifactId: ARTIFACT_ID },
    expiresAt: new Date('2026-01-02T03:14:05.250Z'),
    endReason: null,
  });
  getGrant = this.#answering('getGrant', {
    grantId: GRANT_ID,
    state: 'denied' as const,
    approvalId: APPROVAL_ID,
    delivery: null,
    expiresAt: EXPIRES_AT,
    endReason: 'not today',
    grant: DENIED_GRANT,
  });
  approveGrant = this.#answering('approveGrant', {
    grantId: GRANT_ID,
    state: 'issued' as const,
    approvalId: APPROVAL_ID,
    expiresAt: EXPIRES_AT,
  });
  denyGrant = this.#answering('denyGrant', { state: 'denied' as const });
  revokeGrant = this.#answering('revokeGrant', { state: 'revoked' as const });
  revokeSession = this.#answering('revokeSession', { state: 'revoked' as const });
  executeGitHubProxy = this.#answering('executeGitHubProxy', {
    payload: FAKE_PAYLOAD,
    contentType: 'application/vnd.github+json; charset=utf-8',
    nextPage: 2,
  });
  registerBrowserRelay = this.#answering('registerBrowserRelay', {
    sessionId: SESSION_ID,
    keyId: 'key-1',
    expiresAt: EXPIRES_AT,
  });
  unwrapArtifact = this.#answering('unwrapArtifact', {
    artifactId: 'art_1' as ArtifactId,
    origin: 'https://example.com',
    fields: [{ name: 'username', selector: '#user', value: 'somebody' }],
  });
  listSessions = this.#answering('listSessions', { rows: [SESSION], next: 'more' });
  getSession = this.#answering('getSession', SESSION);
  listGrants = this.#answering('listGrants', { rows: [ISSUED_GRANT, PENDING_GRANT], next: null });
  listApprovals = this.#answering('listApprovals', { rows: [{ approval: APPROVAL, grant: DENIED_GRANT }], next: 'more' });
  getApproval = this.#answering('getApproval', { approval: APPROVAL, grant: DENIED_GRANT });
  listRevocations = this.#answering('listRevocations', { rows: REVOCATIONS, next: 'more' });
  listAuditEvents = this.#answering('listAuditEvents', { rows: [EVENT], next: 'more' });
  revokeRun = this.#answering('revokeRun', { sessions: 2, grants: 3, stillRevoking: [GRANT_ID] });
  revokeWorkload = this.#answering('revokeWorkload', { sessions: 0, grants: 0, stillRevoking: [] });
  explainDecision = this.#answering('explainDecision', {
    allowed: true,
    verdicts: [
      { rule: 'tool:github', outcome: 'allowed' as const, message: 'may do this' },
      {
        rule: 'policy:repo.read',
        outcome: 'denied' as const,
        reason: 'condition_not_met' as const,
        message: 'its condition does not hold',
      },
    ],
    expiresAt: EXPIRES_AT,
    approval: { requiredApprovers: 2, ttlSeconds: 300, reuse: true },
    revision: 'c'.repeat(64),
  });
  decideByCallback = this.#answering('decideByCallback', {
    grantId: GRANT_ID,
    state: 'issued' as const,
    approvalId: APPROVAL_ID,
    expiresAt: EXPIRES_AT,
  });

  #answering<Response>(call: CallName, response: Response) {
    return async (request: unknown, context: CallContext): Promise<Response> => {
      this.received.push({ call, request, context });
      await this.#override?.(call, context);
      return (this.#answers.get(call) as Response | undefined) ?? response;
    };
  }
}

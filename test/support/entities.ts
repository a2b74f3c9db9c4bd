import { createHash, randomUUID } from 'node:crypto';
import { v7 } from 'uuid';
import type { ApprovalDecision, PendingApproval } from '../../src/domain/approval.ts';
import type { IssuedProxyHandle, IssuedSecret } from '../../src/domain/artifact.ts';
import type { AuditEvent } from '../../src/domain/audit-event.ts';
import type { Block } from '../../src/domain/block.ts';
import type { Delegation } from '../../src/domain/delegation.ts';
import type { DownstreamCall } from '../../src/domain/downstream-call.ts';
import type { ApprovedGrant, LiveGrant, PendingGrant } from '../../src/domain/grant.ts';
import type {
  AgentId,
  ApprovalId,
  ArtifactId,
  CallId,
  EventId,
  GrantId,
  HandleHash,
  NotificationId,
  RevocationId,
  RunId,
  SessionId,
  TenantId,
  WorkloadHash,
} from '../../src/domain/ids.ts';
import type { WaitingNotification } from '../../src/domain/notification.ts';
import type { RequestedRevocation } from '../../src/domain/revocation.ts';
import type { SealedSecret } from '../../src/domain/sealing.ts';
import type { ActiveSession } from '../../src/domain/session.ts';

/** The moment at which FakeClock starts, and the builders' entities are made. */
export const START = new Date('2026-01-02T03:04:05.000Z');

export const TENANT = 't_acme' as TenantId;
export const OTHER_TENANT = 't_umbrella' as TenantId;

/** The moment `seconds` after `START`. */
export const after = (seconds: number): Date => new Date(START.getTime() + seconds * 1000);

export const aSessionId = (): SessionId => `sess_${v7()}` as SessionId;
export const aGrantId = (): GrantId => `gr_${v7()}` as GrantId;
export const anApprovalId = (): ApprovalId => `ap_${v7()}` as ApprovalId;
export const anArtifactId = (): ArtifactId => `art_${v7()}` as ArtifactId;
export const aNotificationId = (): NotificationId => `ntf_${v7()}` as NotificationId;
export const aCallId = (): CallId => `call_${v7()}` as CallId;
export const aRevocationId = (): RevocationId => `rev_${v7()}` as RevocationId;
export const aHandleHash = (): HandleHash => createHash('sha256').update(randomUUID()).digest('hex') as HandleHash;

/** A session of 15 minutes. */
export function aSession(overrides: Partial<ActiveSession> = {}): ActiveSession {
  return {
    id: aSessionId(),
    tenantId: TENANT,
    agentId: 'agent_pr_reviewer' as AgentId,
    runId: 'run_1' as RunId,
    toolContext: ['github', 'db'],
    workload: {
      type: 'k8s_sa',
      issuer: 'https://kubernetes.default.svc',
      subject: 'system:serviceaccount:agents:reviewer',
      audience: 'asb-control-plane',
      namespace: 'agents',
      serviceAccount: 'reviewer',
      attributes: { pod_name: 'reviewer-0', node_name: 'node-1' },
    },
    workloadHash: 'a'.repeat(64) as WorkloadHash,
    tokenId: randomUUID(),
    delegation: null,
    proofKeyThumbprint: null,
    createdAt: after(0),
    expiresAt: after(15 * 60),
    state: 'active',
    ...overrides,
  };
}

/** A delegation of an hour to the builders' agent, for one repository. */
export function aDelegation(overrides: Partial<Delegation> = {}): Delegation {
  return {
    issuer: 'https://delegation.acme.example',
    subject: 'alice@acme.example',
    id: randomUUID(),
    tenantId: TENANT,
    agentId: 'agent_pr_reviewer' as AgentId,
    allowedCapabilities: ['repo.*'],
    resourceFilters: { github_repo: ['acme/widgets'] },
    expiresAt: after(60 * 60),
    ...overrides,
  };
}

/** An approved grant of 10 minutes for a session. */
export function aGrant(session: ActiveSession, overrides: Partial<ApprovedGrant> = {}): ApprovedGrant {
  return {
    id: aGrantId(),
    tenantId: session.tenantId,
    sessionId: session.id,
    agentId: session.agentId,
    runId: session.runId,
    tool: 'github',
    capability: 'repo.read',
    resourceRef: 'github:repo:acme/widgets',
    deliveryMode: 'proxy',
    ttlSeconds: 10 * 60,
    reason: 'review pull request 7',
    requestId: null,
    requestHash: 'b'.repeat(64),
    approvalId: null,
    createdAt: after(0),
    expiresAt: after(10 * 60),
    state: 'approved',
    ...overrides,
  };
}

/** The same, waiting five minutes for a human. */
export function aPendingGrant(session: ActiveSession, overrides: Partial<PendingGrant> = {}): PendingGrant {
  return { ...aGrant(session), state: 'pending', approvalId: anApprovalId(), expiresAt: after(5 * 60), ...overrides };
}

/** The approval that a grant waits for: one yes, of anybody but the workload itself. */
export function anApproval(grant: PendingGrant, overrides: Partial<PendingApproval> = {}): PendingApproval {
  return {
    id: grant.approvalId,
    tenantId: grant.tenantId,
    sessionId: grant.sessionId,
    grantId: grant.id,
    agentId: grant.agentId,
    runId: grant.runId,
    requestHash: grant.requestHash,
    requiredApprovers: 1,
    reuse: false,
    excluded: [{ issuer: 'https://kubernetes.default.svc', subject: 'system:serviceaccount:agents:reviewer' }],
    createdAt: new Date(grant.createdAt),
    expiresAt: new Date(grant.expiresAt),
    state: 'pending',
    decisions: [],
    ...overrides,
  };
}

/** One approver's yes, ten seconds after the start. */
export function aWord(subject: string, overrides: Partial<ApprovalDecision> = {}): ApprovalDecision {
  return {
    approver: { issuer: 'https://login.acme.example', subject },
    decision: 'approve',
    comment: '',
    at: after(10),
    ...overrides,
  };
}

/** A notification about an approval, due at once and as long as it. */
export function aNotification(
  approval: Pick<PendingApproval, 'id' | 'tenantId' | 'expiresAt'>,
  overrides: Partial<WaitingNotification> = {},
): WaitingNotification {
  return {
    id: aNotificationId(),
    tenantId: approval.tenantId,
    approvalId: approval.id,
    receiver: 'oncall',
    createdAt: after(0),
    expiresAt: new Date(approval.expiresAt),
    state: 'waiting',
    attempts: 0,
    nextAttemptAt: after(0),
    lastError: null,
    ...overrides,
  };
}

type BlockTarget = { runId: RunId } | { workloadHash: WorkloadHash };

/** An operator's word, good for a year, against a run or a workload. */
export function aBlock(target: BlockTarget, overrides: Partial<Omit<Block, 'kind'>> = {}): Block {
  return {
    tenantId: TENANT,
    reason: 'leaked its token',
    createdAt: after(0),
    expiresAt: after(365 * 86_400),
    ...overrides,
    ...('runId' in target ? { kind: 'run', ...target } : { kind: 'workload', ...target }),
  };
}

/** The proxy handle of a grant, and as long as it. */
export function anArtifact(grant: ApprovedGrant | LiveGrant, overrides: Partial<IssuedProxyHandle> = {}): IssuedProxyHandle {
  return {
    id: 'artifactId' in grant ? grant.artifactId : anArtifactId(),
    tenantId: grant.tenantId,
    sessionId: grant.sessionId,
    grantId: grant.id,
    kind: 'proxy_handle',
    handleHash: aHandleHash(),
    createdAt: new Date(grant.createdAt),
    expiresAt: new Date(grant.expiresAt),
    state: 'issued',
    ...overrides,
  };
}

/** An approved grant of 10 minutes for a credential of a database. */
export const aLeaseGrant = (session: ActiveSession, overrides: Partial<ApprovedGrant> = {}): ApprovedGrant =>
  aGrant(session, {
    tool: 'db',
    capability: 'db.read',
    resourceRef: 'dbrole:reporting',
    deliveryMode: 'wrapped_secret',
    ...overrides,
  });

/** The wrapped secret of a grant, and as long as it; no two are sealed alike. */
export function aWrappedSecret(grant: ApprovedGrant | LiveGrant, overrides: Partial<IssuedSecret> = {}): IssuedSecret {
  return {
    id: 'artifactId' in grant ? grant.artifactId : anArtifactId(),
    tenantId: grant.tenantId,
    sessionId: grant.sessionId,
    grantId: grant.id,
    kind: 'wrapped_secret',
    createdAt: new Date(grant.createdAt),
    expiresAt: new Date(grant.expiresAt),
    state: 'issued',
    sealed: `sealed.${randomUUID()}` as SealedSecret,
    ...overrides,
  };
}

/** A proxied call of 15 seconds behind a handle. */
export function aCall(
  { tenantId, sessionId, grantId, id: artifactId }: Pick<IssuedProxyHandle, 'tenantId' | 'sessionId' | 'grantId' | 'id'>,
  overrides: Partial<DownstreamCall> = {},
): DownstreamCall {
  return {
    id: aCallId(),
    kind: 'proxy',
    subject: { tenantId, sessionId, grantId, artifactId },
    requestId: 'req_1',
    startedAt: after(0),
    deadline: after(15),
    ...overrides,
  };
}

/** What is about to be issued for a grant of a session; of a grant that is not on record unless told. */
export function aRevocation(session: ActiveSession, overrides: Partial<RequestedRevocation> = {}): RequestedRevocation {
  return {
    id: aRevocationId(),
    tenantId: session.tenantId,
    sessionId: session.id,
    grantId: aGrantId(),
    agentId: session.agentId,
    runId: session.runId,
    workloadHash: session.workloadHash,
    connector: 'vaultdb',
    resourceRef: 'dbrole:reporting',
    createdAt: after(0),
    state: 'requested',
    leaseExpiresAt: after(10 * 60),
    ...overrides,
  };
}

/** An event of a tenant; of no session unless told. */
export function anEvent(overrides: Partial<AuditEvent> = {}): AuditEvent {
  return {
    id: `evt_${v7()}` as EventId,
    at: after(0),
    type: 'session.created',
    requestId: 'req_1',
    subject: { tenantId: TENANT },
    ...overrides,
  };
}

import { createHash, randomUUID } from 'node:crypto';
import { v7 } from 'uuid';
import type { IssuedArtifact } from '../../src/domain/artifact.ts';
import type { AuditEvent } from '../../src/domain/audit-event.ts';
import type { ApprovedGrant, LiveGrant, PendingGrant } from '../../src/domain/grant.ts';
import type {
  AgentId,
  ApprovalId,
  ArtifactId,
  EventId,
  GrantId,
  HandleHash,
  RunId,
  SessionId,
  TenantId,
  WorkloadHash,
} from '../../src/domain/ids.ts';
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
    createdAt: after(0),
    expiresAt: after(15 * 60),
    state: 'active',
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
    reason: 'review pull request 7',
    createdAt: after(0),
    expiresAt: after(10 * 60),
    state: 'approved',
    ...overrides,
  };
}

/** The same, waiting for a human. */
export function aPendingGrant(session: ActiveSession, overrides: Partial<PendingGrant> = {}): PendingGrant {
  return { ...aGrant(session), state: 'pending', approvalId: anApprovalId(), ...overrides };
}

/** The proxy handle of a grant, and as long as it. */
export function anArtifact(grant: ApprovedGrant | LiveGrant, overrides: Partial<IssuedArtifact> = {}): IssuedArtifact {
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

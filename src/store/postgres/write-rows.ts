import type { Approval } from '../../domain/approval.ts';
import type { Artifact } from '../../domain/artifact.ts';
import type { AuditEvent } from '../../domain/audit-event.ts';
import type { Block } from '../../domain/block.ts';
import type { DownstreamCall } from '../../domain/downstream-call.ts';
import type { Grant } from '../../domain/grant.ts';
import type { Notification } from '../../domain/notification.ts';
import type { Revocation } from '../../domain/revocation.ts';
import type { Session } from '../../domain/session.ts';

// Rows by the names of their columns (migrations/0001_tables.sql), to be written as JSON. What is left out is null.

export const sessionRow = (session: Session) => ({
  id: session.id,
  tenant_id: session.tenantId,
  agent_id: session.agentId,
  run_id: session.runId,
  tool_context: session.toolContext,
  workload: session.workload,
  workload_hash: session.workloadHash,
  token_id: session.tokenId,
  delegation: session.delegation,
  proof_key_thumbprint: session.proofKeyThumbprint,
  created_at: session.createdAt,
  expires_at: session.expiresAt,
  state: session.state,
  ...(session.state === 'active' ? {} : { ended_at: session.endedAt, end_reason: session.endReason }),
});

export const grantRow = (grant: Grant) => ({
  id: grant.id,
  tenant_id: grant.tenantId,
  session_id: grant.sessionId,
  agent_id: grant.agentId,
  run_id: grant.runId,
  tool: grant.tool,
  capability: grant.capability,
  resource_ref: grant.resourceRef,
  delivery_mode: grant.deliveryMode,
  ttl_seconds: grant.ttlSeconds,
  reason: grant.reason,
  request_id: grant.requestId,
  request_hash: grant.requestHash,
  approval_id: grant.approvalId,
  created_at: grant.createdAt.toISOString(),
  expires_at: grant.expiresAt.toISOString(),
  state: grant.state,
  ...('artifactId' in grant ? { artifact_id: grant.artifactId, issued_at: grant.issuedAt } : {}),
  ...('endedAt' in grant ? { ended_at: grant.endedAt, end_reason: grant.endReason } : {}),
});

/** What is fixed when a grant is made; in the row all of it is plain values. */
export const GRANT_TERM_COLUMNS = [
  'id',
  'tenant_id',
  'session_id',
  'agent_id',
  'run_id',
  'tool',
  'capability',
  'resource_ref',
  'delivery_mode',
  'ttl_seconds',
  'reason',
  'request_id',
  'request_hash',
  'approval_id',
  'created_at',
  'expires_at',
] as const;

/** Secret data is written with an artifact that is issued, and with no other. */
export const artifactRow = (artifact: Artifact) => ({
  id: artifact.id,
  tenant_id: artifact.tenantId,
  session_id: artifact.sessionId,
  grant_id: artifact.grantId,
  kind: artifact.kind,
  handle_hash: artifact.kind === 'proxy_handle' ? artifact.handleHash : null,
  created_at: artifact.createdAt,
  expires_at: artifact.expiresAt,
  state: artifact.state,
  ...(artifact.state !== 'issued' ? { ended_at: artifact.endedAt } : {}),
  ...(artifact.state === 'issued' && artifact.kind !== 'proxy_handle' ? { sealed: artifact.sealed } : {}),
});

export const approvalRow = (approval: Approval) => ({
  id: approval.id,
  tenant_id: approval.tenantId,
  session_id: approval.sessionId,
  grant_id: approval.grantId,
  agent_id: approval.agentId,
  run_id: approval.runId,
  request_hash: approval.requestHash,
  required_approvers: approval.requiredApprovers,
  reuse: approval.reuse,
  excluded: approval.excluded,
  created_at: approval.createdAt,
  expires_at: approval.expiresAt,
  state: approval.state,
  decisions: approval.decisions,
  ...(approval.state === 'pending' ? {} : { ended_at: approval.endedAt }),
});

export const callRow = ({ id, kind, subject, requestId, startedAt, deadline }: DownstreamCall) => ({
  id,
  kind,
  ...subjectRow(subject),
  request_id: requestId,
  started_at: startedAt,
  deadline,
});

export const revocationRow = (revocation: Revocation) => ({
  id: revocation.id,
  tenant_id: revocation.tenantId,
  session_id: revocation.sessionId,
  grant_id: revocation.grantId,
  agent_id: revocation.agentId,
  run_id: revocation.runId,
  workload_hash: revocation.workloadHash,
  connector: revocation.connector,
  resource_ref: revocation.resourceRef,
  created_at: revocation.createdAt,
  state: revocation.state,
  ...leaseColumns(revocation),
});

function leaseColumns(revocation: Revocation) {
  switch (revocation.state) {
    case 'requested':
      return { lease_expires_at: revocation.leaseExpiresAt };
    case 'held':
      return { lease_id: revocation.leaseId, lease_expires_at: revocation.leaseExpiresAt };
    case 'due':
      return {
        lease_id: revocation.leaseId,
        lease_expires_at: revocation.leaseExpiresAt,
        attempts: revocation.attempts,
        next_attempt_at: revocation.nextAttemptAt,
        last_error: revocation.lastError,
      };
    case 'done':
      return {
        lease_id: revocation.leaseId,
        outcome: revocation.outcome,
        attempts: revocation.attempts,
        last_error: revocation.lastError,
        ended_at: revocation.endedAt,
      };
  }
}

export const notificationRow = (notification: Notification) => ({
  id: notification.id,
  tenant_id: notification.tenantId,
  approval_id: notification.approvalId,
  receiver: notification.receiver,
  created_at: notification.createdAt,
  expires_at: notification.expiresAt,
  state: notification.state,
  attempts: notification.attempts,
  last_error: notification.lastError,
  ...(notification.state === 'waiting'
    ? { next_attempt_at: notification.nextAttemptAt }
    : { ended_at: notification.endedAt }),
});

export const blockRow = (block: Block) => ({
  tenant_id: block.tenantId,
  kind: block.kind,
  target: block.kind === 'run' ? block.runId : block.workloadHash,
  reason: block.reason,
  created_at: block.createdAt,
  expires_at: block.expiresAt,
});

export const eventRow = (event: AuditEvent) => ({
  id: event.id,
  at: event.at.toISOString(),
  type: event.type,
  request_id: event.requestId,
  ...subjectRow(event.subject),
  code: event.code,
  reason: event.reason,
  revision: event.revision,
  details: event.details,
});

export const EVENT_ROW_COLUMNS = [
  'id',
  'at',
  'type',
  'request_id',
  'tenant_id',
  'agent_id',
  'run_id',
  'workload_hash',
  'session_id',
  'grant_id',
  'artifact_id',
  'approval_id',
  'code',
  'reason',
  'revision',
  'details',
] as const satisfies readonly (keyof ReturnType<typeof eventRow>)[];

const subjectRow = (subject: AuditEvent['subject']) => ({
  tenant_id: subject.tenantId,
  agent_id: subject.agentId,
  run_id: subject.runId,
  workload_hash: subject.workloadHash,
  session_id: subject.sessionId,
  grant_id: subject.grantId,
  artifact_id: subject.artifactId,
  approval_id: subject.approvalId,
});

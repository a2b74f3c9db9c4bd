import { z } from 'zod';
import type { Approval, ApprovalDecision, ApprovalTerms } from '../../domain/approval.ts';
import type { Artifact } from '../../domain/artifact.ts';
import { AUDIT_EVENT_TYPES, type AuditEvent, type AuditSubject } from '../../domain/audit-event.ts';
import type { Delegation } from '../../domain/delegation.ts';
import { DOWNSTREAM_CALL_KINDS, type DownstreamCall } from '../../domain/downstream-call.ts';
import { REFUSAL_REASONS } from '../../domain/errors.ts';
import { DELIVERY_MODES, type Grant, type GrantTerms } from '../../domain/grant.ts';
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
} from '../../domain/ids.ts';
import type { WaitingNotification } from '../../domain/notification.ts';
import { REVOCATION_STATES, type DueRevocation, type Revocation, type RevocationTerms } from '../../domain/revocation.ts';
import type { SealedSecret } from '../../domain/sealing.ts';
import type { Session, SessionTerms } from '../../domain/session.ts';
import type { WorkloadIdentity } from '../../domain/workload.ts';
import type { Row } from './database.ts';
import { RowReader } from './row-reader.ts';

// Rows as the domain knows them. `prefix` is what the columns are called by where a statement answers several rows side by side.
// A row that no state of the domain fits is a defect: it throws an error that is no BrokerError.

const texts = z.array(z.string());
const json = z.string().transform((text) => new Date(text));

const workload: z.ZodType<WorkloadIdentity> = z.object({
  type: z.enum(['k8s_sa', 'oidc']),
  issuer: z.string(),
  subject: z.string(),
  audience: z.string(),
  namespace: z.string().nullable(),
  serviceAccount: z.string().nullable(),
  attributes: z.record(z.string(), z.string()),
});

const delegation: z.ZodType<Delegation> = z.object({
  issuer: z.string(),
  subject: z.string(),
  id: z.string(),
  tenantId: z.string().transform((id) => id as TenantId),
  agentId: z.string().transform((id) => id as AgentId),
  allowedCapabilities: texts,
  resourceFilters: z.partialRecord(z.enum(['github_repo', 'db_role', 'browser_origin']), texts),
  expiresAt: json,
});

const approver = z.object({ issuer: z.string(), subject: z.string() });
const decisions: z.ZodType<ApprovalDecision[]> = z.array(
  z.object({ approver, decision: z.enum(['approve', 'deny']), comment: z.string(), at: json }),
);

const details: z.ZodType<NonNullable<AuditEvent['details']>> = z.record(
  z.string(),
  z.union([z.string(), z.number(), z.boolean(), texts]),
);

export function readSession(row: Row, prefix = ''): Session {
  const read = new RowReader(row, prefix);
  const terms: SessionTerms = {
    id: read.id('id', 'sess_') as SessionId,
    ...ownerOf(read),
    toolContext: read.parsed('tool_context', texts),
    workload: read.parsed('workload', workload),
    workloadHash: read.text('workload_hash') as WorkloadHash,
    tokenId: read.text('token_id'),
    delegation: read.isNull('delegation') ? null : read.parsed('delegation', delegation),
    proofKeyThumbprint: read.textOrNull('proof_key_thumbprint'),
    createdAt: read.date('created_at'),
    expiresAt: read.date('expires_at'),
  };
  const state = read.oneOf('state', ['active', 'revoked', 'expired']);
  return state === 'active' ? { ...terms, state } : { ...terms, state, ...endOf(read) };
}

export function readGrant(row: Row, prefix = ''): Grant {
  const read = new RowReader(row, prefix);
  const terms = grantTerms(read);
  const state = read.oneOf('state', ['pending', 'approved', 'issued', 'delivered', 'used', 'denied', 'revoked', 'expired']);
  switch (state) {
    case 'pending':
      return { ...terms, state, approvalId: read.id('approval_id', 'ap_') as ApprovalId };
    case 'approved':
      return { ...terms, state };
    case 'issued':
    case 'delivered':
    case 'used':
      return { ...terms, state, ...issueOf(read) };
    case 'denied':
    case 'revoked':
    case 'expired':
      return { ...terms, ...(read.isNull('artifact_id') ? {} : issueOf(read)), state, ...endOf(read) };
  }
}

const grantTerms = (read: RowReader): GrantTerms => ({
  id: read.id('id', 'gr_') as GrantId,
  ...ownerOf(read),
  sessionId: read.id('session_id', 'sess_') as SessionId,
  tool: read.text('tool'),
  capability: read.text('capability'),
  resourceRef: read.text('resource_ref'),
  deliveryMode: read.oneOf('delivery_mode', DELIVERY_MODES),
  ttlSeconds: read.number('ttl_seconds'),
  reason: read.text('reason'),
  requestId: read.textOrNull('request_id'),
  requestHash: read.text('request_hash'),
  approvalId: read.isNull('approval_id') ? null : (read.id('approval_id', 'ap_') as ApprovalId),
  createdAt: read.date('created_at'),
  expiresAt: read.date('expires_at'),
});

export function readArtifact(row: Row, prefix = ''): Artifact {
  const read = new RowReader(row, prefix);
  const common = {
    id: read.id('id', 'art_') as ArtifactId,
    tenantId: read.text('tenant_id') as TenantId,
    sessionId: read.id('session_id', 'sess_') as SessionId,
    grantId: read.id('grant_id', 'gr_') as GrantId,
    createdAt: read.date('created_at'),
    expiresAt: read.date('expires_at'),
  };
  const state = read.oneOf('state', ['issued', 'used', 'revoked', 'expired']);
  const kind = read.oneOf('kind', ['proxy_handle', 'wrapped_secret', 'minted_token']);
  if (kind === 'proxy_handle') {
    const terms = { ...common, kind, handleHash: read.text('handle_hash') as HandleHash };
    return state === 'issued' ? { ...terms, state } : { ...terms, state, endedAt: read.date('ended_at') };
  }
  if (state === 'issued') return { ...common, kind, state, sealed: read.text('sealed') as SealedSecret };
  return { ...common, kind, state, endedAt: read.date('ended_at') };
}

export function readApproval(row: Row, prefix = ''): Approval {
  const read = new RowReader(row, prefix);
  const terms: ApprovalTerms = {
    id: read.id('id', 'ap_') as ApprovalId,
    ...ownerOf(read),
    sessionId: read.id('session_id', 'sess_') as SessionId,
    grantId: read.id('grant_id', 'gr_') as GrantId,
    requestHash: read.text('request_hash'),
    requiredApprovers: read.number('required_approvers'),
    reuse: read.boolean('reuse'),
    excluded: read.parsed('excluded', z.array(approver)),
    createdAt: read.date('created_at'),
    expiresAt: read.date('expires_at'),
  };
  const common = { ...terms, decisions: read.parsed('decisions', decisions) };
  const state = read.oneOf('state', ['pending', 'approved', 'denied', 'expired']);
  return state === 'pending' ? { ...common, state } : { ...common, state, endedAt: read.date('ended_at') };
}

export function readCall(row: Row): DownstreamCall {
  const read = new RowReader(row, '');
  return {
    id: read.id('id', 'call_') as CallId,
    kind: read.oneOf('kind', DOWNSTREAM_CALL_KINDS),
    subject: subjectOf(read),
    requestId: read.text('request_id'),
    startedAt: read.date('started_at'),
    deadline: read.date('deadline'),
  };
}

export function readRevocation(row: Row): Revocation {
  const read = new RowReader(row, '');
  const terms = revocationTerms(read);
  const leaseId = read.textOrNull('lease_id');
  const state = read.oneOf('state', REVOCATION_STATES);
  switch (state) {
    case 'requested':
      return { ...terms, state, leaseExpiresAt: read.date('lease_expires_at') };
    case 'held':
      return { ...terms, state, leaseId: read.text('lease_id'), leaseExpiresAt: read.date('lease_expires_at') };
    case 'due':
      return dueRevocation(read, terms);
    case 'done':
      return {
        ...terms,
        state,
        leaseId,
        outcome: read.oneOf('outcome', ['revoked', 'expired', 'not_issued']),
        attempts: read.number('attempts'),
        lastError: read.textOrNull('last_error'),
        endedAt: read.date('ended_at'),
      };
  }
}

/** One that is known to be due. */
export function readDueRevocation(row: Row): DueRevocation {
  const read = new RowReader(row, '');
  return dueRevocation(read, revocationTerms(read));
}

const dueRevocation = (read: RowReader, terms: RevocationTerms): DueRevocation => ({
  ...terms,
  state: read.oneOf('state', ['due']),
  leaseId: read.textOrNull('lease_id'),
  leaseExpiresAt: read.date('lease_expires_at'),
  attempts: read.number('attempts'),
  nextAttemptAt: read.date('next_attempt_at'),
  lastError: read.textOrNull('last_error'),
});

const revocationTerms = (read: RowReader): RevocationTerms => ({
  id: read.id('id', 'rev_') as RevocationId,
  ...ownerOf(read),
  sessionId: read.id('session_id', 'sess_') as SessionId,
  grantId: read.id('grant_id', 'gr_') as GrantId,
  workloadHash: read.text('workload_hash') as WorkloadHash,
  connector: read.text('connector'),
  resourceRef: read.text('resource_ref'),
  createdAt: read.date('created_at'),
});

export function readWaitingNotification(row: Row): WaitingNotification {
  const read = new RowReader(row, '');
  return {
    id: read.id('id', 'ntf_') as NotificationId,
    tenantId: read.text('tenant_id') as TenantId,
    approvalId: read.id('approval_id', 'ap_') as ApprovalId,
    receiver: read.text('receiver'),
    createdAt: read.date('created_at'),
    expiresAt: read.date('expires_at'),
    state: read.oneOf('state', ['waiting']),
    attempts: read.number('attempts'),
    nextAttemptAt: read.date('next_attempt_at'),
    lastError: read.textOrNull('last_error'),
  };
}

export function readEvent(row: Row): AuditEvent {
  const read = new RowReader(row, '');
  return {
    id: read.id('id', 'evt_') as EventId,
    at: read.date('at'),
    type: read.oneOf('type', AUDIT_EVENT_TYPES),
    requestId: read.text('request_id'),
    subject: subjectOf(read),
    ...(read.isNull('code') ? {} : { code: read.text('code') }),
    ...(read.isNull('reason') ? {} : { reason: read.oneOf('reason', REFUSAL_REASONS) }),
    ...(read.isNull('revision') ? {} : { revision: read.text('revision') }),
    ...(read.isNull('details') ? {} : { details: read.parsed('details', details) }),
  };
}

/** What an event or a call names of whom it is about. */
function subjectOf(read: RowReader): AuditSubject {
  const subject: AuditSubject = { tenantId: read.text('tenant_id') as TenantId };
  for (const [name, column] of SUBJECT_COLUMNS) {
    const value = read.textOrNull(column);
    if (value !== null) subject[name] = value;
  }
  return subject;
}

const SUBJECT_COLUMNS = [
  ['agentId', 'agent_id'],
  ['runId', 'run_id'],
  ['workloadHash', 'workload_hash'],
  ['sessionId', 'session_id'],
  ['grantId', 'grant_id'],
  ['artifactId', 'artifact_id'],
  ['approvalId', 'approval_id'],
] as const;

const ownerOf = (read: RowReader) => ({
  tenantId: read.text('tenant_id') as TenantId,
  agentId: read.text('agent_id') as AgentId,
  runId: read.text('run_id') as RunId,
});

const issueOf = (read: RowReader) => ({
  artifactId: read.id('artifact_id', 'art_') as ArtifactId,
  issuedAt: read.date('issued_at'),
});

const endOf = (read: RowReader) => ({ endedAt: read.date('ended_at'), endReason: read.text('end_reason') });

import type { RefusalReason } from './errors.ts';
import type { EventId, TenantId } from './ids.ts';

export const AUDIT_EVENT_TYPES = [
  'session.created',
  'session.refused',
  'session.revoked',
  'session.expired',
  'session_revoke.refused',
  'grant.requested',
  'grant.approved',
  'grant.issued',
  'grant.refused',
  'grant.denied',
  'grant.used',
  'grant.delivered',
  'grant.revoked',
  'grant.expired',
  'grant.collected',
  'grant_revoke.refused',
  'grant_read.refused',
  'artifact.issued',
  'artifact.revoked',
  'artifact.used',
  'artifact.expired',
  'proxy.requested',
  'proxy.completed',
  'proxy.failed',
  'proxy.unknown',
  'proxy.refused',
  'approval.requested',
  'approval.given',
  'approval.approved',
  'approval.denied',
  'approval.expired',
  'approval.reused',
  'approval.refused',
  'lease.requested',
  'lease.issued',
  'lease.failed',
  'lease.unknown',
  'lease.revocation_requested',
  'lease.revoked',
  'lease.revocation_failed',
  'lease.revocation_unknown',
  'lease.expired',
  'notification.delivered',
  'notification.given_up',
  'run.revoked',
  'workload.revoked',
  'operator.refused',
  'relay.registered',
  'relay.refused',
  'unwrap.refused',
] as const;
export type AuditEventType = (typeof AUDIT_EVENT_TYPES)[number];

/** Whom and what an event is about. Ids only: no token, handle or credential ever enters an event. */
export interface AuditSubject {
  tenantId: TenantId;
  agentId?: string;
  runId?: string;
  workloadHash?: string;
  sessionId?: string;
  grantId?: string;
  artifactId?: string;
  approvalId?: string;
}

/** One line of the audit log. */
export interface AuditEvent {
  id: EventId;
  at: Date;
  type: AuditEventType;
  requestId: string;
  subject: AuditSubject;
  /** Error code of a refusal or failure. */
  code?: string;
  reason?: RefusalReason;
  /** Configuration that made the decision. */
  revision?: string;
  /** Further facts by name, such as `tool`, `capability`, `resource_ref`, `bytes`. */
  details?: Readonly<Record<string, string | number | boolean | readonly string[]>>;
}

/** The tenant of an event whose caller proved none. */
export const UNATTRIBUTED_TENANT = 't_unattributed' as TenantId;

import { z } from 'zod';
import type { ApprovalRecord } from '../../broker/read-records.ts';
import { APPROVAL_TRANSITIONS, type Approval, type ApprovalState, type Approver } from '../../domain/approval.ts';
import { AUDIT_EVENT_TYPES, type AuditEvent } from '../../domain/audit-event.ts';
import type { Delegation } from '../../domain/delegation.ts';
import { REFUSAL_REASONS } from '../../domain/errors.ts';
import { DELIVERY_MODES, type Grant, GRANT_TRANSITIONS, type GrantState } from '../../domain/grant.ts';
import type { ResourceKind } from '../../domain/resource.ts';
import { type DoneRevocation, type Revocation, REVOCATION_STATES } from '../../domain/revocation.ts';
import { type Session, SESSION_TRANSITIONS, type SessionState } from '../../domain/session.ts';
import { rfc3339 } from './describe.ts';

// What is on record, as the wire shows it: never a token, a handle or a credential.

/** The states of a machine, as the tuple that a schema wants. */
function statesOf<State extends string>(transitions: Readonly<Record<State, unknown>>): [State, ...State[]] {
  return Object.keys(transitions) as [State, ...State[]];
}

export const SESSION_STATES = statesOf<SessionState>(SESSION_TRANSITIONS);
export const GRANT_STATES = statesOf<GrantState>(GRANT_TRANSITIONS);
export const APPROVAL_STATES = statesOf<ApprovalState>(APPROVAL_TRANSITIONS);
export const RESOURCE_KINDS = ['github_repo', 'db_role', 'browser_origin'] as const satisfies readonly ResourceKind[];

/** RFC 3339, UTC. */
export const instant = z.iso.datetime({ offset: false });
export const grantState = z.enum(GRANT_STATES);

const workloadRecord = z
  .strictObject({
    type: z.enum(['k8s_sa', 'oidc']),
    issuer: z.string(),
    subject: z.string(),
    audience: z.string(),
    namespace: z.string().optional(),
    service_account: z.string().optional(),
    attributes: z.record(z.string(), z.string()),
  })
  .meta({ id: 'Workload' });

const delegationRecord = z
  .strictObject({
    issuer: z.string(),
    subject: z.string(),
    id: z.string(),
    allowed_capabilities: z.array(z.string()),
    resource_filters: z.array(z.strictObject({ resource_kind: z.enum(RESOURCE_KINDS), names: z.array(z.string()) })),
    expires_at: instant,
  })
  .meta({ id: 'Delegation' });

export const sessionRecord = z
  .strictObject({
    session_id: z.string(),
    tenant_id: z.string(),
    agent_id: z.string(),
    run_id: z.string(),
    state: z.enum(SESSION_STATES),
    tool_context: z.array(z.string()),
    workload: workloadRecord,
    workload_hash: z.string(),
    delegation: delegationRecord.optional(),
    proof_key_thumbprint: z.string().optional(),
    created_at: instant,
    expires_at: instant,
    ended_at: instant.optional(),
    end_reason: z.string().optional(),
  })
  .meta({ id: 'Session' });

const asked = {
  tool: z.string(),
  capability: z.string(),
  resource_ref: z.string(),
  delivery_mode: z.enum(DELIVERY_MODES),
  ttl_seconds: z.int(),
  reason: z.string(),
  request_hash: z.string(),
};

export const grantRecord = z
  .strictObject({
    grant_id: z.string(),
    tenant_id: z.string(),
    session_id: z.string(),
    agent_id: z.string(),
    run_id: z.string(),
    state: grantState,
    ...asked,
    request_id: z.string().optional(),
    approval_id: z.string().optional(),
    artifact_id: z.string().optional(),
    created_at: instant,
    expires_at: instant,
    issued_at: instant.optional(),
    ended_at: instant.optional(),
    end_reason: z.string().optional(),
  })
  .meta({ id: 'Grant' });

const approverRecord = z.strictObject({ issuer: z.string(), subject: z.string() });

export const approvalRecord = z
  .strictObject({
    approval_id: z.string(),
    tenant_id: z.string(),
    session_id: z.string(),
    grant_id: z.string(),
    agent_id: z.string(),
    run_id: z.string(),
    state: z.enum(APPROVAL_STATES),
    ...asked,
    required_approvers: z.int(),
    reuse: z.boolean(),
    decisions: z.array(
      z.strictObject({
        approver: approverRecord,
        decision: z.enum(['approve', 'deny']),
        comment: z.string(),
        decided_at: instant,
      }),
    ),
    excluded: z.array(approverRecord),
    created_at: instant,
    expires_at: instant,
    ended_at: instant.optional(),
  })
  .meta({ id: 'Approval' });

const REVOCATION_OUTCOMES = ['revoked', 'expired', 'not_issued'] as const satisfies readonly DoneRevocation['outcome'][];

export const revocationRecord = z
  .strictObject({
    revocation_id: z.string(),
    tenant_id: z.string(),
    session_id: z.string(),
    grant_id: z.string(),
    agent_id: z.string(),
    run_id: z.string(),
    state: z.enum(REVOCATION_STATES),
    connector: z.string(),
    resource_ref: z.string(),
    lease_id: z.string().optional(),
    lease_expires_at: instant.optional(),
    attempts: z.int().optional(),
    next_attempt_at: instant.optional(),
    last_error: z.string().optional(),
    outcome: z.enum(REVOCATION_OUTCOMES).optional(),
    created_at: instant,
    ended_at: instant.optional(),
  })
  .meta({ id: 'Revocation' });

export const auditEventRecord = z
  .strictObject({
    id: z.string(),
    at: instant,
    type: z.enum(AUDIT_EVENT_TYPES),
    request_id: z.string(),
    tenant_id: z.string(),
    agent_id: z.string().optional(),
    run_id: z.string().optional(),
    workload_hash: z.string().optional(),
    session_id: z.string().optional(),
    grant_id: z.string().optional(),
    artifact_id: z.string().optional(),
    approval_id: z.string().optional(),
    code: z.string().optional(),
    reason: z.enum(REFUSAL_REASONS).optional(),
    revision: z.string().optional(),
    details: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.array(z.string()).readonly()])).optional(),
  })
  .meta({ id: 'AuditEvent' });

export function encodeSession(session: Session): z.output<typeof sessionRecord> {
  const { workload, delegation, proofKeyThumbprint } = session;
  return {
    session_id: session.id,
    tenant_id: session.tenantId,
    agent_id: session.agentId,
    run_id: session.runId,
    state: session.state,
    tool_context: [...session.toolContext],
    workload: {
      type: workload.type,
      issuer: workload.issuer,
      subject: workload.subject,
      audience: workload.audience,
      namespace: workload.namespace ?? undefined,
      service_account: workload.serviceAccount ?? undefined,
      attributes: { ...workload.attributes },
    },
    workload_hash: session.workloadHash,
    delegation: delegation === null ? undefined : encodeDelegation(delegation),
    proof_key_thumbprint: proofKeyThumbprint ?? undefined,
    created_at: rfc3339(session.createdAt),
    expires_at: rfc3339(session.expiresAt),
    ...('endedAt' in session ? { ended_at: rfc3339(session.endedAt), end_reason: session.endReason } : {}),
  };
}

function encodeDelegation(delegation: Delegation): z.output<typeof delegationRecord> {
  return {
    issuer: delegation.issuer,
    subject: delegation.subject,
    id: delegation.id,
    allowed_capabilities: [...delegation.allowedCapabilities],
    resource_filters: RESOURCE_KINDS.flatMap((kind) => {
      const names = delegation.resourceFilters[kind];
      return names === undefined ? [] : [{ resource_kind: kind, names: [...names] }];
    }),
    expires_at: rfc3339(delegation.expiresAt),
  };
}

const encodeAsked = (grant: Grant) => ({
  tool: grant.tool,
  capability: grant.capability,
  resource_ref: grant.resourceRef,
  delivery_mode: grant.deliveryMode,
  ttl_seconds: grant.ttlSeconds,
  reason: grant.reason,
});

export const encodeGrant = (grant: Grant): z.output<typeof grantRecord> => ({
  grant_id: grant.id,
  tenant_id: grant.tenantId,
  session_id: grant.sessionId,
  agent_id: grant.agentId,
  run_id: grant.runId,
  state: grant.state,
  ...encodeAsked(grant),
  request_hash: grant.requestHash,
  request_id: grant.requestId ?? undefined,
  approval_id: grant.approvalId ?? undefined,
  created_at: rfc3339(grant.createdAt),
  expires_at: rfc3339(grant.expiresAt),
  ...('artifactId' in grant ? { artifact_id: grant.artifactId, issued_at: rfc3339(grant.issuedAt) } : {}),
  ...('endedAt' in grant ? { ended_at: rfc3339(grant.endedAt), end_reason: grant.endReason } : {}),
});

const encodeApprover = ({ issuer, subject }: Approver) => ({ issuer, subject });

const encodeDecisions = ({ decisions }: Approval) =>
  decisions.map(({ approver, decision, comment, at }) => ({
    approver: encodeApprover(approver),
    decision,
    comment,
    decided_at: rfc3339(at),
  }));

/** An approval with all that its approvers decide about. */
export const encodeApproval = ({ approval, grant }: ApprovalRecord): z.output<typeof approvalRecord> => ({
  approval_id: approval.id,
  tenant_id: approval.tenantId,
  session_id: approval.sessionId,
  grant_id: approval.grantId,
  agent_id: approval.agentId,
  run_id: approval.runId,
  state: approval.state,
  ...encodeAsked(grant),
  request_hash: approval.requestHash,
  required_approvers: approval.requiredApprovers,
  reuse: approval.reuse,
  decisions: encodeDecisions(approval),
  excluded: approval.excluded.map(encodeApprover),
  created_at: rfc3339(approval.createdAt),
  expires_at: rfc3339(approval.expiresAt),
  ...('endedAt' in approval ? { ended_at: rfc3339(approval.endedAt) } : {}),
});

/**
 * A lease and how its revocation stands. Its id is shown because an operator needs it where the broker gets no further: it is what
 * `vault lease revoke` takes (https://developer.hashicorp.com/vault/docs/commands/lease/revoke). It opens nothing by itself; Vault
 * lets any token look one up (`sys/leases/lookup` of its default policy) and prints them.
 */
export const encodeRevocation = (revocation: Revocation): z.output<typeof revocationRecord> => ({
  revocation_id: revocation.id,
  tenant_id: revocation.tenantId,
  session_id: revocation.sessionId,
  grant_id: revocation.grantId,
  agent_id: revocation.agentId,
  run_id: revocation.runId,
  state: revocation.state,
  connector: revocation.connector,
  resource_ref: revocation.resourceRef,
  ...('leaseId' in revocation ? { lease_id: revocation.leaseId ?? undefined } : {}),
  ...('leaseExpiresAt' in revocation ? { lease_expires_at: rfc3339(revocation.leaseExpiresAt) } : {}),
  ...('attempts' in revocation ? { attempts: revocation.attempts, last_error: revocation.lastError ?? undefined } : {}),
  ...('nextAttemptAt' in revocation ? { next_attempt_at: rfc3339(revocation.nextAttemptAt) } : {}),
  ...('endedAt' in revocation ? { outcome: revocation.outcome, ended_at: rfc3339(revocation.endedAt) } : {}),
  created_at: rfc3339(revocation.createdAt),
});

/** An event under the names that it has in the audit log. */
export const encodeAuditEvent = ({ subject, ...event }: AuditEvent): z.output<typeof auditEventRecord> => ({
  id: event.id,
  at: rfc3339(event.at),
  type: event.type,
  request_id: event.requestId,
  tenant_id: subject.tenantId,
  agent_id: subject.agentId,
  run_id: subject.runId,
  workload_hash: subject.workloadHash,
  session_id: subject.sessionId,
  grant_id: subject.grantId,
  artifact_id: subject.artifactId,
  approval_id: subject.approvalId,
  code: event.code,
  reason: event.reason,
  revision: event.revision,
  details: event.details,
});

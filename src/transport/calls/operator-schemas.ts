import { z } from 'zod';
import { AUDIT_EVENT_TYPES } from '../../domain/audit-event.ts';
import { REFUSAL_REASONS } from '../../domain/errors.ts';
import { DELIVERY_MODES } from '../../domain/grant.ts';
import type { AgentId, ApprovalId, GrantId, RunId, SessionId, TenantId, WorkloadHash } from '../../domain/ids.ts';
import { REVOCATION_STATES } from '../../domain/revocation.ts';
import {
  capabilityPatterns,
  flag,
  hashOf,
  idOf,
  name,
  oneOf,
  optionalHashOf,
  optionalIdOf,
  optionalName,
  optionalOneOf,
  pageSize,
  pageToken,
  reference,
  requiredObject,
  requiredWords,
  resourceNames,
  text,
  textsByName,
  token,
  toolNames,
  ttlSeconds,
} from '../wire-fields.ts';
import {
  APPROVAL_STATES,
  approvalRecord,
  auditEventRecord,
  GRANT_STATES,
  grantRecord,
  grantState,
  instant,
  RESOURCE_KINDS,
  revocationRecord,
  SESSION_STATES,
  sessionRecord,
} from './records.ts';

const page = { tenant_id: idOf<TenantId>(), page_size: pageSize, page_token: pageToken };

export const listSessionsRequest = z.strictObject({
  ...page,
  state: optionalOneOf(SESSION_STATES),
  agent_id: optionalIdOf<AgentId>(),
  run_id: optionalIdOf<RunId>(),
  workload_hash: optionalHashOf<WorkloadHash>(),
});

export const listGrantsRequest = z.strictObject({
  ...page,
  state: optionalOneOf(GRANT_STATES),
  session_id: optionalIdOf<SessionId>(),
  agent_id: optionalIdOf<AgentId>(),
  run_id: optionalIdOf<RunId>(),
  capability: optionalIdOf(),
});

export const listApprovalsRequest = z.strictObject({
  ...page,
  state: optionalOneOf(APPROVAL_STATES),
  session_id: optionalIdOf<SessionId>(),
});

export const listRevocationsRequest = z.strictObject({
  ...page,
  state: optionalOneOf(REVOCATION_STATES),
  grant_id: optionalIdOf<GrantId>(),
  connector: optionalIdOf(),
});

export const listAuditEventsRequest = z.strictObject({
  ...page,
  type: optionalOneOf(AUDIT_EVENT_TYPES),
  session_id: optionalIdOf<SessionId>(),
  grant_id: optionalIdOf<GrantId>(),
  approval_id: optionalIdOf<ApprovalId>(),
});

export const getSessionRequest = z.strictObject({ session_id: idOf<SessionId>() });
export const getApprovalRequest = z.strictObject({ approval_id: idOf<ApprovalId>() });

export const revokeRunRequest = z.strictObject({ tenant_id: idOf<TenantId>(), run_id: idOf<RunId>(), reason: text });
export const revokeWorkloadRequest = z.strictObject({
  tenant_id: idOf<TenantId>(),
  workload_hash: hashOf<WorkloadHash>(),
  reason: text,
});

const workload = requiredObject({
  type: oneOf(['k8s_sa', 'oidc']),
  issuer: requiredWords,
  subject: requiredWords,
  audience: text,
  namespace: optionalName,
  service_account: optionalName,
  attributes: textsByName,
});

const resourceFilters = z
  .array(z.strictObject({ resource_kind: oneOf(RESOURCE_KINDS), names: resourceNames }), { error: 'must be a list' })
  .refine(
    (filters) => new Set(filters.map((filter) => filter.resource_kind)).size === filters.length,
    'must not name a kind twice',
  )
  .nullish()
  .transform((filters) => filters ?? []);

const orNull = <Value>(value: Value | null | undefined): Value | null => value ?? null;

const hypothetical = z
  .strictObject(
    {
      agent_id: idOf<AgentId>(),
      run_id: idOf<RunId>(),
      tool_context: toolNames,
      workload,
      delegation: z
        .strictObject(
          { allowed_capabilities: capabilityPatterns, resource_filters: resourceFilters },
          { error: 'must be an object' },
        )
        .nullish()
        .transform(orNull),
      has_proof_key: flag,
    },
    { error: 'must be an object' },
  )
  .nullish()
  .transform(orNull);

export const explainDecisionRequest = z.strictObject({
  tenant_id: idOf<TenantId>(),
  session_id: optionalIdOf<SessionId>(),
  hypothetical,
  tool: name,
  capability: name,
  resource_ref: reference,
  delivery_mode: oneOf(DELIVERY_MODES),
  ttl_seconds: ttlSeconds,
});

export const decideByCallbackRequest = z.strictObject({ approval_id: idOf<ApprovalId>(), assertion: token, comment: text });

// The answers. They are made by us, so these schemas serve types and documentation, not checks at run time.

const nextPageToken = z.string().optional();

export const listSessionsResponse = z.strictObject({ sessions: z.array(sessionRecord), next_page_token: nextPageToken });
export const listGrantsResponse = z.strictObject({ grants: z.array(grantRecord), next_page_token: nextPageToken });
export const listApprovalsResponse = z.strictObject({ approvals: z.array(approvalRecord), next_page_token: nextPageToken });
export const listRevocationsResponse = z.strictObject({
  revocations: z.array(revocationRecord),
  next_page_token: nextPageToken,
});
export const listAuditEventsResponse = z.strictObject({ events: z.array(auditEventRecord), next_page_token: nextPageToken });
export const getSessionResponse = z.strictObject({ session: sessionRecord });
export const getApprovalResponse = z.strictObject({ approval: approvalRecord });
export const revokeAllResponse = z.strictObject({ sessions: z.int(), grants: z.int(), still_revoking: z.array(z.string()) });

const verdict = z.strictObject({
  rule: z.string(),
  outcome: z.enum(['allowed', 'denied']),
  reason: z.enum(REFUSAL_REASONS).optional(),
  message: z.string(),
});

export const explainDecisionResponse = z.strictObject({
  allowed: z.boolean(),
  verdicts: z.array(verdict),
  expires_at: instant.optional(),
  approval: z.strictObject({ required_approvers: z.int(), ttl_seconds: z.int(), reuse: z.boolean() }).optional(),
  revision: z.string(),
});

export const decideByCallbackResponse = z.strictObject({
  state: grantState,
  approval_id: z.string(),
  grant_id: z.string(),
});

import type { z } from 'zod';
import type { ExplainSubject } from '../../broker/explain-decision.ts';
import type { ListRequest } from '../../broker/read-records.ts';
import type { RevokeAllResponse } from '../../broker/revoke-all.ts';
import { invalidRequest } from '../../domain/errors.ts';
import type { TenantId } from '../../domain/ids.ts';
import type { Page } from '../../domain/repository.ts';
import type { WorkloadIdentity } from '../../domain/workload.ts';
import { OperatorService } from '../../gen/asb/v1/operator_pb.ts';
import { type Call, describeJson, rfc3339 } from './describe.ts';
import * as schemas from './operator-schemas.ts';
import { encodeApproval, encodeAuditEvent, encodeGrant, encodeRevocation, encodeSession } from './records.ts';

// A run or a workload may have many sessions, and each is ended in a transaction of its own.
const REVOKE_ALL_DEADLINE_SECONDS = 30;

interface PageFields {
  tenant_id: TenantId;
  page_size: number;
  page_token: string | null;
}

function listRequest<Filter extends object>(
  fields: PageFields,
  credential: string | null,
  filter: Filter,
): ListRequest<Filter> {
  const page = { limit: fields.page_size, after: fields.page_token };
  return { credential, tenantId: fields.tenant_id, filter: withoutBlanks(filter), page };
}

/** A filter of what was given: a store need not tell a field that is undefined from one that is not there. */
const withoutBlanks = <Filter extends object>(filter: Filter): Filter =>
  Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined)) as Filter;

const nextOf = ({ next }: Pick<Page<unknown>, 'next'>) => ({ next_page_token: next ?? undefined });

const listSessions = describeJson({
  method: OperatorService.method.listSessions,
  httpMethod: 'GET',
  path: '/v1/sessions',
  summary: "A tenant's sessions, newest first.",
  tokens: ['operator'],
  request: schemas.listSessionsRequest,
  response: schemas.listSessionsResponse,
  decode: (fields, credential) =>
    listRequest(fields, credential, {
      state: fields.state,
      agentId: fields.agent_id,
      runId: fields.run_id,
      workloadHash: fields.workload_hash,
    }),
  useCase: (broker) => broker.listSessions,
  encode: (page) => ({ sessions: page.rows.map(encodeSession), ...nextOf(page) }),
});

const getSession = describeJson({
  method: OperatorService.method.getSession,
  httpMethod: 'GET',
  path: '/v1/sessions/{session_id}',
  summary: 'One session.',
  tokens: ['operator'],
  request: schemas.getSessionRequest,
  response: schemas.getSessionResponse,
  decode: (fields, credential) => ({ credential, sessionId: fields.session_id }),
  useCase: (broker) => broker.getSession,
  encode: (session) => ({ session: encodeSession(session) }),
});

const listGrants = describeJson({
  method: OperatorService.method.listGrants,
  httpMethod: 'GET',
  path: '/v1/grants',
  summary: "A tenant's grants, newest first.",
  tokens: ['operator'],
  request: schemas.listGrantsRequest,
  response: schemas.listGrantsResponse,
  decode: (fields, credential) =>
    listRequest(fields, credential, {
      state: fields.state,
      sessionId: fields.session_id,
      agentId: fields.agent_id,
      runId: fields.run_id,
      capability: fields.capability,
    }),
  useCase: (broker) => broker.listGrants,
  encode: (page) => ({ grants: page.rows.map(encodeGrant), ...nextOf(page) }),
});

const listApprovals = describeJson({
  method: OperatorService.method.listApprovals,
  httpMethod: 'GET',
  path: '/v1/approvals',
  summary: "A tenant's approvals, newest first.",
  tokens: ['operator'],
  request: schemas.listApprovalsRequest,
  response: schemas.listApprovalsResponse,
  decode: (fields, credential) => listRequest(fields, credential, { state: fields.state, sessionId: fields.session_id }),
  useCase: (broker) => broker.listApprovals,
  encode: (page) => ({ approvals: page.rows.map(encodeApproval), ...nextOf(page) }),
});

const getApproval = describeJson({
  method: OperatorService.method.getApproval,
  httpMethod: 'GET',
  path: '/v1/approvals/{approval_id}',
  summary: 'One approval, with everything that its approvers decide about.',
  tokens: ['operator'],
  request: schemas.getApprovalRequest,
  response: schemas.getApprovalResponse,
  decode: (fields, credential) => ({ credential, approvalId: fields.approval_id }),
  useCase: (broker) => broker.getApproval,
  encode: (record) => ({ approval: encodeApproval(record) }),
});

const listRevocations = describeJson({
  method: OperatorService.method.listRevocations,
  httpMethod: 'GET',
  path: '/v1/revocations',
  summary: "A tenant's leases downstream and how their revocation stands, newest first.",
  tokens: ['operator'],
  request: schemas.listRevocationsRequest,
  response: schemas.listRevocationsResponse,
  decode: (fields, credential) =>
    listRequest(fields, credential, {
      state: fields.state,
      grantId: fields.grant_id,
      connector: fields.connector,
    }),
  useCase: (broker) => broker.listRevocations,
  encode: (page) => ({ revocations: page.rows.map(encodeRevocation), ...nextOf(page) }),
});

const listAuditEvents = describeJson({
  method: OperatorService.method.listAuditEvents,
  httpMethod: 'GET',
  path: '/v1/audit-events',
  summary: "A tenant's audit events, newest first; for auditors alone.",
  tokens: ['operator'],
  request: schemas.listAuditEventsRequest,
  response: schemas.listAuditEventsResponse,
  decode: (fields, credential) =>
    listRequest(fields, credential, {
      type: fields.type,
      sessionId: fields.session_id,
      grantId: fields.grant_id,
      approvalId: fields.approval_id,
    }),
  useCase: (broker) => broker.listAuditEvents,
  encode: (page) => ({ events: page.rows.map(encodeAuditEvent), ...nextOf(page) }),
});

const encodeRevoked = ({ sessions, grants, stillRevoking }: RevokeAllResponse) => ({
  sessions,
  grants,
  still_revoking: [...stillRevoking],
});

const revokeRun = describeJson({
  method: OperatorService.method.revokeRun,
  path: '/v1/runs/{run_id}:revoke',
  summary: 'Ends every session of a run with all that hangs on it, and refuses new ones.',
  tokens: ['operator'],
  deadlineSeconds: REVOKE_ALL_DEADLINE_SECONDS,
  request: schemas.revokeRunRequest,
  response: schemas.revokeAllResponse,
  decode: (fields, credential) => ({
    credential,
    tenantId: fields.tenant_id,
    runId: fields.run_id,
    reason: fields.reason,
  }),
  useCase: (broker) => broker.revokeRun,
  encode: encodeRevoked,
});

const revokeWorkload = describeJson({
  method: OperatorService.method.revokeWorkload,
  path: '/v1/workloads/{workload_hash}:revoke',
  summary: 'Ends every session of a workload identity with all that hangs on it, and refuses new ones.',
  tokens: ['operator'],
  deadlineSeconds: REVOKE_ALL_DEADLINE_SECONDS,
  request: schemas.revokeWorkloadRequest,
  response: schemas.revokeAllResponse,
  decode: (fields, credential) => ({
    credential,
    tenantId: fields.tenant_id,
    workloadHash: fields.workload_hash,
    reason: fields.reason,
  }),
  useCase: (broker) => broker.revokeWorkload,
  encode: encodeRevoked,
});

const explainDecision = describeJson({
  method: OperatorService.method.explainDecision,
  path: '/v1/decisions:explain',
  summary: 'Says what would be decided, and why, and issues nothing.',
  tokens: ['operator'],
  request: schemas.explainDecisionRequest,
  response: schemas.explainDecisionResponse,
  decode: (fields, credential) => ({
    credential,
    tenantId: fields.tenant_id,
    subject: subjectOf(fields),
    tool: fields.tool,
    capability: fields.capability,
    resourceRef: fields.resource_ref,
    deliveryMode: fields.delivery_mode,
    ttlSeconds: fields.ttl_seconds,
  }),
  useCase: (broker) => broker.explainDecision,
  encode: ({ allowed, verdicts, expiresAt, approval, revision }) => ({
    allowed,
    verdicts: verdicts.map((verdict) => ({
      rule: verdict.rule,
      outcome: verdict.outcome,
      reason: verdict.outcome === 'denied' ? verdict.reason : undefined,
      message: verdict.message,
    })),
    expires_at: expiresAt === null ? undefined : rfc3339(expiresAt),
    approval:
      approval === null
        ? undefined
        : {
            required_approvers: approval.requiredApprovers,
            ttl_seconds: approval.ttlSeconds,
            reuse: approval.reuse,
          },
    revision,
  }),
});

type ExplainFields = z.output<typeof schemas.explainDecisionRequest>;

function subjectOf({ session_id: sessionId, hypothetical }: ExplainFields): ExplainSubject {
  if (sessionId !== undefined && hypothetical === null) return { kind: 'session', sessionId };
  if (sessionId !== undefined || hypothetical === null) {
    throw invalidRequest('session_id: give either a session or a hypothetical one');
  }
  return {
    kind: 'hypothetical',
    agentId: hypothetical.agent_id,
    runId: hypothetical.run_id,
    toolContext: hypothetical.tool_context,
    workload: workloadOf(hypothetical.workload),
    delegation: hypothetical.delegation === null ? null : delegationOf(hypothetical.delegation),
    hasProofKey: hypothetical.has_proof_key,
  };
}

type Imagined = NonNullable<ExplainFields['hypothetical']>;

const workloadOf = (workload: Imagined['workload']): WorkloadIdentity => ({
  type: workload.type,
  issuer: workload.issuer,
  subject: workload.subject,
  audience: workload.audience,
  namespace: workload.namespace === '' ? null : workload.namespace,
  serviceAccount: workload.service_account === '' ? null : workload.service_account,
  attributes: workload.attributes,
});

const delegationOf = (delegation: NonNullable<Imagined['delegation']>) => ({
  allowedCapabilities: delegation.allowed_capabilities,
  resourceFilters: Object.fromEntries(delegation.resource_filters.map((filter) => [filter.resource_kind, filter.names])),
});

const decideByCallback = describeJson({
  method: OperatorService.method.decideByCallback,
  path: '/v1/approvals/{approval_id}:callback',
  summary: 'Records a decision that the receiver of a notification has signed.',
  request: schemas.decideByCallbackRequest,
  response: schemas.decideByCallbackResponse,
  decode: (fields) => ({
    assertion: fields.assertion,
    approvalId: fields.approval_id,
    comment: fields.comment,
  }),
  useCase: (broker) => broker.decideByCallback,
  encode: ({ state, approvalId, grantId }) => ({ state, approval_id: approvalId, grant_id: grantId }),
});

/** Every call of OperatorService. */
export const OPERATOR_CALLS: readonly Call[] = [
  listSessions,
  getSession,
  listGrants,
  listApprovals,
  getApproval,
  listRevocations,
  listAuditEvents,
  revokeRun,
  revokeWorkload,
  explainDecision,
  decideByCallback,
];

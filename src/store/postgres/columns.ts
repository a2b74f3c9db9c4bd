// The columns that each kind of row is read from. Named one by one, so that a column which a later migration adds changes no answer.

const SESSION = [
  'id',
  'tenant_id',
  'agent_id',
  'run_id',
  'tool_context',
  'workload',
  'workload_hash',
  'token_id',
  'delegation',
  'proof_key_thumbprint',
  'created_at',
  'expires_at',
  'state',
  'ended_at',
  'end_reason',
];
const GRANT = [
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
  'state',
  'artifact_id',
  'issued_at',
  'ended_at',
  'end_reason',
];
const ARTIFACT = [
  'id',
  'tenant_id',
  'session_id',
  'grant_id',
  'kind',
  'handle_hash',
  'created_at',
  'expires_at',
  'state',
  'sealed',
  'ended_at',
];
const APPROVAL = [
  'id',
  'tenant_id',
  'session_id',
  'grant_id',
  'agent_id',
  'run_id',
  'request_hash',
  'required_approvers',
  'reuse',
  'excluded',
  'created_at',
  'expires_at',
  'state',
  'decisions',
  'ended_at',
];
const CALL = [
  'id',
  'kind',
  'tenant_id',
  'agent_id',
  'run_id',
  'workload_hash',
  'session_id',
  'grant_id',
  'artifact_id',
  'approval_id',
  'request_id',
  'started_at',
  'deadline',
];
const REVOCATION = [
  'id',
  'tenant_id',
  'session_id',
  'grant_id',
  'agent_id',
  'run_id',
  'workload_hash',
  'connector',
  'resource_ref',
  'created_at',
  'state',
  'lease_id',
  'lease_expires_at',
  'attempts',
  'next_attempt_at',
  'last_error',
  'outcome',
  'ended_at',
];
const NOTIFICATION = [
  'id',
  'tenant_id',
  'approval_id',
  'receiver',
  'created_at',
  'expires_at',
  'state',
  'attempts',
  'next_attempt_at',
  'last_error',
  'ended_at',
];
const EVENT = [
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
];

export const SESSION_COLUMNS = SESSION.join(', ');
export const GRANT_COLUMNS = GRANT.join(', ');
export const ARTIFACT_COLUMNS = ARTIFACT.join(', ');
export const APPROVAL_COLUMNS = APPROVAL.join(', ');
export const CALL_COLUMNS = CALL.join(', ');
export const REVOCATION_COLUMNS = REVOCATION.join(', ');
export const NOTIFICATION_COLUMNS = NOTIFICATION.join(', ');
export const EVENT_COLUMNS = EVENT.join(', ');

/** `row.column AS prefixcolumn` for each column: rows side by side, told apart by a prefix. */
const aside = (columns: readonly string[]) => (row: string, prefix: string) =>
  columns.map((column) => `${row}.${column} AS ${prefix}${column}`).join(', ');

export const sessionColumns = aside(SESSION);
export const grantColumns = aside(GRANT);
export const artifactColumns = aside(ARTIFACT);
export const approvalColumns = aside(APPROVAL);

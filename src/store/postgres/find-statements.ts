import {
  APPROVAL_COLUMNS,
  ARTIFACT_COLUMNS,
  artifactColumns,
  GRANT_COLUMNS,
  grantColumns,
  REVOCATION_COLUMNS,
  SESSION_COLUMNS,
  sessionColumns,
} from './columns.ts';
import type { Statement } from './database.ts';

// Look-ups of single rows, those of every call prepared. Which tenant's a row is gets compared in a way that no index serves: before
// the first ANALYZE any index that has a part of the condition looks as good as the one of the ids.

export const PING: Statement = {
  text: `SELECT current_setting('transaction_read_only') = 'off' AS is_writable`,
  timeoutMs: 2000,
};

export const FIND_SESSION: Statement = {
  name: 'find_session',
  text: `SELECT ${SESSION_COLUMNS} FROM sessions WHERE id = $2 AND tenant_id IS NOT DISTINCT FROM $1`,
};

export const FIND_GRANT: Statement = {
  name: 'find_grant',
  text: `SELECT ${GRANT_COLUMNS} FROM grants WHERE id = $2 AND tenant_id IS NOT DISTINCT FROM $1`,
};

export const FIND_ARTIFACT: Statement = {
  name: 'find_artifact',
  text: `SELECT ${ARTIFACT_COLUMNS} FROM artifacts WHERE id = $2 AND tenant_id IS NOT DISTINCT FROM $1`,
};

/** Answers `session_`, `grant_` and `artifact_`. */
export const FIND_BY_HANDLE: Statement = {
  name: 'find_by_handle',
  text: `
    SELECT ${sessionColumns('s', 'session_')}, ${grantColumns('g', 'grant_')}, ${artifactColumns('a', 'artifact_')}
    FROM artifacts a
    JOIN grants g ON g.id = a.grant_id
    JOIN sessions s ON s.id = g.session_id
    WHERE a.handle_hash = $1`,
};

export const FIND_GRANT_BY_REQUEST_ID: Statement = {
  name: 'find_grant_by_request_id',
  text: `SELECT ${GRANT_COLUMNS} FROM grants WHERE session_id = $2 AND request_id = $3 AND tenant_id IS NOT DISTINCT FROM $1`,
};

export const FIND_APPROVAL: Statement = {
  name: 'find_approval',
  text: `SELECT ${APPROVAL_COLUMNS} FROM approvals WHERE id = $2 AND tenant_id IS NOT DISTINCT FROM $1`,
};

export const FIND_APPROVAL_OF_REQUEST: Statement = {
  name: 'find_approval_of_request',
  text: `
    SELECT ${APPROVAL_COLUMNS} FROM approvals
    WHERE session_id = $2 AND request_hash = $3 AND tenant_id IS NOT DISTINCT FROM $1 AND state IN ('pending', 'approved')
    ORDER BY id DESC LIMIT 1`,
};

/** Answers the kind of the block, the run's before the workload's. */
export const FIND_BLOCK: Statement = {
  name: 'find_block',
  text: `
    SELECT kind FROM blocks WHERE tenant_id = $1 AND kind = 'run' AND target = $2
    UNION ALL
    SELECT kind FROM blocks WHERE tenant_id = $1 AND kind = 'workload' AND target = $3
    LIMIT 1`,
};

/** Answers a row for each open call of the handle, and one without a call when there is none. */
export const FIND_HANDLE_USAGE: Statement = {
  text: `
    SELECT a.requests_used, a.bytes_used, c.id AS call_id, c.deadline
    FROM artifacts a
    LEFT JOIN downstream_calls c ON c.artifact_id = a.id AND c.tenant_id = a.tenant_id
    WHERE a.handle_hash = $1`,
};

export const FIND_REVOCATION_OF_GRANT: Statement = {
  text: `SELECT ${REVOCATION_COLUMNS} FROM revocation_jobs WHERE grant_id = $2 AND tenant_id IS NOT DISTINCT FROM $1`,
};

// What the kill switch looks for.

export const FIND_ACTIVE_SESSIONS_OF_RUN: Statement = {
  text: `
    SELECT ${SESSION_COLUMNS} FROM sessions
    WHERE tenant_id = $1 AND run_id = $2 AND state = 'active'
    ORDER BY id LIMIT $3`,
};

export const FIND_ACTIVE_SESSIONS_OF_WORKLOAD: Statement = {
  text: `
    SELECT ${SESSION_COLUMNS} FROM sessions
    WHERE tenant_id = $1 AND workload_hash = $2 AND state = 'active'
    ORDER BY id LIMIT $3`,
};

export const FIND_ENDED_HANDLES_OF_RUN: Statement = {
  text: `
    SELECT g.id, a.handle_hash
    FROM grants g JOIN artifacts a ON a.grant_id = g.id
    WHERE g.tenant_id = $1 AND g.run_id = $2 AND g.ended_at >= $3 AND a.handle_hash IS NOT NULL`,
};

export const FIND_ENDED_HANDLES_OF_WORKLOAD: Statement = {
  text: `
    SELECT g.id, a.handle_hash
    FROM grants g JOIN artifacts a ON a.grant_id = g.id
    WHERE g.tenant_id = $1 AND g.workload_hash = $2 AND g.ended_at >= $3 AND a.handle_hash IS NOT NULL`,
};

export const FIND_UNREVOKED_GRANTS_OF_RUN: Statement = {
  text: `SELECT grant_id FROM revocation_jobs WHERE tenant_id = $1 AND run_id = $2 AND state = 'due'`,
};

export const FIND_UNREVOKED_GRANTS_OF_WORKLOAD: Statement = {
  text: `SELECT grant_id FROM revocation_jobs WHERE tenant_id = $1 AND workload_hash = $2 AND state = 'due'`,
};

import {
  approvalColumns,
  artifactColumns,
  CALL_COLUMNS,
  grantColumns,
  NOTIFICATION_COLUMNS,
  REVOCATION_COLUMNS,
  SESSION_COLUMNS,
} from './columns.ts';
import type { Statement } from './database.ts';

// What the worker looks for, each by an index on time that holds nothing else.

export const FIND_EXPIRED_SESSIONS: Statement = {
  text: `
    SELECT ${SESSION_COLUMNS} FROM sessions
    WHERE state = 'active' AND expires_at <= $1
    ORDER BY expires_at, id LIMIT $2`,
};

/** Answers `grant_`, `artifact_` and `approval_`; a grant that waits for nobody any more has no approval. */
export const FIND_EXPIRED_GRANTS: Statement = {
  text: `
    SELECT ${grantColumns('g', 'grant_')}, ${artifactColumns('a', 'artifact_')}, ${approvalColumns('p', 'approval_')}
    FROM (
      SELECT * FROM grants WHERE ended_at IS NULL AND expires_at <= $1 ORDER BY expires_at, id LIMIT $2
    ) g
    LEFT JOIN artifacts a ON a.grant_id = g.id
    LEFT JOIN approvals p ON p.id = g.approval_id AND g.state = 'pending' AND p.state = 'pending'
    ORDER BY g.expires_at, g.id`,
};

export const FIND_OVERDUE_CALLS: Statement = {
  text: `SELECT ${CALL_COLUMNS} FROM downstream_calls WHERE deadline < $1 ORDER BY deadline, id LIMIT $2`,
};

export const FIND_DUE_NOTIFICATIONS: Statement = {
  text: `
    SELECT ${NOTIFICATION_COLUMNS} FROM notifications
    WHERE state = 'waiting' AND next_attempt_at <= $1 AND receiver <> ALL ($3::text[])
    ORDER BY next_attempt_at, id LIMIT $2`,
};

/** What another worker is just claiming is left to it. */
export const CLAIM_DUE_REVOCATIONS: Statement = {
  text: `
    WITH due AS MATERIALIZED (
      SELECT id, next_attempt_at AS due_since FROM revocation_jobs
      WHERE state = 'due' AND next_attempt_at <= $1 AND connector <> ALL ($4::text[])
      ORDER BY next_attempt_at, id LIMIT $3
      FOR UPDATE SKIP LOCKED
    ), claimed AS (
      UPDATE revocation_jobs r SET attempts = r.attempts + 1, next_attempt_at = $2
      FROM due WHERE r.id = due.id
      RETURNING r.*, due.due_since
    )
    SELECT ${REVOCATION_COLUMNS} FROM claimed ORDER BY due_since, id`,
};

export const COUNT_OPEN_LEASES: Statement = {
  text: `SELECT connector, state, count(*) AS leases FROM revocation_jobs WHERE state <> 'done' GROUP BY connector, state`,
};

/** Answers how many rows went (migrations/0004_forget_ended.sql). */
export const FORGET_ENDED: Statement = { text: 'SELECT forget_ended($1, $2) AS forgotten' };

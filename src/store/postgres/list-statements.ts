import { APPROVAL_COLUMNS, EVENT_COLUMNS, GRANT_COLUMNS, REVOCATION_COLUMNS, SESSION_COLUMNS } from './columns.ts';
import type { Statement } from './database.ts';

// Lists of one tenant's rows, newest first. A filter that is null lets all rows pass. None is prepared: planned with its values, what
// is null falls out of the plan, and the index of the filter that is left gives the rows in their order.

export const LIST_SESSIONS: Statement = {
  text: `
    SELECT ${SESSION_COLUMNS} FROM sessions
    WHERE tenant_id = $1
      AND ($2::text IS NULL OR state = $2::session_state)
      AND ($3::text IS NULL OR agent_id = $3)
      AND ($4::text IS NULL OR run_id = $4)
      AND ($5::text IS NULL OR workload_hash = $5)
      AND ($6::text IS NULL OR id < $6)
    ORDER BY id DESC LIMIT $7`,
};

export const LIST_GRANTS: Statement = {
  text: `
    SELECT ${GRANT_COLUMNS} FROM grants
    WHERE tenant_id = $1
      AND ($2::text IS NULL OR state = $2::grant_state)
      AND ($3::text IS NULL OR session_id = $3)
      AND ($4::text IS NULL OR agent_id = $4)
      AND ($5::text IS NULL OR run_id = $5)
      AND ($6::text IS NULL OR capability = $6)
      AND ($7::text IS NULL OR id < $7)
    ORDER BY id DESC LIMIT $8`,
};

export const LIST_APPROVALS: Statement = {
  text: `
    SELECT ${APPROVAL_COLUMNS} FROM approvals
    WHERE tenant_id = $1
      AND ($2::text IS NULL OR state = $2::approval_state)
      AND ($3::text IS NULL OR session_id = $3)
      AND ($4::text IS NULL OR id < $4)
    ORDER BY id DESC LIMIT $5`,
};

export const LIST_REVOCATIONS: Statement = {
  text: `
    SELECT ${REVOCATION_COLUMNS} FROM revocation_jobs
    WHERE tenant_id = $1
      AND ($2::text IS NULL OR state = $2::revocation_state)
      AND ($3::text IS NULL OR grant_id = $3)
      AND ($4::text IS NULL OR connector = $4)
      AND ($5::text IS NULL OR id < $5)
    ORDER BY id DESC LIMIT $6`,
};

/** By position and not by id, since an event may commit after one that was made later. */
export const LIST_AUDIT_EVENTS: Statement = {
  text: `
    SELECT ${EVENT_COLUMNS} FROM audit_events
    WHERE tenant_id = $1
      AND ($2::text IS NULL OR type = $2)
      AND ($3::text IS NULL OR session_id = $3)
      AND ($4::text IS NULL OR grant_id = $4)
      AND ($5::text IS NULL OR approval_id = $5)
      AND ($6::text IS NULL OR position < (SELECT position FROM audit_events WHERE id = $6 AND tenant_id = $1))
    ORDER BY position DESC LIMIT $7`,
};

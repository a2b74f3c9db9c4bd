import { approvalColumns, artifactColumns, grantColumns } from './columns.ts';
import type { Statement } from './database.ts';

/** A unit of work, or what is left of it (migrations/0003_commit_unit.sql). */
export const COMMIT_UNIT: Statement = { name: 'commit_unit', text: 'SELECT commit_unit($1, $2, $3)' };

/** The part of a unit up to the end of a session's grants, and that. Answers what ended: `grant_`, `artifact_`, `approval_`. */
export const END_GRANTS_OF_SESSION: Statement = {
  name: 'end_grants_of_session',
  text: `
    SELECT ${grantColumns('(ended_grant)', 'grant_')},
      ${artifactColumns('(ended_artifact)', 'artifact_')},
      ${approvalColumns('(ended_approval)', 'approval_')}
    FROM end_grants_of_session($1, $2, $3)`,
};

/** Whether an event has committed. */
export const FIND_EVENT: Statement = { text: 'SELECT FROM audit_events WHERE id = $1' };

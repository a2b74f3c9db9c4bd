import type { Pool } from 'pg';

// Rows as they are after a long time: of each kind as many as asked for, nearly all of them over, in ten tenants, a hundred workloads,
// and runs of five sessions. The rows with the highest numbers are the newest.

const START = `timestamptz '2026-01-02 03:04:05Z'`;
const CREATED = `${START} - (rows - i) * interval '1 second'`;
const ENDED = `${CREATED} + interval '10 minutes'`;
const TENANT = `'t_' || i % 10`;
const WORKLOAD = `lpad((i % 100)::text, 64, '0')`;
const AGENT = `'agent_' || i % 50`;
const RUN = `'run_' || i / 50`;
const id = (prefix: string): string => `'${prefix}_' || lpad(i::text, 12, '0')`;
const FROM = `FROM generate_series(1, $1::integer) AS i, (SELECT $1::integer AS rows) AS asked`;
/** One in fifty goes on. */
const IS_OVER = `i % 50 <> 7`;

const SESSIONS = `
  INSERT INTO sessions
  SELECT ${id('sess')}, ${TENANT}, ${AGENT}, ${RUN}, '{github,db}',
    '{"type":"oidc","issuer":"i","subject":"s","audience":"a","namespace":null,"serviceAccount":null,"attributes":{}}',
    ${WORKLOAD}, 'jti_' || i, NULL, NULL, ${CREATED}, ${ENDED},
    CASE WHEN ${IS_OVER} THEN 'expired' ELSE 'active' END::session_state,
    CASE WHEN ${IS_OVER} THEN ${ENDED} END, CASE WHEN ${IS_OVER} THEN 'over' END
  ${FROM}`;
const GRANTS = `
  INSERT INTO grants
  SELECT ${id('gr')}, ${TENANT}, ${id('sess')}, ${AGENT}, ${RUN}, ${WORKLOAD}, 'github', 'capability.' || i % 20,
    'github:repo:acme/widgets', 'proxy', 600, 'review', CASE WHEN i % 3 = 0 THEN 'request ' || i END,
    lpad((i % 1000)::text, 64, '0'), CASE WHEN i % 4 = 0 THEN ${id('ap')} END, ${CREATED}, ${ENDED},
    CASE WHEN ${IS_OVER} THEN CASE WHEN i % 5 = 0 THEN 'revoked' ELSE 'expired' END ELSE 'issued' END::grant_state,
    ${id('art')}, ${CREATED}, CASE WHEN ${IS_OVER} THEN ${ENDED} END, CASE WHEN ${IS_OVER} THEN 'over' END
  ${FROM}`;
const APPROVALS = `
  INSERT INTO approvals
  SELECT ${id('ap')}, ${TENANT}, ${id('sess')}, ${id('gr')}, ${AGENT}, ${RUN}, lpad((i % 1000)::text, 64, '0'), 1, false, '[]',
    ${CREATED}, ${ENDED}, CASE WHEN ${IS_OVER} THEN 'denied' ELSE 'pending' END::approval_state, '[]',
    CASE WHEN ${IS_OVER} THEN ${ENDED} END
  ${FROM}`;
const ARTIFACTS = `
  INSERT INTO artifacts
  SELECT ${id('art')}, ${TENANT}, ${id('sess')}, ${id('gr')}, 'proxy_handle', lpad(i::text, 64, '0'), ${CREATED}, ${ENDED},
    CASE WHEN ${IS_OVER} THEN 'expired' ELSE 'issued' END::artifact_state, NULL, CASE WHEN ${IS_OVER} THEN ${ENDED} END
  ${FROM}`;
const CALLS = `
  INSERT INTO downstream_calls
  SELECT ${id('call')}, 'proxy', ${TENANT}, NULL, NULL, NULL, ${id('sess')}, ${id('gr')}, ${id('art')}, NULL, 'req_1', ${CREATED}, ${ENDED}
  ${FROM}`;
const REVOCATIONS = `
  INSERT INTO revocation_jobs
  SELECT ${id('rev')}, ${TENANT}, ${id('sess')}, ${id('gr')}, ${AGENT}, ${RUN}, ${WORKLOAD}, 'connector ' || i % 3, 'dbrole:r', ${CREATED},
    CASE WHEN ${IS_OVER} THEN 'done' WHEN i % 3 = 0 THEN 'held' ELSE 'due' END::revocation_state, 'lease ' || i,
    CASE WHEN ${IS_OVER} THEN NULL ELSE ${ENDED} END,
    CASE WHEN ${IS_OVER} OR i % 3 > 0 THEN 1 END, CASE WHEN NOT ${IS_OVER} AND i % 3 > 0 THEN ${CREATED} END, NULL,
    CASE WHEN ${IS_OVER} THEN 'revoked' END::revocation_outcome, CASE WHEN ${IS_OVER} THEN ${ENDED} END
  ${FROM}`;
const NOTIFICATIONS = `
  INSERT INTO notifications
  SELECT ${id('ntf')}, ${TENANT}, ${id('ap')}, 'receiver ' || i % 3, ${CREATED}, ${ENDED},
    CASE WHEN ${IS_OVER} THEN 'delivered' ELSE 'waiting' END::notification_state, 1,
    CASE WHEN ${IS_OVER} THEN NULL ELSE ${CREATED} END, NULL, CASE WHEN ${IS_OVER} THEN ${ENDED} END
  ${FROM}`;
const BLOCKS = `
  INSERT INTO blocks
  SELECT ${TENANT}, CASE WHEN i % 2 = 0 THEN 'run' ELSE 'workload' END::block_kind, 'stopped ' || i, 'stop', ${CREATED}, ${ENDED}
  ${FROM}`;
const EVENTS = `
  INSERT INTO audit_events (id, at, type, request_id, tenant_id, session_id, grant_id, approval_id, chain_seq, chain_hash)
  SELECT ${id('evt')}, ${CREATED}, CASE WHEN i % 1000 = 0 THEN 'run.revoked' ELSE 'grant.issued' END, 'req_1', ${TENANT}, ${id('sess')},
    ${id('gr')}, CASE WHEN i % 4 = 0 THEN ${id('ap')} END, CASE WHEN ${IS_OVER} THEN i END, CASE WHEN ${IS_OVER} THEN '\\x00'::bytea END
  ${FROM}`;

/** Fills every table. The planner hears nothing of it. */
export async function fillWithRows(pool: Pool, rows: number): Promise<void> {
  const fill = [SESSIONS, GRANTS, APPROVALS, ARTIFACTS, CALLS, REVOCATIONS, NOTIFICATIONS, BLOCKS, EVENTS];
  for (const statement of fill) await pool.query({ text: statement, values: [rows] });
}

/** Has Postgres count what is in the tables. */
export async function countRows(pool: Pool): Promise<void> {
  await pool.query('VACUUM (ANALYZE)');
}

/** What the rows of a number are called. */
export const rowNamed = (prefix: string, number: number): string => `${prefix}_${String(number).padStart(12, '0')}`;

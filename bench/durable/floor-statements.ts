// The least that keeps the rows which ASB keeps: one statement for each call, prepared once a connection, and committed by itself.

/** $1 id, $2 tenant, $3 agent, $4 run, $5 tools, $6 workload, $7 its hash, $8 token, $9 now, $10 end, $11 event, $12 request, $13 revision, $14 details. */
export const INSERT_SESSION = {
  name: 'insert_session',
  text: `
    WITH session AS (
      INSERT INTO sessions (
        id, tenant_id, agent_id, run_id, tool_context, workload, workload_hash, token_id, created_at, expires_at, state
      )
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'active')
    )
    INSERT INTO audit_events (
      id, at, type, request_id, tenant_id, agent_id, run_id, workload_hash, session_id, revision, details
    )
    VALUES ($11, $9, 'session.created', $12, $2, $3, $4, $7, $1, $13, $14)`,
};

/** $1 id. */
export const FIND_SESSION = {
  name: 'find_session',
  text: 'SELECT tenant_id, agent_id, run_id, workload_hash, tool_context, state, expires_at FROM sessions WHERE id = $1',
};

/**
 * $1 grant, $2 tenant, $3 session, $4 agent, $5 run, $6 workload's hash, $7 tool, $8 capability, $9 resource, $10 seconds, $11 reason,
 * $12 hash of the request, $13 now, $14 end, $15 artifact, $16 hash of the handle, $17 $18 $19 events, $20 request, $21 revision, $22 details.
 */
export const INSERT_GRANT = {
  name: 'insert_grant',
  text: `
    WITH issued_grant AS (
      INSERT INTO grants (
        id, tenant_id, session_id, agent_id, run_id, workload_hash, tool, capability, resource_ref, delivery_mode, ttl_seconds,
        reason, request_hash, created_at, expires_at, state, artifact_id, issued_at
      )
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'proxy', $10, $11, $12, $13, $14, 'issued', $15, $13)
    ), artifact AS (
      INSERT INTO artifacts (id, tenant_id, session_id, grant_id, kind, handle_hash, created_at, expires_at, state)
      VALUES ($15, $2, $3, $1, 'proxy_handle', $16, $13, $14, 'issued')
    )
    INSERT INTO audit_events (
      id, at, type, request_id, tenant_id, agent_id, run_id, session_id, grant_id, artifact_id, revision, details
    )
    VALUES
      ($17, $13, 'grant.approved', $20, $2, $4, $5, $3, $1, NULL, $21, $22::jsonb),
      ($18, $13, 'artifact.issued', $20, $2, $4, $5, $3, $1, $15, $21, NULL),
      ($19, $13, 'grant.issued', $20, $2, $4, $5, $3, $1, $15, $21, NULL)`,
};

// Rows as the broker keeps them, made by the database itself. Ids are UUIDv7 of a time long past, and end with the number of their grant; moments are
// whole milliseconds, as the broker's are.

/**
 * Sessions with a grant each, its artifact and an event. $1 first number, $2 last. One in four lives, and runs out long after the
 * measurement; the others ended an hour ago, and are not to be forgotten yet. The events are sealed, in a chain that nobody carries on.
 */
export const FILL = `
  WITH numbered AS (
    SELECT n, '_01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0') AS id, n % 4 = 0 AS lives, 'agent-' || n % 100 AS agent_id,
      'run-' || n / 10 AS run_id, encode(sha256((n % 1000)::text::bytea), 'hex') AS workload_hash, sha256(n::text::bytea) AS hash
    FROM generate_series($1::bigint, $2::bigint) AS n
  ), made AS MATERIALIZED (
    SELECT *, moment - interval '2 hours' AS created_at,
      CASE WHEN lives THEN moment + interval '1 hour' + n % 3600 * interval '1 second' ELSE moment - interval '1 hour' END AS expires_at,
      CASE WHEN NOT lives THEN moment - interval '1 hour' END AS ended_at,
      CASE WHEN NOT lives THEN 'its time was up' END AS end_reason
    FROM numbered, date_trunc('milliseconds', now()) AS moment
  ), made_sessions AS (
    INSERT INTO sessions (
      id, tenant_id, agent_id, run_id, tool_context, workload, workload_hash, token_id, created_at, expires_at, state, ended_at, end_reason
    )
    SELECT 'sess' || id, 't_dev', agent_id, run_id, ARRAY['github'], $3::jsonb, workload_hash, 'token-' || n, created_at, expires_at,
      CASE WHEN lives THEN 'active' ELSE 'expired' END::session_state, ended_at, end_reason
    FROM made
  ), made_grants AS (
    INSERT INTO grants (
      id, tenant_id, session_id, agent_id, run_id, workload_hash, tool, capability, resource_ref, delivery_mode, ttl_seconds, reason,
      request_hash, created_at, expires_at, state, artifact_id, issued_at, ended_at, end_reason
    )
    SELECT 'gr' || id, 't_dev', 'sess' || id, agent_id, run_id, workload_hash, 'github', 'repo.read', 'github:repo:acme/widgets', 'proxy',
      600, 'benchmark', encode(hash, 'hex'), created_at, expires_at, CASE WHEN lives THEN 'issued' ELSE 'expired' END::grant_state,
      'art' || id, created_at, ended_at, end_reason
    FROM made
  ), made_artifacts AS (
    INSERT INTO artifacts (id, tenant_id, session_id, grant_id, kind, handle_hash, created_at, expires_at, state, ended_at)
    SELECT 'art' || id, 't_dev', 'sess' || id, 'gr' || id, 'proxy_handle', encode(hash, 'hex'), created_at, expires_at,
      CASE WHEN lives THEN 'issued' ELSE 'expired' END::artifact_state, ended_at
    FROM made
  )
  INSERT INTO audit_events (
    id, at, type, request_id, tenant_id, agent_id, run_id, session_id, grant_id, artifact_id, revision, chain_seq, chain_hash
  )
  SELECT 'evt' || id, created_at, 'grant.issued', 'req-' || n, 't_past', agent_id, run_id, 'sess' || id, 'gr' || id, 'art' || id,
    repeat('f', 64), n, hash
  FROM made`;

/**
 * Grants that run out one after the other, of the first live sessions that FILL made. $1 number of the batch, $2 how many grants, $3 of how
 * many sessions, $4 when the first one runs out, $5 how many milliseconds later the last one does.
 */
export const ADD_DUE = `
  WITH due AS MATERIALIZED (
    SELECT n, '_01900001-' || lpad(to_hex($1::bigint), 4, '0') || '-7000-8000-' || lpad(to_hex(n), 12, '0') AS id,
      'sess_01900000-0000-7000-8000-' || lpad(to_hex(n % $3::bigint * 4 + 4), 12, '0') AS session_id,
      date_trunc('milliseconds', now()) AS created_at,
      $4::timestamptz + n * $5::bigint / $2::bigint * interval '1 millisecond' AS expires_at
    FROM generate_series(1, $2::bigint) AS n
  ), due_grants AS (
    INSERT INTO grants (
      id, tenant_id, session_id, agent_id, run_id, workload_hash, tool, capability, resource_ref, delivery_mode, ttl_seconds, reason,
      request_hash, created_at, expires_at, state, artifact_id, issued_at
    )
    SELECT 'gr' || id, 't_dev', session_id, 'agent-1', 'run-1', repeat('f', 64), 'github', 'repo.read', 'github:repo:acme/widgets',
      'proxy', 600, 'benchmark', repeat('f', 64), created_at, expires_at, 'issued', 'art' || id, created_at
    FROM due
  )
  INSERT INTO artifacts (id, tenant_id, session_id, grant_id, kind, handle_hash, created_at, expires_at, state)
  SELECT 'art' || id, 't_dev', session_id, 'gr' || id, 'proxy_handle', encode(sha256(id::bytea), 'hex'), created_at, expires_at, 'issued'
  FROM due`;

/** What has run out and is still open: how many grants, and since when the first has been waiting, in seconds. */
export const BACKLOG = `
  SELECT count(*)::integer AS grants, coalesce(extract(epoch FROM now() - min(expires_at)), 0)::float8 AS seconds
  FROM grants WHERE ended_at IS NULL AND expires_at <= now()`;

export const COUNT_UNSEALED = 'SELECT count(*)::integer AS events FROM audit_events WHERE chain_seq IS NULL';

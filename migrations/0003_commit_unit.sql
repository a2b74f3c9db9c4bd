-- A unit of work in one round trip: locks to take first (null for none), changes in their order, and events (null for none), as the
-- Postgres store stages them. All of it commits with the statement that calls, or nothing does.

-- Takes locks ahead of the changes, for units whose changes would take them in another order than everybody else does: blocks,
-- sessions, grants, approvals, artifacts, and those of one kind by their ids. Two that lock in one order never wait for each other.
CREATE FUNCTION take_locks(locks jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  lock jsonb;
  ids text[];
BEGIN
  FOR lock IN SELECT * FROM jsonb_array_elements(locks) LOOP
    ids := ARRAY(SELECT jsonb_array_elements_text(lock->'ids'));
    CASE lock->>'of'
      WHEN 'block' THEN
        IF (lock->'is_shared')::boolean THEN
          PERFORM pg_advisory_xact_lock_shared(block_key(ids[1], ids[2], ids[3]));
        ELSE
          PERFORM pg_advisory_xact_lock(block_key(ids[1], ids[2], ids[3]));
        END IF;
      WHEN 'sessions' THEN
        IF (lock->'is_shared')::boolean THEN
          PERFORM FROM sessions WHERE id = ANY (ids) ORDER BY id FOR SHARE;
        ELSE
          PERFORM FROM sessions WHERE id = ANY (ids) ORDER BY id FOR NO KEY UPDATE;
        END IF;
      WHEN 'grants' THEN
        IF (lock->'is_shared')::boolean THEN
          PERFORM FROM grants WHERE id = ANY (ids) ORDER BY id FOR SHARE;
        ELSE
          PERFORM FROM grants WHERE id = ANY (ids) ORDER BY id FOR NO KEY UPDATE;
        END IF;
      WHEN 'approvals' THEN
        PERFORM FROM approvals WHERE id = ANY (ids) ORDER BY id FOR NO KEY UPDATE;
      WHEN 'artifacts' THEN
        PERFORM FROM artifacts WHERE id = ANY (ids) ORDER BY id FOR NO KEY UPDATE;
    END CASE;
  END LOOP;
END $$;

CREATE FUNCTION commit_unit(locks jsonb, changes jsonb, events jsonb) RETURNS void
LANGUAGE plpgsql
-- One plan serves all values; left to itself Postgres plans half of the statements anew each time, which costs more than they do.
SET plan_cache_mode = force_generic_plan
-- The plan may have been made when the tables were empty, and reading one whole looked cheap.
SET enable_seqscan = off
AS $$
DECLARE
  change jsonb;
BEGIN
  IF locks IS NOT NULL THEN
    PERFORM take_locks(locks);
  END IF;
  FOR place IN 0 .. jsonb_array_length(changes) - 1 LOOP
    change := changes->place;
    CASE change->>'do'
      WHEN 'require_no_block' THEN PERFORM require_no_block(change);
      WHEN 'insert_session' THEN PERFORM insert_session(change);
      WHEN 'require_room_for_grant' THEN PERFORM require_room_for_grant(change);
      WHEN 'insert_grant' THEN PERFORM insert_grant(change);
      WHEN 'insert_artifact' THEN PERFORM insert_artifact(change);
      WHEN 'require_issued_grant' THEN PERFORM require_issued_grant(change);
      WHEN 'open_call' THEN PERFORM open_call(change);
      WHEN 'close_call' THEN PERFORM close_call(change);
      WHEN 'spend_request' THEN PERFORM spend_request(change);
      WHEN 'spend_bytes' THEN PERFORM spend_bytes(change);
      WHEN 'update_grant' THEN PERFORM update_grant(change);
      WHEN 'update_artifact' THEN PERFORM update_artifact(change);
      WHEN 'update_session' THEN PERFORM update_session(change);
      WHEN 'insert_approval' THEN PERFORM insert_approval(change);
      WHEN 'update_approval' THEN PERFORM update_approval(change);
      WHEN 'require_standing_approval' THEN PERFORM require_standing_approval(change);
      WHEN 'insert_revocation' THEN PERFORM insert_revocation(change);
      WHEN 'update_revocation' THEN PERFORM update_revocation(change);
      WHEN 'make_revocation_due' THEN PERFORM make_revocation_due(change);
      WHEN 'insert_notification' THEN PERFORM insert_notification(change);
      WHEN 'update_notification' THEN PERFORM update_notification(change);
      WHEN 'insert_block' THEN PERFORM insert_block(change);
    END CASE;
  END LOOP;
  IF events IS NULL THEN
    RETURN;
  END IF;
  -- Last of all: whoever had to wait for this unit writes its own events after these.
  INSERT INTO audit_events (
    id, at, type, request_id, tenant_id, agent_id, run_id, workload_hash, session_id, grant_id, artifact_id, approval_id,
    code, reason, revision, details
  )
  SELECT
    id, at, type, request_id, tenant_id, agent_id, run_id, workload_hash, session_id, grant_id, artifact_id, approval_id,
    code, reason, revision, details
  -- The first is whole; each of the others says what it has different.
  FROM jsonb_populate_recordset(jsonb_populate_record(NULL::audit_events, events->0), events);
END $$;

-- The part of a unit up to the end of a session's grants. It answers what ended, each grant with its artifact and its approval
-- where they ended with it: the caller needs them to write the events, and commits them with the rest of the unit in one transaction.
CREATE FUNCTION end_grants_of_session(locks jsonb, changes jsonb, change jsonb)
RETURNS TABLE (ended_grant grants, ended_artifact artifacts, ended_approval approvals)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
  ids text[];
  ended_state grant_state := change->>'state';
  ended_when timestamptz := (change->>'at')::timestamptz;
BEGIN
  PERFORM commit_unit(locks, changes, NULL);
  ids := ARRAY(
    SELECT id FROM grants
    WHERE session_id = change->>'session_id' AND state < 'denied' AND tenant_id IS NOT DISTINCT FROM change->>'tenant_id'
    ORDER BY id
    FOR NO KEY UPDATE
  );
  UPDATE revocation_jobs
  SET state = 'due', attempts = 0, next_attempt_at = ended_when
  WHERE grant_id = ANY (ids)
    AND (tenant_id, state) IS NOT DISTINCT FROM (change->>'tenant_id', 'held'::revocation_state);
  -- All parts of one statement see the grants as they were before it.
  RETURN QUERY
  WITH approvals_ended AS (
    UPDATE approvals a SET state = 'expired', ended_at = ended_when
    FROM grants g
    WHERE g.id = ANY (ids) AND a.id = g.approval_id
      AND (g.state, a.state) IS NOT DISTINCT FROM ('pending'::grant_state, 'pending'::approval_state)
    RETURNING a AS approval
  ), artifacts_ended AS (
    UPDATE artifacts a SET state = (change->>'state')::artifact_state, ended_at = ended_when, sealed = NULL
    WHERE a.grant_id = ANY (ids) AND a.state = 'issued'
    RETURNING a AS artifact
  ), grants_ended AS (
    UPDATE grants g
    -- A grant that still waits for a human gave nothing out, so there is nothing to revoke: it expires.
    SET state = CASE WHEN g.state = 'pending' THEN 'expired' ELSE ended_state END,
      ended_at = ended_when, end_reason = change->>'reason'
    WHERE g.id = ANY (ids)
    RETURNING g AS grant_row
  )
  SELECT g.grant_row, a.artifact, p.approval
  FROM grants_ended g
  LEFT JOIN artifacts_ended a ON (a.artifact).grant_id = (g.grant_row).id
  LEFT JOIN approvals_ended p ON (p.approval).id = (g.grant_row).approval_id
  ORDER BY (g.grant_row).id;
END $$;

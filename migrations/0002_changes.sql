-- One function for each kind of change that a unit of work can hold; commit_unit (0003) calls them in the order in which they were
-- staged. Each takes the change as the Postgres store writes it (src/store/postgres/staged-unit.ts): `row` has the columns of the
-- row as it is to be, `expected` the state that it must be in.
--
-- Before the first ANALYZE the planner knows nothing of the tables, and one index that has a part of the condition looks to it like
-- another; the plan that it makes then is kept. So a row is looked up by what its index is for, and what else must hold is compared in
-- a way that no index serves.
--
-- Every statement of a function sees what has committed by the time it starts (READ COMMITTED), so a row is locked by one
-- statement and what depends on it is read by a later one. Errors have SQLSTATEs of our own, and messages for the caller:
--   ASB01  a state was not the expected one, a row is not there, or it is there already: a conflict
--   ASB02  a budget has nothing left
--   ASB03  a block stands against the caller; the message is its kind
--   ASB09  a mistake of the broker's: what was fixed when the row was made cannot be changed

CREATE FUNCTION refuse_change(entity text, expected text, is_as_expected boolean) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF is_as_expected THEN
    RAISE EXCEPTION '%: what was fixed when it was made cannot be changed', entity USING ERRCODE = 'ASB09';
  END IF;
  RAISE EXCEPTION '% is not % any more', entity, expected USING ERRCODE = 'ASB01';
END $$;

CREATE FUNCTION insert_session(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO sessions (
    id, tenant_id, agent_id, run_id, tool_context, workload, workload_hash, token_id, delegation, proof_key_thumbprint,
    created_at, expires_at, state
  )
  SELECT
    id, tenant_id, agent_id, run_id, tool_context, workload, workload_hash, token_id, delegation, proof_key_thumbprint,
    created_at, expires_at, state
  FROM jsonb_populate_record(NULL::sessions, change->'row');
END $$;

CREATE FUNCTION update_session(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE sessions s
  SET state = n.state, ended_at = n.ended_at, end_reason = n.end_reason
  FROM jsonb_populate_record(NULL::sessions, change->'row') n
  WHERE s.id = n.id
    AND (s.state, s.tenant_id, s.agent_id, s.run_id, s.tool_context, s.workload, s.workload_hash, s.token_id, s.delegation,
         s.proof_key_thumbprint, s.created_at, s.expires_at)
    IS NOT DISTINCT FROM
        ((change->>'expected')::session_state, n.tenant_id, n.agent_id, n.run_id, n.tool_context, n.workload, n.workload_hash, n.token_id,
         n.delegation, n.proof_key_thumbprint, n.created_at, n.expires_at);
  IF NOT FOUND THEN
    PERFORM refuse_change('session', change->>'expected', EXISTS (
      SELECT FROM sessions
      WHERE id = change->'row'->>'id' AND tenant_id = change->'row'->>'tenant_id' AND state = (change->>'expected')::session_state
    ));
  END IF;
END $$;

-- Whoever has room for a grant keeps others of the same session waiting until it is made: the session is locked by now.
CREATE FUNCTION refuse_without_room(session text, max_open bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  open bigint;
BEGIN
  SELECT count(*) INTO open FROM (
    SELECT FROM grants WHERE session_id = session AND state < 'denied' ORDER BY id LIMIT max_open
  ) AS counted;
  IF open >= max_open THEN
    RAISE EXCEPTION 'the session has % grants open already; revoke one or let one run out', max_open USING ERRCODE = 'ASB02';
  END IF;
END $$;

CREATE FUNCTION require_room_for_grant(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM sessions WHERE id = change->>'session_id' FOR NO KEY UPDATE;
  PERFORM refuse_without_room(change->>'session_id', (change->'max_open')::bigint);
END $$;

-- The lock on the session makes its end wait for the grant, or the grant for the end. With `max_open` it requires room as well.
CREATE FUNCTION insert_grant(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  owner record;
BEGIN
  IF change ? 'max_open' THEN
    SELECT tenant_id, state, workload_hash INTO owner FROM sessions
    WHERE id = change->'row'->>'session_id' FOR NO KEY UPDATE;
    PERFORM refuse_without_room(change->'row'->>'session_id', (change->'max_open')::bigint);
  ELSE
    SELECT tenant_id, state, workload_hash INTO owner FROM sessions
    WHERE id = change->'row'->>'session_id' FOR SHARE;
  END IF;
  IF (owner.tenant_id = change->'row'->>'tenant_id' AND owner.state = 'active') IS NOT TRUE THEN
    RAISE EXCEPTION 'session is not active any more' USING ERRCODE = 'ASB01';
  END IF;
  INSERT INTO grants (
    id, tenant_id, session_id, agent_id, run_id, workload_hash, tool, capability, resource_ref, delivery_mode, ttl_seconds,
    reason, request_id, request_hash, approval_id, created_at, expires_at, state, artifact_id, issued_at
  )
  SELECT
    id, tenant_id, session_id, agent_id, run_id, owner.workload_hash, tool, capability, resource_ref, delivery_mode, ttl_seconds,
    reason, request_id, request_hash, approval_id, created_at, expires_at, state, artifact_id, issued_at
  FROM jsonb_populate_record(NULL::grants, change->'row');
END $$;

CREATE FUNCTION update_grant(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE grants g
  SET state = n.state,
    -- The lifetime of what waited for a human starts when it is approved.
    expires_at = n.expires_at,
    artifact_id = coalesce(n.artifact_id, g.artifact_id),
    issued_at = coalesce(n.issued_at, g.issued_at),
    ended_at = n.ended_at,
    end_reason = n.end_reason
  FROM jsonb_populate_record(NULL::grants, change->'row') n
  WHERE g.id = n.id
    AND (g.expires_at = n.expires_at OR (g.state = 'pending' AND n.state = 'approved'))
    AND (g.state, g.tenant_id, g.session_id, g.agent_id, g.run_id, g.tool, g.capability, g.resource_ref, g.delivery_mode, g.ttl_seconds, g.reason,
         g.request_id, g.request_hash, g.approval_id, g.created_at)
    IS NOT DISTINCT FROM
        ((change->>'expected')::grant_state, n.tenant_id, n.session_id, n.agent_id, n.run_id, n.tool, n.capability, n.resource_ref,
         n.delivery_mode, n.ttl_seconds, n.reason, n.request_id, n.request_hash, n.approval_id, n.created_at);
  IF NOT FOUND THEN
    PERFORM refuse_change('grant', change->>'expected', EXISTS (
      SELECT FROM grants
      WHERE id = change->'row'->>'id' AND tenant_id = change->'row'->>'tenant_id' AND state = (change->>'expected')::grant_state
    ));
  END IF;
END $$;

-- The locks make whoever revokes the grant, or ends its session, wait until the unit has committed.
CREATE FUNCTION require_issued_grant(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  session_state text;
  owned record;
  or_expired boolean := (change->'or_expired')::boolean;
BEGIN
  SELECT state INTO session_state FROM sessions WHERE id = change->>'session_id' FOR SHARE;
  SELECT tenant_id, session_id, state INTO owned FROM grants WHERE id = change->>'grant_id' FOR SHARE;
  IF (owned.tenant_id = change->>'tenant_id' AND owned.session_id = change->>'session_id'
      AND (owned.state = 'issued' OR (or_expired AND owned.state = 'expired'))) IS NOT TRUE THEN
    RAISE EXCEPTION 'grant is not issued any more' USING ERRCODE = 'ASB01';
  END IF;
  IF (session_state = 'active' OR (or_expired AND session_state = 'expired')) IS NOT TRUE THEN
    RAISE EXCEPTION 'session is not active any more' USING ERRCODE = 'ASB01';
  END IF;
END $$;

-- With the session locked nobody adds a grant to the approval, and with its open grants locked nobody revokes one of them.
CREATE FUNCTION require_standing_approval(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM sessions WHERE id = change->>'session_id' FOR NO KEY UPDATE;
  PERFORM FROM grants
  WHERE approval_id = change->>'approval_id' AND (session_id, ended_at) IS NOT DISTINCT FROM (change->>'session_id', NULL)
  ORDER BY id
  FOR SHARE;
  PERFORM FROM grants
  WHERE approval_id = change->>'approval_id'
    AND (session_id, tenant_id, state) IS NOT DISTINCT FROM (change->>'session_id', change->>'tenant_id', 'revoked'::grant_state);
  IF FOUND THEN
    RAISE EXCEPTION 'a grant of this approval was revoked' USING ERRCODE = 'ASB01';
  END IF;
END $$;

-- A grant that the same unit has just made needs no look: `is_for_new_grant`.
CREATE FUNCTION insert_artifact(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  owner record;
BEGIN
  IF NOT change ? 'is_for_new_grant' THEN
    SELECT tenant_id, session_id, ended_at INTO owner FROM grants WHERE id = change->'row'->>'grant_id' FOR SHARE;
    IF (owner.tenant_id = change->'row'->>'tenant_id' AND owner.session_id = change->'row'->>'session_id'
        AND owner.ended_at IS NULL) IS NOT TRUE THEN
      RAISE EXCEPTION 'grant is not open any more' USING ERRCODE = 'ASB01';
    END IF;
  END IF;
  INSERT INTO artifacts (id, tenant_id, session_id, grant_id, kind, handle_hash, created_at, expires_at, state, sealed)
  SELECT id, tenant_id, session_id, grant_id, kind, handle_hash, created_at, expires_at, state, sealed
  FROM jsonb_populate_record(NULL::artifacts, change->'row');
END $$;

CREATE FUNCTION update_artifact(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE artifacts a
  SET state = n.state, ended_at = n.ended_at, sealed = NULL
  FROM jsonb_populate_record(NULL::artifacts, change->'row') n
  WHERE a.id = n.id
    AND (a.state, a.tenant_id, a.session_id, a.grant_id, a.kind, a.handle_hash, a.created_at, a.expires_at)
    IS NOT DISTINCT FROM
        ((change->>'expected')::artifact_state, n.tenant_id, n.session_id, n.grant_id, n.kind, n.handle_hash, n.created_at, n.expires_at);
  IF NOT FOUND THEN
    PERFORM refuse_change('artifact', change->>'expected', EXISTS (
      SELECT FROM artifacts
      WHERE id = change->'row'->>'id' AND tenant_id = change->'row'->>'tenant_id' AND state = (change->>'expected')::artifact_state
    ));
  END IF;
END $$;

CREATE FUNCTION insert_approval(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  owner record;
BEGIN
  SELECT tenant_id, session_id, state, approval_id INTO owner FROM grants WHERE id = change->'row'->>'grant_id' FOR SHARE;
  IF (owner.tenant_id = change->'row'->>'tenant_id' AND owner.session_id = change->'row'->>'session_id'
      AND owner.state = 'pending') IS NOT TRUE THEN
    RAISE EXCEPTION 'grant is not pending any more' USING ERRCODE = 'ASB01';
  END IF;
  IF owner.approval_id <> change->'row'->>'id' THEN
    RAISE EXCEPTION 'grant waits for another approval' USING ERRCODE = 'ASB01';
  END IF;
  INSERT INTO approvals (
    id, tenant_id, session_id, grant_id, agent_id, run_id, request_hash, required_approvers, reuse, excluded, created_at,
    expires_at, state, decisions
  )
  SELECT
    id, tenant_id, session_id, grant_id, agent_id, run_id, request_hash, required_approvers, reuse, excluded, created_at,
    expires_at, state, decisions
  FROM jsonb_populate_record(NULL::approvals, change->'row');
END $$;

CREATE FUNCTION update_approval(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  decided integer;
BEGIN
  UPDATE approvals a
  SET state = n.state, decisions = n.decisions, ended_at = n.ended_at
  FROM jsonb_populate_record(NULL::approvals, change->'row') n
  WHERE a.id = n.id
    AND jsonb_array_length(a.decisions) = (change->'expected_decisions')::integer
    AND (a.state, a.tenant_id, a.session_id, a.grant_id, a.agent_id, a.run_id, a.request_hash, a.required_approvers, a.reuse,
         a.excluded, a.created_at, a.expires_at)
    IS NOT DISTINCT FROM
        ((change->>'expected')::approval_state, n.tenant_id, n.session_id, n.grant_id, n.agent_id, n.run_id, n.request_hash,
         n.required_approvers, n.reuse, n.excluded, n.created_at, n.expires_at);
  IF FOUND THEN
    RETURN;
  END IF;
  SELECT jsonb_array_length(decisions) INTO decided FROM approvals
  WHERE id = change->'row'->>'id' AND tenant_id = change->'row'->>'tenant_id' AND state = (change->>'expected')::approval_state;
  IF decided <> (change->'expected_decisions')::integer THEN
    RAISE EXCEPTION 'somebody else has decided meanwhile; look again' USING ERRCODE = 'ASB01';
  END IF;
  PERFORM refuse_change('approval', change->>'expected', decided IS NOT NULL);
END $$;

-- What a block and the question for it lock; two that differ and come out the same only wait for each other.
CREATE FUNCTION block_key(kind text, tenant_id text, target text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN hashtextextended(kind || chr(31) || tenant_id || chr(31) || target, 0);

CREATE FUNCTION insert_block(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(
    block_key(change->'row'->>'kind', change->'row'->>'tenant_id', change->'row'->>'target')
  );
  INSERT INTO blocks (tenant_id, kind, target, reason, created_at, expires_at)
  SELECT tenant_id, kind, target, reason, created_at, expires_at
  FROM jsonb_populate_record(NULL::blocks, change->'row')
  ON CONFLICT (tenant_id, kind, target)
  DO UPDATE SET expires_at = greatest(blocks.expires_at, excluded.expires_at);
END $$;

-- A block that comes later waits for the unit, and so for what the unit opens: whoever sets it finds that afterwards.
CREATE FUNCTION require_no_block(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  blocked text;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(block_key('run', change->>'tenant_id', change->>'run_id')),
    pg_advisory_xact_lock_shared(block_key('workload', change->>'tenant_id', change->>'workload_hash'));
  SELECT kind INTO blocked FROM (
    SELECT kind FROM blocks
    WHERE tenant_id = change->>'tenant_id' AND kind = 'run' AND target = change->>'run_id'
    UNION ALL
    SELECT kind FROM blocks
    WHERE tenant_id = change->>'tenant_id' AND kind = 'workload' AND target = change->>'workload_hash'
  ) AS found LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '%', blocked USING ERRCODE = 'ASB03';
  END IF;
END $$;

CREATE FUNCTION open_call(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO downstream_calls (
    id, kind, tenant_id, agent_id, run_id, workload_hash, session_id, grant_id, artifact_id, approval_id, request_id,
    started_at, deadline
  )
  SELECT
    id, kind, tenant_id, agent_id, run_id, workload_hash, session_id, grant_id, artifact_id, approval_id, request_id,
    started_at, deadline
  FROM jsonb_populate_record(NULL::downstream_calls, change->'row');
END $$;

CREATE FUNCTION close_call(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM downstream_calls WHERE id = change->>'call_id' AND tenant_id = change->>'tenant_id';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'call is not open any more' USING ERRCODE = 'ASB01';
  END IF;
END $$;

-- The lock on the artifact lets one after the other count the calls that are open.
CREATE FUNCTION spend_request(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  open bigint;
BEGIN
  UPDATE artifacts SET requests_used = requests_used + 1
  WHERE id = change->>'artifact_id' AND tenant_id = change->>'tenant_id'
    AND requests_used < (change->'max_requests')::bigint;
  IF NOT FOUND THEN
    PERFORM refuse_spending(change, format('the handle''s %s requests are used up; request a new grant', change->>'max_requests'));
  END IF;
  SELECT count(*) INTO open FROM downstream_calls
  WHERE artifact_id = change->>'artifact_id' AND tenant_id = change->>'tenant_id'
    AND (deadline > (change->>'now')::timestamptz) IS TRUE AND id <> change->>'call_id';
  IF open >= (change->'max_concurrent')::bigint THEN
    RAISE EXCEPTION 'the handle already has % calls under way; wait for one to end', change->>'max_concurrent'
      USING ERRCODE = 'ASB02';
  END IF;
END $$;

CREATE FUNCTION spend_bytes(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE artifacts SET bytes_used = bytes_used + (change->'bytes')::bigint
  WHERE id = change->>'artifact_id' AND tenant_id = change->>'tenant_id'
    AND (change->>'max_bytes' IS NULL OR bytes_used + (change->'bytes')::bigint <= (change->>'max_bytes')::bigint);
  IF NOT FOUND THEN
    PERFORM refuse_spending(change, format('the handle''s %s bytes are used up; request a new grant', change->>'max_bytes'));
  END IF;
END $$;

CREATE FUNCTION refuse_spending(change jsonb, used_up text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM artifacts WHERE id = change->>'artifact_id' AND tenant_id = change->>'tenant_id';
  IF FOUND THEN
    RAISE EXCEPTION '%', used_up USING ERRCODE = 'ASB02';
  END IF;
  RAISE EXCEPTION 'artifact is not there any more' USING ERRCODE = 'ASB01';
END $$;

CREATE FUNCTION insert_revocation(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO revocation_jobs (
    id, tenant_id, session_id, grant_id, agent_id, run_id, workload_hash, connector, resource_ref, created_at, state,
    lease_expires_at
  )
  SELECT
    id, tenant_id, session_id, grant_id, agent_id, run_id, workload_hash, connector, resource_ref, created_at, state,
    lease_expires_at
  FROM jsonb_populate_record(NULL::revocation_jobs, change->'row');
END $$;

-- A lease that is known stays what it is.
CREATE FUNCTION update_revocation(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE revocation_jobs r
  SET state = n.state, lease_id = n.lease_id, lease_expires_at = n.lease_expires_at, attempts = n.attempts,
    next_attempt_at = n.next_attempt_at, last_error = n.last_error, outcome = n.outcome, ended_at = n.ended_at
  FROM jsonb_populate_record(NULL::revocation_jobs, change->'row') n
  WHERE r.id = n.id
    AND (r.state <> 'due' OR r.attempts = n.attempts)
    AND (r.state, r.tenant_id, r.session_id, r.grant_id, r.agent_id, r.run_id, r.workload_hash, r.connector, r.resource_ref, r.created_at)
    IS NOT DISTINCT FROM
        ((change->>'expected')::revocation_state, n.tenant_id, n.session_id, n.grant_id, n.agent_id, n.run_id, n.workload_hash, n.connector,
         n.resource_ref, n.created_at)
    AND (r.lease_id IS NULL OR (
      r.lease_id = n.lease_id AND (n.state = 'done' OR r.lease_expires_at = n.lease_expires_at)
    ));
  IF NOT FOUND THEN
    PERFORM refuse_change('revocation', change->>'expected', EXISTS (
      SELECT FROM revocation_jobs
      WHERE id = change->'row'->>'id' AND tenant_id = change->'row'->>'tenant_id' AND state = (change->>'expected')::revocation_state
        AND (state <> 'due' OR attempts = (change->'row'->'attempts')::integer)
    ));
  END IF;
END $$;

CREATE FUNCTION make_revocation_due(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE revocation_jobs
  SET state = 'due', attempts = 0, next_attempt_at = (change->>'at')::timestamptz
  WHERE grant_id = change->>'grant_id'
    AND (tenant_id, state) IS NOT DISTINCT FROM (change->>'tenant_id', 'held'::revocation_state);
END $$;

CREATE FUNCTION insert_notification(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO notifications (
    id, tenant_id, approval_id, receiver, created_at, expires_at, state, attempts, next_attempt_at, last_error
  )
  SELECT id, tenant_id, approval_id, receiver, created_at, expires_at, state, attempts, next_attempt_at, last_error
  FROM jsonb_populate_record(NULL::notifications, change->'row');
END $$;

CREATE FUNCTION update_notification(change jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE notifications m
  SET state = n.state, attempts = n.attempts, next_attempt_at = n.next_attempt_at, last_error = n.last_error,
    ended_at = n.ended_at
  FROM jsonb_populate_record(NULL::notifications, change->'row') n
  WHERE m.id = n.id
    AND (m.state, m.attempts, m.tenant_id, m.approval_id, m.receiver, m.created_at, m.expires_at)
    IS NOT DISTINCT FROM
        ('waiting', (change->'expected_attempts')::integer, n.tenant_id, n.approval_id, n.receiver, n.created_at, n.expires_at);
  IF NOT FOUND THEN
    PERFORM refuse_change('notification', 'waiting', EXISTS (
      SELECT FROM notifications
      WHERE id = change->'row'->>'id' AND tenant_id = change->'row'->>'tenant_id' AND state = 'waiting'
        AND attempts = (change->'expected_attempts')::integer
    ));
  END IF;
END $$;

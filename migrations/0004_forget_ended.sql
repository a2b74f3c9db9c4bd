-- Drops what ended before `ended_before`, the oldest first and `max_rows` of it at most, each with all that hangs on it: sessions,
-- then with what is left of `max_rows` grants of sessions that go on, notifications, revocations and blocks. Answers how many rows
-- went. What another pass has in hand is left to it.
CREATE FUNCTION forget_ended(ended_before timestamptz, max_rows integer) RETURNS integer
LANGUAGE plpgsql
-- Before the first ANALYZE a hundred ids look like half of a table.
SET enable_seqscan = off
AS $$
DECLARE
  ids text[];
  taken integer := max_rows;
  dropped integer := 0;
  gone integer;
BEGIN
  ids := ARRAY(
    SELECT id FROM sessions WHERE ended_at < ended_before
    ORDER BY ended_at LIMIT taken FOR UPDATE SKIP LOCKED
  );
  taken := taken - cardinality(ids);
  dropped := forget_grants(ARRAY(SELECT id FROM grants WHERE session_id = ANY (ids) ORDER BY id FOR UPDATE));
  DELETE FROM sessions WHERE id = ANY (ids);
  dropped := dropped + cardinality(ids);

  -- A yes that was taken back stays with its session.
  ids := ARRAY(
    SELECT id FROM grants
    WHERE ended_at < ended_before AND NOT (state = 'revoked' AND approval_id IS NOT NULL)
    ORDER BY ended_at LIMIT taken FOR UPDATE SKIP LOCKED
  );
  taken := taken - cardinality(ids);
  dropped := dropped + forget_grants(ids);

  DELETE FROM notifications WHERE id = ANY (ARRAY(
    SELECT id FROM notifications WHERE ended_at < ended_before
    ORDER BY ended_at LIMIT taken FOR UPDATE SKIP LOCKED
  ));
  GET DIAGNOSTICS gone = ROW_COUNT;
  taken := taken - gone;
  dropped := dropped + gone;

  DELETE FROM revocation_jobs WHERE id = ANY (ARRAY(
    SELECT id FROM revocation_jobs WHERE ended_at < ended_before
    ORDER BY ended_at LIMIT taken FOR UPDATE SKIP LOCKED
  ));
  GET DIAGNOSTICS gone = ROW_COUNT;
  taken := taken - gone;
  dropped := dropped + gone;

  DELETE FROM blocks WHERE (tenant_id, kind, target) IN (
    SELECT tenant_id, kind, target FROM blocks WHERE expires_at < ended_before
    ORDER BY expires_at LIMIT taken FOR UPDATE SKIP LOCKED
  );
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN dropped + gone;
END $$;

-- Drops grants that the caller has locked, with their artifacts and the approvals that were given for them. An approval that answered
-- a request again stays with the grant that it was given for.
CREATE FUNCTION forget_grants(ids text[]) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  dropped integer;
  gone integer;
BEGIN
  DELETE FROM approvals WHERE grant_id = ANY (ids);
  GET DIAGNOSTICS dropped = ROW_COUNT;
  DELETE FROM artifacts WHERE grant_id = ANY (ids);
  GET DIAGNOSTICS gone = ROW_COUNT;
  dropped := dropped + gone;
  DELETE FROM grants WHERE id = ANY (ids);
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN dropped + gone;
END $$;

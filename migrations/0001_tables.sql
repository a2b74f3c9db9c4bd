-- What the broker keeps. All changes of sessions, grants, approvals, artifacts, calls, revocations, notifications and blocks go
-- through commit_unit (0003), which checks what a constraint cannot: the state before, and rows of other tables.
--
-- All text is COLLATE "C": equal means byte by byte, and ids sort as UUIDv7 does, by time. States are enumerations: a CHECK with a
-- list would be parsed anew with every statement that writes. They are in the order of a life, so that they can be compared.
-- Rows of one tenant are listed newest first by (tenant_id, ..., id); what a worker looks for has a partial index of its own,
-- so that a pass costs what it finds and not what the table holds.

CREATE TYPE session_state AS ENUM ('active', 'revoked', 'expired');
CREATE TYPE grant_state AS ENUM ('pending', 'approved', 'issued', 'delivered', 'used', 'denied', 'revoked', 'expired');
CREATE TYPE delivery_mode AS ENUM ('proxy', 'wrapped_secret', 'minted_token');
CREATE TYPE approval_state AS ENUM ('pending', 'approved', 'denied', 'expired');
CREATE TYPE artifact_kind AS ENUM ('proxy_handle', 'wrapped_secret', 'minted_token');
CREATE TYPE artifact_state AS ENUM ('issued', 'used', 'revoked', 'expired');
CREATE TYPE call_kind AS ENUM ('proxy', 'lease', 'revocation');
CREATE TYPE revocation_state AS ENUM ('requested', 'held', 'due', 'done');
CREATE TYPE revocation_outcome AS ENUM ('revoked', 'expired', 'not_issued');
CREATE TYPE notification_state AS ENUM ('waiting', 'delivered', 'given_up');
CREATE TYPE block_kind AS ENUM ('run', 'workload');

CREATE TABLE sessions (
  id text COLLATE "C" PRIMARY KEY,
  tenant_id text COLLATE "C" NOT NULL,
  agent_id text COLLATE "C" NOT NULL,
  run_id text COLLATE "C" NOT NULL,
  tool_context text[] COLLATE "C" NOT NULL,
  workload jsonb NOT NULL,
  workload_hash text COLLATE "C" NOT NULL,
  token_id text COLLATE "C" NOT NULL,
  delegation jsonb,
  proof_key_thumbprint text COLLATE "C",
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  state session_state NOT NULL,
  ended_at timestamptz,
  end_reason text COLLATE "C",
  CONSTRAINT sessions_life CHECK (
    (state = 'active') = (ended_at IS NULL) AND (ended_at IS NULL) = (end_reason IS NULL)
  )
);
CREATE INDEX sessions_by_tenant ON sessions (tenant_id, id);
CREATE INDEX sessions_by_state ON sessions (tenant_id, state, id);
CREATE INDEX sessions_by_agent ON sessions (tenant_id, agent_id, id);
CREATE INDEX sessions_by_run ON sessions (tenant_id, run_id, id);
CREATE INDEX sessions_by_workload ON sessions (tenant_id, workload_hash, id);
CREATE INDEX sessions_active_by_run ON sessions (tenant_id, run_id, id) WHERE state = 'active';
CREATE INDEX sessions_active_by_workload ON sessions (tenant_id, workload_hash, id) WHERE state = 'active';
CREATE INDEX sessions_to_expire ON sessions (expires_at, id) WHERE state = 'active';
CREATE INDEX sessions_to_forget ON sessions (ended_at) WHERE ended_at IS NOT NULL;

-- No foreign keys between these tables: commit_unit locks and reads the session of each new grant, and the grant of each new
-- artifact and approval, to see the state as well; a foreign key would look the same row up a second time.
CREATE TABLE grants (
  id text COLLATE "C" PRIMARY KEY,
  tenant_id text COLLATE "C" NOT NULL,
  session_id text COLLATE "C" NOT NULL,
  agent_id text COLLATE "C" NOT NULL,
  run_id text COLLATE "C" NOT NULL,
  -- The session's, for the kill switch.
  workload_hash text COLLATE "C" NOT NULL,
  tool text COLLATE "C" NOT NULL,
  capability text COLLATE "C" NOT NULL,
  resource_ref text COLLATE "C" NOT NULL,
  delivery_mode delivery_mode NOT NULL,
  ttl_seconds integer NOT NULL,
  reason text COLLATE "C" NOT NULL,
  request_id text COLLATE "C",
  request_hash text COLLATE "C" NOT NULL,
  approval_id text COLLATE "C",
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  state grant_state NOT NULL,
  artifact_id text COLLATE "C",
  issued_at timestamptz,
  ended_at timestamptz,
  end_reason text COLLATE "C",
  -- Before it is issued a grant has no artifact, while it lives it has one, and once it has ended it may have had one.
  CONSTRAINT grants_life CHECK (
    (state <> 'pending' OR approval_id IS NOT NULL)
    AND (artifact_id IS NULL) = (issued_at IS NULL)
    AND CASE WHEN state < 'issued' THEN artifact_id IS NULL WHEN state < 'denied' THEN artifact_id IS NOT NULL ELSE true END
    AND (state >= 'denied') = (ended_at IS NOT NULL)
    AND (ended_at IS NULL) = (end_reason IS NULL)
  )
);
CREATE UNIQUE INDEX grants_by_request_id ON grants (session_id, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX grants_by_tenant ON grants (tenant_id, id);
CREATE INDEX grants_by_state ON grants (tenant_id, state, id);
CREATE INDEX grants_by_agent ON grants (tenant_id, agent_id, id);
CREATE INDEX grants_by_run ON grants (tenant_id, run_id, id);
CREATE INDEX grants_by_capability ON grants (tenant_id, capability, id);
CREATE INDEX grants_by_session ON grants (session_id, id);
-- Its condition is its own: who looks for a session's open grants must not be served by grants_to_expire, which has everybody's.
CREATE INDEX grants_open_by_session ON grants (session_id, id) WHERE state < 'denied';
CREATE INDEX grants_by_approval ON grants (approval_id) WHERE approval_id IS NOT NULL;
CREATE INDEX grants_to_expire ON grants (expires_at, id) WHERE ended_at IS NULL;
CREATE INDEX grants_ended_by_run ON grants (tenant_id, run_id, ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX grants_ended_by_workload ON grants (tenant_id, workload_hash, ended_at) WHERE ended_at IS NOT NULL;
-- A yes that was taken back must not be forgotten before its session.
CREATE INDEX grants_to_forget ON grants (ended_at)
  WHERE ended_at IS NOT NULL AND NOT (state = 'revoked' AND approval_id IS NOT NULL);

CREATE TABLE approvals (
  id text COLLATE "C" PRIMARY KEY,
  tenant_id text COLLATE "C" NOT NULL,
  session_id text COLLATE "C" NOT NULL,
  grant_id text COLLATE "C" NOT NULL,
  agent_id text COLLATE "C" NOT NULL,
  run_id text COLLATE "C" NOT NULL,
  request_hash text COLLATE "C" NOT NULL,
  required_approvers integer NOT NULL,
  reuse boolean NOT NULL,
  excluded jsonb NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  state approval_state NOT NULL,
  decisions jsonb NOT NULL,
  ended_at timestamptz,
  CONSTRAINT approvals_life CHECK ((state = 'pending') = (ended_at IS NULL) AND jsonb_typeof(decisions) = 'array')
);
CREATE INDEX approvals_by_tenant ON approvals (tenant_id, id);
CREATE INDEX approvals_by_state ON approvals (tenant_id, state, id);
CREATE INDEX approvals_by_session ON approvals (session_id, id);
CREATE INDEX approvals_by_grant ON approvals (grant_id);
CREATE INDEX approvals_by_request ON approvals (session_id, request_hash, id) WHERE state IN ('pending', 'approved');

-- Counters of a handle change with every call; room in the page keeps their new versions beside the old ones.
CREATE TABLE artifacts (
  id text COLLATE "C" PRIMARY KEY,
  tenant_id text COLLATE "C" NOT NULL,
  session_id text COLLATE "C" NOT NULL,
  grant_id text COLLATE "C" NOT NULL,
  kind artifact_kind NOT NULL,
  handle_hash text COLLATE "C",
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  state artifact_state NOT NULL,
  -- Secret data, as text that only the broker's keys open.
  sealed text COLLATE "C",
  ended_at timestamptz,
  requests_used bigint NOT NULL DEFAULT 0,
  bytes_used bigint NOT NULL DEFAULT 0,
  CONSTRAINT artifacts_life CHECK (
    (kind = 'proxy_handle') = (handle_hash IS NOT NULL)
    AND (kind <> 'proxy_handle' AND state = 'issued') = (sealed IS NOT NULL)
    AND (state = 'issued') = (ended_at IS NULL)
    AND requests_used >= 0 AND bytes_used >= 0
  )
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX artifacts_by_grant ON artifacts (grant_id);
CREATE UNIQUE INDEX artifacts_by_handle ON artifacts (handle_hash) WHERE handle_hash IS NOT NULL;

-- Calls that are under way, or whose maker died. They stand on their own: what they tell of may be forgotten before them.
CREATE TABLE downstream_calls (
  id text COLLATE "C" PRIMARY KEY,
  kind call_kind NOT NULL,
  tenant_id text COLLATE "C" NOT NULL,
  agent_id text COLLATE "C",
  run_id text COLLATE "C",
  workload_hash text COLLATE "C",
  session_id text COLLATE "C",
  grant_id text COLLATE "C",
  artifact_id text COLLATE "C",
  approval_id text COLLATE "C",
  request_id text COLLATE "C" NOT NULL,
  started_at timestamptz NOT NULL,
  deadline timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX downstream_calls_by_deadline ON downstream_calls (deadline, id);
CREATE INDEX downstream_calls_by_artifact ON downstream_calls (artifact_id, deadline) WHERE artifact_id IS NOT NULL;

-- What was, or may have been, issued downstream, until it is revoked there. It outlives its grant and its session.
CREATE TABLE revocation_jobs (
  id text COLLATE "C" PRIMARY KEY,
  tenant_id text COLLATE "C" NOT NULL,
  session_id text COLLATE "C" NOT NULL,
  grant_id text COLLATE "C" NOT NULL,
  agent_id text COLLATE "C" NOT NULL,
  run_id text COLLATE "C" NOT NULL,
  workload_hash text COLLATE "C" NOT NULL,
  connector text COLLATE "C" NOT NULL,
  resource_ref text COLLATE "C" NOT NULL,
  created_at timestamptz NOT NULL,
  state revocation_state NOT NULL,
  lease_id text COLLATE "C",
  lease_expires_at timestamptz,
  attempts integer,
  next_attempt_at timestamptz,
  last_error text COLLATE "C",
  outcome revocation_outcome,
  ended_at timestamptz,
  CONSTRAINT revocation_jobs_life CHECK (
    (state = 'done') = (lease_expires_at IS NULL)
    AND (state <> 'requested' OR lease_id IS NULL)
    AND (state <> 'held' OR lease_id IS NOT NULL)
    AND (state >= 'due') = (attempts IS NOT NULL)
    AND (state = 'due') = (next_attempt_at IS NOT NULL)
    AND (state = 'done') = (ended_at IS NOT NULL)
    AND (ended_at IS NULL) = (outcome IS NULL)
  )
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE UNIQUE INDEX revocation_jobs_by_grant ON revocation_jobs (grant_id);
CREATE INDEX revocation_jobs_by_tenant ON revocation_jobs (tenant_id, id);
CREATE INDEX revocation_jobs_by_state ON revocation_jobs (tenant_id, state, id);
CREATE INDEX revocation_jobs_by_connector ON revocation_jobs (tenant_id, connector, id);
CREATE INDEX revocation_jobs_due ON revocation_jobs (next_attempt_at, id) WHERE state = 'due';
CREATE INDEX revocation_jobs_due_by_run ON revocation_jobs (tenant_id, run_id) WHERE state = 'due';
CREATE INDEX revocation_jobs_due_by_workload ON revocation_jobs (tenant_id, workload_hash) WHERE state = 'due';
CREATE INDEX revocation_jobs_open ON revocation_jobs (connector, state) WHERE state <> 'done';
CREATE INDEX revocation_jobs_to_forget ON revocation_jobs (ended_at) WHERE ended_at IS NOT NULL;

-- The outbox: messages to people, until they are delivered or given up.
CREATE TABLE notifications (
  id text COLLATE "C" PRIMARY KEY,
  tenant_id text COLLATE "C" NOT NULL,
  approval_id text COLLATE "C" NOT NULL,
  receiver text COLLATE "C" NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  state notification_state NOT NULL,
  attempts integer NOT NULL,
  next_attempt_at timestamptz,
  last_error text COLLATE "C",
  ended_at timestamptz,
  CONSTRAINT notifications_life CHECK (
    (state = 'waiting') = (next_attempt_at IS NOT NULL) AND (state = 'waiting') = (ended_at IS NULL)
  )
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX notifications_due ON notifications (next_attempt_at, id) WHERE state = 'waiting';
CREATE INDEX notifications_to_forget ON notifications (ended_at) WHERE ended_at IS NOT NULL;

-- Runs and workloads that an operator has stopped.
CREATE TABLE blocks (
  tenant_id text COLLATE "C" NOT NULL,
  kind block_kind NOT NULL,
  -- The run's id or the workload's hash.
  target text COLLATE "C" NOT NULL,
  reason text COLLATE "C" NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, kind, target)
);
CREATE INDEX blocks_to_forget ON blocks (expires_at);

-- Every event, in the order of its commit within a session or a grant. The chain's columns are null until an event is sealed.
CREATE TABLE audit_events (
  id text COLLATE "C" PRIMARY KEY,
  position bigint GENERATED ALWAYS AS IDENTITY,
  at timestamptz NOT NULL,
  type text COLLATE "C" NOT NULL,
  request_id text COLLATE "C" NOT NULL,
  tenant_id text COLLATE "C" NOT NULL,
  agent_id text COLLATE "C",
  run_id text COLLATE "C",
  workload_hash text COLLATE "C",
  session_id text COLLATE "C",
  grant_id text COLLATE "C",
  artifact_id text COLLATE "C",
  approval_id text COLLATE "C",
  code text COLLATE "C",
  reason text COLLATE "C",
  revision text COLLATE "C",
  details jsonb,
  chain_seq bigint,
  chain_hash bytea,
  CONSTRAINT audit_events_chain CHECK ((chain_seq IS NULL) = (chain_hash IS NULL))
);
CREATE INDEX audit_events_by_tenant ON audit_events (tenant_id, position);
CREATE INDEX audit_events_by_type ON audit_events (tenant_id, type, position);
CREATE INDEX audit_events_by_session ON audit_events (tenant_id, session_id, position);
CREATE INDEX audit_events_by_grant ON audit_events (tenant_id, grant_id, position);
CREATE INDEX audit_events_by_approval ON audit_events (tenant_id, approval_id, position) WHERE approval_id IS NOT NULL;
CREATE INDEX audit_events_unsealed ON audit_events (tenant_id, position) WHERE chain_seq IS NULL;
CREATE UNIQUE INDEX audit_events_in_chain ON audit_events (tenant_id, chain_seq) WHERE chain_seq IS NOT NULL;

-- The end of each tenant's chain: whoever seals events locks it first.
CREATE TABLE audit_chain_heads (
  tenant_id text COLLATE "C" PRIMARY KEY,
  chain_seq bigint NOT NULL,
  chain_hash bytea NOT NULL
);

CREATE TABLE audit_checkpoints (
  tenant_id text COLLATE "C",
  chain_seq bigint,
  chain_hash bytea NOT NULL,
  signed_at timestamptz NOT NULL,
  jws text COLLATE "C" NOT NULL,
  PRIMARY KEY (tenant_id, chain_seq)
);

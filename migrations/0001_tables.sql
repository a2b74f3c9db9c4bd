-- What the broker keeps. All changes of sessions, grants, approvals, artifacts, calls, revocations, notifications and blocks go
-- through commit_unit (0003), which checks what a constraint cannot: the state before, and rows of other tables.
--
-- Text that is compared or sorted is COLLATE "C": equal means byte by byte, and ids sort as UUIDv7 does, by time.
-- Rows of one tenant are listed newest first by (tenant_id, ..., id); what a worker looks for has a partial index of its own,
-- so that a pass costs what it finds and not what the table holds.

CREATE TABLE sessions (
  id text COLLATE "C" PRIMARY KEY,
  tenant_id text COLLATE "C" NOT NULL,
  agent_id text COLLATE "C" NOT NULL,
  run_id text COLLATE "C" NOT NULL,
  tool_context text[] NOT NULL,
  workload jsonb NOT NULL,
  workload_hash text COLLATE "C" NOT NULL,
  token_id text COLLATE "C" NOT NULL,
  delegation jsonb,
  proof_key_thumbprint text COLLATE "C",
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  state text COLLATE "C" NOT NULL CHECK (state IN ('active', 'revoked', 'expired')),
  ended_at timestamptz,
  end_reason text,
  CONSTRAINT sessions_end CHECK (
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
  tool text NOT NULL,
  capability text COLLATE "C" NOT NULL,
  resource_ref text NOT NULL,
  delivery_mode text NOT NULL CHECK (delivery_mode IN ('proxy', 'wrapped_secret', 'minted_token')),
  ttl_seconds integer NOT NULL,
  reason text NOT NULL,
  request_id text COLLATE "C",
  request_hash text COLLATE "C" NOT NULL,
  approval_id text COLLATE "C",
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  state text COLLATE "C" NOT NULL CHECK (
    state IN ('pending', 'approved', 'issued', 'delivered', 'used', 'denied', 'revoked', 'expired')
  ),
  artifact_id text COLLATE "C",
  issued_at timestamptz,
  ended_at timestamptz,
  end_reason text,
  CONSTRAINT grants_wait CHECK (state <> 'pending' OR approval_id IS NOT NULL),
  CONSTRAINT grants_issue CHECK (
    (artifact_id IS NULL) = (issued_at IS NULL)
    AND (state NOT IN ('pending', 'approved') OR artifact_id IS NULL)
    AND (state NOT IN ('issued', 'delivered', 'used') OR artifact_id IS NOT NULL)
  ),
  CONSTRAINT grants_end CHECK (
    (state IN ('denied', 'revoked', 'expired')) = (ended_at IS NOT NULL) AND (ended_at IS NULL) = (end_reason IS NULL)
  )
);
CREATE UNIQUE INDEX grants_by_request_id ON grants (session_id, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX grants_by_tenant ON grants (tenant_id, id);
CREATE INDEX grants_by_state ON grants (tenant_id, state, id);
CREATE INDEX grants_by_agent ON grants (tenant_id, agent_id, id);
CREATE INDEX grants_by_run ON grants (tenant_id, run_id, id);
CREATE INDEX grants_by_capability ON grants (tenant_id, capability, id);
CREATE INDEX grants_by_session ON grants (session_id, id);
CREATE INDEX grants_open_by_session ON grants (session_id, id) WHERE ended_at IS NULL;
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
  state text COLLATE "C" NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'expired')),
  decisions jsonb NOT NULL CHECK (jsonb_typeof(decisions) = 'array'),
  ended_at timestamptz,
  CONSTRAINT approvals_end CHECK ((state = 'pending') = (ended_at IS NULL))
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
  kind text NOT NULL CHECK (kind IN ('proxy_handle', 'wrapped_secret')),
  handle_hash text COLLATE "C",
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  state text COLLATE "C" NOT NULL CHECK (state IN ('issued', 'used', 'revoked', 'expired')),
  -- Secret data, as text that only the broker's keys open.
  sealed text,
  ended_at timestamptz,
  requests_used bigint NOT NULL DEFAULT 0 CHECK (requests_used >= 0),
  bytes_used bigint NOT NULL DEFAULT 0 CHECK (bytes_used >= 0),
  CONSTRAINT artifacts_handle CHECK ((kind = 'proxy_handle') = (handle_hash IS NOT NULL)),
  CONSTRAINT artifacts_secret CHECK ((kind = 'wrapped_secret' AND state = 'issued') = (sealed IS NOT NULL)),
  CONSTRAINT artifacts_end CHECK ((state = 'issued') = (ended_at IS NULL))
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX artifacts_by_grant ON artifacts (grant_id);
CREATE UNIQUE INDEX artifacts_by_handle ON artifacts (handle_hash) WHERE handle_hash IS NOT NULL;

-- Calls that are under way, or whose maker died. They stand on their own: what they tell of may be forgotten before them.
CREATE TABLE downstream_calls (
  id text COLLATE "C" PRIMARY KEY,
  kind text NOT NULL CHECK (kind IN ('proxy', 'lease', 'revocation')),
  tenant_id text COLLATE "C" NOT NULL,
  agent_id text,
  run_id text,
  workload_hash text,
  session_id text,
  grant_id text,
  artifact_id text COLLATE "C",
  approval_id text,
  request_id text NOT NULL,
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
  resource_ref text NOT NULL,
  created_at timestamptz NOT NULL,
  state text COLLATE "C" NOT NULL CHECK (state IN ('requested', 'held', 'due', 'done')),
  lease_id text,
  lease_expires_at timestamptz,
  attempts integer,
  next_attempt_at timestamptz,
  last_error text,
  outcome text CHECK (outcome IN ('revoked', 'expired', 'not_issued')),
  ended_at timestamptz,
  CONSTRAINT revocation_jobs_lease CHECK (
    (state = 'done') = (lease_expires_at IS NULL)
    AND (state <> 'requested' OR lease_id IS NULL)
    AND (state <> 'held' OR lease_id IS NOT NULL)
  ),
  CONSTRAINT revocation_jobs_attempts CHECK (
    (state IN ('due', 'done')) = (attempts IS NOT NULL) AND (state = 'due') = (next_attempt_at IS NOT NULL)
  ),
  CONSTRAINT revocation_jobs_end CHECK (
    (state = 'done') = (ended_at IS NOT NULL) AND (ended_at IS NULL) = (outcome IS NULL)
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
  state text COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'delivered', 'given_up')),
  attempts integer NOT NULL,
  next_attempt_at timestamptz,
  last_error text,
  ended_at timestamptz,
  CONSTRAINT notifications_end CHECK (
    (state = 'waiting') = (next_attempt_at IS NOT NULL) AND (state = 'waiting') = (ended_at IS NULL)
  )
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX notifications_due ON notifications (next_attempt_at, id) WHERE state = 'waiting';
CREATE INDEX notifications_to_forget ON notifications (ended_at) WHERE ended_at IS NOT NULL;

-- Runs and workloads that an operator has stopped.
CREATE TABLE blocks (
  tenant_id text COLLATE "C" NOT NULL,
  kind text COLLATE "C" NOT NULL CHECK (kind IN ('run', 'workload')),
  -- The run's id or the workload's hash.
  target text COLLATE "C" NOT NULL,
  reason text NOT NULL,
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
  request_id text NOT NULL,
  tenant_id text COLLATE "C" NOT NULL,
  agent_id text,
  run_id text,
  workload_hash text,
  session_id text COLLATE "C",
  grant_id text COLLATE "C",
  artifact_id text COLLATE "C",
  approval_id text COLLATE "C",
  code text,
  reason text,
  revision text,
  details jsonb,
  chain_seq bigint,
  chain_hash bytea,
  CONSTRAINT audit_events_chain CHECK ((chain_seq IS NULL) = (chain_hash IS NULL))
);
CREATE INDEX audit_events_by_tenant ON audit_events (tenant_id, position);
CREATE INDEX audit_events_by_type ON audit_events (tenant_id, type, position);
CREATE INDEX audit_events_by_session ON audit_events (tenant_id, session_id, position) WHERE session_id IS NOT NULL;
CREATE INDEX audit_events_by_grant ON audit_events (tenant_id, grant_id, position) WHERE grant_id IS NOT NULL;
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
  jws text NOT NULL,
  PRIMARY KEY (tenant_id, chain_seq)
);

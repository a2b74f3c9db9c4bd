import type { Statement } from './database.ts';

// Numbers come as text: in a table that was tampered with they may be larger than a number can tell. So do moments, in milliseconds since
// 1970: they may be finer than the broker writes them, or no moment at all. None has the name of its column: ORDER BY would sort the text.
const LINK = `chain_seq::text AS seq, encode(chain_hash, 'hex') AS hash`;
const EVENT = `
  id, (extract(epoch FROM at) * 1000)::text AS at_ms, type, request_id, tenant_id, agent_id, run_id, workload_hash,
  session_id, grant_id, artifact_id, approval_id, code, reason, revision, details`;
const CHECKPOINT = `tenant_id, ${LINK}, (extract(epoch FROM signed_at) * 1000)::text AS signed_at_ms, jws`;

/** $1 tenant. Not a row when somebody else has it. */
export const CLAIM_HEAD: Statement = {
  text: `SELECT ${LINK} FROM audit_chain_heads WHERE tenant_id = $1 FOR UPDATE SKIP LOCKED`,
};

/** $1 tenant, $2 number, $3 hash. A row when there was none. */
export const ADD_HEAD: Statement = {
  text: `
    INSERT INTO audit_chain_heads (tenant_id, chain_seq, chain_hash) VALUES ($1, $2::bigint, decode($3, 'hex'))
    ON CONFLICT DO NOTHING
    RETURNING tenant_id`,
};

/** $1 tenant, $2 number, $3 hash. */
export const MOVE_HEAD: Statement = {
  text: `UPDATE audit_chain_heads SET chain_seq = $2::bigint, chain_hash = decode($3, 'hex') WHERE tenant_id = $1`,
};

/**
 * $1 tenant, $2 ids, $3 numbers, $4 hashes, $5 the position of the last: however many more wait, they need not be looked at. Answers how
 * many were still unsealed.
 */
export const SEAL_EVENTS: Statement = {
  text: `
    WITH sealed AS (
      UPDATE audit_events AS event
      SET chain_seq = link.seq, chain_hash = decode(link.hash, 'hex')
      FROM unnest($2::text[], $3::bigint[], $4::text[]) AS link (id, seq, hash)
      WHERE event.id = link.id COLLATE "C" AND event.tenant_id = $1 AND event.chain_seq IS NULL
        AND event.position <= $5::bigint
      RETURNING event.id
    )
    SELECT count(*)::text AS count FROM sealed`,
};

/** $1 tenant, $2 number, $3 hash, $4 when it was signed, $5 JWS. */
export const ADD_CHECKPOINT: Statement = {
  text: `
    INSERT INTO audit_checkpoints (tenant_id, chain_seq, chain_hash, signed_at, jws)
    VALUES ($1, $2::bigint, decode($3, 'hex'), $4::timestamptz, $5)`,
};

/** From tenant to tenant by the index, without reading the events between. */
export const TENANTS_WITH_UNSEALED_EVENTS: Statement = {
  text: `
    WITH RECURSIVE waiting AS (
      (SELECT tenant_id FROM audit_events WHERE chain_seq IS NULL ORDER BY tenant_id LIMIT 1)
      UNION ALL
      SELECT (
        SELECT tenant_id FROM audit_events
        WHERE chain_seq IS NULL AND tenant_id > waiting.tenant_id ORDER BY tenant_id LIMIT 1
      )
      FROM waiting WHERE tenant_id IS NOT NULL
    )
    SELECT tenant_id FROM waiting WHERE tenant_id IS NOT NULL`,
};

/** Likewise. */
export const TENANTS: Statement = {
  text: `
    WITH RECURSIVE writers AS (
      (SELECT tenant_id FROM audit_events ORDER BY tenant_id LIMIT 1)
      UNION ALL
      SELECT (
        SELECT tenant_id FROM audit_events WHERE tenant_id > writers.tenant_id ORDER BY tenant_id LIMIT 1
      )
      FROM writers WHERE tenant_id IS NOT NULL
    )
    SELECT tenant_id FROM writers WHERE tenant_id IS NOT NULL
    UNION SELECT tenant_id FROM audit_chain_heads
    UNION SELECT tenant_id FROM audit_checkpoints
    ORDER BY tenant_id`,
};

/** $1 tenant. */
export const HEAD: Statement = { text: `SELECT ${LINK} FROM audit_chain_heads WHERE tenant_id = $1` };

/** $1 tenant, $2 the number before, or null for all, $3 how many. */
export const SEALED_EVENTS: Statement = {
  text: `
    SELECT ${LINK}, ${EVENT} FROM audit_events
    WHERE tenant_id = $1 AND chain_seq IS NOT NULL AND ($2::bigint IS NULL OR chain_seq > $2::bigint)
    ORDER BY chain_seq LIMIT $3`,
};

/** $1 tenant, $2 the position before, or null for all, $3 how many. */
export const UNSEALED_EVENTS: Statement = {
  text: `
    SELECT position::text AS place, ${EVENT} FROM audit_events
    WHERE tenant_id = $1 AND chain_seq IS NULL AND ($2::bigint IS NULL OR position > $2::bigint)
    ORDER BY position LIMIT $3`,
};

/** $1 tenant. */
export const COUNT_UNSEALED: Statement = {
  text: `SELECT count(*)::text AS count FROM audit_events WHERE tenant_id = $1 AND chain_seq IS NULL`,
};

/** $1 tenant, $2 the number before, or null for all, $3 how many. */
export const CHECKPOINTS: Statement = {
  text: `
    SELECT ${CHECKPOINT} FROM audit_checkpoints
    WHERE tenant_id = $1 AND ($2::bigint IS NULL OR chain_seq > $2::bigint)
    ORDER BY chain_seq LIMIT $3`,
};

/** $1 tenant. */
export const LAST_CHECKPOINT: Statement = {
  text: `SELECT ${CHECKPOINT} FROM audit_checkpoints WHERE tenant_id = $1 ORDER BY chain_seq DESC LIMIT 1`,
};

/** The first statement of a transaction. */
export const AT_ONE_MOMENT: Statement = { text: 'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY' };

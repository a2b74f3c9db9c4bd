import { afterEach, describe, expect, it } from 'vitest';
import { emptiedDatabase } from './emptied-database.ts';

const database = emptiedDatabase();
afterEach(() => database.empty());

const NOW = `timestamptz '2026-01-02 03:04:05Z'`;

/** Rows that are in order, by table: column and SQL expression. */
const ROWS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  sessions: {
    id: `'sess_1'`,
    tenant_id: `'t'`,
    agent_id: `'a'`,
    run_id: `'r'`,
    tool_context: `'{}'`,
    workload: `'{}'`,
    workload_hash: `'w'`,
    token_id: `'j'`,
    created_at: NOW,
    expires_at: NOW,
    state: `'active'`,
  },
  grants: {
    id: `'gr_1'`,
    tenant_id: `'t'`,
    session_id: `'sess_1'`,
    agent_id: `'a'`,
    run_id: `'r'`,
    workload_hash: `'w'`,
    tool: `'github'`,
    capability: `'repo.read'`,
    resource_ref: `'x'`,
    delivery_mode: `'proxy'`,
    ttl_seconds: '600',
    reason: `''`,
    request_hash: `'h'`,
    created_at: NOW,
    expires_at: NOW,
    state: `'approved'`,
  },
  artifacts: {
    id: `'art_1'`,
    tenant_id: `'t'`,
    session_id: `'sess_1'`,
    grant_id: `'gr_1'`,
    kind: `'wrapped_secret'`,
    created_at: NOW,
    expires_at: NOW,
    state: `'issued'`,
    sealed: `'asb1.x'`,
  },
  approvals: {
    id: `'ap_1'`,
    tenant_id: `'t'`,
    session_id: `'sess_1'`,
    grant_id: `'gr_1'`,
    agent_id: `'a'`,
    run_id: `'r'`,
    request_hash: `'h'`,
    required_approvers: '1',
    reuse: 'false',
    excluded: `'[]'`,
    created_at: NOW,
    expires_at: NOW,
    state: `'pending'`,
    decisions: `'[]'`,
  },
  revocation_jobs: {
    id: `'rev_1'`,
    tenant_id: `'t'`,
    session_id: `'sess_1'`,
    grant_id: `'gr_1'`,
    agent_id: `'a'`,
    run_id: `'r'`,
    workload_hash: `'w'`,
    connector: `'vaultdb'`,
    resource_ref: `'x'`,
    created_at: NOW,
    state: `'held'`,
    lease_id: `'l'`,
    lease_expires_at: NOW,
  },
  notifications: {
    id: `'ntf_1'`,
    tenant_id: `'t'`,
    approval_id: `'ap_1'`,
    receiver: `'oncall'`,
    created_at: NOW,
    expires_at: NOW,
    state: `'waiting'`,
    attempts: '0',
    next_attempt_at: NOW,
  },
  audit_events: { id: `'evt_1'`, at: NOW, type: `'x'`, request_id: `'r'`, tenant_id: `'t'` },
};

const insert = async (table: string, changes: Readonly<Record<string, string>> = {}): Promise<void> => {
  const row = { ...ROWS[table], ...changes };
  const pool = await database.pool();
  await pool.query(`INSERT INTO ${table} (${Object.keys(row).join(', ')}) VALUES (${Object.values(row).join(', ')})`);
};

const CHECK = '23514';
const ended = { ended_at: NOW, end_reason: `''` };
const illegal: [string, string, Record<string, string>, string][] = [
  ['sessions', 'a state that is none', { state: `'gone'` }, '22P02'],
  ['sessions', 'an end while it is active', ended, CHECK],
  ['sessions', 'an end without a time', { state: `'revoked'` }, CHECK],
  ['sessions', 'an end without a reason', { state: `'revoked'`, ended_at: NOW }, CHECK],
  ['grants', 'a state that is none', { state: `'granted'` }, '22P02'],
  ['grants', 'a delivery that is none', { delivery_mode: `'email'` }, '22P02'],
  ['grants', 'nobody to wait for', { state: `'pending'` }, CHECK],
  ['grants', 'no artifact though it is issued', { state: `'issued'` }, CHECK],
  ['grants', 'an artifact before it is issued', { artifact_id: `'art_1'`, issued_at: NOW }, CHECK],
  ['grants', 'an artifact and no time of its issue', { state: `'issued'`, artifact_id: `'art_1'` }, CHECK],
  ['grants', 'an end while it is open', ended, CHECK],
  ['grants', 'no end though it is denied', { state: `'denied'` }, CHECK],
  ['artifacts', 'no secret though it waits to be unwrapped', { sealed: 'NULL' }, CHECK],
  ['artifacts', 'a secret after it was used', { state: `'used'`, ended_at: NOW }, CHECK],
  ['artifacts', 'a secret after it was revoked', { state: `'revoked'`, ended_at: NOW }, CHECK],
  ['artifacts', 'a secret after it expired', { state: `'expired'`, ended_at: NOW }, CHECK],
  ['artifacts', 'a secret beside a handle', { kind: `'proxy_handle'`, handle_hash: `'h'` }, CHECK],
  ['artifacts', 'a secret with a handle', { handle_hash: `'h'` }, CHECK],
  ['artifacts', 'no handle', { kind: `'proxy_handle'`, sealed: 'NULL' }, CHECK],
  ['artifacts', 'an end while it is issued', { ended_at: NOW }, CHECK],
  ['artifacts', 'less than no requests', { requests_used: '-1' }, CHECK],
  ['artifacts', 'less than no bytes', { bytes_used: '-1' }, CHECK],
  ['approvals', 'an end while it is pending', { ended_at: NOW }, CHECK],
  ['approvals', 'no end though it is approved', { state: `'approved'` }, CHECK],
  ['approvals', 'decisions that are no list', { decisions: `'{}'` }, CHECK],
  ['revocation_jobs', 'no lease though it is held', { lease_id: 'NULL' }, CHECK],
  ['revocation_jobs', 'a lease before it was issued', { state: `'requested'` }, CHECK],
  ['revocation_jobs', 'no next try though it is due', { state: `'due'`, attempts: '0' }, CHECK],
  [
    'revocation_jobs',
    'no outcome though it is done',
    { state: `'done'`, lease_expires_at: 'NULL', attempts: '1', ended_at: NOW },
    CHECK,
  ],
  ['notifications', 'no next try though it waits', { next_attempt_at: 'NULL' }, CHECK],
  ['notifications', 'no end though it is delivered', { state: `'delivered'`, next_attempt_at: 'NULL' }, CHECK],
  ['audit_events', 'a place in the chain and no hash', { chain_seq: '1' }, CHECK],
];

describe('the schema', () => {
  it.each(Object.keys(ROWS))('takes a row of %s that is in order, once', async (table) => {
    await insert(table);
    await expect(insert(table)).rejects.toMatchObject({ code: '23505' });
  });

  it.each(illegal)('has no row of %s with %s', async (table, _, changes, code) => {
    await expect(insert(table, changes)).rejects.toMatchObject({ code });
  });

  it('takes one artifact for a grant, one grant for a request id and one revocation for a grant', async () => {
    await insert('artifacts');
    await expect(insert('artifacts', { id: `'art_2'` })).rejects.toMatchObject({ constraint: 'artifacts_by_grant' });
    await insert('grants', { request_id: `'one'` });
    await insert('grants', { id: `'gr_2'`, request_id: `'ONE'` });
    const again = insert('grants', { id: `'gr_3'`, request_id: `'one'` });
    await expect(again).rejects.toMatchObject({ constraint: 'grants_by_request_id' });
    await insert('revocation_jobs');
    const second = insert('revocation_jobs', { id: `'rev_2'` });
    await expect(second).rejects.toMatchObject({ constraint: 'revocation_jobs_by_grant' });
  });

  it('sorts and compares all text by its bytes', async () => {
    const pool = await database.pool();
    const { rows } = await pool.query(
      `SELECT table_name, column_name FROM information_schema.columns
       WHERE table_schema = 'public' AND table_name <> 'schema_migrations' AND data_type IN ('text', 'ARRAY')
         AND collation_name IS DISTINCT FROM 'C'`,
    );
    expect(rows).toEqual([]);
  });
});

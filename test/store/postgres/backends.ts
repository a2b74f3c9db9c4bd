import type { Pool, PoolClient } from 'pg';

const WAITING = `
  SELECT pid FROM pg_stat_activity
  WHERE datname = current_database() AND application_name = 'asb' AND wait_event_type = 'Lock'`;
const TERMINATE = `SELECT pg_terminate_backend($1)`;
const TERMINATE_ALL = `
  SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
  WHERE datname = current_database() AND application_name = 'asb' AND pid <> pg_backend_pid()`;

/** The process that waits for a lock of another, as soon as there is one; another one than `not`. */
export async function waitingBackend(admin: Pool, not: number | null = null): Promise<number> {
  for (;;) {
    const { rows } = await admin.query<{ pid: number }>(WAITING);
    const found = rows.find(({ pid }) => pid !== not);
    if (found !== undefined) return found.pid;
  }
}

export const terminate = (admin: Pool, pid: number): Promise<unknown> => admin.query(TERMINATE, [pid]);

/** Ends every connection that a repository has. */
export const terminateAll = (admin: Pool): Promise<unknown> => admin.query(TERMINATE_ALL);

/** Holds rows back from everybody else while `meanwhile` runs. */
export async function whileLocked<T>(
  admin: Pool,
  lock: string,
  ids: readonly string[],
  meanwhile: () => Promise<T>,
): Promise<T> {
  const client = await admin.connect();
  try {
    await client.query('BEGIN');
    await client.query(lock, [ids]);
    return await meanwhile();
  } finally {
    await client.query('ROLLBACK');
    client.release();
  }
}

export const LOCK_SESSIONS = 'SELECT FROM sessions WHERE id = ANY ($1) FOR UPDATE';
export const LOCK_GRANTS = 'SELECT FROM grants WHERE id = ANY ($1) FOR UPDATE';

/** Calls `before` with each statement that a pool's connections send, new ones and those that are open. */
export function beforeStatements(pool: Pool, before: (text: string) => void): void {
  const watch = (client: PoolClient): void => {
    const send = client.query.bind(client) as (...query: unknown[]) => unknown;
    const watched = (...query: unknown[]): unknown => {
      const [first] = query;
      if (typeof first === 'object' && first !== null && 'text' in first) before(String(first.text));
      return send(...query);
    };
    client.query = watched as PoolClient['query'];
  };
  pool.on('connect', watch);
}

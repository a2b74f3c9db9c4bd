import type { Pool } from 'pg';
import { afterAll } from 'vitest';
import { openPool } from '../../../src/store/postgres/pool.ts';
import { openDatabase, type TestDatabase } from '../../support/postgres.ts';

const EMPTY = `
  DELETE FROM sessions; DELETE FROM grants; DELETE FROM approvals; DELETE FROM artifacts; DELETE FROM downstream_calls;
  DELETE FROM revocation_jobs; DELETE FROM notifications; DELETE FROM blocks; DELETE FROM audit_events;`;

/** One database for all tests of a file, since making one takes longer than most of them. */
export function emptiedDatabase() {
  let opened: Promise<{ database: TestDatabase; pool: Pool }> | null = null;
  const open = async () => {
    const database = await openDatabase();
    const pool = openPool({ dsn: database.dsn, maxConnections: 5, statementTimeoutMs: 20_000, lockTimeoutMs: 10_000 });
    return { database, pool };
  };
  afterAll(async () => {
    const last = await opened;
    await last?.pool.end();
    await last?.database.close();
  });
  return {
    /** Connections to it. */
    pool: async () => (await (opened ??= open())).pool,
    dsn: async () => (await (opened ??= open())).database.dsn,
    /** Drops every row. */
    empty: async (): Promise<void> => {
      await (await opened)?.pool.query(EMPTY);
    },
  };
}

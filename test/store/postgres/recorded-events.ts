import type { Pool } from 'pg';
import type { AuditEvent } from '../../../src/domain/audit-event.ts';
import { EVENT_COLUMNS } from '../../../src/store/postgres/columns.ts';
import { readEvent } from '../../../src/store/postgres/read-rows.ts';

/** Every event that has committed, in order. */
export async function recordedEvents(pool: Pool): Promise<AuditEvent[]> {
  const { rows } = await pool.query<Record<string, unknown>>(`SELECT ${EVENT_COLUMNS} FROM audit_events ORDER BY position`);
  return rows.map((row) => readEvent(row));
}

import type { AuditEvent } from './audit-event.ts';

/** Where a repository without a database of its own keeps the events of a unit of work. */
export interface AuditLog {
  /**
   * Writes all events, in order, before it returns. Throws `unavailable` when they cannot be written; the change they
   * record must then not happen.
   */
  append(events: readonly AuditEvent[]): void;
  /** Throws `unavailable` while events cannot be written. Finds out by itself when they can be again. */
  ping(): void;
}

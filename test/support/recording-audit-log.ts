import type { AuditEvent } from '../../src/domain/audit-event.ts';
import type { AuditLog } from '../../src/domain/audit-log.ts';
import { unavailable } from '../../src/domain/errors.ts';

/** Keeps events for tests to look at; fails once when told to. */
export class RecordingAuditLog implements AuditLog {
  readonly events: AuditEvent[] = [];
  #failure: Error | null = null;

  append(events: readonly AuditEvent[]): void {
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) throw failure;
    this.events.push(...structuredClone(events));
  }

  ping(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  reopen(): void {
    // There is nothing to open.
  }

  /** Makes the next write fail, and says so when asked before. */
  failNext(error: Error = unavailable('audit log cannot be written')): void {
    this.#failure = error;
  }

  /** The types of all events, in order. */
  types(): string[] {
    return this.events.map((event) => event.type);
  }
}

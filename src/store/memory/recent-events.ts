import type { AuditEvent } from '../../domain/audit-event.ts';
import type { TenantId } from '../../domain/ids.ts';
import type { AuditFilter, Page, PageRequest } from '../../domain/repository.ts';
import { readCursor, takePage } from './page.ts';

/** The newest events of all tenants, as many as there is room for; the oldest make room. */
export class RecentEvents {
  readonly #capacity: number;
  readonly #ring: AuditEvent[] = [];
  /** Where the next event goes, and so the place of the oldest once the ring is full. */
  #next = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Keeps events, which nobody may change afterwards. */
  add(events: readonly AuditEvent[]): void {
    for (const event of events) {
      this.#ring[this.#next] = event;
      this.#next = (this.#next + 1) % this.#capacity;
    }
  }

  /** A tenant's events, the last that were committed first. */
  list(tenantId: TenantId, filter: AuditFilter, { limit, after }: PageRequest): Page<AuditEvent> {
    return takePage(this.#newestFirst(tenantId, readCursor(after, 'evt_')), (event) => matches(event, filter), limit);
  }

  /**
   * From the newest, or from the one after `after`. When that made room already, so did all that are older: nothing is left. By
   * place and not by id, since an event may commit after one that was made later.
   */
  *#newestFirst(tenantId: TenantId, after: string | null): Generator<AuditEvent, void> {
    let isReached = after === null;
    for (let back = 1; back <= this.#ring.length; back += 1) {
      const event = this.#ring[(this.#next - back + this.#ring.length) % this.#ring.length];
      if (event?.subject.tenantId !== tenantId) continue;
      if (isReached) yield event;
      else isReached = event.id === after;
    }
  }
}

function matches({ type, subject }: AuditEvent, filter: AuditFilter): boolean {
  return (
    (filter.type === undefined || type === filter.type) &&
    (filter.sessionId === undefined || subject.sessionId === filter.sessionId) &&
    (filter.grantId === undefined || subject.grantId === filter.grantId) &&
    (filter.approvalId === undefined || subject.approvalId === filter.approvalId)
  );
}

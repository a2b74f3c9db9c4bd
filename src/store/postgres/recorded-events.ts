import type { AuditEvent } from '../../domain/audit-event.ts';
import { storableJson } from './storable-text.ts';
import { EVENT_ROW_COLUMNS, eventRow } from './write-rows.ts';

type EventRow = ReturnType<typeof eventRow>;

/** Events of a unit, and what is written of them: of the first all, and of each other one what it has different. */
export class RecordedEvents {
  readonly events: AuditEvent[] = [];
  readonly #json: string[] = [];
  #first: EventRow | null = null;

  add(event: AuditEvent): void {
    const row = eventRow(event);
    this.events.push(event);
    this.#json.push(storableJson(this.#first === null ? row : differences(this.#first, row)));
    this.#first ??= row;
  }

  addAll(others: RecordedEvents): void {
    for (const event of others.events) this.add(event);
  }

  /** As `commit_unit` reads them; null for none. */
  toJson(): string | null {
    return this.#json.length === 0 ? null : `[${this.#json.join(',')}]`;
  }
}

function differences(first: EventRow, row: EventRow): Readonly<Record<string, unknown>> {
  const different: Record<string, unknown> = {};
  for (const column of EVENT_ROW_COLUMNS) {
    if (row[column] !== first[column]) different[column] = row[column] ?? null;
  }
  return different;
}

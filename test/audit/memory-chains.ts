import {
  type AuditChain,
  type AuditChainReader,
  type BatchStart,
  type ChainHash,
  type ChainHead,
  type ChainView,
  GENESIS,
  type RecordedEvent,
  type SealedBatch,
  type SealedEvent,
  type StoredCheckpoint,
} from '../../src/domain/audit-chain.ts';
import type { AuditEvent } from '../../src/domain/audit-event.ts';
import type { TenantId } from '../../src/domain/ids.ts';

/** An event as it goes on record. */
export const recordedEvent = (event: AuditEvent): RecordedEvent => ({ ...event, at: event.at.toISOString() });

/** A row of the table of events. */
export interface EventRow {
  event: RecordedEvent;
  seq: number | null;
  hash: ChainHash | null;
}

/** The chains in arrays, which tests change as whoever can write to a database would. */
export class MemoryChains implements AuditChain, AuditChainReader {
  rows: EventRow[] = [];
  heads = new Map<string, ChainHead>();
  signed: StoredCheckpoint[] = [];

  record(...events: AuditEvent[]): void {
    this.rows.push(...events.map((event) => ({ event: recordedEvent(event), seq: null, hash: null })));
  }

  rowsOf(tenantId: TenantId): EventRow[] {
    return this.rows.filter(({ event }) => event.subject.tenantId === tenantId);
  }

  async tenantsWithUnsealedEvents(): Promise<readonly TenantId[]> {
    return tenantsOf(this.rows.filter(({ seq }) => seq === null));
  }

  async sealBatch(
    tenantId: TenantId,
    limit: number,
    seal: (start: BatchStart) => Promise<SealedBatch>,
  ): Promise<number | null> {
    const waiting = this.rowsOf(tenantId).filter(({ seq }) => seq === null);
    const batch = waiting.slice(0, limit);
    if (batch.length === 0) return 0;
    const head = this.heads.get(tenantId) ?? GENESIS;
    const start = { head, lastCheckpoint: await this.lastCheckpoint(tenantId), events: batch.map(({ event }) => event) };
    const { links, checkpoint } = await seal(start);
    for (const [index, row] of batch.entries()) Object.assign(row, { seq: links[index]?.seq, hash: links[index]?.hash });
    this.heads.set(tenantId, { seq: checkpoint.seq, hash: checkpoint.hash });
    this.signed.push(checkpoint);
    return links.length;
  }

  atOneMoment<T>(read: (view: ChainView) => Promise<T>): Promise<T> {
    return read(this);
  }

  async tenants(): Promise<readonly TenantId[]> {
    const known = [...this.heads.keys(), ...this.signed.map(({ tenantId }) => tenantId), ...tenantsOf(this.rows)];
    return [...new Set(known as TenantId[])].sort();
  }

  async head(tenantId: TenantId): Promise<ChainHead | null> {
    return this.heads.get(tenantId) ?? null;
  }

  async *events(tenantId: TenantId, afterSeq = -Infinity): AsyncGenerator<SealedEvent> {
    const sealed = this.rowsOf(tenantId).filter((row): row is SealedEvent => row.seq !== null && row.seq > afterSeq);
    yield* sealed.sort((one, other) => one.seq - other.seq);
  }

  async *unsealedEvents(tenantId: TenantId): AsyncGenerator<RecordedEvent> {
    for (const { event, seq } of this.rowsOf(tenantId)) if (seq === null) yield event;
  }

  async countUnsealed(tenantId: TenantId): Promise<number> {
    return this.rowsOf(tenantId).filter(({ seq }) => seq === null).length;
  }

  async *checkpoints(tenantId: TenantId): AsyncGenerator<StoredCheckpoint> {
    yield* this.#signedOf(tenantId);
  }

  async lastCheckpoint(tenantId: TenantId): Promise<StoredCheckpoint | null> {
    return this.#signedOf(tenantId).at(-1) ?? null;
  }

  #signedOf(tenantId: TenantId): StoredCheckpoint[] {
    return this.signed.filter((one) => one.tenantId === tenantId).sort((one, other) => one.seq - other.seq);
  }
}

const tenantsOf = (rows: readonly EventRow[]): TenantId[] =>
  [...new Set(rows.map(({ event }) => event.subject.tenantId as TenantId))].sort();

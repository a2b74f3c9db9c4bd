import type { Pool } from 'pg';
import type { z } from 'zod';
import {
  type AuditChain,
  type AuditChainReader,
  type BatchStart,
  type ChainHead,
  type ChainView,
  GENESIS,
  type RecordedEvent,
  type SealedBatch,
  type SealedEvent,
  type StoredCheckpoint,
} from '../../domain/audit-chain.ts';
import type { TenantId } from '../../domain/ids.ts';
import {
  CheckpointRow,
  CountRow,
  LinkRow,
  SealedEventRow,
  TenantRow,
  toCheckpoint,
  toEvent,
  toLink,
  toSealedEvent,
  toTenantId,
  UnsealedEventRow,
} from './audit-chain-rows.ts';
import {
  ADD_CHECKPOINT,
  ADD_HEAD,
  AT_ONE_MOMENT,
  CHECKPOINTS,
  CLAIM_HEAD,
  COUNT_UNSEALED,
  HEAD,
  LAST_CHECKPOINT,
  MOVE_HEAD,
  SEAL_EVENTS,
  SEALED_EVENTS,
  TENANTS,
  TENANTS_WITH_UNSEALED_EVENTS,
  UNSEALED_EVENTS,
} from './audit-chain-statements.ts';
import { Database, type Row, type Run, type Statement, StatementFailure } from './database.ts';

/** How many rows are held in memory at a time. */
const PAGE_SIZE = 1000;

/** The chains in the table that events are written to. */
export class PostgresAuditChain implements AuditChain, AuditChainReader {
  readonly #database: Database;
  readonly #view: ChainView;

  constructor(pool: Pool) {
    this.#database = new Database(pool);
    this.#view = makeView((statement, values) => this.#database.query(statement, values));
  }

  async tenantsWithUnsealedEvents(): Promise<readonly TenantId[]> {
    const rows = await this.#database.query(TENANTS_WITH_UNSEALED_EVENTS);
    return rows.map((row) => toTenantId(TenantRow.parse(row)));
  }

  async sealBatch(
    tenantId: TenantId,
    limit: number,
    seal: (start: BatchStart) => Promise<SealedBatch>,
  ): Promise<number | null> {
    const sealNow = () => this.#inTransaction((run) => sealWith(run, tenantId, limit, seal));
    const sealed = await sealNow();
    if (sealed !== null) return sealed;
    // Somebody has the head, or there is none yet. It is added apart, so that nobody waits for this transaction.
    const added = await this.#database.query(ADD_HEAD, [tenantId, String(GENESIS.seq), GENESIS.hash]);
    return added.length === 0 ? null : sealNow();
  }

  atOneMoment<T>(read: (view: ChainView) => Promise<T>): Promise<T> {
    return this.#inTransaction(async (run) => {
      await run(AT_ONE_MOMENT, []);
      return read(makeView(run));
    });
  }

  tenants(): Promise<readonly TenantId[]> {
    return this.#view.tenants();
  }

  head(tenantId: TenantId): Promise<ChainHead | null> {
    return this.#view.head(tenantId);
  }

  events(tenantId: TenantId, afterSeq?: number): AsyncIterable<SealedEvent> {
    return this.#view.events(tenantId, afterSeq);
  }

  unsealedEvents(tenantId: TenantId): AsyncIterable<RecordedEvent> {
    return this.#view.unsealedEvents(tenantId);
  }

  countUnsealed(tenantId: TenantId): Promise<number> {
    return this.#view.countUnsealed(tenantId);
  }

  checkpoints(tenantId: TenantId): AsyncIterable<StoredCheckpoint> {
    return this.#view.checkpoints(tenantId);
  }

  lastCheckpoint(tenantId: TenantId): Promise<StoredCheckpoint | null> {
    return this.#view.lastCheckpoint(tenantId);
  }

  async #inTransaction<T>(work: (run: Run) => Promise<T>): Promise<T> {
    try {
      return await this.#database.inTransaction(work);
    } catch (error) {
      throw error instanceof StatementFailure ? error.translated() : error;
    }
  }
}

/** Null when the head is not to be had. */
async function sealWith(
  run: Run,
  tenantId: TenantId,
  limit: number,
  seal: (start: BatchStart) => Promise<SealedBatch>,
): Promise<number | null> {
  const [claimed] = await run(CLAIM_HEAD, [tenantId]);
  if (claimed === undefined) return null;
  const waiting = (await run(UNSEALED_EVENTS, [tenantId, null, limit])).map((row) => UnsealedEventRow.parse(row));
  const end = waiting.at(-1);
  if (end === undefined) return 0;
  const [last] = await run(LAST_CHECKPOINT, [tenantId]);
  const { links, checkpoint } = await seal({
    head: toLink(LinkRow.parse(claimed)),
    lastCheckpoint: last === undefined ? null : toCheckpoint(CheckpointRow.parse(last)),
    events: waiting.map(toEvent),
  });
  const numbers = links.map(({ seq }) => String(seq));
  const [sealed] = await run(SEAL_EVENTS, [
    tenantId,
    links.map(({ eventId }) => eventId),
    numbers,
    links.map(({ hash }) => hash),
    end.place,
  ]);
  if (CountRow.parse(sealed).count !== links.length) throw new Error('events that were being sealed are not there any more');
  const head = [tenantId, String(checkpoint.seq), checkpoint.hash];
  await run(MOVE_HEAD, head);
  await run(ADD_CHECKPOINT, [...head, checkpoint.signedAt, checkpoint.jws]);
  return links.length;
}

type Query = (statement: Statement, values: readonly (string | number | null)[]) => Promise<readonly Row[]>;

function makeView(query: Query): ChainView {
  /** The rows of a statement page by page; `keyOf` tells where the next begins. */
  async function* pages<S extends z.ZodType>(
    statement: Statement,
    schema: S,
    tenantId: TenantId,
    keyOf: (row: z.output<S>) => string,
    after: string | null = null,
  ): AsyncGenerator<z.output<S>> {
    for (let key = after; ;) {
      const rows = (await query(statement, [tenantId, key, PAGE_SIZE])).map((row) => schema.parse(row));
      yield* rows;
      const last = rows.at(-1);
      if (last === undefined || rows.length < PAGE_SIZE) return;
      key = keyOf(last);
    }
  }
  return {
    tenants: async () => (await query(TENANTS, [])).map((row) => toTenantId(TenantRow.parse(row))),
    async head(tenantId) {
      const [row] = await query(HEAD, [tenantId]);
      return row === undefined ? null : toLink(LinkRow.parse(row));
    },
    async *events(tenantId, afterSeq) {
      const after = afterSeq === undefined ? null : String(afterSeq);
      for await (const row of pages(SEALED_EVENTS, SealedEventRow, tenantId, (one) => one.seq, after)) {
        yield toSealedEvent(row);
      }
    },
    async *unsealedEvents(tenantId) {
      for await (const row of pages(UNSEALED_EVENTS, UnsealedEventRow, tenantId, (one) => one.place)) yield toEvent(row);
    },
    async countUnsealed(tenantId) {
      const [row] = await query(COUNT_UNSEALED, [tenantId]);
      return CountRow.parse(row).count;
    },
    async *checkpoints(tenantId) {
      for await (const row of pages(CHECKPOINTS, CheckpointRow, tenantId, (one) => one.seq)) yield toCheckpoint(row);
    },
    async lastCheckpoint(tenantId) {
      const [row] = await query(LAST_CHECKPOINT, [tenantId]);
      return row === undefined ? null : toCheckpoint(CheckpointRow.parse(row));
    },
  };
}

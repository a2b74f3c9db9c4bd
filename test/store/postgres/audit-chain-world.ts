import type { Pool } from 'pg';
import { v7 } from 'uuid';
import { expect } from 'vitest';
import { linkHash } from '../../../src/audit/chain.ts';
import type { Checkpoint } from '../../../src/audit/checkpoints.ts';
import { readCheckpoint } from '../../../src/audit/checkpoints.ts';
import type { FindingKind } from '../../../src/audit/finding.ts';
import { makeAuditSealer } from '../../../src/audit/seal-events.ts';
import { type Verdict, verifyChain } from '../../../src/audit/verify-chain.ts';
import { ephemeralKeyRing } from '../../../src/crypto/key-ring.ts';
import type { AuditChain, ChainHash, ChainLink, SealedEvent } from '../../../src/domain/audit-chain.ts';
import type { AuditEvent } from '../../../src/domain/audit-event.ts';
import type { EventId, TenantId } from '../../../src/domain/ids.ts';
import type { KeyRing } from '../../../src/domain/key-ring.ts';
import { openPool } from '../../../src/store/postgres/pool.ts';
import { PostgresAuditChain } from '../../../src/store/postgres/postgres-audit-chain.ts';
import { anEvent } from '../../support/entities.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { openDatabase } from '../../support/postgres.ts';

const INSERT = `
  INSERT INTO audit_events (id, at, type, request_id, tenant_id, agent_id, run_id, workload_hash, session_id, grant_id, artifact_id,
    approval_id, code, reason, revision, details)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`;

/** As many events to a transaction as in tests can be told apart. */
const BATCH_SIZE = 3;

/** A database of its own, in which each test has a tenant of its own. */
export async function openChainWorld(signing?: KeyRing) {
  const database = await openDatabase();
  const pool = openPool({ dsn: database.dsn, maxConnections: 4, statementTimeoutMs: 10_000, lockTimeoutMs: 10_000 });
  const chains = new PostgresAuditChain(pool);
  const keys = signing ?? (await ephemeralKeyRing());
  return {
    dsn: database.dsn,
    pool,
    chains,
    keys,
    aTenant: () => new TenantWorld(pool, chains, keys),
    async close() {
      await pool.end();
      await database.close();
    },
  };
}
export type ChainWorld = Awaited<ReturnType<typeof openChainWorld>>;

/** One tenant's chain, and whoever can write to the database. */
export class TenantWorld {
  readonly id = `t_${v7()}` as TenantId;
  readonly chains: PostgresAuditChain;
  readonly keys: KeyRing;
  readonly #pool: Pool;
  readonly #clock = new FakeClock();
  #count = 0;

  constructor(pool: Pool, chains: PostgresAuditChain, keys: KeyRing) {
    this.#pool = pool;
    this.chains = chains;
    this.keys = keys;
  }

  /** The id of the event that was recorded as the nth. */
  event = (n: number): EventId => `evt_${this.id}_${n}` as EventId;

  /** Runs a statement in which $1 is the tenant. */
  async sql(text: string, ...values: (string | number | null)[]): Promise<readonly Record<string, unknown>[]> {
    const { rows } = await this.#pool.query<Record<string, unknown>>(text, [this.id, ...values]);
    return rows;
  }

  async record(count: number, overrides: Partial<AuditEvent> = {}): Promise<void> {
    for (let index = 0; index < count; index += 1) {
      this.#count += 1;
      const details = { tool: 'github', bytes: this.#count };
      await this.insert(anEvent({ id: this.event(this.#count), subject: { tenantId: this.id }, details, ...overrides }));
    }
  }

  async insert(event: AuditEvent): Promise<void> {
    await this.#pool.query(INSERT, valuesOf(event));
  }

  /** Seals the events of this tenant, and leaves those of others. */
  async seal(): Promise<void> {
    const chain: AuditChain = {
      tenantsWithUnsealedEvents: () => Promise.resolve([this.id]),
      sealBatch: (...batch) => this.chains.sealBatch(...batch),
    };
    const sealer = makeAuditSealer({ chain, keys: this.keys, clock: this.#clock, batchSize: BATCH_SIZE });
    await sealer.seal(new AbortController().signal);
  }

  verify(saved: readonly Checkpoint[] = []): Promise<Verdict> {
    return this.chains.atOneMoment((view) => verifyChain(view, this.id, { keys: this.keys, saved }));
  }

  /** The last checkpoint, as it was kept elsewhere. */
  async savedCheckpoint(): Promise<Checkpoint> {
    const last = await this.chains.lastCheckpoint(this.id);
    const reading = await readCheckpoint(last?.jws ?? '', this.keys);
    if (reading.outcome !== 'valid') throw new Error('there is no checkpoint');
    return reading.checkpoint;
  }

  async sealedEvents(): Promise<readonly SealedEvent[]> {
    return allOf(this.chains.events(this.id));
  }

  /** Gives events other numbers, and perhaps other hashes, at once. Those that are missing lose both. */
  async renumber(links: readonly (readonly [id: EventId, seq: number, hash?: ChainHash])[]): Promise<void> {
    const sealed = new Map((await this.sealedEvents()).map(({ event, hash }) => [event.id, hash]));
    // Out of the way first, since a number is there once.
    for (const [index, [id]] of links.entries()) {
      const text = `UPDATE audit_events SET chain_seq = $3, chain_hash = '' WHERE tenant_id = $1 AND id = $2`;
      await this.sql(text, id, 1_000_000 + index);
    }
    for (const [id, seq, hash = sealed.get(id) ?? null] of links) {
      const text = `UPDATE audit_events SET chain_seq = $3, chain_hash = decode($4, 'hex') WHERE tenant_id = $1 AND id = $2`;
      await this.sql(text, id, seq, hash);
    }
  }

  /** Moves the numbers from `from` on by `by`; the hashes stay with their events. */
  async shift(from: number, by: number): Promise<void> {
    const moved = (await this.sealedEvents()).filter(({ seq }) => seq >= from);
    await this.renumber(moved.map(({ event, seq }) => [event.id as EventId, seq + by]));
  }

  /** Puts an event of somebody's making at a number, with the hash that it would have there or with another. */
  async forge(seq: number, hash?: ChainHash): Promise<EventId> {
    const id = `evt_forged_${v7()}` as EventId;
    await this.insert(anEvent({ id, subject: { tenantId: this.id }, type: 'approval.given' }));
    const before = (await this.sealedEvents()).find((one) => one.seq === seq - 1);
    const [waiting] = (await allOf(this.chains.unsealedEvents(this.id))).filter((one) => one.id === id);
    const fitting = waiting === undefined || before === undefined ? undefined : linkHash(before.hash, waiting, seq);
    await this.renumber([[id, seq, hash ?? fitting ?? ('ab'.repeat(32) as ChainHash)]]);
    return id;
  }

  /** Makes every hash anew from `from` on, and moves the head to the last. Answers it. */
  async rehash(from: number): Promise<ChainLink> {
    const events = await this.sealedEvents();
    let hash = events.find(({ seq }) => seq === from - 1)?.hash ?? ('0'.repeat(64) as ChainHash);
    for (const { seq, event } of events.filter((one) => one.seq >= from)) {
      hash = linkHash(hash, event, seq);
      await this.renumber([[event.id as EventId, seq, hash]]);
    }
    const end = { seq: events.at(-1)?.seq ?? 0, hash };
    await this.moveHead(end);
    return end;
  }

  async moveHead({ seq, hash }: ChainLink): Promise<void> {
    const text = `UPDATE audit_chain_heads SET chain_seq = $2, chain_hash = decode($3, 'hex') WHERE tenant_id = $1`;
    await this.sql(text, seq, hash);
  }

  async linkAt(seq: number): Promise<ChainLink> {
    const found = (await this.sealedEvents()).find((one) => one.seq === seq);
    if (found === undefined) throw new Error(`there is no event ${seq}`);
    return { seq, hash: found.hash };
  }
}

export async function allOf<T>(items: AsyncIterable<T>): Promise<readonly T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

const valuesOf = ({ id, at, type, requestId, subject, code, reason, revision, details }: AuditEvent) => [
  id,
  at,
  type,
  requestId,
  subject.tenantId,
  subject.agentId,
  subject.runId,
  subject.workloadHash,
  subject.sessionId,
  subject.grantId,
  subject.artifactId,
  subject.approvalId,
  code,
  reason,
  revision,
  details,
];

/** Nine events, and the checkpoints at 3, 6 and 9. */
export async function aSealedChain(world: ChainWorld): Promise<TenantWorld> {
  const tenant = world.aTenant();
  await tenant.record(9);
  await tenant.seal();
  return tenant;
}

/** A hash that fits nothing. */
export const GARBAGE = 'ab'.repeat(32) as ChainHash;

export const removing = (...seqs: number[]): string =>
  `DELETE FROM audit_events WHERE tenant_id = $1 AND chain_seq IN (${seqs.join(', ')})`;

export const unsealing = (...seqs: number[]): string =>
  `UPDATE audit_events SET chain_seq = NULL, chain_hash = NULL WHERE tenant_id = $1 AND chain_seq IN (${seqs.join(', ')})`;

/** What is found first: its kind, its number, and the event that was recorded as the nth; null for none. */
export type Expected = [kind: FindingKind, seq: number, event: number | null];
export type TamperingCase = [name: string, tamper: (tenant: TenantWorld) => Promise<unknown>, expected: Expected];

export async function expectFinding(tenant: TenantWorld, [kind, seq, event]: Expected): Promise<void> {
  const { findings } = await tenant.verify();
  expect(findings[0]).toMatchObject({ kind, seq, eventId: event === null ? null : tenant.event(event) });
}

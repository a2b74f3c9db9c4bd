import type { ChainLink, StoredCheckpoint } from '../domain/audit-chain.ts';
import type { TenantId } from '../domain/ids.ts';
import { type Checkpoint, type CheckpointKeys, readCheckpoint } from './checkpoints.ts';
import type { Finding, FindingKind } from './finding.ts';

export interface CheckpointTrailConfig {
  tenantId: TenantId;
  stored: AsyncIterable<StoredCheckpoint>;
  keys: CheckpointKeys;
}

/** The checkpoints that are stored for a chain, met one by one as the chain is walked. */
export class CheckpointTrail {
  readonly #tenantId: TenantId;
  readonly #stored: AsyncIterator<StoredCheckpoint, unknown>;
  readonly #keys: CheckpointKeys;
  readonly #findings = new Map<FindingKind, Finding>();
  /** The next one that was read and not met yet; undefined before the first is read. */
  #next: StoredCheckpoint | null | undefined;
  #last: Checkpoint | null = null;
  /** The number of the one that was met last, whatever it is worth. */
  #lastStoredSeq = 0;
  #count = 0;

  constructor({ tenantId, stored, keys }: CheckpointTrailConfig) {
    this.#tenantId = tenantId;
    this.#stored = stored[Symbol.asyncIterator]();
    this.#keys = keys;
  }

  /** What is wrong with the checkpoints so far; of each kind the first. */
  get findings(): readonly Finding[] {
    return [...this.#findings.values()];
  }

  /** How many were met that are signed as they should be. */
  get count(): number {
    return this.#count;
  }

  /** The last of them. */
  get last(): Checkpoint | null {
    return this.#last;
  }

  /** Meets the checkpoints up to a link. Answers the one that was signed for its number; null when there is none. */
  async meet({ seq }: ChainLink): Promise<Checkpoint | null> {
    const met = await this.#meetUpTo(seq);
    return met?.seq === seq ? met : null;
  }

  /** Meets all that are left. Answers the last of them; null when there is none. */
  meetAll(): Promise<Checkpoint | null> {
    return this.#meetUpTo(Infinity);
  }

  async #meetUpTo(seq: number): Promise<Checkpoint | null> {
    let met: Checkpoint | null = null;
    for (;;) {
      if (this.#next === undefined) this.#next = await this.#read();
      if (this.#next === null || this.#next.seq > seq) return met;
      met = (await this.#check(this.#next)) ?? met;
      this.#lastStoredSeq = this.#next.seq;
      this.#next = undefined;
    }
  }

  async #read(): Promise<StoredCheckpoint | null> {
    const step = await this.#stored.next();
    return step.done === true ? null : step.value;
  }

  /** Answers the checkpoint when it is signed for this chain and this place. */
  async #check(stored: StoredCheckpoint): Promise<Checkpoint | null> {
    const reading = await readCheckpoint(stored.jws, this.#keys);
    if (reading.outcome === 'unknown_key') {
      this.#add(
        'checkpoint_of_unknown_key',
        stored.seq,
        `is signed by the key ${reading.kid}, which is not among those given`,
      );
      return null;
    }
    if (reading.outcome === 'not_ours' || !isStoredAs(stored, reading.checkpoint, this.#tenantId)) {
      this.#add('checkpoint_altered', stored.seq, 'is not what was signed');
      return null;
    }
    const { checkpoint } = reading;
    if (![this.#last?.seq ?? 0, this.#lastStoredSeq].includes(checkpoint.previousSeq)) {
      this.#add('checkpoint_removed', checkpoint.seq, `follows one at ${checkpoint.previousSeq}, and that is not there`);
    }
    this.#count += 1;
    this.#last = checkpoint;
    return checkpoint;
  }

  #add(kind: FindingKind, seq: number, what: string): void {
    if (this.#findings.has(kind)) return;
    this.#findings.set(kind, { kind, seq, eventId: null, message: `the checkpoint at ${seq} ${what}` });
  }
}

const isStoredAs = (stored: StoredCheckpoint, signed: Checkpoint, tenantId: TenantId): boolean =>
  signed.tenantId === tenantId &&
  signed.seq === stored.seq &&
  signed.hash === stored.hash &&
  signed.signedAt.toISOString() === stored.signedAt;

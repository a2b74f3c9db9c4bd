import { type ChainLink, type ChainView, GENESIS, type SealedEvent } from '../domain/audit-chain.ts';
import type { TenantId } from '../domain/ids.ts';
import { fits } from './chain.ts';
import { CheckpointTrail } from './checkpoint-trail.ts';
import { type Checkpoint, type CheckpointKeys, readCheckpoint } from './checkpoints.ts';
import { diagnoseBreak, type HeldLink } from './diagnose-break.ts';
import { aboutChain, type Finding, inserted, removed, unsealedAgain } from './finding.ts';
import { findMissing } from './missing-events.ts';

/** How far back it is looked for what was inserted and made to fit. */
const MAX_EARLIER = 1000;

export interface VerifyOptions {
  keys: CheckpointKeys;
  /** Checkpoints that were kept elsewhere, verified: what they say counts, whatever is stored. Of other tenants too. */
  saved: readonly Checkpoint[];
}

/** What became of verifying a tenant's chain. */
export interface Verdict {
  tenantId: TenantId;
  /** How many events were found to fit together. */
  events: number;
  /** How many checkpoints were found to be signed. */
  checkpoints: number;
  lastSignedAt: Date | null;
  /** The last event up to which a signed checkpoint says that everything is as it was. */
  provenUpTo: number;
  /** How many events are not sealed yet: nothing can be said of them. */
  unsealed: number;
  /** Empty when the chain is intact; otherwise what was found first comes first. */
  findings: readonly Finding[];
}

/**
 * Walks a tenant's chain from its first event, up to the first that was altered, removed, inserted or reordered. Whoever can
 * write to the store can cut off the end of a chain together with its checkpoints, and no trace of it is left there: only a
 * checkpoint that was kept elsewhere tells.
 */
export async function verifyChain(view: ChainView, tenantId: TenantId, options: VerifyOptions): Promise<Verdict> {
  const walk = new ChainWalk(view, tenantId, options);
  const found = (await walk.toTheEnd()) ?? (await walk.atTheEnd());
  return {
    tenantId,
    events: walk.end.seq,
    checkpoints: walk.trail.count,
    lastSignedAt: walk.trail.last?.signedAt ?? null,
    provenUpTo: walk.proven.seq,
    unsealed: await view.countUnsealed(tenantId),
    findings: [...(found === null ? [] : [found]), ...walk.trail.findings],
  };
}

class ChainWalk {
  readonly trail: CheckpointTrail;
  /** The last link that holds. */
  end: HeldLink = { ...GENESIS, eventId: null };
  /** The last link that was signed for. */
  proven: ChainLink = GENESIS;
  readonly #view: ChainView;
  readonly #tenantId: TenantId;
  readonly #keys: CheckpointKeys;
  readonly #saved: readonly Checkpoint[];
  readonly #savedBySeq: ReadonlyMap<number, readonly Checkpoint[]>;
  /** Links before the end, the nearest one last. */
  #earlier: HeldLink[] = [];
  /** The event after `proven`. */
  #firstUnproven: string | null = null;

  constructor(view: ChainView, tenantId: TenantId, { keys, saved }: VerifyOptions) {
    this.trail = new CheckpointTrail({ tenantId, stored: view.checkpoints(tenantId), keys });
    this.#view = view;
    this.#tenantId = tenantId;
    this.#keys = keys;
    this.#saved = saved.filter((checkpoint) => checkpoint.tenantId === tenantId);
    this.#savedBySeq = Map.groupBy(this.#saved, ({ seq }) => seq);
  }

  /** Walks as far as the chain holds. Answers why it does not hold to its end; null when it does. */
  async toTheEnd(): Promise<Finding | null> {
    const events: AsyncIterator<SealedEvent, unknown> = this.#view.events(this.#tenantId)[Symbol.asyncIterator]();
    const rest = { [Symbol.asyncIterator]: () => events };
    for (;;) {
      const step = await events.next();
      if (step.done === true) return null;
      const finding = this.#follow(step.value)
        ? await this.#compareWithCheckpoints()
        : await this.#diagnose(step.value, rest);
      if (finding !== null) return finding;
    }
  }

  #follow({ seq, hash, event }: SealedEvent): boolean {
    if (seq !== this.end.seq + 1 || !fits(hash, this.end.hash, event, seq)) return false;
    this.#earlier.push(this.end);
    // By halves, so that it is not moved up for each event.
    if (this.#earlier.length > 2 * MAX_EARLIER) this.#earlier = this.#earlier.slice(-MAX_EARLIER);
    this.end = { seq, hash, eventId: event.id };
    this.#firstUnproven ??= event.id;
    return true;
  }

  async #compareWithCheckpoints(): Promise<Finding | null> {
    const stored = await this.trail.meet(this.end);
    const met = [...(this.#savedBySeq.get(this.end.seq) ?? []), ...(stored === null ? [] : [stored])];
    if (met.some(({ hash }) => hash !== this.end.hash)) return this.#rewritten();
    if (met.length > 0) {
      this.proven = this.end;
      this.#firstUnproven = null;
    }
    return null;
  }

  async #diagnose(broken: SealedEvent, rest: AsyncIterable<SealedEvent>): Promise<Finding> {
    const finding = await diagnoseBreak({
      before: this.end,
      earlier: this.#earlier,
      broken,
      rest,
      unsealed: this.#view.unsealedEvents(this.#tenantId),
      ends: await this.#ends(),
    });
    if (this.proven.seq >= this.end.seq) return finding;
    const doubt = `; what was signed for ends at ${this.proven.seq}, so it may be that an event after that was changed, and hashes made anew`;
    return { ...finding, message: finding.message + doubt };
  }

  async #ends(): Promise<readonly ChainLink[]> {
    const head = await this.#view.head(this.#tenantId);
    const last = await this.#view.lastCheckpoint(this.#tenantId);
    const reading = last === null ? null : await readCheckpoint(last.jws, this.#keys);
    const signed =
      reading?.outcome === 'valid' && reading.checkpoint.tenantId === this.#tenantId ? [reading.checkpoint] : [];
    return [...(head === null ? [] : [head]), ...signed, ...this.#saved];
  }

  /** Answers what is wrong with where the chain ends; null when nothing is. */
  async atTheEnd(): Promise<Finding | null> {
    const beyond = [await this.trail.meetAll(), ...this.#saved].filter((one) => one !== null && one.seq > this.end.seq);
    const [signed] = beyond.filter((one) => one !== null);
    if (signed !== undefined) return this.#missingUpTo(signed);
    const head = await this.#view.head(this.#tenantId);
    if (head !== null && head.seq > this.end.seq) return this.#missingUpTo(head);
    // A checkpoint that is not what was signed has been told of already.
    if (this.proven.seq < this.end.seq && this.trail.findings.length === 0) return this.#notCovered(head);
    return head === null || head.seq !== this.end.seq || head.hash !== this.end.hash ? this.#headChanged(head) : null;
  }

  async #missingUpTo(link: ChainLink): Promise<Finding> {
    const [before, count] = [this.end, link.seq - this.end.seq];
    const isLast = ({ hash }: ChainLink) => hash === link.hash;
    const waiting = await findMissing({ before, count, isLast }, this.#view.unsealedEvents(this.#tenantId));
    return waiting === null ? removed(before.seq + 1, count) : unsealedAgain(before.seq + 1, waiting.id);
  }

  #rewritten(): Finding {
    const [from, to] = [this.proven.seq + 1, this.end.seq];
    const what = `is not what was signed: from event ${from} to ${to} one or more were altered, removed, inserted or reordered, and the hashes made anew`;
    return aboutChain('rewritten', from, this.#firstUnproven, what);
  }

  #notCovered(head: ChainLink | null): Finding {
    const { seq } = this.proven;
    const from = seq + 1;
    if (head?.seq === seq) return inserted(from, this.#firstUnproven, `the chain was sealed up to ${seq}`);
    const what = `is not signed for from event ${from} on: it was inserted, or the checkpoint that covers it was removed`;
    return aboutChain('not_covered', from, this.#firstUnproven, what);
  }

  #headChanged(head: ChainLink | null): Finding | null {
    if (head === null && this.end.seq === GENESIS.seq) return null;
    const what =
      head === null ? 'has no head' : `has a head at ${head.seq} that is not the link of its last event, ${this.end.seq}`;
    return aboutChain('head_changed', this.end.seq, null, what);
  }
}

import { hash } from 'node:crypto';
import type { Cluster, Redis } from 'ioredis';
import { z } from 'zod';
import { unavailable } from '../../domain/errors.ts';
import type { CallId, HandleHash } from '../../domain/ids.ts';
import type { DownstreamRepository } from '../../domain/repository.ts';
import type { ClaimKind, HandleUsage, KeptKind, RuntimeStore, SlotAnswer, SlotRequest } from '../../domain/runtime-store.ts';
import { CallsUnderWay } from './calls-under-way.ts';
import type { RedisConnection } from './connect.ts';
import { defineScripts } from './scripts.ts';
import { redisUnavailable } from './translate-error.ts';

export interface RedisRuntimeStoreConfig {
  redis: Pick<RedisConnection, 'client'>;
  /** What every key begins with: one for each deployment. Holds no braces, which would choose the node of a cluster. */
  keyPrefix: string;
  /** Asked where Redis knows nothing of a handle: its first call, and all that come after a loss. */
  usage: Pick<DownstreamRepository, 'findHandleUsage'>;
}

/** Keys outlive what they tell by this: the clocks of processes differ, and a call that ends late still pays. */
const KEPT_AFTER_END_MS = 60_000;
/** Refreshed with every claim and every pass of the cleanup, so it goes only with the whole deployment. */
const MEMORY_OF_PROOFS_KEPT_MS = 86_400_000;
/**
 * The longest that the claim of a proof may end after the proof could first have been used: it is good for 60 seconds and marked for
 * 5 more, may be dated 5 seconds ahead, and the clocks of two processes may be 5 seconds apart.
 */
const PROOF_CLAIM_MS = 75_000;
/** By then, proofs are dated after everything that may have been forgotten. */
const PROOFS_RETRY_SECONDS = 10;

const SlotReply = z.union([
  z.tuple([z.literal('granted'), z.number()]),
  z.tuple([z.enum(['requests', 'concurrency', 'bytes'])]),
  z.tuple([z.literal('missing')]),
]);
const SpendReply = z.enum(['paid', 'exhausted', 'missing']);
const CountReply = z.number();
const ClaimReply = z.enum(['yes', 'no', 'unsure']);

/**
 * Runtime state that processes share. Whatever has to be decided at once is a script; times are the callers', and every key expires.
 *
 * Redis may lose all of it. A handle whose state is gone begins again from what the repository knows, never with its whole budget;
 * the same goes for state that another life of the server wrote, since a snapshot or a lagging replica may be older than what was
 * answered. A session's token is refused by the repository in any case. After a loss, proofs of possession that may have been used
 * before are refused with `unavailable`: those that were made up to 10 seconds later, on the very first start as well. A delegation
 * that was used before a loss is once more its first user's.
 *
 * Claims must not be evicted: Redis needs `maxmemory-policy noeviction`. When it is full, calls are refused with `unavailable`.
 */
export class RedisRuntimeStore implements RuntimeStore {
  readonly #client: Redis | Cluster;
  readonly #keyPrefix: string;
  readonly #usage: RedisRuntimeStoreConfig['usage'];
  readonly #underWay = new CallsUnderWay();
  /** The latest time that a caller told, in milliseconds since the epoch. */
  #nowMs = 0;

  constructor({ redis, keyPrefix, usage }: RedisRuntimeStoreConfig) {
    if (/[{}]/.test(keyPrefix)) throw new RangeError('keyPrefix must hold no braces');
    defineScripts(redis.client);
    this.#client = redis.client;
    this.#keyPrefix = keyPrefix;
    this.#usage = usage;
  }

  async acquireSlot(request: SlotRequest): Promise<SlotAnswer> {
    const { handleHash, slotId, budget, now, handleExpiresAt } = request;
    this.#hear(now);
    // What is kept about a handle that ended may be gone, and nothing is begun again for it.
    if (now >= handleExpiresAt) return { granted: false, exhausted: 'requests' };
    const ask = async (): Promise<SlotAnswer | null> => {
      const asked = this.#client.asbAcquireSlot(
        ...this.#handleKeys(handleHash),
        ...[slotId, budget.maxConcurrent, now.getTime(), lapsesAt(request).getTime(), keptHandleMs(request)],
      );
      return slotAnswer(SlotReply.parse(await orUnavailable(asked)));
    };
    const answer = await this.#withState(request, ask, (usage) => {
      if (!this.#underWay.hasOpen(handleHash, usage)) this.#underWay.settle(handleHash);
      return true;
    });
    if (answer?.granted === true) this.#underWay.began(request, lapsesAt(request));
    // A handle that the repository does not know has no budget.
    return answer ?? { granted: false, exhausted: 'requests' };
  }

  async spendBytes(handleHash: HandleHash, bytes: number): Promise<boolean> {
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw new RangeError('bytes must be a whole number, not below zero');
    const spent = this.#underWay.spent(handleHash, bytes);
    const spend = async (): Promise<'paid' | 'exhausted' | null> => {
      const asked = this.#client.asbSpendBytes(
        ...this.#handleKeys(handleHash),
        ...(spent === null ? [bytes, ''] : [spent.tally.total, spent.tally.name]),
        this.#nowMs,
      );
      const answer = SpendReply.parse(await orUnavailable(asked));
      return answer === 'missing' ? null : answer;
    };
    // Only a call knows what the budget was, and only one that is on record has anything to pay for.
    const answer =
      spent === null
        ? await spend()
        : await this.#withState(spent.request, spend, (usage) => this.#underWay.hasOpen(handleHash, usage));
    return answer === 'paid';
  }

  async releaseSlot(handleHash: HandleHash, slotId: CallId): Promise<void> {
    const tally = this.#underWay.ended(handleHash, slotId);
    await orUnavailable(this.#client.asbReleaseSlot(...this.#handleKeys(handleHash), slotId, tally?.name ?? ''));
  }

  async slotsHeld(handleHash: HandleHash, now: Date): Promise<number> {
    this.#hear(now);
    const asked = this.#client.asbCountSlots(...this.#handleKeys(handleHash), now.getTime());
    const held = CountReply.parse(await orUnavailable(asked));
    if (held >= 0) return held;
    const usage = await this.#usage.findHandleUsage(handleHash);
    return usage === null ? 0 : usage.slots.filter((slot) => slot.lapsesAt > now).length;
  }

  async claim(kind: ClaimKind, key: string, value: string, expiresAt: Date, now: Date): Promise<boolean> {
    this.#hear(now);
    const claimed = [digest(value), expiresAt.getTime(), now.getTime(), keptMs(expiresAt, now)];
    const asked =
      kind === 'proof'
        ? this.#client.asbClaimProof(...this.#proofKeys(key), ...claimed, PROOF_CLAIM_MS, MEMORY_OF_PROOFS_KEPT_MS)
        : this.#client.asbClaim(`${this.#keyPrefix}claim:${kind}:${digest(key)}`, ...claimed);
    const answer = ClaimReply.parse(await orUnavailable(asked));
    if (answer === 'unsure') {
      throw unavailable('the record of used proofs was lost or has just begun; make a new proof in some seconds', {
        retryAfterSeconds: PROOFS_RETRY_SECONDS,
      });
    }
    return answer === 'yes';
  }

  async revokeToken(tokenId: string, expiresAt: Date, now: Date): Promise<void> {
    this.#hear(now);
    if (expiresAt <= now) return;
    const marked = [expiresAt.getTime(), keptMs(expiresAt, now)];
    await orUnavailable(this.#client.asbRevokeToken(this.#revokedKey(tokenId), ...marked));
  }

  async isTokenRevoked(tokenId: string, now: Date): Promise<boolean> {
    this.#hear(now);
    return Number(await orUnavailable(this.#client.get(this.#revokedKey(tokenId)))) > now.getTime();
  }

  async keep(kind: KeptKind, key: string, value: string, expiresAt: Date, now: Date): Promise<void> {
    this.#hear(now);
    const name = this.#keptKey(kind, key);
    // What is over has nothing to say, and what it comes in the place of is gone as well.
    if (expiresAt <= now) await orUnavailable(this.#client.del(name));
    else await orUnavailable(this.#client.set(name, `${expiresAt.getTime()} ${value}`, 'PX', keptMs(expiresAt, now)));
  }

  async kept(kind: KeptKind, key: string, now: Date): Promise<string | null> {
    this.#hear(now);
    const text = await orUnavailable(this.#client.get(this.#keptKey(kind, key)));
    if (text === null) return null;
    const space = text.indexOf(' ');
    return Number(text.slice(0, space)) > now.getTime() ? text.slice(space + 1) : null;
  }

  /** Redis drops by itself what ran out. */
  async forgetExpired(now: Date): Promise<void> {
    this.#hear(now);
    this.#underWay.forgetLapsed(now);
    // Claims nothing, as it is over; that claims are remembered is written down all the same.
    await this.claim('proof', '', '', now, now);
  }

  /** Writes, since a replica or a full server can be read as well. */
  async ping(): Promise<void> {
    await orUnavailable(this.#client.set(`${this.#keyPrefix}ping`, '', 'PX', KEPT_AFTER_END_MS));
  }

  /**
   * Runs what answers null where the handle's state is gone, and again when that has been begun from what the repository knows.
   * Answers null for a handle that it does not know, or with which `mayBegin` does not want to begin.
   */
  async #withState<Answer>(
    request: SlotRequest,
    run: () => Promise<Answer | null>,
    mayBegin: (usage: HandleUsage) => boolean,
  ): Promise<Answer | null> {
    const answer = await run();
    if (answer !== null) return answer;
    const usage = await this.#usage.findHandleUsage(request.handleHash);
    if (usage === null || !mayBegin(usage)) return null;
    await this.#seed(request, usage);
    const again = await run();
    if (again === null) throw unavailable('runtime state was lost a moment ago; try again');
    return again;
  }

  async #seed(request: SlotRequest, { requests, bytes, slots }: HandleUsage): Promise<void> {
    const { handleHash, budget, handleExpiresAt } = request;
    await orUnavailable(
      this.#client.asbSeedHandle(
        ...this.#handleKeys(handleHash),
        ...[budget.maxRequests - requests, budget.maxBytes - bytes, handleExpiresAt.getTime(), keptHandleMs(request)],
        ...slots.flatMap((slot) => [slot.slotId, slot.lapsesAt.getTime()]),
      ),
    );
  }

  #hear(now: Date): void {
    this.#nowMs = Math.max(this.#nowMs, now.getTime());
  }

  #handleKeys(handleHash: HandleHash): [state: string, slots: string] {
    return [`${this.#keyPrefix}handle:{${handleHash}}`, `${this.#keyPrefix}slots:{${handleHash}}`];
  }

  /** Proofs are remembered together, or not at all: in a cluster on one node. */
  #proofKeys(key: string): [claim: string, memory: string] {
    return [`${this.#keyPrefix}claim:{proof}:${digest(key)}`, `${this.#keyPrefix}claim:{proof}`];
  }

  #revokedKey(tokenId: string): string {
    return `${this.#keyPrefix}revoked:${digest(tokenId)}`;
  }

  #keptKey(kind: KeptKind, key: string): string {
    return `${this.#keyPrefix}kept:${kind}:${digest(key)}`;
  }
}

/** Null where the handle's state is gone. */
function slotAnswer([outcome, bytes]: z.infer<typeof SlotReply>): SlotAnswer | null {
  if (outcome === 'missing') return null;
  return outcome === 'granted' ? { granted: true, remainingBytes: bytes } : { granted: false, exhausted: outcome };
}

/** Of a key or value whose length and letters are others' choice. */
const digest = (text: string): string => hash('sha256', text, 'base64url');

const lapsesAt = ({ now, budget }: SlotRequest): Date => new Date(now.getTime() + budget.timeoutSeconds * 1000);

/** How long Redis keeps what ends at `expiresAt`, by its own clock. */
const keptMs = (expiresAt: Date, now: Date): number => expiresAt.getTime() - now.getTime() + KEPT_AFTER_END_MS;

const keptHandleMs = (request: SlotRequest): number =>
  Math.max(keptMs(request.handleExpiresAt, request.now), keptMs(lapsesAt(request), request.now));

async function orUnavailable<Reply>(asked: Promise<Reply>): Promise<Reply> {
  try {
    return await asked;
  } catch (error) {
    throw redisUnavailable(error);
  }
}

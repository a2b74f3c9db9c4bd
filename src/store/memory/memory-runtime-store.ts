import type { CallId, HandleHash } from '../../domain/ids.ts';
import {
  CLAIM_KINDS,
  KEPT_KINDS,
  type ClaimKind,
  type KeptKind,
  type RuntimeStore,
  type SlotAnswer,
  type SlotRequest,
} from '../../domain/runtime-store.ts';
import { Claims } from './claims.ts';
import { KeptValues } from './kept-values.ts';
import { RevokedTokens } from './revoked-tokens.ts';
import { TimeQueue } from './time-queue.ts';

interface HandleUse {
  remainingRequests: number;
  remainingBytes: number;
  /** When each slot's lease lapses (milliseconds since the epoch), by slot. */
  leases: Map<CallId, number>;
}

/** For tests that look whether anything is left behind. */
export interface CountsEntries {
  entryCounts(): Readonly<Record<string, number>>;
}

export interface MemoryRuntimeStoreConfig {
  /** How many claims of one kind may be held at once; further ones are refused with `unavailable`. */
  maxClaims?: number;
  /** How many values of one kind may be kept at once; further ones are refused with `unavailable`. */
  maxKeptValues?: number;
  /** How many revoked tokens are known at once; the one that would run out first makes room. */
  maxRevokedTokens?: number;
}

/** About 300 bytes each. */
const MAX_CLAIMS = 500_000;
const MAX_REVOKED_TOKENS = 500_000;
/** Some kilobytes each. */
const MAX_KEPT_VALUES = 50_000;

/**
 * Budgets of the handles, claims, revoked tokens and kept values of one process. A handle's requests and bytes are what the budget of its first call said; a
 * configuration that changes later does not refill them.
 */
export class MemoryRuntimeStore implements RuntimeStore, CountsEntries {
  readonly #uses = new Map<HandleHash, HandleUse>();
  readonly #expiries = new TimeQueue<HandleHash>();
  readonly #claims: Readonly<Record<ClaimKind, Claims>>;

  readonly #revokedTokens: RevokedTokens;
  readonly #kept: Readonly<Record<KeptKind, KeptValues>>;

  constructor({
    maxClaims = MAX_CLAIMS,
    maxKeptValues = MAX_KEPT_VALUES,
    maxRevokedTokens = MAX_REVOKED_TOKENS,
  }: MemoryRuntimeStoreConfig = {}) {
    const claims = () => new Claims(maxClaims);
    this.#claims = {
      ...{ proof: claims(), delegation: claims(), callback: claims(), mint: claims() },
      ...{ relay: claims(), relay_place: claims() },
    };
    const kept = () => new KeptValues(maxKeptValues);
    this.#kept = { relay_session: kept(), github_token: kept() };
    this.#revokedTokens = new RevokedTokens(maxRevokedTokens);
  }

  acquireSlot(request: SlotRequest): Promise<SlotAnswer> {
    return Promise.resolve(this.#acquire(request));
  }

  spendBytes(handleHash: HandleHash, bytes: number): Promise<boolean> {
    if (!Number.isSafeInteger(bytes) || bytes < 0) {
      return Promise.reject(new RangeError('bytes must be a whole number, not below zero'));
    }
    const use = this.#uses.get(handleHash);
    if (use === undefined) return Promise.resolve(false);
    const enough = bytes <= use.remainingBytes;
    use.remainingBytes = enough ? use.remainingBytes - bytes : 0;
    return Promise.resolve(enough);
  }

  releaseSlot(handleHash: HandleHash, slotId: CallId): Promise<void> {
    this.#uses.get(handleHash)?.leases.delete(slotId);
    return Promise.resolve();
  }

  slotsHeld(handleHash: HandleHash, now: Date): Promise<number> {
    let held = 0;
    for (const lapsesAt of this.#uses.get(handleHash)?.leases.values() ?? []) held += Number(lapsesAt > now.getTime());
    return Promise.resolve(held);
  }

  claim(kind: ClaimKind, key: string, value: string, expiresAt: Date, now: Date): Promise<boolean> {
    return new Promise((resolve) => resolve(this.#claims[kind].claim(key, value, expiresAt, now)));
  }

  revokeToken(tokenId: string, expiresAt: Date, now: Date): Promise<void> {
    this.#revokedTokens.add(tokenId, expiresAt, now);
    return Promise.resolve();
  }

  isTokenRevoked(tokenId: string, now: Date): Promise<boolean> {
    return Promise.resolve(this.#revokedTokens.has(tokenId, now));
  }

  keep(kind: KeptKind, key: string, value: string, expiresAt: Date, now: Date): Promise<void> {
    return new Promise((resolve) => {
      this.#kept[kind].keep(key, value, expiresAt, now);
      resolve();
    });
  }

  kept(kind: KeptKind, key: string, now: Date): Promise<string | null> {
    return Promise.resolve(this.#kept[kind].get(key, now));
  }

  forgetExpired(now: Date): Promise<void> {
    for (const kind of CLAIM_KINDS) this.#claims[kind].forgetExpired(now);
    for (const kind of KEPT_KINDS) this.#kept[kind].forgetExpired(now);
    this.#revokedTokens.forgetExpired(now);
    for (const handleHash of this.#expiries.before(now, Number.POSITIVE_INFINITY)) {
      if (hasLiveLease(this.#uses.get(handleHash), now)) continue;
      this.#expiries.remove(handleHash);
      this.#uses.delete(handleHash);
    }
    return Promise.resolve();
  }

  ping(): Promise<void> {
    return Promise.resolve();
  }

  entryCounts(): Readonly<Record<string, number>> {
    return {
      uses: this.#uses.size,
      expiries: this.#expiries.size,
      ...this.#claimCounts(),
      keptValues: KEPT_KINDS.reduce((sum, kind) => sum + this.#kept[kind].size, 0),
      revokedTokens: this.#revokedTokens.size,
    };
  }

  #claimCounts(): Readonly<Record<string, number>> {
    const all = CLAIM_KINDS.map((kind) => this.#claims[kind].counts());
    return {
      claims: all.reduce((sum, { claims = 0 }) => sum + claims, 0),
      claimEnds: all.reduce((sum, { claimEnds = 0 }) => sum + claimEnds, 0),
    };
  }

  #acquire({ handleHash, slotId, budget, now, handleExpiresAt }: SlotRequest): SlotAnswer {
    const known = this.#uses.get(handleHash);
    if (known !== undefined && (known.leases.get(slotId) ?? 0) > now.getTime()) {
      return { granted: true, remainingBytes: known.remainingBytes };
    }
    // A handle that ended may have been forgotten here; a new entry would hand it its whole budget again.
    if (now >= handleExpiresAt) return { granted: false, exhausted: 'requests' };
    const use = known ?? {
      remainingRequests: budget.maxRequests,
      remainingBytes: budget.maxBytes,
      leases: new Map<CallId, number>(),
    };
    if (use.remainingBytes <= 0) return { granted: false, exhausted: 'bytes' };
    if (use.remainingRequests <= 0) return { granted: false, exhausted: 'requests' };
    dropLapsed(use.leases, now);
    if (use.leases.size >= budget.maxConcurrent) return { granted: false, exhausted: 'concurrency' };

    use.remainingRequests -= 1;
    use.leases.set(slotId, now.getTime() + budget.timeoutSeconds * 1000);
    if (known === undefined) {
      this.#uses.set(handleHash, use);
      this.#expiries.put(handleHash, handleExpiresAt);
    }
    return { granted: true, remainingBytes: use.remainingBytes };
  }
}

function hasLiveLease(use: HandleUse | undefined, now: Date): boolean {
  if (use === undefined) return false;
  dropLapsed(use.leases, now);
  return use.leases.size > 0;
}

function dropLapsed(leases: Map<CallId, number>, now: Date): void {
  for (const [slotId, lapsesAt] of leases) {
    if (lapsesAt <= now.getTime()) leases.delete(slotId);
  }
}

import type { HandleHash } from './ids.ts';

/** What one proxy handle may use up. */
export interface ProxyBudget {
  maxConcurrent: number;
  maxRequests: number;
  maxBytes: number;
  /** The longest one call may take. */
  timeoutSeconds: number;
}

export interface SlotRequest {
  handleHash: HandleHash;
  slotId: string;
  budget: ProxyBudget;
  now: Date;
  /** When the handle itself ends; what is kept about it may be forgotten once its slots are free. */
  handleExpiresAt: Date;
}

export type SlotAnswer =
  { granted: true; remainingBytes: number } | { granted: false; exhausted: 'requests' | 'concurrency' | 'bytes' };

/** What is claimed: a proof or a callback that works once, a delegation that is its first user's. One kind never takes another's room. */
export const CLAIM_KINDS = ['proof', 'delegation', 'callback'] as const;
export type ClaimKind = (typeof CLAIM_KINDS)[number];

/** State that lives as long as a handle or a token does, shared by every process of a deployment. */
export interface RuntimeStore {
  /**
   * Takes one request and one concurrency slot from the handle's budget, or neither. A slot is a lease: it lapses
   * `budget.timeoutSeconds` from `now` even when its holder died. Rejects with `unavailable`.
   */
  acquireSlot(request: SlotRequest): Promise<SlotAnswer>;
  /** Takes `bytes` from the budget. Answers false, and takes what is left, when that is less. A handle unknown here has nothing left. */
  spendBytes(handleHash: HandleHash, bytes: number): Promise<boolean>;
  /** Gives a slot back. A slot that lapsed or was given back before is no error. */
  releaseSlot(handleHash: HandleHash, slotId: string): Promise<void>;
  /** How many calls are under way behind a handle: its slots that are held and have not lapsed at `now`. */
  slotsHeld(handleHash: HandleHash, now: Date): Promise<number>;
  /**
   * Gives `key` to the first value that asks for it, until `expiresAt`. Answers whether it is `value`'s; asking again with the
   * same value is a yes, so a mark that may be made once only needs a value that nobody uses twice. Nobody is the
   * first to ask for what is over at `now`. Rejects with `unavailable`, also when it holds too many claims already.
   */
  claim(kind: ClaimKind, key: string, value: string, expiresAt: Date, now: Date): Promise<boolean>;
  /**
   * Drops claims that ran out, and what belongs to handles that ended before `now`. One with a slot still held is kept until that is given back or
   * lapses, and dropped by a later pass: the call under way pays for its bytes to the end.
   */
  forgetExpired(now: Date): Promise<void>;
  ping(): Promise<void>;
}

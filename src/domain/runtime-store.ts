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

/** State that lives as long as a handle, shared by every process of a deployment. */
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
  /**
   * Drops what belongs to handles that ended before `now`. One with a slot still held is kept until that is given back or
   * lapses, and dropped by a later pass: the call under way pays for its bytes to the end.
   */
  forgetExpired(now: Date): Promise<void>;
  ping(): Promise<void>;
}

import type { CallId, HandleHash } from './ids.ts';

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
  /** The id of the call that is to be made. */
  slotId: CallId;
  budget: ProxyBudget;
  now: Date;
  /** When the handle itself ends; what is kept about it may be forgotten once its slots are free. */
  handleExpiresAt: Date;
}

/** What a handle has used up, as the repository knows it: a runtime store that lost its data begins from there. */
export interface HandleUsage {
  requests: number;
  /** Of the calls that have come to an end. */
  bytes: number;
  /** The calls that are open, and when the slot of each lapses. */
  slots: readonly { slotId: CallId; lapsesAt: Date }[];
}

/** Values that are kept for others to find: browser relays, and tokens of installations that processes share, sealed. */
export const KEPT_KINDS = ['relay_session', 'github_token'] as const;
export type KeptKind = (typeof KEPT_KINDS)[number];

export type SlotAnswer =
  { granted: true; remainingBytes: number } | { granted: false; exhausted: 'requests' | 'concurrency' | 'bytes' };

/**
 * What is claimed: a proof or a callback that works once, a delegation that is its first user's, the making of a token that processes
 * share, the name of a browser relay's key, one of the places that a session has for relays. One kind never takes another's room.
 */
export const CLAIM_KINDS = ['proof', 'delegation', 'callback', 'mint', 'relay', 'relay_place'] as const;
export type ClaimKind = (typeof CLAIM_KINDS)[number];

/** State that lives as long as a handle or a token does, shared by every process of a deployment. */
export interface RuntimeStore {
  /**
   * Takes one request and one concurrency slot from the handle's budget, or neither; asking again for a slot that is held is a yes
   * and takes nothing. A slot is a lease: it lapses
   * `budget.timeoutSeconds` from `now` even when its holder died. Rejects with `unavailable`.
   */
  acquireSlot(request: SlotRequest): Promise<SlotAnswer>;
  /** Takes `bytes` from the budget. Answers false, and takes what is left, when that is less. A handle unknown here has nothing left. */
  spendBytes(handleHash: HandleHash, bytes: number): Promise<boolean>;
  /** Gives a slot back. A slot that lapsed or was given back before is no error. */
  releaseSlot(handleHash: HandleHash, slotId: CallId): Promise<void>;
  /** How many calls are under way behind a handle: its slots that are held and have not lapsed at `now`. */
  slotsHeld(handleHash: HandleHash, now: Date): Promise<number>;
  /**
   * Gives `key` to the first value that asks for it, until `expiresAt`. Answers whether it is `value`'s; asking again with the
   * same value is a yes, so a mark that may be made once only needs a value that nobody uses twice. Nobody is the
   * first to ask for what is over at `now`. Rejects with `unavailable`, also when it holds too many claims already.
   */
  claim(kind: ClaimKind, key: string, value: string, expiresAt: Date, now: Date): Promise<boolean>;
  /** Marks a session's token (its `jti`) as revoked until it runs out by itself. The repository knows as well; this is for those who ask often. */
  revokeToken(tokenId: string, expiresAt: Date, now: Date): Promise<void>;
  /** Whether it was marked. A no is not proof: the marks may have been lost. */
  isTokenRevoked(tokenId: string, now: Date): Promise<boolean>;
  /** Keeps a value under a key until `expiresAt`, in the place of an earlier one. Secret ones are sealed by the caller. */
  keep(kind: KeptKind, key: string, value: string, expiresAt: Date, now: Date): Promise<void>;
  /** Null when there is none, or none any more at `now`. */
  kept(kind: KeptKind, key: string, now: Date): Promise<string | null>;
  /**
   * Drops claims, marks and kept values that ran out, and what belongs to handles that ended before `now`. One with a slot still held is kept until that is given back or
   * lapses, and dropped by a later pass: the call under way pays for its bytes to the end.
   */
  forgetExpired(now: Date): Promise<void>;
  ping(): Promise<void>;
}

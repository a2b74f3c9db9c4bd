import type { AuditEvent, AuditSubject } from './audit-event.ts';
import type { TenantId } from './ids.ts';

/** SHA-256, hex: what a link of a chain is known by. */
export type ChainHash = string & { readonly __brand: 'ChainHash' };

/** An event as it stands on record, whatever it may have been made to say. Each event that the broker writes is one. */
export type RecordedEvent = Partial<Record<Exclude<keyof AuditEvent, 'id' | 'at' | 'subject' | 'details'>, string>> & {
  id: string;
  /** RFC 3339, UTC, milliseconds, as the broker writes it. Any other moment in whatever words the store has for it. */
  at: string;
  subject: Partial<Record<keyof AuditSubject, string>>;
  details?: unknown;
};

/** A place in a tenant's chain. Events are numbered from 1. */
export interface ChainLink {
  seq: number;
  /** Of the event with this number and, by way of the hash before, of every one before it. */
  hash: ChainHash;
}

/** What the first event of a chain follows. */
export const GENESIS: ChainLink = { seq: 0, hash: '0'.repeat(64) as ChainHash };

/** Where a tenant's chain ends; `GENESIS` while nothing is sealed. */
export type ChainHead = ChainLink;

/** An event that was numbered and hashed. */
export interface SealedEvent extends ChainLink {
  event: RecordedEvent;
}

/** A signed statement of a link, as it is stored beside the chain. */
export interface StoredCheckpoint extends ChainLink {
  tenantId: TenantId;
  /** As an event's `at`. */
  signedAt: string;
  /** Compact JWS (RFC 7515); what counts is what it says. */
  jws: string;
}

/** What one transaction seals: the events' links, and a checkpoint of the last. */
export interface SealedBatch {
  links: readonly (ChainLink & { eventId: string })[];
  checkpoint: StoredCheckpoint;
}

/** What a batch goes on from. */
export interface BatchStart {
  head: ChainHead;
  /** The last checkpoint of the tenant; null when there is none. */
  lastCheckpoint: StoredCheckpoint | null;
  /** Never empty. */
  events: readonly RecordedEvent[];
}

/** The chains, as those who seal need them. Every member rejects with `unavailable` when the store cannot be reached. */
export interface AuditChain {
  tenantsWithUnsealedEvents(): Promise<readonly TenantId[]>;
  /**
   * In one transaction: takes the tenant's head for itself and up to `limit` unsealed events in the order they were written, has `seal` make
   * links of them, and stores these with the new head and the checkpoint. Answers how many; null when somebody else has the
   * head. When `seal` rejects, nothing is changed.
   */
  sealBatch(tenantId: TenantId, limit: number, seal: (start: BatchStart) => Promise<SealedBatch>): Promise<number | null>;
}

/** The chains, as those who read need them. Every member rejects, or throws while it is read, with `unavailable` when the store cannot be reached. */
export interface ChainView {
  /** Every tenant with an event, a head or a checkpoint, in the order of their ids. */
  tenants(): Promise<readonly TenantId[]>;
  /** Null when there is none. */
  head(tenantId: TenantId): Promise<ChainHead | null>;
  /** Numbered events in the order of their numbers, those after `afterSeq`; all without it. */
  events(tenantId: TenantId, afterSeq?: number): AsyncIterable<SealedEvent>;
  /** Events that wait to be sealed, in the order in which they were written. */
  unsealedEvents(tenantId: TenantId): AsyncIterable<RecordedEvent>;
  countUnsealed(tenantId: TenantId): Promise<number>;
  /** In the order of their numbers. */
  checkpoints(tenantId: TenantId): AsyncIterable<StoredCheckpoint>;
  /** The one with the highest number; null when there is none. */
  lastCheckpoint(tenantId: TenantId): Promise<StoredCheckpoint | null>;
}

export interface AuditChainReader extends ChainView {
  /** Reads everything as it is at one moment, while others go on sealing. */
  atOneMoment<T>(read: (view: ChainView) => Promise<T>): Promise<T>;
}

/** What a pass of sealing did. */
export interface SealingPass {
  sealed: number;
  /** Tenants whose events could not be sealed, and why: a chain that was tampered with is not carried on. */
  failures: readonly { tenantId: TenantId; error: unknown }[];
}

/** Seals what waits. */
export interface AuditSealer {
  /** Goes on until nothing waits that is not being sealed by another, or until `signal` says so. Rejects with `unavailable`. */
  seal(signal: AbortSignal): Promise<SealingPass>;
}

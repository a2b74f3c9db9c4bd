import {
  type AuditChain,
  type AuditSealer,
  type BatchStart,
  type ChainLink,
  GENESIS,
  type SealedBatch,
} from '../domain/audit-chain.ts';
import type { Clock } from '../domain/clock.ts';
import { BrokerError } from '../domain/errors.ts';
import type { TenantId } from '../domain/ids.ts';
import type { KeyRing } from '../domain/key-ring.ts';
import { nextLink } from './chain.ts';
import { type CheckpointReading, readCheckpoint, signCheckpoint } from './checkpoints.ts';

/** Few enough that a transaction is over in a fraction of a second, many enough that a signature for each costs nothing. */
const DEFAULT_BATCH_SIZE = 500;

export interface AuditSealerConfig {
  chain: AuditChain;
  /** The first signs. The others verify what earlier ones signed: keep their public halves. */
  keys: KeyRing;
  clock: Clock;
  /** How many events a transaction seals, and a checkpoint covers, at most. */
  batchSize?: number;
}

/**
 * Numbers and hashes events, and signs a checkpoint with every batch. Tenants take turns, a batch each, so that a busy one holds up nobody.
 * A chain is carried on only from a head that was signed: otherwise whoever can write to the store could have our
 * signature put under a chain of their own making.
 */
export function makeAuditSealer({ chain, keys, clock, batchSize = DEFAULT_BATCH_SIZE }: AuditSealerConfig): AuditSealer {
  const sealNextOf = (tenantId: TenantId) =>
    chain.sealBatch(tenantId, batchSize, (start) => sealBatch(tenantId, start, keys, clock));
  return {
    async seal(signal) {
      const failures: { tenantId: TenantId; error: unknown }[] = [];
      const finished = new Set<TenantId>();
      let sealed = 0;
      while (!signal.aborted) {
        const waiting = (await chain.tenantsWithUnsealedEvents()).filter((tenantId) => !finished.has(tenantId));
        if (waiting.length === 0) break;
        for (const tenantId of waiting) {
          if (isStopped(signal)) break;
          try {
            const count = (await sealNextOf(tenantId)) ?? 0;
            sealed += count;
            if (count < batchSize) finished.add(tenantId);
          } catch (error) {
            if (error instanceof BrokerError && error.code === 'unavailable') throw error;
            failures.push({ tenantId, error });
            finished.add(tenantId);
          }
        }
      }
      return { sealed, failures };
    },
  };
}

const isStopped = ({ aborted }: AbortSignal): boolean => aborted;

async function sealBatch(tenantId: TenantId, start: BatchStart, keys: KeyRing, clock: Clock): Promise<SealedBatch> {
  const previousSeq = await signedSeq(tenantId, start, keys);
  const links: SealedBatch['links'][number][] = [];
  let last: ChainLink = start.head;
  for (const event of start.events) {
    last = nextLink(last, event);
    links.push({ ...last, eventId: event.id });
  }
  const signedAt = clock.now();
  const jws = await signCheckpoint({ ...last, tenantId, previousSeq, signedAt }, keys);
  return { links, checkpoint: { ...last, tenantId, signedAt: signedAt.toISOString(), jws } };
}

/** The number of the checkpoint that vouches for the head; 0 for a chain that begins. Throws when none does. */
async function signedSeq(tenantId: TenantId, { head, lastCheckpoint }: BatchStart, keys: KeyRing): Promise<number> {
  if (lastCheckpoint === null) {
    if (head.seq === GENESIS.seq && head.hash === GENESIS.hash) return 0;
    throw new Error(`the head of the audit chain is at ${head.seq} and no checkpoint is there; run audit verify`);
  }
  const reading = await readCheckpoint(lastCheckpoint.jws, keys);
  if (reading.outcome === 'valid' && vouchesFor(reading, tenantId, head)) return head.seq;
  if (reading.outcome === 'unknown_key') {
    throw new Error(
      `the last audit checkpoint was signed by the key ${reading.kid}; add its public half to the audit signing key file`,
    );
  }
  throw new Error(`the head of the audit chain, at ${head.seq}, is not what the last checkpoint says; run audit verify`);
}

const vouchesFor = (
  { checkpoint }: Extract<CheckpointReading, { outcome: 'valid' }>,
  tenantId: TenantId,
  head: ChainLink,
): boolean => checkpoint.tenantId === tenantId && checkpoint.seq === head.seq && checkpoint.hash === head.hash;

import { hash, randomFillSync, randomInt } from 'node:crypto';
import { v7 } from 'uuid';
import type { Clock } from '../domain/clock.ts';
import type { ArtifactId, EventId, GrantId, HandleHash, ProxyHandle, SessionId } from '../domain/ids.ts';
import type { IdSource } from '../domain/id-source.ts';

/** More than anyone can guess, and more than will ever collide. */
const HANDLE_BYTES = 32;
const UUID_BYTES = 16;
const POOL_BYTES = 4096;
/** A fresh millisecond starts in the lower half, so that counting up has room. */
const SEQUENCE_START_LIMIT = 2 ** 31;
const SEQUENCE_LIMIT = 2 ** 32;

/** Ids by the clock's time, in the order they were asked for, and handles from the system's secure source. */
export function makeIdSource({ clock }: { clock: Clock }): IdSource {
  const random = pooledRandom();
  const uuid = monotonicUuid(clock, random);
  return {
    sessionId: () => `sess_${uuid()}` as SessionId,
    grantId: () => `gr_${uuid()}` as GrantId,
    artifactId: () => `art_${uuid()}` as ArtifactId,
    eventId: () => `evt_${uuid()}` as EventId,
    tokenId: uuid,
    slotId: uuid,
    proxyHandle: () => `ph_${random(HANDLE_BYTES).toString('base64url')}` as ProxyHandle,
    hashHandle: (handle) => hash('sha256', handle) as HandleHash,
  };
}

/**
 * UUIDv7s that sort in the order they were made, also within a millisecond and when the clock steps back (RFC 9562 section 6.2).
 * The package keeps that order only for its own reading of the system's time, so the counter is ours.
 */
function monotonicUuid(clock: Clock, random: (bytes: number) => Buffer): () => string {
  let msecs = -Infinity;
  let seq = 0;
  return () => {
    const now = clock.now().getTime();
    seq += 1;
    if (now > msecs || seq === SEQUENCE_LIMIT) {
      msecs = Math.max(now, msecs + 1);
      seq = randomInt(SEQUENCE_START_LIMIT);
    }
    return v7({ msecs, seq, random: random(UUID_BYTES) });
  };
}

/** Random bytes of which none is given twice or kept: a call to the system for each id would cost more than the id. */
function pooledRandom(): (bytes: number) => Buffer {
  const pool = Buffer.alloc(POOL_BYTES);
  let used = POOL_BYTES;
  return (bytes) => {
    if (used + bytes > POOL_BYTES) {
      randomFillSync(pool);
      used = 0;
    }
    const taken = Buffer.from(pool.subarray(used, used + bytes));
    pool.fill(0, used, used + bytes);
    used += bytes;
    return taken;
  };
}

import { createHash, randomBytes, randomFillSync, randomInt } from 'node:crypto';
import { v7 } from 'uuid';
import type { Clock } from '../domain/clock.ts';
import type { ArtifactId, EventId, GrantId, HandleHash, ProxyHandle, SessionId } from '../domain/ids.ts';
import type { IdSource } from '../domain/id-source.ts';

/** More than anyone can guess, and more than will ever collide. */
const HANDLE_BYTES = 32;
const UUID_BYTES = 16;
const POOLED_UUIDS = 256;
/** A fresh millisecond starts in the lower half, so that counting up has room. */
const SEQUENCE_START_LIMIT = 2 ** 31;
const SEQUENCE_LIMIT = 2 ** 32;

/** Ids by the clock's time, in the order they were asked for, and handles from the system's secure source. */
export function makeIdSource({ clock }: { clock: Clock }): IdSource {
  const uuid = monotonicUuid(clock);
  return {
    sessionId: () => `sess_${uuid()}` as SessionId,
    grantId: () => `gr_${uuid()}` as GrantId,
    artifactId: () => `art_${uuid()}` as ArtifactId,
    eventId: () => `evt_${uuid()}` as EventId,
    tokenId: uuid,
    slotId: uuid,
    proxyHandle: () => `ph_${randomBytes(HANDLE_BYTES).toString('base64url')}` as ProxyHandle,
    hashHandle: (handle) => createHash('sha256').update(handle).digest('hex') as HandleHash,
  };
}

/**
 * UUIDv7s that sort in the order they were made, also within a millisecond and when the clock steps back (RFC 9562 section 6.2).
 * The package keeps that order only for its own reading of the system's time, so the counter is ours.
 */
function monotonicUuid(clock: Clock): () => string {
  const random = pooledRandom();
  let msecs = -Infinity;
  let seq = 0;
  return () => {
    const now = clock.now().getTime();
    seq += 1;
    if (now > msecs || seq === SEQUENCE_LIMIT) {
      msecs = Math.max(now, msecs + 1);
      seq = randomInt(SEQUENCE_START_LIMIT);
    }
    return v7({ msecs, seq, random: random() });
  };
}

/** Sixteen random bytes at a time, of which none is given twice. A call to the system for each id would cost more than the id. */
function pooledRandom(): () => Uint8Array {
  const pool = new Uint8Array(UUID_BYTES * POOLED_UUIDS);
  let used = pool.length;
  return () => {
    if (used === pool.length) {
      randomFillSync(pool);
      used = 0;
    }
    used += UUID_BYTES;
    return pool.subarray(used - UUID_BYTES, used);
  };
}

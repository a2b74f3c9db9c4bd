import { createHash, randomBytes, randomInt } from 'node:crypto';
import { v7 } from 'uuid';
import type { Clock } from '../domain/clock.ts';
import type { ArtifactId, EventId, GrantId, HandleHash, ProxyHandle, SessionId } from '../domain/ids.ts';
import type { IdSource } from '../domain/id-source.ts';

/** More than anyone can guess, and more than will ever collide. */
const HANDLE_BYTES = 32;
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
  let msecs = -Infinity;
  let seq = 0;
  return () => {
    const now = clock.now().getTime();
    seq += 1;
    if (now > msecs || seq === SEQUENCE_LIMIT) {
      msecs = Math.max(now, msecs + 1);
      seq = randomInt(SEQUENCE_START_LIMIT);
    }
    return v7({ msecs, seq });
  };
}

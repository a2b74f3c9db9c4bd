import { createHmac, createSecretKey, hash, randomFillSync, randomInt } from 'node:crypto';
import { v7 } from 'uuid';
import type { Clock } from '../domain/clock.ts';
import type {
  ApprovalId,
  ArtifactId,
  CallId,
  EventId,
  GrantId,
  HandleHash,
  NotificationId,
  ProxyHandle,
  RevocationId,
  SessionId,
} from '../domain/ids.ts';
import type { IdSource } from '../domain/id-source.ts';

/** As long as what it makes (RFC 2104 section 3). */
const MIN_HANDLE_KEY_BYTES = 32;
const UUID_BYTES = 16;
const POOL_BYTES = 4096;
/** A fresh millisecond starts in the lower half, so that counting up has room. */
const SEQUENCE_START_LIMIT = 2 ** 31;
const SEQUENCE_LIMIT = 2 ** 32;

export interface IdSourceConfig {
  clock: Clock;
  /** The secret that handles come from, 32 bytes; replicas share it. */
  handleKey: Uint8Array;
}

/** Ids by the clock's time, in the order they were asked for; a handle is the HMAC-SHA256 of its artifact's id. */
export function makeIdSource({ clock, handleKey }: IdSourceConfig): IdSource {
  if (handleKey.length < MIN_HANDLE_KEY_BYTES) throw new Error('the handle key is too short');
  // Made once: from bytes it would cost several times as much as the HMAC itself.
  const key = createSecretKey(handleKey);
  const random = pooledRandom();
  const uuid = monotonicUuid(clock, random);
  return {
    sessionId: () => `sess_${uuid()}` as SessionId,
    grantId: () => `gr_${uuid()}` as GrantId,
    approvalId: () => `ap_${uuid()}` as ApprovalId,
    notificationId: () => `ntf_${uuid()}` as NotificationId,
    artifactId: () => `art_${uuid()}` as ArtifactId,
    eventId: () => `evt_${uuid()}` as EventId,
    callId: () => `call_${uuid()}` as CallId,
    revocationId: () => `rev_${uuid()}` as RevocationId,
    tokenId: uuid,
    proxyHandle: (artifactId) => `ph_${createHmac('sha256', key).update(artifactId).digest('base64url')}` as ProxyHandle,
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

import { LRUCache } from 'lru-cache';
import type { VerifiedWorkload, WorkloadIdentity } from '../domain/workload.ts';
import { workloadHash } from './workload-hash.ts';

type KnownWorkload = Pick<VerifiedWorkload, 'identity' | 'hash'>;

/** Thousands of pods; fewer where each has more to say of itself, never more memory. */
const MAX_BYTES = 10 * 2 ** 20;
/** What an entry takes besides its texts: objects, hash, and its place among the others. */
const ENTRY_BYTES = 768;
const BEYOND_LATIN_1 = /[^\u0000-\u00ff]/;

/**
 * Answers with one frozen identity and its hash for everything that describes the same workload: the sessions of a pod share
 * them instead of holding a copy each. Nothing is trusted by being known; this comes after the token was verified.
 */
export function makeKnownWorkloads(): (identity: WorkloadIdentity) => KnownWorkload {
  const known = new LRUCache<string, KnownWorkload>({
    maxSize: MAX_BYTES,
    sizeCalculation: (_workload, key) => bytesOf(key),
  });
  return (identity) => {
    const key = JSON.stringify(identity);
    let workload = known.get(key);
    if (workload === undefined) {
      workload = { identity: frozen(identity), hash: workloadHash(identity) };
      known.set(key, workload);
    }
    return workload;
  };
}

function frozen(identity: WorkloadIdentity): WorkloadIdentity {
  return Object.freeze({ ...identity, attributes: Object.freeze({ ...identity.attributes }) });
}

/** The texts are there twice: in the key, and in the identity. One character beyond Latin-1 makes every one of a text twice as long. */
const bytesOf = (key: string): number => ENTRY_BYTES + 2 * key.length * (BEYOND_LATIN_1.test(key) ? 2 : 1);

import { LRUCache } from 'lru-cache';
import type { VerifiedWorkload, WorkloadIdentity } from '../domain/workload.ts';
import { workloadHash } from './workload-hash.ts';

type KnownWorkload = Pick<VerifiedWorkload, 'identity' | 'hash'>;

/** About 1 KiB each. */
const MAX_WORKLOADS = 10_000;

/**
 * Answers with one frozen identity and its hash for everything that describes the same workload: the sessions of a pod share
 * them instead of holding a copy each. Nothing is trusted by being known; this comes after the token was verified.
 */
export function makeKnownWorkloads(): (identity: WorkloadIdentity) => KnownWorkload {
  const known = new LRUCache<string, KnownWorkload>({ max: MAX_WORKLOADS });
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

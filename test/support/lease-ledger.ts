import type { RevocationId } from '../../src/domain/ids.ts';

/** What can go wrong with one call, and whether it has had its effect by then. */
export const LEASE_FAULTS = [
  /** A no, for sure: nothing was done. */
  'refuse',
  'fail_before',
  'fail_after',
  'hang_before',
  'hang_after',
  /** It was done, and the connection breaks before the answer. */
  'lose_answer',
  /** It is done when the caller has given up. */
  'late_effect',
] as const;
export type LeaseFault = (typeof LEASE_FAULTS)[number];
export type LeaseOperation = 'issue' | 'revoke';

export interface LeaseOrder {
  revocationId: RevocationId;
  capability: string;
  resourceRef: string;
  expiresAt: Date;
}

/** A credential as the downstream system knows it. */
export interface LedgerLease extends LeaseOrder {
  leaseId: string;
  username: string;
  /** Begins with CANARY, so that it can be searched for. */
  password: string;
  isRevoked: boolean;
}

/** A downstream system that makes credentials, counts them, and fails as it is told. The same order is filled once. */
export class LeaseLedger {
  readonly #leases = new Map<RevocationId, LedgerLease>();
  readonly #next: Record<LeaseOperation, LeaseFault[]> = { issue: [], revoke: [] };
  readonly #always: Record<LeaseOperation, LeaseFault | null> = { issue: null, revoke: null };
  /** How often it was asked, whatever came of it. */
  readonly asked: Record<LeaseOperation, number> = { issue: 0, revoke: 0 };

  /** Makes the next calls fail, one after the other. */
  failNext(operation: LeaseOperation, ...faults: readonly LeaseFault[]): void {
    this.#next[operation].push(...faults);
  }

  /** Makes every call fail that was told nothing else; null ends that. */
  failAlways(operation: LeaseOperation, fault: LeaseFault | null): void {
    this.#always[operation] = fault;
  }

  /** Takes a call, and tells what is to go wrong with it. */
  take(operation: LeaseOperation): LeaseFault | null {
    this.asked[operation] += 1;
    return this.#next[operation].shift() ?? this.#always[operation];
  }

  issue(order: LeaseOrder): LedgerLease {
    const before = this.#leases.get(order.revocationId);
    if (before !== undefined) return before;
    const number = this.#leases.size + 1;
    const lease: LedgerLease = {
      ...order,
      leaseId: `lease-${number}`,
      username: `user-${number}`,
      password: `CANARY-lease-password-${number}`,
      isRevoked: false,
    };
    this.#leases.set(order.revocationId, lease);
    return lease;
  }

  /** Revokes what was issued under this id; nothing when nothing was. Throws when the lease id is another's. */
  revoke(revocationId: RevocationId, leaseId: string | null): void {
    const lease = this.#leases.get(revocationId);
    if (leaseId !== null && lease?.leaseId !== leaseId) throw new Error(`${leaseId} was not issued for ${revocationId}`);
    if (lease !== undefined) lease.isRevoked = true;
  }

  /** Everything that was ever issued. */
  issued(): readonly LedgerLease[] {
    return [...this.#leases.values()];
  }

  /** What was issued and not revoked, whether or not its time is up. */
  alive(): readonly LedgerLease[] {
    return this.issued().filter(({ isRevoked }) => !isRevoked);
  }
}

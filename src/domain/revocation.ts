import { conflict } from './errors.ts';
import type { AgentId, GrantId, RevocationId, RunId, SessionId, TenantId, WorkloadHash } from './ids.ts';

/**
 * What was, or may have been, issued downstream for a grant, and has to be revoked there. It is on record before anything is
 * issued, and a queue of those that are due is worked off until each is done.
 */
export interface RevocationTerms {
  id: RevocationId;
  tenantId: TenantId;
  sessionId: SessionId;
  grantId: GrantId;
  agentId: AgentId;
  runId: RunId;
  workloadHash: WorkloadHash;
  /** Name of the connector that issues and revokes. */
  connector: string;
  resourceRef: string;
  createdAt: Date;
}

/** The connector is being asked. Nothing that it issues lives longer than until `leaseExpiresAt`. */
export type RequestedRevocation = RevocationTerms & { state: 'requested'; leaseExpiresAt: Date };
/** Issued, and good while its grant is. */
export type HeldRevocation = RevocationTerms & { state: 'held'; leaseId: string; leaseExpiresAt: Date };
/** The grant is over; the lease may not be. `leaseId` is null when it never became known. */
export type DueRevocation = RevocationTerms & {
  state: 'due';
  leaseId: string | null;
  leaseExpiresAt: Date;
  /** How often it was tried. */
  attempts: number;
  nextAttemptAt: Date;
  /** Why the last try failed, in words of ours; null before the first. */
  lastError: string | null;
};
export type DoneRevocation = RevocationTerms & {
  state: 'done';
  leaseId: string | null;
  /** `expired`: it could not be revoked before it ran out by itself. `not_issued`: the connector said no. */
  outcome: 'revoked' | 'expired' | 'not_issued';
  attempts: number;
  lastError: string | null;
  endedAt: Date;
};
export type Revocation = RequestedRevocation | HeldRevocation | DueRevocation | DoneRevocation;
export type RevocationState = Revocation['state'];

export const REVOCATION_STATES = ['requested', 'held', 'due', 'done'] as const satisfies readonly RevocationState[];

export const REVOCATION_TRANSITIONS: Readonly<Record<RevocationState, readonly RevocationState[]>> = {
  requested: ['held', 'due', 'done'],
  held: ['due'],
  // A try that failed leaves it due.
  due: ['due', 'done'],
  done: [],
};

/** `requested -> held`: what was issued is known. Throws `conflict` from any other state. */
export function holdLease(revocation: Revocation, lease: { leaseId: string; expiresAt: Date }): HeldRevocation {
  if (revocation.state !== 'requested') throw conflict(`revocation is already ${revocation.state}`);
  return { ...revocation, state: 'held', leaseId: lease.leaseId, leaseExpiresAt: lease.expiresAt };
}

/** `{requested, held} -> due`: its grant has ended, or what became of the request is not known. Throws `conflict` from any other state. */
export function dueRevocation(revocation: Revocation, at: Date): DueRevocation {
  if (revocation.state !== 'requested' && revocation.state !== 'held') {
    throw conflict(`revocation is already ${revocation.state}`);
  }
  const leaseId = revocation.state === 'held' ? revocation.leaseId : null;
  return { ...revocation, state: 'due', leaseId, attempts: 0, nextAttemptAt: at, lastError: null };
}

/** Puts the next try off. */
export const postponeRevocation = (revocation: DueRevocation, until: Date, lastError: string): DueRevocation => ({
  ...revocation,
  nextAttemptAt: until,
  lastError,
});

/** Ends a revocation, for good. */
export function endRevocation(
  revocation: RequestedRevocation | DueRevocation,
  end: { outcome: DoneRevocation['outcome']; endedAt: Date },
): DoneRevocation {
  if (revocation.state === 'requested') {
    const { leaseExpiresAt: _never, ...terms } = revocation;
    return { ...terms, state: 'done', leaseId: null, attempts: 0, lastError: null, ...end };
  }
  const { leaseExpiresAt: _over, nextAttemptAt: _none, ...terms } = revocation;
  return { ...terms, state: 'done', ...end };
}

import type { DownstreamCall } from '../../domain/downstream-call.ts';
import { budgetExceeded, conflict } from '../../domain/errors.ts';
import type { ArtifactId, CallId, GrantId, RevocationId } from '../../domain/ids.ts';
import { dueRevocation, type Revocation, type RevocationTerms } from '../../domain/revocation.ts';
import type { ByteSpending, RequestSpending, UnitOfWork } from '../../domain/unit-of-work.ts';
import { isProxiedFor } from './downstream-calls.ts';
import { requireExpected } from './expected-state.ts';
import { requireSameTerms, REVOCATION_TERMS } from './fixed-terms.ts';
import type { Spent, Tables } from './tables.ts';

type Call<Name extends keyof UnitOfWork> = Parameters<UnitOfWork[Name]>[0];

/** The part of a unit's changes that is about what is begun downstream. Most units have none. */
export class DownstreamChanges {
  readonly #tables: Tables;
  /** Null for a call that is closed. */
  readonly #calls = new Map<CallId, DownstreamCall | null>();
  readonly #spent = new Map<ArtifactId, Spent>();
  readonly #revocations = new Map<RevocationId, Revocation>();
  readonly #revocationByGrant = new Map<GrantId, RevocationId>();

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  openCall(call: Call<'openCall'>): void {
    if (this.#call(call.id) !== undefined) throw conflict('call id is taken');
    this.#calls.set(call.id, call);
  }

  closeCall({ tenantId, callId }: Call<'closeCall'>): void {
    if (this.#call(callId)?.subject.tenantId !== tenantId) throw conflict('call is not open any more');
    this.#calls.set(callId, null);
  }

  spendRequest(spending: RequestSpending): void {
    const { artifactId, maxRequests, maxConcurrent } = spending;
    const spent = this.#spentOf(artifactId);
    if (spent.requests >= maxRequests) {
      throw budgetExceeded(`the handle's ${maxRequests} requests are used up; request a new grant`);
    }
    if (this.#callsBeside(spending) >= maxConcurrent) {
      throw budgetExceeded(`the handle already has ${maxConcurrent} calls under way; wait for one to end`);
    }
    this.#spent.set(artifactId, { ...spent, requests: spent.requests + 1 });
  }

  spendBytes({ artifactId, bytes, maxBytes }: ByteSpending): void {
    const spent = this.#spentOf(artifactId);
    const sum = spent.bytes + bytes;
    if (maxBytes !== null && sum > maxBytes) {
      throw budgetExceeded(`the handle's ${maxBytes} bytes are used up; request a new grant`);
    }
    this.#spent.set(artifactId, { ...spent, bytes: sum });
  }

  insertRevocation(revocation: Call<'insertRevocation'>): void {
    if (this.#revocation(revocation.id) !== undefined) throw conflict('revocation id is taken');
    if (this.#revocationOfGrant(revocation.grantId) !== undefined) throw conflict('grant has its revocation already');
    this.#revocations.set(revocation.id, revocation);
    this.#revocationByGrant.set(revocation.grantId, revocation.id);
  }

  updateRevocation({ expected, next }: Call<'updateRevocation'>): void {
    const current = this.#revocation(next.id);
    requireExpected('revocation', current, expected, next);
    if (current.state === 'due' && 'attempts' in next && current.attempts !== next.attempts) {
      throw conflict('revocation was tried by somebody else meanwhile');
    }
    requireSameTerms<RevocationTerms>('revocation', REVOCATION_TERMS, current, next);
    requireSameLease(current, next);
    this.#revocations.set(next.id, next);
  }

  makeRevocationDue({ tenantId, grantId, at }: Call<'makeRevocationDue'>): void {
    const current = this.#revocationOfGrant(grantId);
    if (current?.tenantId !== tenantId || current.state !== 'held') return;
    this.#revocations.set(current.id, dueRevocation(current, at));
  }

  /** Puts the changes into the tables. */
  apply(): void {
    for (const [id, call] of this.#calls) {
      if (call === null) this.#tables.calls.remove(id);
      else this.#tables.calls.put(call);
    }
    for (const [id, spent] of this.#spent) this.#tables.putSpent(id, spent);
    for (const revocation of this.#revocations.values()) this.#tables.revocations.put(revocation);
  }

  /** How many other calls of an artifact are open and not past their deadline. */
  #callsBeside({ tenantId, artifactId, callId, now }: RequestSpending): number {
    let count = 0;
    for (const { id, deadline } of this.#tables.calls.ofArtifact(tenantId, artifactId)) {
      if (deadline > now && !this.#calls.has(id)) count += 1;
    }
    for (const [id, call] of this.#calls) {
      if (call === null || id === callId || !isProxiedFor(call, tenantId, artifactId)) continue;
      if (call.deadline > now) count += 1;
    }
    return count;
  }

  #call(id: CallId): DownstreamCall | undefined {
    const staged = this.#calls.get(id);
    return staged === undefined ? this.#tables.calls.get(id) : (staged ?? undefined);
  }

  #spentOf(artifactId: ArtifactId): Spent {
    return this.#spent.get(artifactId) ?? this.#tables.spent(artifactId);
  }

  #revocation(id: RevocationId): Revocation | undefined {
    return this.#revocations.get(id) ?? this.#tables.revocations.get(id);
  }

  #revocationOfGrant(grantId: GrantId): Revocation | undefined {
    const staged = this.#revocationByGrant.get(grantId);
    if (staged !== undefined) return this.#revocations.get(staged);
    const committed = this.#tables.revocations.ofGrant(grantId);
    return committed === undefined ? undefined : this.#revocation(committed.id);
  }
}

/** A lease that is known stays the one to revoke, and as long as it is; forgetting it would leave it alive downstream. */
function requireSameLease(current: Revocation, next: Revocation): void {
  if (!('leaseId' in current) || current.leaseId === null) return;
  if (!('leaseId' in next) || next.leaseId !== current.leaseId) throw new Error('revocation: leaseId cannot be changed');
  if (!('leaseExpiresAt' in current) || !('leaseExpiresAt' in next)) return;
  if (next.leaseExpiresAt.getTime() !== current.leaseExpiresAt.getTime()) {
    throw new Error('revocation: leaseExpiresAt cannot be changed');
  }
}

import type { GrantId, RevocationId, TenantId } from '../../domain/ids.ts';
import type { DownstreamRepository, OpenLeases } from '../../domain/repository.ts';
import type { DueRevocation, Revocation } from '../../domain/revocation.ts';
import { IdIndex } from './id-index.ts';
import { TimeQueue } from './time-queue.ts';
import { TimeQueues } from './time-queues.ts';

type Claim = Parameters<DownstreamRepository['claimDueRevocations']>[0];
type RunOrWorkload = Parameters<DownstreamRepository['findUnrevokedGrants']>[0];

/** What was issued downstream, and for a while what was revoked there. */
export class Revocations {
  readonly #revocations = new Map<RevocationId, Revocation>();
  readonly #byGrant = new Map<GrantId, RevocationId>();
  readonly #byTenant = new IdIndex<TenantId, RevocationId>();
  /** By connector. */
  readonly #due = new TimeQueues<RevocationId>();
  readonly #ended = new TimeQueue<RevocationId>();
  /** How many of each connector are in each state but `done`. */
  readonly #open = new Map<string, Record<OpenLeases['state'], number>>();

  get(id: RevocationId): Revocation | undefined {
    return this.#revocations.get(id);
  }

  ofGrant(grantId: GrantId): Revocation | undefined {
    const id = this.#byGrant.get(grantId);
    return id === undefined ? undefined : this.#revocations.get(id);
  }

  /** Grants of a run or a workload whose leases are due. Looks at every revocation: it is rarely asked. */
  unrevokedGrants(of: RunOrWorkload): GrantId[] {
    const found: GrantId[] = [];
    for (const { state, tenantId, grantId, runId, workloadHash } of this.#revocations.values()) {
      if (state !== 'due' || tenantId !== of.tenantId) continue;
      if ('runId' in of ? runId === of.runId : workloadHash === of.workloadHash) found.push(grantId);
    }
    return found;
  }

  /** A tenant's revocations before `below`, newest first: all, or those of one grant. */
  *newestFirst(tenantId: TenantId, grantId: GrantId | undefined, below: string | null): Generator<Revocation, void> {
    if (grantId !== undefined) {
      const revocation = this.ofGrant(grantId);
      if (revocation?.tenantId === tenantId && (below === null || revocation.id < below)) yield revocation;
      return;
    }
    for (const id of this.#byTenant.descending(tenantId, below)) {
      const revocation = this.#revocations.get(id);
      if (revocation !== undefined) yield revocation;
    }
  }

  countOpen(): OpenLeases[] {
    const found: OpenLeases[] = [];
    for (const [connector, open] of this.#open) {
      for (const state of ['requested', 'held', 'due'] as const) {
        if (open[state] > 0) found.push({ connector, state, count: open[state] });
      }
    }
    return found;
  }

  put(revocation: Revocation): void {
    const { id, tenantId, grantId, connector } = revocation;
    this.#count(this.#revocations.get(id), -1);
    this.#count(revocation, 1);
    this.#revocations.set(id, revocation);
    this.#byGrant.set(grantId, id);
    this.#byTenant.add(tenantId, id);
    if (revocation.state === 'due') this.#due.put(connector, id, revocation.nextAttemptAt);
    else this.#due.remove(connector, id);
    if (revocation.state === 'done') this.#ended.put(id, revocation.endedAt);
  }

  /** Takes those that are due for one more try, oldest first, but for those of busy connectors. */
  claimDue({ now, claimedUntil, limit, busy }: Claim): DueRevocation[] {
    const claimed: DueRevocation[] = [];
    for (const id of this.#due.until(now, limit, busy)) {
      const due = this.#revocations.get(id);
      if (due?.state !== 'due') continue;
      const taken = { ...due, attempts: due.attempts + 1, nextAttemptAt: new Date(claimedUntil) };
      this.put(taken);
      claimed.push(taken);
    }
    return claimed;
  }

  /** Drops up to `limit` that ended before `endedBefore`. Answers how many went. */
  forgetEnded(endedBefore: Date, limit: number): number {
    const ended = this.#ended.takeBefore(endedBefore, limit);
    for (const id of ended) {
      const revocation = this.#revocations.get(id);
      if (revocation === undefined) continue;
      this.#revocations.delete(id);
      this.#byGrant.delete(revocation.grantId);
      this.#byTenant.remove(revocation.tenantId, id);
    }
    return ended.length;
  }

  counts(): Readonly<Record<string, number>> {
    return {
      revocations: this.#revocations.size,
      revocationByGrant: this.#byGrant.size,
      revocationsByTenant: this.#byTenant.size,
      dueRevocations: this.#due.size,
      connectorsDue: this.#due.groups,
      endedRevocations: this.#ended.size,
      connectorsWithLeases: this.#open.size,
    };
  }

  #count(revocation: Revocation | undefined, change: 1 | -1): void {
    if (revocation === undefined || revocation.state === 'done') return;
    const { connector, state } = revocation;
    const open = this.#open.get(connector) ?? { requested: 0, held: 0, due: 0 };
    open[state] += change;
    if (open.requested + open.held + open.due === 0) this.#open.delete(connector);
    else this.#open.set(connector, open);
  }
}

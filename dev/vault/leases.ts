import { randomBytes } from 'node:crypto';
import type { Clock } from '../../src/domain/clock.ts';
import { badRequest } from './answers.ts';
import { goDuration } from './durations.ts';

/** Something that ends by itself, or when it is revoked, or with the token that it was issued by. */
export interface Lease {
  id: string;
  /** The token that it was issued by. */
  token: string;
  issuedAt: Date;
  renewedAt: Date | null;
  expiresAt: Date;
  maxTtlSeconds: number;
  /** Makes it be over, or be so until then. */
  revoke(): Promise<void>;
  extend(until: Date): Promise<void>;
}

export interface Renewal {
  lease: Lease;
  ttlSeconds: number;
  warnings: readonly string[] | null;
}

const MAX_ID_BYTES = 18;
/** How long a lease that could not be revoked, or whose Vault is sealed, waits until it is tried again. */
const AGAIN_MS = 10_000;

/** Leases of one Vault. */
export class Leases {
  readonly #clock: Clock;
  readonly #leases = new Map<string, Lease>();
  readonly #cancels = new Map<string, () => void>();
  readonly #revoking = new Map<string, Promise<void>>();
  /** What runs out just now. */
  readonly #underWay = new Set<Promise<void>>();

  /** While it is sealed, a Vault revokes nothing. */
  readonly #isSealed: () => boolean;

  constructor(clock: Clock, isSealed: () => boolean) {
    this.#clock = clock;
    this.#isSealed = isSealed;
  }

  /** `PATH/RANDOM`, as lease ids are. */
  newId = (path: string): string => `${path}/${randomBytes(MAX_ID_BYTES).toString('base64url').replaceAll(/[-_]/g, 'x')}`;

  add(lease: Lease): void {
    this.#leases.set(lease.id, lease);
    this.#schedule(lease);
  }

  /** Throws a VaultError when there is none. */
  find(id: string, otherwise = 'invalid lease'): Lease {
    const lease = this.#leases.get(id);
    if (lease === undefined) throw badRequest(otherwise);
    return lease;
  }

  get ids(): readonly string[] {
    return [...this.#leases.keys()];
  }

  ttlSeconds = (lease: Lease): number =>
    Math.max(0, Math.round((lease.expiresAt.getTime() - this.#clock.now().getTime()) / 1000));

  /** Never beyond what the lease may live from its begin on; an increment of 0 asks for what there was. */
  async renew(id: string, increment: number): Promise<Renewal> {
    const lease = this.find(id, 'lease not found');
    const now = this.#clock.now();
    const asked = increment === 0 ? (lease.expiresAt.getTime() - lease.issuedAt.getTime()) / 1000 : increment;
    const left = (lease.issuedAt.getTime() - now.getTime()) / 1000 + lease.maxTtlSeconds;
    if (left < 0) throw badRequest('past the max TTL, cannot renew');
    const ttlSeconds = Math.floor(Math.min(asked, left));
    lease.expiresAt = new Date(now.getTime() + ttlSeconds * 1000);
    lease.renewedAt = now;
    this.#schedule(lease);
    await lease.extend(lease.expiresAt);
    const capped = `TTL of "${goDuration(asked)}" exceeded the effective max_ttl of "${goDuration(ttlSeconds)}"; TTL value is capped accordingly`;
    return { lease, ttlSeconds, warnings: asked > left ? [capped] : null };
  }

  /** One that is not there is over, as it should be. Whoever asks meanwhile waits for the same. */
  async revoke(id: string): Promise<void> {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    const revoking = this.#revoking.get(id) ?? lease.revoke().finally(() => this.#revoking.delete(id));
    this.#revoking.set(id, revoking);
    await revoking;
    this.#forget(id);
  }

  /** Revokes it after the answer, as Vault does unless told to wait; what fails is tried again. */
  revokeLater(id: string): void {
    const lease = this.#leases.get(id);
    if (lease !== undefined) this.inBackground(this.#revokeOverdue(lease));
  }

  async revokeAll(which: (lease: Lease) => boolean): Promise<void> {
    for (const lease of [...this.#leases.values()]) if (which(lease)) await this.revoke(lease.id);
  }

  /** For `settled` to wait for. */
  inBackground(work: Promise<void>): void {
    const done: Promise<void> = work.catch(() => undefined).finally(() => this.#underWay.delete(done));
    this.#underWay.add(done);
  }

  /** Resolves when what has run out is gone. */
  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  close(): void {
    for (const id of this.ids) this.#forget(id);
  }

  #schedule(lease: Lease): void {
    this.#revokeIn(lease.expiresAt.getTime() - this.#clock.now().getTime(), lease);
  }

  #revokeIn(delayMs: number, lease: Lease): void {
    this.#cancels.get(lease.id)?.();
    const cancel = this.#clock.schedule(delayMs, () => this.inBackground(this.#revokeOverdue(lease)));
    this.#cancels.set(lease.id, cancel);
  }

  /** Whoever asks meanwhile sees that it is still there. */
  async #revokeOverdue(lease: Lease): Promise<void> {
    try {
      if (this.#isSealed()) this.#revokeIn(AGAIN_MS, lease);
      else await this.revoke(lease.id);
    } catch {
      this.#revokeIn(AGAIN_MS, lease);
    }
  }

  #forget(id: string): void {
    this.#cancels.get(id)?.();
    this.#cancels.delete(id);
    this.#leases.delete(id);
  }
}

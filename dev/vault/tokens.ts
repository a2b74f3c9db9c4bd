import { randomBytes, randomUUID } from 'node:crypto';
import type { Clock } from '../../src/domain/clock.ts';
import { type Auth, badRequest, permissionDenied, VaultError } from './answers.ts';
import { SYSTEM_TTL_SECONDS } from './durations.ts';
import type { Leases } from './leases.ts';

/** A token (https://developer.hashicorp.com/vault/docs/concepts/tokens). */
export interface Token {
  id: string;
  accessor: string;
  policies: readonly string[];
  metadata: Readonly<Record<string, string>> | null;
  parent: string | null;
  path: string;
  displayName: string;
  createdAt: Date;
  /** Null for one without an end. */
  expiresAt: Date | null;
  creationTtlSeconds: number;
  explicitMaxTtlSeconds: number;
  /** The longest that renewals may make it live, unless it is periodic; a login's role says so. 0 for the system's. */
  maxTtlSeconds: number;
  /** Seconds that each renewal gives; 0 for one that is not periodic. */
  periodSeconds: number;
  renewable: boolean;
  /** Uses that are left; 0 for any number, -1 while the last of them is under way. */
  usesLeft: number;
}

export interface NewToken {
  policies: readonly string[];
  metadata?: Readonly<Record<string, string>> | null;
  parent?: string | null;
  path: string;
  displayName: string;
  ttlSeconds: number;
  explicitMaxTtlSeconds?: number;
  maxTtlSeconds?: number;
  periodSeconds?: number;
  renewable?: boolean;
  uses?: number;
  id?: string;
}

export class Tokens {
  readonly #clock: Clock;
  readonly #leases: Leases;
  readonly #tokens = new Map<string, Token>();
  readonly #cancels = new Map<string, () => void>();
  readonly root: Token;

  constructor(clock: Clock, leases: Leases, rootToken: string) {
    this.#clock = clock;
    this.#leases = leases;
    this.root = this.make({
      id: rootToken,
      policies: ['root'],
      path: 'auth/token/root',
      displayName: 'root',
      ttlSeconds: 0,
      renewable: false,
    });
  }

  make(asked: NewToken): Token {
    const now = this.#clock.now();
    const { periodSeconds = 0, explicitMaxTtlSeconds = 0, maxTtlSeconds = 0 } = asked;
    const bounds = [explicitMaxTtlSeconds, periodSeconds > 0 ? 0 : maxTtlSeconds, SYSTEM_TTL_SECONDS];
    const ttlSeconds = Math.min(
      periodSeconds > 0 ? periodSeconds : asked.ttlSeconds,
      ...bounds.filter((bound) => bound > 0),
    );
    const token: Token = {
      id: asked.id ?? `hvs.${randomBytes(18).toString('base64url')}`,
      accessor: randomBytes(18).toString('base64url'),
      policies: asked.policies,
      metadata: asked.metadata ?? null,
      parent: asked.parent ?? null,
      path: asked.path,
      // As Vault does: it becomes a part of the names of database users.
      displayName: asked.displayName.replaceAll(/[^A-Za-z0-9-]/g, '-'),
      createdAt: now,
      expiresAt: ttlSeconds === 0 ? null : new Date(now.getTime() + ttlSeconds * 1000),
      creationTtlSeconds: ttlSeconds,
      explicitMaxTtlSeconds,
      maxTtlSeconds,
      periodSeconds,
      renewable: ttlSeconds > 0 && (asked.renewable ?? true),
      usesLeft: asked.uses ?? 0,
    };
    this.#tokens.set(token.id, token);
    this.#schedule(token);
    return token;
  }

  /** Takes one use of it. Throws a VaultError when it is unknown or over. */
  use(id: string): Token {
    const token = this.#tokens.get(id);
    if (token === undefined || token.usesLeft < 0) throw permissionDenied();
    if (token.expiresAt !== null && this.#clock.now() >= token.expiresAt) throw permissionDenied();
    if (token.usesLeft > 0) token.usesLeft = token.usesLeft === 1 ? -1 : token.usesLeft - 1;
    return token;
  }

  /** After the request: one with a number of uses ends with the last of them. Answers whether this was it. */
  async used(token: Token): Promise<boolean> {
    if (token.usesLeft >= 0) return false;
    await this.revoke(token.id);
    return true;
  }

  /** Throws a VaultError when there is none. */
  find(id: string): Token {
    const token = this.#tokens.get(id);
    if (token === undefined) throw new VaultError(403, 'bad token');
    return token;
  }

  isThere = (id: string): boolean => this.#tokens.has(id);

  byAccessor(accessor: string): Token {
    const token = [...this.#tokens.values()].find((one) => one.accessor === accessor);
    if (token === undefined) throw badRequest('invalid accessor');
    return token;
  }

  renew(token: Token, increment: number): Token {
    if (!token.renewable) throw badRequest('lease is not renewable');
    const now = this.#clock.now();
    const { periodSeconds, explicitMaxTtlSeconds, maxTtlSeconds } = token;
    const asked = periodSeconds > 0 ? periodSeconds : increment > 0 ? increment : token.creationTtlSeconds;
    // One that is periodic may live for ever, unless it was told otherwise in so many words.
    const bounds = [explicitMaxTtlSeconds, ...(periodSeconds > 0 ? [] : [maxTtlSeconds, SYSTEM_TTL_SECONDS])];
    const age = (now.getTime() - token.createdAt.getTime()) / 1000;
    const seconds = Math.min(asked, ...bounds.filter((bound) => bound > 0).map((bound) => bound - age));
    if (seconds < 0) throw badRequest('past the max TTL, cannot renew');
    token.expiresAt = new Date(now.getTime() + Math.floor(seconds) * 1000);
    this.#schedule(token);
    return token;
  }

  /** Its leases and the tokens that it made end with it. */
  async revoke(id: string): Promise<void> {
    this.#cancels.get(id)?.();
    this.#cancels.delete(id);
    this.#tokens.delete(id);
    await this.#leases.revokeAll((lease) => lease.token === id);
    for (const child of [...this.#tokens.values()]) if (child.parent === id) await this.revoke(child.id);
  }

  ttlSeconds = ({ expiresAt }: Token): number =>
    expiresAt === null ? 0 : Math.max(0, Math.round((expiresAt.getTime() - this.#clock.now().getTime()) / 1000));

  authOf(token: Token): Auth {
    return {
      client_token: token.id,
      accessor: token.accessor,
      policies: token.policies,
      token_policies: token.policies,
      metadata: token.metadata,
      lease_duration: this.ttlSeconds(token),
      renewable: token.renewable,
      entity_id: '',
      token_type: 'service',
      orphan: token.parent === null,
      mfa_requirement: null,
      num_uses: Math.max(0, token.usesLeft),
    };
  }

  /** What `lookup` says of it. */
  dataOf(token: Token) {
    return {
      accessor: token.accessor,
      creation_time: Math.floor(token.createdAt.getTime() / 1000),
      creation_ttl: token.creationTtlSeconds,
      display_name: token.displayName,
      entity_id: '',
      expire_time: token.expiresAt?.toISOString() ?? null,
      explicit_max_ttl: token.explicitMaxTtlSeconds,
      id: token.id,
      issue_time: token.createdAt.toISOString(),
      meta: token.metadata,
      num_uses: Math.max(0, token.usesLeft),
      orphan: token.parent === null,
      path: token.path,
      policies: token.policies,
      renewable: token.renewable,
      ttl: this.ttlSeconds(token),
      type: 'service',
      ...(token.periodSeconds > 0 && { period: token.periodSeconds }),
    };
  }

  close(): void {
    for (const cancel of this.#cancels.values()) cancel();
  }

  #schedule(token: Token): void {
    this.#cancels.get(token.id)?.();
    if (token.expiresAt === null) return;
    const delay = token.expiresAt.getTime() - this.#clock.now().getTime();
    this.#cancels.set(
      token.id,
      this.#clock.schedule(delay, () => this.#leases.inBackground(this.revoke(token.id))),
    );
  }
}

export const newRootToken = (): string => `hvs.root-${randomUUID()}`;

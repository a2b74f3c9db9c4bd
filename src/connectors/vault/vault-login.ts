import { z } from 'zod';
import type { Clock } from '../../domain/clock.ts';
import { upstreamError } from '../../domain/errors.ts';
import { Secret } from '../../domain/secret.ts';
import { segments, type VaultClient, VaultRefusal } from './vault-client.ts';

/** How ASB proves to Vault who it is. */
export type VaultLoginMethod =
  | { method: 'token'; token: Secret }
  /** The token of the pod's own service account, read again for every login (https://developer.hashicorp.com/vault/api-docs/auth/kubernetes#login). */
  | { method: 'kubernetes'; mount: string; role: string; readJwt: () => Secret }
  /** https://developer.hashicorp.com/vault/api-docs/auth/approle#login-with-approle */
  | { method: 'approle'; mount: string; roleId: string; readSecretId: () => Secret };

/** A token that Vault takes. */
export interface VaultToken {
  token: Secret;
  /** When it ends unless it is renewed, and what was issued by it ends too; null when it never does. */
  endsAt: Date | null;
}

export interface VaultLoginConfig {
  client: VaultClient;
  method: VaultLoginMethod;
  clock: Clock;
  /** How long one request may take, in seconds. */
  timeoutSeconds: number;
  /** Told of each renewal that failed, for the log. */
  onFailure: (error: unknown) => void;
}

/** Renewed when so much of its life is left, so that several tries fit in. */
const RENEW_AT = 1 / 3;
/** Of its life, what is left of a token that was just obtained. */
const FRESH = 0.9;
const RETRY_SECONDS = 5;

const auth = z.object({
  client_token: z.string().min(1),
  lease_duration: z.int().min(0),
  renewable: z.boolean(),
});
const loginAnswer = z.object({ auth });
const lookupAnswer = z.object({ data: z.object({ ttl: z.int().min(0), renewable: z.boolean().default(false) }) });

interface Current extends VaultToken {
  isRenewable: boolean;
  /** What it lives for since it was last issued or renewed, in milliseconds, and the longest that a login or a renewal gave it. */
  lifeMs: number;
  longestLifeMs: number;
}

/**
 * ASB's own token at Vault: obtained once however many ask, renewed before it ends, and obtained anew when Vault renews it no more. A
 * token that was configured cannot be obtained anew; when it ends, it has to be replaced by whoever runs ASB.
 */
export class VaultLogin {
  readonly #config: VaultLoginConfig;
  #current: Current | null = null;
  #underWay: Promise<Current> | null = null;
  #cancelRenewal: () => void = () => undefined;
  #isClosed = false;

  constructor(config: VaultLoginConfig) {
    this.#config = config;
  }

  /**
   * A token that is good now, and until `until` where Vault grants so much. Rejects as `VaultClient.ask` does, or with an Error about a file
   * that cannot be read.
   */
  async token(until: Date): Promise<VaultToken> {
    const current = this.#usable() ?? (await this.#once(() => this.#logIn()));
    if (lastsUntil(current, until) || this.#isFresh(current)) return current;
    return this.#once(() => this.#prolong(until));
  }

  /**
   * Does something with a token that is good until `until` where that can be had. One that Vault refuses may have been revoked: a new one
   * says whether it was that. What is refused has done nothing. Rejects with what `use` rejects with, and with `upstream_error`
   * (`upstream_unreachable`) when there is no token: nothing was asked for then.
   */
  async withToken<T>(until: Date, use: (token: VaultToken) => Promise<T>): Promise<T> {
    const token = await this.#tokenOrNothing(until);
    try {
      return await use(token);
    } catch (error) {
      if (!(error instanceof VaultRefusal && error.status === 403 && this.#canLogInAnew)) throw error;
      // Unless another one has taken its place.
      if (this.#current?.token === token.token) this.#current = null;
      return use(await this.#tokenOrNothing(until));
    }
  }

  async #tokenOrNothing(until: Date): Promise<VaultToken> {
    try {
      return await this.token(until);
    } catch (cause) {
      throw upstreamError('ASB cannot log in to Vault; tell the operator', { reason: 'upstream_unreachable', cause });
    }
  }

  /** Whether another token can be had in the place of one that Vault refused. */
  get #canLogInAnew(): boolean {
    return this.#config.method.method !== 'token';
  }

  /** Renews no more. Tokens that were obtained end by themselves. */
  close(): void {
    this.#isClosed = true;
    this.#cancelRenewal();
  }

  #usable(): Current | null {
    const { endsAt = null } = this.#current ?? {};
    return endsAt === null || this.#config.clock.now() < endsAt ? this.#current : null;
  }

  /** Whether a new one would hardly last longer: where tokens live shorter than grants, not every grant needs a login. */
  #isFresh({ endsAt, longestLifeMs }: Current): boolean {
    return endsAt === null || endsAt.getTime() - this.#config.clock.now().getTime() >= longestLifeMs * FRESH;
  }

  /** Everybody who asks meanwhile shares the one attempt. */
  #once(attempt: () => Promise<Current>): Promise<Current> {
    this.#underWay ??= attempt()
      .then((current) => this.#keep(current))
      .finally(() => (this.#underWay = null));
    return this.#underWay;
  }

  #keep(current: Current): Current {
    this.#current = current;
    this.#cancelRenewal();
    if (current.endsAt !== null && !this.#isClosed) this.#renewIn(current.lifeMs * (1 - RENEW_AT));
    return current;
  }

  #renewIn(delayMs: number): void {
    const { clock, onFailure } = this.#config;
    this.#cancelRenewal = clock.schedule(delayMs, () => {
      const current = this.#usable();
      this.#once(() => (current === null ? this.#logIn() : this.#renew(current))).catch((error: unknown) => {
        onFailure(error);
        if (!this.#isClosed) this.#renewIn(RETRY_SECONDS * 1000);
      });
    });
  }

  /** The longest that can be had: the current one renewed, or a new one. */
  async #prolong(until: Date): Promise<Current> {
    const current = this.#usable();
    if (current === null) return this.#logIn();
    const renewed = await this.#renew(current);
    return lastsUntil(renewed, until) || !this.#canLogInAnew ? renewed : this.#logIn();
  }

  async #renew(current: Current): Promise<Current> {
    if (!current.isRenewable) return this.#canLogInAnew ? this.#logIn() : current;
    try {
      const request = { method: 'POST' as const, path: 'auth/token/renew-self', token: current.token, body: {} };
      const answer = await this.#ask(loginAnswer, request);
      return this.#from(answer.auth, current.token, current.longestLifeMs);
    } catch (error) {
      // It reached the end of what Vault renews, or was revoked.
      if (error instanceof VaultRefusal && error.status < 500 && this.#canLogInAnew) return this.#logIn();
      throw error;
    }
  }

  async #logIn(): Promise<Current> {
    const { method } = this.#config;
    switch (method.method) {
      case 'token':
        return this.#lookUp(method.token);
      case 'kubernetes':
        return this.#logInAt(method.mount, { role: method.role, jwt: method.readJwt().reveal() });
      case 'approle':
        return this.#logInAt(method.mount, { role_id: method.roleId, secret_id: method.readSecretId().reveal() });
    }
  }

  async #logInAt(mount: string, body: Readonly<Record<string, string>>): Promise<Current> {
    const path = `auth/${segments(mount)}/login`;
    const answer = await this.#ask(loginAnswer, { method: 'POST', path, token: null, body });
    return this.#from(answer.auth, new Secret(answer.auth.client_token));
  }

  async #lookUp(token: Secret): Promise<Current> {
    const { data } = await this.#ask(lookupAnswer, { method: 'GET', path: 'auth/token/lookup-self', token });
    return this.#from({ lease_duration: data.ttl, renewable: data.renewable }, token);
  }

  /** A duration of 0 is that of a token without an end: https://developer.hashicorp.com/vault/docs/concepts/tokens#root-tokens. */
  #from(facts: { lease_duration: number; renewable: boolean }, token: Secret, longestLifeMs = 0): Current {
    const lifeMs = facts.lease_duration * 1000;
    const endsAt = lifeMs === 0 ? null : new Date(this.#config.clock.now().getTime() + lifeMs);
    return { token, endsAt, isRenewable: facts.renewable, lifeMs, longestLifeMs: Math.max(lifeMs, longestLifeMs) };
  }

  async #ask<Body extends z.ZodType>(
    body: Body,
    request: Omit<Parameters<VaultClient['ask']>[1], 'signal'>,
  ): Promise<z.output<Body>> {
    const { client, clock, timeoutSeconds } = this.#config;
    const timeout = new AbortController();
    const cancel = clock.schedule(timeoutSeconds * 1000, () => timeout.abort());
    try {
      return await client.ask(body, { ...request, signal: timeout.signal });
    } finally {
      cancel();
    }
  }
}

const lastsUntil = ({ endsAt }: VaultToken, until: Date): boolean => endsAt === null || endsAt >= until;

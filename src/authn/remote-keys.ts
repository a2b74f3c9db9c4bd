import { z } from 'zod';
import type { Clock } from '../domain/clock.ts';
import { unavailable } from '../domain/errors.ts';
import type { FetchJson } from './fetch-json.ts';
import { discoveryUrl, isLoopback, isTrustworthy } from './issuer-url.ts';
import { parseJwks } from './jwks.ts';
import { type KeyHint, type KeySource, namedKeys } from './key-source.ts';
import type { VerificationKey } from './pem-keys.ts';

/** Gets an issuer's keys as they are now. Rejects when they cannot be had or `signal` aborts. */
export type LoadKeys = (signal: AbortSignal) => Promise<readonly VerificationKey[]>;

export interface RemoteKeysConfig {
  load: LoadKeys;
  clock: Clock;
  /** Told of each failed attempt, for the log. */
  onFailure: (error: unknown) => void;
}

const SECOND_MS = 1000;
const TIMEOUT_MS = 5 * SECOND_MS;
/** A key that the issuer has withdrawn is out of use this long after, and one more token. */
const REFRESH_AFTER_MS = 600 * SECOND_MS;
/** Keys that nobody has asked for in this time are not used before the issuer was asked again. */
const IDLE_MS = 3600 * SECOND_MS;
/** Between two attempts, whatever the flood of unknown key ids. */
const MIN_INTERVAL_MS = 30 * SECOND_MS;
/** Between two attempts while there are no keys and so nobody gets in. */
const RETRY_MS = 5 * SECOND_MS;
/** An issuer that is away for longer may have withdrawn a key for a reason. */
const LAST_GOOD_MS = 24 * 3600 * SECOND_MS;

/**
 * Keys that an issuer publishes, kept for ten minutes and then fetched again in the background. An unknown `kid` makes them be
 * fetched at once, but never twice within 30 seconds; whoever asks meanwhile shares the one attempt. While the issuer is away
 * the last good keys serve, up to a day.
 */
export class RemoteKeys implements KeySource {
  readonly #config: RemoteKeysConfig;
  #keys: readonly VerificationKey[] = [];
  /** When the keys were fetched; the other two, when an attempt last began and ended. In milliseconds. */
  #loadedAt = -Infinity;
  #triedAt = -Infinity;
  #answeredAt = -Infinity;
  #underWay: Promise<void> | null = null;

  constructor(config: RemoteKeysConfig) {
    this.#config = config;
  }

  find(header: KeyHint): readonly VerificationKey[] | Promise<readonly VerificationKey[]> {
    if (!this.#isUsable() || this.#age(this.#answeredAt) > IDLE_MS) return this.#findAfterRefresh(header);
    if (this.#age(this.#loadedAt) > REFRESH_AFTER_MS) void this.#refresh();
    return namedKeys(this.#keys, header) ?? this.#findAfterRefresh(header);
  }

  async prefetch(): Promise<void> {
    await this.#refresh();
  }

  async #findAfterRefresh(header: KeyHint): Promise<readonly VerificationKey[]> {
    await this.#refresh();
    if (!this.#isUsable()) {
      throw unavailable("the token issuer's keys cannot be fetched right now; try again in a few seconds", {
        retryAfterSeconds: RETRY_MS / SECOND_MS,
      });
    }
    return namedKeys(this.#keys, header) ?? [];
  }

  /** Joins the attempt under way, begins one if one is due, or does nothing. */
  #refresh(): Promise<void> | null {
    if (this.#underWay === null && this.#age(this.#triedAt) >= (this.#isUsable() ? MIN_INTERVAL_MS : RETRY_MS)) {
      this.#triedAt = this.#now();
      this.#underWay = this.#attempt().finally(() => {
        this.#answeredAt = this.#now();
        this.#underWay = null;
      });
    }
    return this.#underWay;
  }

  async #attempt(): Promise<void> {
    const { load, clock, onFailure } = this.#config;
    const abort = new AbortController();
    const callOff = clock.schedule(TIMEOUT_MS, () => abort.abort(new Error('the issuer did not answer in time')));
    try {
      this.#keys = await load(abort.signal);
      this.#loadedAt = this.#now();
    } catch (error) {
      onFailure(error);
    } finally {
      callOff();
    }
  }

  #isUsable(): boolean {
    return this.#age(this.#loadedAt) <= LAST_GOOD_MS;
  }

  /** A clock that was set back makes everything old instead of eternally new. */
  #age(at: number): number {
    return Math.abs(this.#now() - at);
  }

  #now(): number {
    return this.#config.clock.now().getTime();
  }
}

/** Loads a JWK Set. Throws an Error when nobody vouches for what its URL answers. */
export function jwksAt(url: URL, fetchJson: FetchJson): LoadKeys {
  if (!isTrustworthy(url)) throw new Error('the JWKS URL must be https, without credentials (http is for loopback only)');
  return async (signal) => parseJwks(await fetchJson(url, signal));
}

const Metadata = z.object({ issuer: z.string(), jwks_uri: z.url() });

/**
 * Loads the JWK Set that the issuer's own metadata name (OpenID Connect Discovery 1.0 section 4). The metadata must be of
 * exactly this issuer (section 4.3). The set may be on any host, over https; on this machine only where the issuer is there too.
 * Throws an Error when the issuer is not a URL that keys can be fetched from.
 */
export function jwksOfIssuer(issuer: string, fetchJson: FetchJson): LoadKeys {
  const metadataUrl = discoveryUrl(issuer);
  return async (signal) => {
    const metadata = Metadata.safeParse(await fetchJson(metadataUrl, signal));
    if (!metadata.success) throw new Error("the issuer's metadata lack issuer or jwks_uri", { cause: metadata.error });
    if (metadata.data.issuer !== issuer) throw new Error("the metadata are another issuer's");
    const url = new URL(metadata.data.jwks_uri);
    if (!isTrustworthy(url) || (isLoopback(url) && !isLoopback(metadataUrl))) {
      throw new Error("the issuer's jwks_uri must be https, and not on this machine");
    }
    return parseJwks(await fetchJson(url, signal));
  };
}

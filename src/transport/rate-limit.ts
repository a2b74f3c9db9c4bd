import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Clock } from '../domain/clock.ts';
import { rateLimited } from '../domain/errors.ts';
import { CallerGone } from './errors.ts';
import { exchangeOf } from './exchange.ts';

const WINDOW_MS = 60_000;
// A client is an address, or a /64 of them; beyond this many the one that came longest ago is forgotten.
const MAX_CLIENTS = 100_000;

/** Counts requests per client in windows of a minute. One for all listeners of a process, so that none lends another. */
export class RateWindows {
  readonly perMinute: number;
  readonly #clock: Clock;
  readonly #windows = new Map<string, { count: number; endsAt: number }>();

  constructor(clock: Clock, perMinute: number) {
    this.#clock = clock;
    this.perMinute = perMinute;
  }

  /** Counts one request. `ttl` is what is left of the window, in milliseconds. */
  hit(client: string): { current: number; ttl: number } {
    const now = this.#clock.now().getTime();
    let window = this.#windows.get(client);
    if (window === undefined || window.endsAt <= now) {
      this.#windows.delete(client);
      window = { count: 0, endsAt: now + WINDOW_MS };
      this.#makeRoom();
      this.#windows.set(client, window);
    }
    window.count += 1;
    return { current: window.count, ttl: window.endsAt - now };
  }

  // A Map keeps insertion order, so the first key has the oldest window.
  #makeRoom(): void {
    if (this.#windows.size < MAX_CLIENTS) return;
    for (const oldest of this.#windows.keys()) {
      this.#windows.delete(oldest);
      return;
    }
  }
}

/** Throws `rate_limited` when the client of a request has asked too often. */
export type RateLimit = (request: FastifyRequest) => Promise<void>;

/** Makes the check that every transport of `app` puts before reading a body. */
export async function makeRateLimit(app: FastifyInstance, windows: RateWindows): Promise<RateLimit> {
  class Store {
    incr(key: string, done: (error: Error | null, result?: { current: number; ttl: number }) => void): void {
      done(null, windows.hit(key));
    }
    child(): this {
      return this;
    }
  }
  await app.register(rateLimit, { global: false, max: windows.perMinute, timeWindow: WINDOW_MS, store: Store });
  const check = app.createRateLimit();
  return async (request) => {
    if (exchangeOf(request).client === null) throw new CallerGone();
    const result = await check(request);
    if (!result.isAllowed && result.isExceeded) {
      throw rateLimited(`too many requests: ${windows.perMinute} a minute are allowed`, {
        retryAfterSeconds: result.ttlInSeconds,
      });
    }
  };
}

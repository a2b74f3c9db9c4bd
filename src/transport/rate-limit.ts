import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Clock } from '../domain/clock.ts';
import { rateLimited } from '../domain/errors.ts';
import { CallerGone } from './errors.ts';
import { exchangeOf } from './exchange.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Why this request goes no further, as its first hook found; null when it may. */
    refusal: Error | null;
  }
  interface FastifyInstance {
    /** Counts a request and answers why it is refused; null when it may go on. */
    countRequest(request: FastifyRequest): Promise<Error | null>;
  }
  interface FastifyContextConfig {
    /** The route tells `refusal` by itself, in the words of its transport. */
    tellsRefusal?: boolean;
  }
}

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

/** Gives `app` its `countRequest`. */
export async function addRateLimit(app: FastifyInstance, windows: RateWindows): Promise<void> {
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
  app.decorate('countRequest', async (request: FastifyRequest) => {
    if (exchangeOf(request).client === null) return new CallerGone();
    const result = await check(request);
    if (result.isAllowed || !result.isExceeded) return null;
    return rateLimited(`too many requests: ${windows.perMinute} a minute are allowed`, {
      retryAfterSeconds: result.ttlInSeconds,
    });
  });
}

/** Gives `app` a `countRequest` that lets everybody through. */
export function countNoRequests(app: FastifyInstance): void {
  app.decorate('countRequest', () => Promise.resolve(null));
}

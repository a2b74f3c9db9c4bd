import type { Broker } from '../broker/broker.ts';
import type { Clock } from '../domain/clock.ts';
import type { PublicKeySet } from '../domain/session-tokens.ts';
import type { Log } from './logging.ts';
import type { Metrics } from './metrics.ts';
import type { RateWindows } from './rate-limit.ts';

export interface TransportDeps {
  broker: Broker;
  clock: Clock;
  metrics: Metrics;
  log: Log;
  newRequestId: () => string;
  /** Shared by every listener of the process. */
  rateWindows: RateWindows;
  /** Addresses and networks of the proxies whose `X-Forwarded-For` is believed. */
  trustedProxies: readonly string[];
  /** PEM; null serves in clear. */
  tls: { cert: string; key: string } | null;
}

export interface HttpDeps extends TransportDeps {
  /** What each dependency says of itself: `ok`, or what is wrong in words fit for a stranger. */
  readiness: () => Promise<Readonly<Record<string, string>>>;
  /** Keys that verify session tokens. */
  publicKeys: () => PublicKeySet;
  version: string;
}

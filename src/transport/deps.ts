import type { Broker } from '../broker/broker.ts';
import type { Clock } from '../domain/clock.ts';
import type { PublicKeySet } from '../domain/session-tokens.ts';
import type { Log } from './logging.ts';
import type { Metrics } from './metrics.ts';
import type { RateWindows } from './rate-limit.ts';

export interface TransportDeps {
  /** The use cases in force; asked once for each call, which is then answered by one configuration to its end. */
  broker: () => Broker;
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
  /**
   * Where callers reach this broker, when a proxy stands between: scheme, host and the path that the proxy takes off. Proofs of
   * possession must be about URLs below it. Null takes what each request says of itself.
   */
  publicBaseUrl: URL | null;
}

/** Whether calls can be served, in words fit for a stranger. */
export interface Readiness {
  /** What each dependency says of itself: `ok`, or what is wrong. All must be `ok`. */
  checks: Readonly<Record<string, string>>;
  /** What is worth knowing and keeps no call from being served, such as a configuration file that was rejected. */
  details: Readonly<Record<string, string>>;
}

export interface HttpDeps extends TransportDeps {
  readiness: () => Promise<Readiness>;
  /** Keys that verify session tokens. */
  publicKeys: () => PublicKeySet;
  version: string;
}

import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import packageJson from '../../package.json' with { type: 'json' };
import type { AuditLog } from '../domain/audit-log.ts';
import type { AuditEvent } from '../domain/audit-event.ts';
import type { Clock } from '../domain/clock.ts';
import type { Connector } from '../domain/connector.ts';
import type { MemoryGauge } from '../domain/memory-gauge.ts';
import type { HttpDeps } from '../transport/deps.ts';
import { makeGrpcServer, makeHttpServer, type Server } from '../transport/http/server.ts';
import { type Log, type LogDestination, makeLogger } from '../transport/logging.ts';
import { makeMetrics } from '../transport/metrics.ts';
import { RateWindows } from '../transport/rate-limit.ts';
import { makeBrokerParts } from './broker-parts.ts';
import type { Configuration } from './configuration.ts';
import { watchConfiguration } from './configuration-watch.ts';
import { type Housekeeping, startHousekeeping } from './housekeeping.ts';
import { listen } from './listen.ts';
import { readinessOf } from './readiness.ts';
import { openStores, retentionOf, type SharedStores } from './stores.ts';
import { systemClock } from './system-clock.ts';
import { systemMemory } from './system-memory.ts';
import type { ListenAddress } from './variables.ts';

/** The API, wired and not yet listening. */
export interface Api {
  /** Starts to listen. Resolves with the address of each listener: the main one, then gRPC's if there is one. */
  start(): Promise<readonly string[]>;
  /** Finishes the calls under way and stops. Resolves when nothing is left running. */
  stop(): Promise<void>;
  /**
   * Opens the audit file again, which a rotation has renamed, and reads the configuration file again. What cannot be used is logged,
   * and what is in use stays in use. Events go to one audit file or the other, and none is lost.
   */
  reload(): Promise<void>;
  log: Log;
}

/** Parts that tests put in the place of the real ones. */
export interface Parts {
  clock: Clock;
  auditLog: AuditLog & { reopen(): void; close(): void };
  logDestination: LogDestination;
  memory: MemoryGauge;
  /** More connectors than the configuration names. */
  connectors: readonly Connector[];
  /** Puts something around the stores, such as what fails when it is told to. */
  aroundStores: (stores: SharedStores) => SharedStores;
  /** Told of events that have committed. */
  onEvents: (events: readonly AuditEvent[]) => void;
}

/** How many of each kind one pass takes. */
const CLEANUP_LIMIT = 1000;
const STANDARD_ERROR = 2;

/** Puts the parts together. Throws ConfigurationError when a file that the configuration names cannot be used. */
export async function makeApi(configuration: Configuration, parts: Partial<Parts> = {}): Promise<Api> {
  const { environment, keys } = configuration;
  const clock = parts.clock ?? systemClock;
  const metrics = makeMetrics();
  const destination = parts.logDestination ?? pino.destination({ dest: STANDARD_ERROR, sync: false });
  const log = makeLogger({ level: environment.ASB_LOG_LEVEL, destination });
  const auditLog = parts.auditLog ?? configuration.auditLog;
  const stores = await openStores(configuration, {
    log,
    auditLog,
    onEvents(events) {
      for (const { type, code, reason } of events) metrics.observeAuditEvent(type, code ?? null, reason ?? null);
      parts.onEvents?.(events);
    },
  });
  const { isDurable } = stores;
  const { repository, runtime } = parts.aroundStores?.(stores) ?? stores;
  const newRequestId = () => `req_${randomUUID()}`;

  let housekeeping: Housekeeping | null = null;
  const made = makeBrokerParts(
    configuration,
    { clock, repository, runtime, memory: parts.memory ?? systemMemory, connectors: parts.connectors ?? [], issues: true },
    {
      onFetchFailure: (issuer, error) => log.warn({ issuer, error }, 'keys of an issuer could not be fetched'),
      onVaultFailure: (error) => log.warn({ error }, 'the token at Vault could not be renewed'),
      wakeOutbox: () => housekeeping?.wakeOutbox(),
    },
  );
  const file = watchConfiguration(configuration, made, { clock, log, metrics });
  const http: HttpDeps = {
    broker: () => made.current().broker,
    clock,
    metrics,
    log,
    newRequestId,
    rateWindows: new RateWindows(clock, environment.ASB_RATE_LIMIT_PER_MINUTE),
    trustedProxies: environment.ASB_TRUSTED_PROXIES,
    tls: keys.tls,
    publicBaseUrl: environment.ASB_PUBLIC_BASE_URL ?? null,
    readiness: async () => ({
      checks: await readinessOf(stores.checks),
      details: file.details(),
    }),
    publicKeys: () => made.current().deps.tokens.publicKeys(),
    version: packageJson.version,
  };
  const servers: [Server, ListenAddress][] = [[await makeHttpServer(http), environment.ASB_ADDR]];
  if (environment.ASB_GRPC_ADDR !== undefined) servers.push([await makeGrpcServer(http), environment.ASB_GRPC_ADDR]);
  warnOfDefaults(configuration, log);

  return {
    log,
    async start() {
      const addresses = await listenAll(servers, log);
      file.start();
      // With a database, workers of their own do this for all processes.
      if (!isDurable) {
        housekeeping = startHousekeeping(
          {
            made,
            clock,
            repository,
            runtime,
            log,
            metrics,
            newRequestId,
            retentionSeconds: retentionOf(environment),
            sealing: null,
          },
          { intervalSeconds: environment.ASB_CLEANUP_INTERVAL_SECONDS, limit: CLEANUP_LIMIT },
        );
      }
      return addresses;
    },
    async stop() {
      const { ASB_SHUTDOWN_GRACE_SECONDS: grace, ASB_SHUTDOWN_NOTICE_SECONDS: notice } = environment;
      await Promise.all(servers.map(([server]) => server.drain(grace, notice)));
      await Promise.all([file.stop(), housekeeping?.stop()]);
      await stores.close();
      auditLog.close();
    },
    async reload() {
      try {
        auditLog.reopen();
      } catch (error) {
        log.error({ error }, 'the audit file could not be opened again; the one in use stays in use');
      }
      await file.reload();
      log.info({}, 'reloaded');
    },
  };
}

async function listenAll(servers: readonly [Server, ListenAddress][], log: Log): Promise<string[]> {
  const addresses: string[] = [];
  for (const [server, where] of servers) {
    const address = await listen(server, where).catch(async (error: unknown) => {
      // Half a broker must not go on serving.
      await Promise.all(servers.map(([started]) => started.drain(0)));
      throw error;
    });
    log.info({ address, version: packageJson.version }, 'listening');
    addresses.push(address);
  }
  return addresses;
}

function warnOfDefaults({ environment, keys, settings }: Configuration, log: Log): void {
  if (keys.sessionKeysAreEphemeral) {
    log.warn(
      {},
      'no ASB_SESSION_SIGNING_PRIVATE_KEY_FILE: session tokens are signed with a key that ends with this process',
    );
  }
  if (environment.ASB_GITHUB_TOKEN === undefined && settings.githubApp === null) {
    log.warn({}, 'no ASB_GITHUB_TOKEN and no GitHub App: nothing can be asked for at GitHub');
  }
  if (environment.ASB_BROWSER_ORIGIN !== undefined && environment.ASB_OPERATOR_ISSUER === undefined) {
    log.warn({}, 'ASB_BROWSER_ORIGIN is set and ASB_OPERATOR_ISSUER is not: nobody can approve that its form is filled');
  }
  if (environment.ASB_PUBLIC_BASE_URL !== undefined) return;
  if (settings.policies.some(({ requiresProof }) => requiresProof)) {
    log.warn({}, 'no ASB_PUBLIC_BASE_URL: a proof of possession may name whatever host its request names');
  }
  if (settings.receivers.some(({ links }) => links)) {
    log.warn({}, 'no ASB_PUBLIC_BASE_URL: notifications carry no links');
  }
}

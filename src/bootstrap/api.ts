import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import packageJson from '../../package.json' with { type: 'json' };
import { expireDue } from '../broker/expire-due.ts';
import { sendNotifications } from '../broker/send-notifications.ts';
import type { AuditLog } from '../domain/audit-log.ts';
import type { Clock } from '../domain/clock.ts';
import type { MemoryGauge } from '../domain/memory-gauge.ts';
import { MemoryRepository } from '../store/memory/memory-repository.ts';
import { MemoryRuntimeStore } from '../store/memory/memory-runtime-store.ts';
import type { HttpDeps } from '../transport/deps.ts';
import { makeGrpcServer, makeHttpServer, type Server } from '../transport/http/server.ts';
import { type Log, type LogDestination, makeLogger } from '../transport/logging.ts';
import { makeMetrics, type Metrics } from '../transport/metrics.ts';
import { RateWindows } from '../transport/rate-limit.ts';
import { startCleanupLoop } from '../worker/cleanup-loop.ts';
import { type OutboxLoop, startOutboxLoop } from '../worker/outbox-loop.ts';
import { type BrokerParts, makeBrokerParts } from './broker-parts.ts';
import type { Configuration } from './configuration.ts';
import { watchConfiguration } from './configuration-watch.ts';
import { listen } from './listen.ts';
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
}

/** How many of each kind one pass of the cleanup takes. */
const CLEANUP_LIMIT = 1000;
/** How many messages one pass of the outbox takes. */
const OUTBOX_LIMIT = 100;
const STANDARD_ERROR = 2;

/** Puts the parts together. Throws ConfigurationError when a file that the configuration names cannot be used. */
export async function makeApi(configuration: Configuration, parts: Partial<Parts> = {}): Promise<Api> {
  const { environment, keys } = configuration;
  const clock = parts.clock ?? systemClock;
  const metrics = makeMetrics();
  const destination = parts.logDestination ?? pino.destination({ dest: STANDARD_ERROR, sync: false });
  const log = makeLogger({ level: environment.ASB_LOG_LEVEL, destination });
  const auditLog = parts.auditLog ?? configuration.auditLog;
  const repository = new MemoryRepository({ auditLog: counted(auditLog, metrics) });
  const runtime = new MemoryRuntimeStore();
  const newRequestId = () => `req_${randomUUID()}`;

  let outbox: OutboxLoop | null = null;
  const stores = { clock, repository, runtime, memory: parts.memory ?? systemMemory };
  const made = makeBrokerParts(configuration, stores, {
    onFetchFailure: (issuer, error) => log.warn({ issuer, error }, 'keys of an issuer could not be fetched'),
    wakeOutbox: () => outbox?.wake(),
  });
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
      checks: {
        repository: await readinessOf(repository),
        runtime: await readinessOf(runtime),
        audit_log: await readinessOf(auditLog),
      },
      details: file.details(),
    }),
    publicKeys: () => made.current().deps.tokens.publicKeys(),
    version: packageJson.version,
  };
  const servers: [Server, ListenAddress][] = [[await makeHttpServer(http), environment.ASB_ADDR]];
  if (environment.ASB_GRPC_ADDR !== undefined) servers.push([await makeGrpcServer(http), environment.ASB_GRPC_ADDR]);
  warnOfDefaults(configuration, log);

  let stopCleanup = (): Promise<void> => Promise.resolve();
  return {
    log,
    async start() {
      const addresses = await listenAll(servers, log);
      file.start();
      stopCleanup = startCleanupLoop({
        clock,
        expireDue: expireDue({ ...made.outbox, repository, runtime, retentionSeconds: environment.ASB_RETENTION_SECONDS }),
        newRequestId,
        intervalSeconds: environment.ASB_CLEANUP_INTERVAL_SECONDS,
        limit: CLEANUP_LIMIT,
        onPass: (report) => metrics.observeCleanup(report),
        onError: (error) => log.error({ error }, 'a cleanup pass failed; the next one tries again'),
      });
      outbox = startOutbox(made, { clock, log, metrics, newRequestId });
      return addresses;
    },
    async stop() {
      const { ASB_SHUTDOWN_GRACE_SECONDS: grace, ASB_SHUTDOWN_NOTICE_SECONDS: notice } = environment;
      await Promise.all(servers.map(([server]) => server.drain(grace, notice)));
      await Promise.all([file.stop(), outbox?.stop(), stopCleanup()]);
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

function startOutbox(
  { outbox }: BrokerParts,
  deps: { clock: Clock; log: Log; metrics: Metrics; newRequestId: () => string },
): OutboxLoop {
  const { clock, log, metrics, newRequestId } = deps;
  return startOutboxLoop({
    clock,
    send: sendNotifications(outbox),
    newRequestId,
    limit: OUTBOX_LIMIT,
    onPass: (report) => metrics.observeNotifications(report),
    onError: (error) => log.error({ error }, 'a pass of the outbox failed; the next one tries again'),
  });
}

/** Counts what has been written. */
const counted = (auditLog: AuditLog, metrics: Metrics): AuditLog => ({
  append(events) {
    auditLog.append(events);
    for (const { type, code, reason } of events) metrics.observeAuditEvent(type, code ?? null, reason ?? null);
  },
  ping: () => auditLog.ping(),
});

async function readinessOf(dependency: { ping(): Promise<void> | void }): Promise<string> {
  try {
    await dependency.ping();
    return 'ok';
  } catch {
    return 'unavailable';
  }
}

function warnOfDefaults({ environment, keys, settings }: Configuration, log: Log): void {
  if (keys.sessionKeysAreEphemeral) {
    log.warn(
      {},
      'no ASB_SESSION_SIGNING_PRIVATE_KEY_FILE: session tokens are signed with a key that ends with this process',
    );
  }
  if (environment.ASB_GITHUB_TOKEN === undefined) {
    log.warn({}, 'no ASB_GITHUB_TOKEN: nothing can be delivered for GitHub');
  }
  if (environment.ASB_PUBLIC_BASE_URL !== undefined) return;
  if (settings.policies.some(({ requiresProof }) => requiresProof)) {
    log.warn({}, 'no ASB_PUBLIC_BASE_URL: a proof of possession may name whatever host its request names');
  }
  if (settings.receivers.some(({ links }) => links)) {
    log.warn({}, 'no ASB_PUBLIC_BASE_URL: notifications carry no links');
  }
}

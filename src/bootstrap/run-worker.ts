import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { pino } from 'pino';
import packageJson from '../../package.json' with { type: 'json' };
import { makeAuditSealer } from '../audit/seal-events.ts';
import type { AuditEvent } from '../domain/audit-event.ts';
import type { Clock } from '../domain/clock.ts';
import type { Connector } from '../domain/connector.ts';
import type { Server } from '../transport/http/server.ts';
import { makeWorkerServer } from '../transport/http/worker-server.ts';
import { type Log, type LogDestination, makeLogger } from '../transport/logging.ts';
import { makeMetrics } from '../transport/metrics.ts';
import { runOnce } from '../worker/run-once.ts';
import { makeBrokerParts } from './broker-parts.ts';
import { ConfigurationError } from './configuration-error.ts';
import { type Configuration, readConfiguration } from './configuration.ts';
import { watchConfiguration } from './configuration-watch.ts';
import { choresOf, type Housekeeping, type HousekeepingDeps, startHousekeeping } from './housekeeping.ts';
import { listen } from './listen.ts';
import { readinessOf } from './readiness.ts';
import { openStores, retentionOf, type SharedStores } from './stores.ts';
import { systemClock } from './system-clock.ts';
import { systemMemory } from './system-memory.ts';
import { parseWorkerFlags, type WorkerFlags, WORKER_USAGE } from './worker-flags.ts';

/** A worker, wired and not yet at work. */
export interface Worker {
  /** Starts its loops and its listener. Resolves with the listener's address. */
  start(): Promise<string>;
  /** Does what is due now, and nothing else. Resolves with whether all of it went well. */
  runOnce(stop: AbortSignal): Promise<boolean>;
  /** Finishes what is under way and lets go of the stores. */
  stop(): Promise<void>;
  /** Reads the configuration file again. */
  reload(): Promise<void>;
  log: Log;
}

/** Parts that tests put in the place of the real ones. */
export interface WorkerParts {
  clock: Clock;
  logDestination: LogDestination;
  connectors: readonly Connector[];
  aroundStores: (stores: SharedStores) => SharedStores;
  /** Told of events that have committed. */
  onEvents: (events: readonly AuditEvent[]) => void;
}

const STANDARD_ERROR = 2;

/** Puts a worker together. Rejects with ConfigurationError when the configuration cannot be used. */
export async function makeWorker(
  configuration: Configuration,
  flags: WorkerFlags,
  parts: Partial<WorkerParts> = {},
): Promise<Worker> {
  const { environment, keys, auditLog } = configuration;
  const { auditKeys } = keys;
  if (auditKeys === null) {
    throw new ConfigurationError([
      'ASB_AUDIT_SIGNING_PRIVATE_KEY_FILE: must be set: the worker signs the audit chain with it',
    ]);
  }
  const clock = parts.clock ?? systemClock;
  const metrics = makeMetrics();
  const destination = parts.logDestination ?? pino.destination({ dest: STANDARD_ERROR, sync: false });
  const log = makeLogger({ level: environment.ASB_LOG_LEVEL, destination });
  const stores = await openStores(configuration, {
    log,
    auditLog,
    onEvents(events) {
      for (const { type, code, reason } of events) metrics.observeAuditEvent(type, code ?? null, reason ?? null);
      parts.onEvents?.(events);
    },
  });
  const { chain } = stores;
  if (chain === null) {
    await stores.close();
    throw new ConfigurationError(['ASB_POSTGRES_DSN: must be set; without a database the API looks after its own state']);
  }
  const { repository, runtime } = parts.aroundStores?.(stores) ?? stores;
  const connectors = parts.connectors ?? [];
  let housekeeping: Housekeeping | null = null;
  const made = makeBrokerParts(
    configuration,
    { clock, repository, runtime, memory: systemMemory, connectors, issues: false },
    {
      onFetchFailure: (issuer, error) => log.warn({ issuer, error }, 'keys of an issuer could not be fetched'),
      onVaultFailure: (error) => log.warn({ error }, 'the token at Vault could not be renewed'),
      wakeOutbox: () => housekeeping?.wakeOutbox(),
    },
  );
  const file = watchConfiguration(configuration, made, { clock, log, metrics });
  const newRequestId = () => `wrk_${randomUUID()}`;
  const deps: HousekeepingDeps = {
    made,
    clock,
    repository,
    runtime,
    log,
    metrics,
    newRequestId,
    retentionSeconds: retentionOf(environment),
    sealing: {
      sealer: makeAuditSealer({ chain, keys: auditKeys, clock }),
      async countUnsealed() {
        const counts = (await chain.tenantsWithUnsealedEvents()).map((tenantId) => chain.countUnsealed(tenantId));
        return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
      },
    },
  };
  let server: Server | null = null;
  return {
    log,
    async start() {
      server = makeWorkerServer({
        clock,
        metrics,
        log,
        newRequestId,
        readiness: async () => ({ checks: await readinessOf(stores.checks), details: file.details() }),
      });
      const address = await listen(server, environment.ASB_WORKER_ADDR);
      log.info({ address, version: packageJson.version }, 'listening');
      file.start();
      housekeeping = startHousekeeping(deps, flags);
      return address;
    },
    async runOnce(stop) {
      const report = await runOnce({
        chores: choresOf(deps),
        newRequestId,
        limit: flags.limit,
        stop,
        onError: (loop, error) => log.error({ error, loop }, 'a pass failed'),
      });
      for (const [loop, count] of Object.entries(report.done)) log.info({ loop, count }, 'done');
      for (const loop of report.unfinished) log.warn({ loop }, 'not finished: run again');
      return report.unfinished.length === 0;
    },
    async stop() {
      await Promise.all([housekeeping?.stop(), file.stop()]);
      await server?.drain(environment.ASB_SHUTDOWN_GRACE_SECONDS);
      await stores.close();
      auditLog.close();
    },
    reload: () => file.reload(),
  };
}

/**
 * Runs a worker until it is told to stop by SIGTERM or SIGINT, or with `--once` until nothing is due; a second signal ends it at once.
 * Resolves with the exit code: 0 after an orderly stop, 1 when it could not start or, with `--once`, did not finish, 2 for a
 * command line that makes no sense.
 */
export async function runWorker(
  args: readonly string[],
  variables: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  let flags: WorkerFlags;
  try {
    flags = parseWorkerFlags(args);
  } catch (error) {
    process.stderr.write(`worker: ${error instanceof Error ? error.message : 'bad arguments'}\n\n${WORKER_USAGE}\n`);
    return 2;
  }
  let worker: Worker;
  try {
    worker = await makeWorker(await readConfiguration(variables), flags);
  } catch (error) {
    process.stderr.write(`worker: ${error instanceof Error ? error.message : 'could not start'}\n`);
    return 1;
  }
  // Node would print the error with its message, and a foreign message may quote a secret.
  process.on('uncaughtException', (error) => {
    worker.log.error({ error }, 'a defect: the process ends');
    process.exit(1);
  });
  const stopping = new AbortController();
  const told = Promise.race(['SIGTERM', 'SIGINT'].map((signal) => once(process, signal).then(() => signal)));
  void told.then(() => stopping.abort());
  if (flags.once) {
    const isFinished = await worker.runOnce(stopping.signal);
    await worker.stop();
    return isFinished ? 0 : 1;
  }
  try {
    await worker.start();
  } catch (error) {
    process.stderr.write(`worker: ${error instanceof Error ? error.message : 'could not start'}\n`);
    await worker.stop();
    return 1;
  }
  process.on('SIGHUP', () => void worker.reload());
  const signal = await told;
  for (const again of ['SIGTERM', 'SIGINT'] as const) process.once(again, () => process.exit(1));
  worker.log.info({ signal }, 'stopping: what is under way is finished');
  await worker.stop();
  worker.log.info({}, 'stopped');
  return 0;
}

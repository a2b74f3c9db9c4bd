import { endOverdueCalls } from '../broker/end-overdue-calls.ts';
import { expireDue } from '../broker/expire-due.ts';
import { revokeDue } from '../broker/revoke-due.ts';
import { sendNotifications } from '../broker/send-notifications.ts';
import type { AuditSealer } from '../domain/audit-chain.ts';
import type { Clock } from '../domain/clock.ts';
import type { Repository } from '../domain/repository.ts';
import type { RuntimeStore } from '../domain/runtime-store.ts';
import type { Log } from '../transport/logging.ts';
import type { Metrics } from '../transport/metrics.ts';
import type { WorkerLoop } from '../transport/worker-metrics.ts';
import { startCleanupLoop } from '../worker/cleanup-loop.ts';
import { startOutboxLoop } from '../worker/outbox-loop.ts';
import { startOverdueLoop } from '../worker/overdue-loop.ts';
import { startPasses } from '../worker/passes.ts';
import { startRevocationLoop } from '../worker/revocation-loop.ts';
import type { Chore } from '../worker/run-once.ts';
import type { BrokerParts } from './broker-parts.ts';
import { Troubles } from './troubles.ts';

export interface HousekeepingDeps {
  made: Pick<BrokerParts, 'current' | 'outbox'>;
  clock: Clock;
  repository: Repository;
  runtime: RuntimeStore;
  log: Log;
  metrics: Metrics;
  newRequestId: () => string;
  retentionSeconds: number;
  /** Null where no audit chain is kept. */
  sealing: Sealing | null;
}

/** How the audit chain goes on. */
export interface Sealing {
  sealer: AuditSealer;
  /** How many events wait for it, of all tenants. */
  countUnsealed(): Promise<number>;
}

export interface HousekeepingPace {
  /** Pause between two passes of the cleanup. */
  intervalSeconds: number;
  /** How many of each kind one pass takes. */
  limit: number;
}

export interface Housekeeping {
  /** Makes the outbox be looked at soon. */
  wakeOutbox(): void;
  /** Takes up nothing new. Resolves when what is under way has ended. */
  stop(): Promise<void>;
}

/** How long an event may wait for its place in the chain. */
const SEALING_INTERVAL_SECONDS = 5;
/** Calls are overdue after a minute and a half, so a few seconds more are no matter. */
const OVERDUE_INTERVAL_SECONDS = 5;

/** Everything that is done besides answering calls: what has run out ends, what is due downstream is revoked, what waits is sent and sealed. */
export function startHousekeeping(deps: HousekeepingDeps, { intervalSeconds, limit }: HousekeepingPace): Housekeeping {
  const { clock, metrics, log, sealing } = deps;
  const work = workOf(deps);
  const loop = <Report>(name: WorkerLoop, observe: (report: Report) => void) => {
    const troubles = new Troubles(clock, {
      begun: (error) => log.error({ error, loop: name }, 'a pass failed; the next one tries again'),
      over: () => log.info({ loop: name }, 'passes go through again'),
    });
    return {
      clock,
      newRequestId: deps.newRequestId,
      limit,
      onPass(report: Report) {
        troubles.succeeded();
        observe(report);
        metrics.observePass(name, clock.now());
      },
      onError: (error: unknown) => troubles.failed(error),
    };
  };
  const stopCleanup = startCleanupLoop({
    ...loop('cleanup', (report) => metrics.observeCleanup(report)),
    expireDue: (...pass) => work.expireDue(...pass),
    intervalSeconds,
  });
  const stopOverdue = startOverdueLoop({
    ...loop('overdue_calls', ({ proxy, lease, revocation }) => metrics.observeOverdueCalls(proxy + lease + revocation)),
    endOverdueCalls: (...pass) => work.endOverdueCalls(...pass),
    intervalSeconds: OVERDUE_INTERVAL_SECONDS,
  });
  const revocations = startRevocationLoop({
    ...loop('revocations', ({ revoked, expired, retried }) =>
      metrics.observeRevocations({ revoked, expired, failed: retried }),
    ),
    revokeDue: (...pass) => work.revokeDue(...pass),
  });
  const outbox = startOutboxLoop({
    ...loop('notifications', (report) => metrics.observeNotifications(report)),
    send: work.send,
  });
  const stopSealing =
    sealing === null
      ? () => Promise.resolve()
      : startPasses({
          ...loop<SealingReport>('sealing', (report) => metrics.observeSealing(report)),
          pass: (_limit, _requestId, stop) => seal(deps, sealing, stop),
          isFull: () => false,
          intervalSeconds: SEALING_INTERVAL_SECONDS,
        });
  return {
    wakeOutbox: () => outbox.wake(),
    async stop() {
      await Promise.all([stopCleanup(), stopOverdue(), revocations.stop(), outbox.stop(), stopSealing()]);
    },
  };
}

/** The same work, a pass at a time: what makes work for another comes before it. */
export function choresOf(deps: HousekeepingDeps): Readonly<Record<WorkerLoop, Chore>> {
  const work = workOf(deps);
  const { sealing } = deps;
  return {
    cleanup: async (limit, requestId) => {
      const { sessions, grants, forgotten } = await work.expireDue(limit, requestId);
      return sessions + grants + forgotten;
    },
    overdue_calls: async (limit, requestId) => {
      const { proxy, lease, revocation } = await work.endOverdueCalls(limit, requestId);
      return proxy + lease + revocation;
    },
    revocations: async (limit, requestId, stop) => {
      const { revoked, expired, retried } = await work.revokeDue(limit, requestId, stop);
      return revoked + expired + retried;
    },
    notifications: async (limit, requestId, stop) => {
      const { delivered, retried, givenUp } = await work.send(limit, requestId, stop);
      return delivered + retried + givenUp;
    },
    sealing: async (_limit, _requestId, stop) => (sealing === null ? 0 : (await seal(deps, sealing, stop)).sealed),
  };
}

function workOf({ made, clock, repository, runtime, metrics, retentionSeconds }: HousekeepingDeps) {
  const common = made.outbox;
  const revoke = revokeDue({ ...common, repository, connectors: () => made.current().deps.connectors });
  const countLeases = async (): Promise<void> => metrics.observeOpenLeases(await repository.countOpenLeases());
  return {
    expireDue: expireDue({ ...common, clock, repository, runtime, retentionSeconds }),
    endOverdueCalls: endOverdueCalls({ ...common, repository }),
    async revokeDue(...pass: Parameters<typeof revoke>) {
      try {
        return await revoke(...pass);
      } finally {
        // Also after a failure: what is still alive downstream must be seen then above all.
        await countLeases();
      }
    },
    send: sendNotifications(common),
  };
}

interface SealingReport {
  sealed: number;
  unsealed: number;
}

async function seal({ log }: HousekeepingDeps, sealing: Sealing, stop: AbortSignal): Promise<SealingReport> {
  const { sealed, failures } = await sealing.sealer.seal(stop);
  for (const { tenantId, error } of failures) {
    log.error({ error, tenant_id: tenantId }, 'the audit chain of a tenant is not carried on: run audit verify');
  }
  return { sealed, unsealed: await sealing.countUnsealed() };
}

import { Counter, Gauge, type Registry } from 'prom-client';
import type { OpenLeases } from '../domain/repository.ts';

/** What a worker goes through again and again. */
export const WORKER_LOOPS = ['cleanup', 'overdue_calls', 'revocations', 'notifications', 'sealing'] as const;
export type WorkerLoop = (typeof WORKER_LOOPS)[number];

/** Numbers about the work that goes on behind the calls. */
export interface WorkerMetrics {
  /** A pass of a loop has ended well. */
  observePass(loop: WorkerLoop, at: Date): void;
  /** Leases that are not done: all there are, in place of those told before. */
  observeOpenLeases(leases: readonly OpenLeases[]): void;
  /** One pass of the revocations has ended. `failed` are those that are tried again, `expired` those that ran out before it helped. */
  observeRevocations(report: { revoked: number; failed: number; expired: number }): void;
  /** So many calls were ended whose makers told no outcome. */
  observeOverdueCalls(ended: number): void;
  /** One pass of the sealing has ended: what it sealed, and what is left. */
  observeSealing(report: { sealed: number; unsealed: number }): void;
}

const LEASE_STATES = ['requested', 'held', 'due'] as const satisfies readonly OpenLeases['state'][];
// Names come out of a store, where a release before this one may have left others; there are fewer connectors than this.
const MAX_CONNECTORS = 20;
const OTHER_CONNECTORS = 'other';

/** Makes the metrics of a worker. */
export function workerMetrics(registers: Registry[]): WorkerMetrics {
  const lastPass = new Gauge({
    name: 'asb_worker_last_pass_timestamp_seconds',
    help: 'When a pass last ended well, by loop.',
    labelNames: ['loop'],
    registers,
  });
  const revocations = new Counter({
    name: 'asb_revocations_total',
    help: 'Attempts to revoke a lease downstream, by outcome.',
    labelNames: ['outcome'],
    registers,
  });
  const overdueCalls = new Counter({
    name: 'asb_overdue_calls_total',
    help: 'Downstream calls that were ended because nobody told their outcome.',
    registers,
  });
  return {
    observePass: (loop, at) => lastPass.set({ loop }, at.getTime() / 1000),
    observeOpenLeases: leaseMetrics(registers),
    observeRevocations(report) {
      revocations.inc({ outcome: 'revoked' }, report.revoked);
      revocations.inc({ outcome: 'failed' }, report.failed);
      revocations.inc({ outcome: 'expired' }, report.expired);
    },
    observeOverdueCalls: (ended) => overdueCalls.inc(ended),
    observeSealing: sealingMetrics(registers),
  };
}

function leaseMetrics(registers: Registry[]): WorkerMetrics['observeOpenLeases'] {
  const open = new Gauge({
    name: 'asb_leases_open',
    help: 'Leases that are not done, by connector and state; those that are due outlived their grants and may still be alive.',
    labelNames: ['connector', 'state'],
    registers,
  });
  const connectors = new Set<string>();
  const labelOf = (connector: string): string =>
    connectors.has(connector) || connectors.size < MAX_CONNECTORS ? connector : OTHER_CONNECTORS;
  return (leases) => {
    for (const { connector } of leases) connectors.add(labelOf(connector));
    // One that has none any more shows nought, so that an alert on it ends.
    for (const connector of connectors) for (const state of LEASE_STATES) open.set({ connector, state }, 0);
    for (const { connector, state, count } of leases) open.inc({ connector: labelOf(connector), state }, count);
  };
}

function sealingMetrics(registers: Registry[]): WorkerMetrics['observeSealing'] {
  const events = new Counter({
    name: 'asb_audit_events_sealed_total',
    help: 'Audit events that were sealed.',
    registers,
  });
  const backlog = new Gauge({
    name: 'asb_audit_events_unsealed',
    help: 'Audit events that wait to be sealed.',
    registers,
  });
  // Not nought before anybody has looked.
  backlog.remove();
  return ({ sealed, unsealed }) => {
    events.inc(sealed);
    backlog.set(unsealed);
  };
}

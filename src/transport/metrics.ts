import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Outcome } from './errors.ts';
import type { Transport } from './exchange.ts';
import { workerMetrics, type WorkerMetrics } from './worker-metrics.ts';

/** Numbers about this process. Every label comes from a small set. */
export interface Metrics extends WorkerMetrics {
  requestStarted(): void;
  /** A request that is not counted has ended. */
  requestSkipped(): void;
  requestEnded(transport: Transport, call: string, outcome: Outcome, seconds: number): void;
  /** One audit event was recorded. `code` and `reason` are those of a refusal, null otherwise. */
  observeAuditEvent(type: string, code: string | null, reason: string | null): void;
  /** One pass of the cleanup has ended. */
  observeCleanup(report: { sessions: number; grants: number; forgotten: number }): void;
  /** One pass of the outbox has ended. */
  observeNotifications(report: { delivered: number; retried: number; givenUp: number }): void;
  /** The configuration was read, at the start or again: the revision that is in force now, or that it was rejected. */
  observeConfiguration(reload: { ok: true; revision: string; at: Date } | { ok: false }): void;
  /** The exposition format of https://prometheus.io/docs/instrumenting/exposition_formats/. */
  render(): Promise<{ contentType: string; body: string }>;
}

// From a cached answer to the longest wait.
const BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30];

/** Makes metrics with a registry of their own, which also holds the process's: memory, event loop, garbage collection. */
export function makeMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const requests = new Counter({
    name: 'asb_requests_total',
    help: 'Requests by transport, call and outcome.',
    labelNames: ['transport', 'call', 'code'],
    registers,
  });
  const duration = new Histogram({
    name: 'asb_request_duration_seconds',
    help: 'Time from the first byte of a request to the last of its answer.',
    labelNames: ['transport', 'call'],
    buckets: BUCKETS_SECONDS,
    registers,
  });
  let inFlight = 0;
  new Gauge({
    name: 'asb_requests_in_flight',
    help: 'Requests being answered now.',
    registers,
    collect() {
      this.set(inFlight);
    },
  });
  const auditEvents = new Counter({
    name: 'asb_audit_events_total',
    help: 'Audit events by type, and by code and reason for refusals.',
    labelNames: ['type', 'code', 'reason'],
    registers,
  });
  const cleanup = new Counter({
    name: 'asb_cleanup_rows_total',
    help: 'What the cleanup ended or dropped.',
    labelNames: ['what'],
    registers,
  });
  const notifications = new Counter({
    name: 'asb_notifications_total',
    help: 'Attempts to send a notification, by outcome.',
    labelNames: ['outcome'],
    registers,
  });
  const observeConfiguration = configurationMetrics(registers);
  const counted = new Map<string, Counter.Internal>();
  // Finding a series by its labels costs more than counting; there are only as many as the labels allow.
  const ended = new Map<string, { count: Counter.Internal; duration: Histogram.Internal<'transport' | 'call'> }>();
  return {
    requestStarted: () => void (inFlight += 1),
    requestSkipped: () => void (inFlight -= 1),
    requestEnded(transport, call, outcome, seconds) {
      inFlight -= 1;
      const key = `${transport} ${call} ${outcome}`;
      let series = ended.get(key);
      if (series === undefined) {
        series = {
          count: requests.labels({ transport, call, code: outcome }),
          duration: duration.labels({ transport, call }),
        };
        ended.set(key, series);
      }
      series.count.inc();
      series.duration.observe(seconds);
    },
    observeAuditEvent(type, code, reason) {
      const key = `${type} ${code} ${reason}`;
      let series = counted.get(key);
      if (series === undefined) {
        series = auditEvents.labels({ type, code: code ?? '', reason: reason ?? '' });
        counted.set(key, series);
      }
      series.inc();
    },
    observeCleanup(report) {
      cleanup.inc({ what: 'sessions_expired' }, report.sessions);
      cleanup.inc({ what: 'grants_expired' }, report.grants);
      cleanup.inc({ what: 'rows_forgotten' }, report.forgotten);
    },
    observeNotifications(report) {
      notifications.inc({ outcome: 'delivered' }, report.delivered);
      notifications.inc({ outcome: 'retried' }, report.retried);
      notifications.inc({ outcome: 'given_up' }, report.givenUp);
    },
    observeConfiguration,
    ...workerMetrics(registers),
    render: async () => ({ contentType: registry.contentType, body: await registry.metrics() }),
  };
}

// Named as Prometheus names those of its own configuration, so that its usual alerts fit.
function configurationMetrics(registers: Registry[]): Metrics['observeConfiguration'] {
  const successful = new Gauge({
    name: 'asb_config_last_reload_successful',
    help: 'Whether the configuration was accepted when it was last read.',
    registers,
  });
  const succeededAt = new Gauge({
    name: 'asb_config_last_reload_success_timestamp_seconds',
    help: 'When the configuration was last accepted.',
    registers,
  });
  const reloads = new Counter({
    name: 'asb_config_reloads_total',
    help: 'How often the configuration was read, by outcome.',
    labelNames: ['outcome'],
    registers,
  });
  const inForce = new Gauge({
    name: 'asb_config_info',
    help: 'The revision of the configuration in force.',
    labelNames: ['revision'],
    registers,
  });
  return (reload) => {
    successful.set(reload.ok ? 1 : 0);
    reloads.inc({ outcome: reload.ok ? 'accepted' : 'rejected' });
    if (!reload.ok) return;
    succeededAt.set(reload.at.getTime() / 1000);
    inForce.reset();
    inForce.set({ revision: reload.revision }, 1);
  };
}

import type { SendNotifications, SendReport } from '../broker/send-notifications.ts';
import type { Clock } from '../domain/clock.ts';

export interface OutboxLoopDeps {
  clock: Clock;
  send: SendNotifications;
  newRequestId(): string;
  /** How many messages one pass takes. */
  limit: number;
  onPass(report: SendReport): void;
  onError(error: unknown): void;
}

export interface OutboxLoop {
  /** Makes the next pass come at once. */
  wake(): void;
  /** Takes up nothing new and resolves when the messages under way have been dealt with. */
  stop(): Promise<void>;
}

const INTERVAL_MS = 1000;
/** What is asked for together is looked for together. */
const AT_ONCE_MS = 10;
/** A pass ends with its slowest receiver, so the next ones do not wait for it; more than this means that the store hangs. */
const MAX_PASSES = 10;

/**
 * Sends what is due every second, at once when woken, and again at once after a pass that came back full. A failed pass is
 * reported and the next one tries again.
 */
export function startOutboxLoop(deps: OutboxLoopDeps): OutboxLoop {
  const stopping = new AbortController();
  const running = new Set<Promise<void>>();
  let cancel = (): void => {};
  let isSoon = false;

  const pass = async (): Promise<void> => {
    try {
      const report = await deps.send(deps.limit, deps.newRequestId(), stopping.signal);
      deps.onPass(report);
      if (report.delivered + report.retried + report.givenUp >= deps.limit) soon();
    } catch (error) {
      deps.onError(error);
    }
  };
  const plan = (delayMs: number): void => {
    cancel();
    cancel = deps.clock.schedule(delayMs, () => {
      isSoon = false;
      plan(INTERVAL_MS);
      if (running.size >= MAX_PASSES) return;
      const started: Promise<void> = pass().finally(() => running.delete(started));
      running.add(started);
    });
  };
  const soon = (): void => {
    if (isSoon || stopping.signal.aborted) return;
    isSoon = true;
    plan(AT_ONCE_MS);
  };

  plan(INTERVAL_MS);
  return {
    wake: soon,
    async stop() {
      stopping.abort();
      cancel();
      await Promise.all(running);
    },
  };
}

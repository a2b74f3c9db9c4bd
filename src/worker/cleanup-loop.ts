import type { Clock } from '../domain/clock.ts';
import type { ExpireDueReport } from '../broker/expire-due.ts';

export interface CleanupLoopDeps {
  clock: Clock;
  expireDue(limit: number, requestId: string): Promise<ExpireDueReport>;
  newRequestId(): string;
  intervalSeconds: number;
  /** How many of each kind one pass takes. */
  limit: number;
  onPass(report: ExpireDueReport): void;
  onError(error: unknown): void;
}

/**
 * Runs the cleanup every `intervalSeconds`, and again at once while a pass came back full. A failed pass is reported and the
 * next one tries again. Returns a function that stops the loop and resolves when the pass under way has ended.
 */
export function startCleanupLoop(deps: CleanupLoopDeps): () => Promise<void> {
  let stopped = false;
  let cancel = (): void => {};
  let running: Promise<void> = Promise.resolve();

  const pass = async (): Promise<void> => {
    let delayMs = deps.intervalSeconds * 1000;
    try {
      const report = await deps.expireDue(deps.limit, deps.newRequestId());
      if (Math.max(report.sessions, report.grants, report.forgotten) >= deps.limit) delayMs = 0;
      deps.onPass(report);
    } catch (error) {
      deps.onError(error);
    }
    if (!stopped) plan(delayMs);
  };
  const plan = (delayMs: number): void => {
    cancel = deps.clock.schedule(delayMs, () => {
      running = pass();
    });
  };

  plan(deps.intervalSeconds * 1000);
  return async () => {
    stopped = true;
    cancel();
    await running;
  };
}

import type { Clock } from '../domain/clock.ts';

/** Work that comes in passes, each of which takes up to `limit` things and reports what became of them. */
export interface PassesDeps<Report> {
  clock: Clock;
  pass(limit: number, requestId: string, stop: AbortSignal): Promise<Report>;
  /** Whether a pass took as much as it may, so that there may be more. */
  isFull(report: Report, limit: number): boolean;
  newRequestId(): string;
  intervalSeconds: number;
  limit: number;
  onPass(report: Report): void;
  onError(error: unknown): void;
}

/**
 * Runs one pass after the other, `intervalSeconds` apart, and the next at once while they come back full. A failed pass is
 * reported and the next one tries again. Returns a function that stops and resolves when the pass under way has ended.
 */
export function startPasses<Report>(deps: PassesDeps<Report>): () => Promise<void> {
  const stopping = new AbortController();
  let cancel = (): void => {};
  let running: Promise<void> = Promise.resolve();

  const pass = async (): Promise<void> => {
    let delayMs = deps.intervalSeconds * 1000;
    try {
      const report = await deps.pass(deps.limit, deps.newRequestId(), stopping.signal);
      if (deps.isFull(report, deps.limit)) delayMs = 0;
      deps.onPass(report);
    } catch (error) {
      deps.onError(error);
    }
    if (!stopping.signal.aborted) plan(delayMs);
  };
  const plan = (delayMs: number): void => {
    cancel = deps.clock.schedule(delayMs, () => {
      running = pass();
    });
  };

  plan(deps.intervalSeconds * 1000);
  return async () => {
    stopping.abort();
    cancel();
    await running;
  };
}

/** Passes that may overlap. */
export interface OverlappingPasses {
  /** Makes the next pass come at once. */
  wake(): void;
  /** Takes up nothing new and resolves when what is under way has been dealt with. */
  stop(): Promise<void>;
}

/** What is asked for together is looked for together. */
const AT_ONCE_MS = 10;
/** A pass ends with its slowest part, so the next ones do not wait for it; more than this means that the store hangs. */
const MAX_PASSES = 10;

/** The same, where a pass does not wait for the one before it, and comes at once when woken. */
export function startOverlappingPasses<Report>(deps: PassesDeps<Report>): OverlappingPasses {
  const stopping = new AbortController();
  const running = new Set<Promise<void>>();
  let cancel = (): void => {};
  let isSoon = false;

  const pass = async (): Promise<void> => {
    try {
      const report = await deps.pass(deps.limit, deps.newRequestId(), stopping.signal);
      deps.onPass(report);
      if (deps.isFull(report, deps.limit)) soon();
    } catch (error) {
      deps.onError(error);
    }
  };
  const plan = (delayMs: number): void => {
    cancel();
    cancel = deps.clock.schedule(delayMs, () => {
      isSoon = false;
      plan(deps.intervalSeconds * 1000);
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

  plan(deps.intervalSeconds * 1000);
  return {
    wake: soon,
    async stop() {
      stopping.abort();
      cancel();
      await Promise.all(running);
    },
  };
}

import type { Clock } from '../domain/clock.ts';
import { deadlineExceeded } from '../domain/errors.ts';

/** Tells when the caller of one call went away. Calls back once, at once when that has happened already. */
export type OnGone = (listener: (reason: Error) => void) => () => void;

/**
 * Runs `work` for at most `seconds`. When time is up, or the caller goes away, the signal aborts and the promise rejects
 * there and then, with `deadline_exceeded` or the caller's reason, even if the work pays no heed; what it does later is
 * dropped.
 */
export function withinDeadline<T>(
  clock: Clock,
  seconds: number,
  onGone: OnGone,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const controller = new AbortController();
    let running = true;
    const stop = (): void => {
      running = false;
      cancel();
      forget();
    };
    const giveUp = (reason: Error): void => {
      if (!running) return;
      stop();
      reject(reason);
      controller.abort(reason);
    };
    const cancel = clock.schedule(seconds * 1000, () =>
      giveUp(deadlineExceeded(`the call took longer than ${seconds} seconds; try again`)),
    );
    let forget = (): void => undefined;
    forget = onGone(giveUp);
    if (!running) {
      forget();
      return;
    }
    work(controller.signal).then(
      (value) => {
        if (running) stop();
        resolve(value);
      },
      (error: unknown) => {
        if (running) stop();
        reject(
          error instanceof Error ? error : new Error('work rejected with something that is no error', { cause: error }),
        );
      },
    );
  });
}

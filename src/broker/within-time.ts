import type { Clock } from '../domain/clock.ts';
import { deadlineExceeded } from '../domain/errors.ts';

/** For work to come back by itself once it was told to end. */
const ABORT_SECONDS = 1;

/**
 * Gives `work` so many seconds; then its signal aborts. Rejects with `deadline_exceeded` and this message when it fails after
 * that, and a second later even when it pays no heed. What it does from then on is dropped.
 */
export async function withinTime<T>(
  clock: Clock,
  seconds: number,
  message: string,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = deadlineExceeded(message);
  const timeout = new AbortController();
  const { promise: left, reject: leave } = Promise.withResolvers<never>();
  let cancel = clock.schedule(seconds * 1000, () => {
    cancel = clock.schedule(ABORT_SECONDS * 1000, () => leave(late));
    timeout.abort(late);
  });
  try {
    return await Promise.race([work(timeout.signal), left]);
  } catch (error) {
    throw timeout.signal.aborted ? late : error;
  } finally {
    cancel();
  }
}

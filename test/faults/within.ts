import { setTimeout as wait } from 'node:timers/promises';

const LOOK_AGAIN_MS = 20;

/** Rejects when something has not settled after so many seconds. */
export async function within<T>(seconds: number, what: string, work: Promise<T>): Promise<T> {
  const over = new AbortController();
  const late = wait(seconds * 1000, undefined, { signal: over.signal, ref: false }).then(() => {
    throw new Error(`${what}: not within ${seconds} seconds`);
  });
  // Called off when the work was in time.
  late.catch(() => undefined);
  try {
    return await Promise.race([work, late]);
  } finally {
    over.abort();
  }
}

/** Looks until something is so. Rejects when it is not after so many seconds, with the last reason why not. */
export async function until(seconds: number, what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + seconds * 1000;
  let reason: unknown = null;
  for (;;) {
    try {
      if (await isSo()) return;
      reason = null;
    } catch (error) {
      reason = error;
    }
    if (performance.now() > end) throw new Error(`${what}: not within ${seconds} seconds`, { cause: reason });
    await wait(LOOK_AGAIN_MS);
  }
}

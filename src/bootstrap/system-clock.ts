import type { Clock } from '../domain/clock.ts';

/** The longest delay a timer takes, in milliseconds; a longer one would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The machine's own time. Scheduled tasks do not keep the process alive. */
export const systemClock: Clock = {
  now: () => new Date(),
  schedule(delayMs, task) {
    let timer: NodeJS.Timeout;
    const wait = (remainingMs: number) => {
      const step = Math.min(remainingMs, LONGEST_TIMER_MS);
      timer = setTimeout(() => (remainingMs > step ? wait(remainingMs - step) : task()), step);
      timer.unref();
    };
    wait(delayMs);
    return () => clearTimeout(timer);
  },
};

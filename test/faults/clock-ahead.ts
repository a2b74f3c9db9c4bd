import { systemClock } from '../../src/bootstrap/system-clock.ts';
import type { Clock } from '../../src/domain/clock.ts';

/** A clock that is ahead of the machine's, so that what a dead process has left behind is overdue at once. */
export const clockAhead = (seconds: number): Clock => ({
  now: () => new Date(systemClock.now().getTime() + seconds * 1000),
  schedule: (delayMs, task) => systemClock.schedule(delayMs, task),
});

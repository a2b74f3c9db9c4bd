export interface BackoffConfig {
  firstSeconds: number;
  maxSeconds: number;
  /** Uniform, from 0 up to 1 and never 1. */
  random: () => number;
}

/** How long to wait after so many tries. Doubles with each; half of it is chance, so that what failed together does not come back together. */
export function backoffSeconds(attempts: number, { firstSeconds, maxSeconds, random }: BackoffConfig): number {
  const full = Math.min(firstSeconds * 2 ** Math.max(attempts - 1, 0), maxSeconds);
  return (full / 2) * (1 + random());
}

/** The moment so many seconds from `now`, to the millisecond above. */
export const secondsFrom = (now: Date, seconds: number): Date => new Date(now.getTime() + Math.ceil(seconds * 1000));

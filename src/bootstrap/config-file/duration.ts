const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };

/** Seconds, minutes or hours: `90s`, `10m`, `1h`. */
export const DURATION = /^[1-9][0-9]{0,5}[smh]$/;

/** A grant never outlives a day, nor does a question to people. */
const MAX_SECONDS = 86_400;

export const DURATION_MISTAKE = 'must be a duration such as 90s, 10m or 1h, and 24h at most';

/** Seconds of a duration that the schema has let through. */
export function secondsOf(duration: string): number {
  return Number(duration.slice(0, -1)) * (UNITS[duration.slice(-1)] ?? Number.NaN);
}

/** Whether it is one that may be configured. */
export const isDuration = (text: string): boolean => DURATION.test(text) && secondsOf(text) <= MAX_SECONDS;

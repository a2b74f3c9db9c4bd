import { parseArgs } from 'node:util';

export interface WorkerFlags {
  /** Pause between two passes that end what ran out. */
  intervalSeconds: number;
  /** How many of each kind one pass takes. */
  limit: number;
  /** Does what is due, and ends. */
  once: boolean;
}

export const WORKER_USAGE = `usage: worker [--interval 30s] [--limit 100] [--once]

  --interval  pause between two passes of the cleanup: 500ms, 30s, 1m30s, 1h (default 30s)
  --limit     how many of each kind one pass takes (default 100)
  --once      does what is due now, and ends

A single dash will do: -interval=30s.`;

const MAX_INTERVAL_SECONDS = 86_400;
const MAX_LIMIT = 10_000;
const UNIT_SECONDS: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600 };
const DURATION = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h))+$/;
const DURATION_PART = /(\d+(?:\.\d+)?)(ms|s|m|h)/g;

/** Reads the command line. Throws an Error that says what to change. */
export function parseWorkerFlags(args: readonly string[]): WorkerFlags {
  const { values } = parseArgs({
    args: args.map(withTwoDashes),
    options: {
      interval: { type: 'string', default: '30s' },
      limit: { type: 'string', default: '100' },
      once: { type: 'boolean', default: false },
    },
    strict: true,
    allowPositionals: false,
  });
  return { intervalSeconds: secondsOf(values.interval), limit: limitOf(values.limit), once: values.once };
}

// The single-dash spelling of Go's flag package: -interval=30s, -once.
const withTwoDashes = (arg: string): string => (/^-[a-z]/.test(arg) ? `-${arg}` : arg);

function secondsOf(text: string): number {
  if (!DURATION.test(text)) throw new Error('--interval: write a duration such as 500ms, 30s, 1m30s or 1h');
  let seconds = 0;
  for (const [, amount, unit = ''] of text.matchAll(DURATION_PART)) seconds += Number(amount) * (UNIT_SECONDS[unit] ?? 0);
  if (seconds <= 0 || seconds > MAX_INTERVAL_SECONDS) throw new Error('--interval: must be more than 0 and at most 24h');
  return seconds;
}

function limitOf(text: string): number {
  const limit = Number(text);
  if (!/^\d+$/.test(text) || limit < 1 || limit > MAX_LIMIT) {
    throw new Error(`--limit: must be a whole number from 1 to ${MAX_LIMIT}`);
  }
  return limit;
}

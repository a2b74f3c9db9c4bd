/** One kind of work. Answers how many things it dealt with; 0 when nothing is due. */
export type Chore = (limit: number, requestId: string, stop: AbortSignal) => Promise<number>;

export interface RunOnceDeps {
  /** By name, in the order in which they are done: what makes work for another comes before it. */
  chores: Readonly<Record<string, Chore>>;
  newRequestId(): string;
  /** How many of each kind one pass takes. */
  limit: number;
  stop: AbortSignal;
  onError(chore: string, error: unknown): void;
}

export interface OnceReport {
  /** How many things each chore dealt with. */
  done: Readonly<Record<string, number>>;
  /** Chores that failed, and those that were not done when the bound was reached. */
  unfinished: readonly string[];
}

/** Rounds of all chores. A queue that is longer than this many passes take is left to the next run. */
const MAX_ROUNDS = 1000;

/** Does everything that is due now, round by round until nothing is. A chore that fails is reported and not tried again. */
export async function runOnce(deps: RunOnceDeps): Promise<OnceReport> {
  const done: Record<string, number> = Object.fromEntries(Object.keys(deps.chores).map((name) => [name, 0]));
  const failed = new Set<string>();
  let busy = Object.keys(deps.chores);
  for (let round = 0; busy.length > 0 && round < MAX_ROUNDS && !deps.stop.aborted; round += 1) {
    busy = [];
    for (const [name, chore] of Object.entries(deps.chores)) {
      if (failed.has(name)) continue;
      try {
        const count = await chore(deps.limit, deps.newRequestId(), deps.stop);
        done[name] = (done[name] ?? 0) + count;
        if (count > 0) busy.push(name);
      } catch (error) {
        failed.add(name);
        deps.onError(name, error);
      }
    }
  }
  return { done, unfinished: [...failed, ...busy] };
}

import type { FaultProcess } from './fault-process.ts';

const AHEAD = 2;

/** Processes that are there to be killed. The next ones start while the last is being looked at. */
export class Victims {
  readonly #start: () => Promise<FaultProcess>;
  readonly #ready: Promise<FaultProcess>[] = [];

  constructor(start: () => Promise<FaultProcess>) {
    this.#start = start;
    for (let count = 0; count < AHEAD; count += 1) this.#addOne();
  }

  take(): Promise<FaultProcess> {
    this.#addOne();
    return this.#ready.shift() ?? this.#start();
  }

  /** Kills those that nobody took. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#ready.map(async (starting) => (await starting).kill()));
  }

  #addOne(): void {
    const starting = this.#start();
    // Whoever takes it hears of it.
    starting.catch(() => undefined);
    this.#ready.push(starting);
  }
}

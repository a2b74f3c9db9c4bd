import type { FaultProcess } from './fault-process.ts';

/** Processes that are there to be killed. The next ones start while the last is being looked at. */
export class Victims {
  readonly #start: () => Promise<FaultProcess>;
  readonly #ready: Promise<FaultProcess>[] = [];

  /** `ahead` of them are there, or on their way, at any time. */
  constructor(ahead: number, start: () => Promise<FaultProcess>) {
    this.#start = start;
    for (let count = 0; count < ahead; count += 1) this.#addOne();
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

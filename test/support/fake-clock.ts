import type { Clock } from '../../src/domain/clock.ts';

/** A clock that stands still until told to move. */
export class FakeClock implements Clock {
  #now: number;
  #tasks: { due: number; task: () => void }[] = [];

  constructor(start = '2026-01-02T03:04:05.000Z') {
    this.#now = Date.parse(start);
  }

  now(): Date {
    return new Date(this.#now);
  }

  schedule(delayMs: number, task: () => void): () => void {
    const entry = { due: this.#now + delayMs, task };
    this.#tasks.push(entry);
    return () => {
      this.#tasks = this.#tasks.filter((other) => other !== entry);
    };
  }

  /** Moves time on and runs what falls due, in order. */
  advance(seconds: number): void {
    const until = this.#now + seconds * 1000;
    for (;;) {
      const next = this.#tasks.filter((entry) => entry.due <= until).sort((a, b) => a.due - b.due)[0];
      if (next === undefined) break;
      this.#tasks = this.#tasks.filter((entry) => entry !== next);
      this.#now = Math.max(this.#now, next.due);
      next.task();
    }
    this.#now = until;
  }
}

import type { Clock } from '../domain/clock.ts';

const REMINDER_MS = 60_000;

/** Tells of a trouble when it begins, once a minute while it lasts, and when it is over: one that lasts an hour is not thousands of lines. */
export class Troubles {
  readonly #clock: Clock;
  readonly #tell: { begun: (error: unknown) => void; over: () => void };
  #toldAt: number | null = null;

  constructor(clock: Clock, tell: { begun: (error: unknown) => void; over: () => void }) {
    this.#clock = clock;
    this.#tell = tell;
  }

  failed(error: unknown): void {
    const now = this.#clock.now().getTime();
    if (this.#toldAt !== null && now - this.#toldAt < REMINDER_MS) return;
    this.#toldAt = now;
    this.#tell.begun(error);
  }

  succeeded(): void {
    if (this.#toldAt === null) return;
    this.#toldAt = null;
    this.#tell.over();
  }
}

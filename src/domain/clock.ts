/** Time as the broker sees it; tests put their own hand on it. */
export interface Clock {
  now(): Date;
  /** Runs `task` once, `delayMs` milliseconds from now. Returns a function that calls it off. */
  schedule(delayMs: number, task: () => void): () => void;
}

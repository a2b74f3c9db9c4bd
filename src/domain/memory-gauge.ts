/** What this process holds in memory. */
export interface MemoryGauge {
  /** Bytes in buffers, whoever holds them: answers that arrive, and answers that a slow caller has not taken yet. */
  bufferedBytes(): number;
}

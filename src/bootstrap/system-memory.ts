import type { MemoryGauge } from '../domain/memory-gauge.ts';

/** This process's own memory. */
export const systemMemory: MemoryGauge = {
  // Chunks off the wire and what they are joined into.
  bufferedBytes: () => process.memoryUsage().arrayBuffers,
};

import type { PresentedProof } from './proof.ts';

/** What every use case is told about the call that reached it. */
export interface CallContext {
  requestId: string;
  /** What the caller showed to prove that it holds a key; null on transports and in work of our own where nothing can be shown. */
  proof: PresentedProof | null;
  /** Aborts when the caller went away or its deadline passed. */
  signal: AbortSignal;
}

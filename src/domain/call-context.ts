/** What every use case is told about the call that reached it. */
export interface CallContext {
  requestId: string;
  /** Aborts when the caller went away or its deadline passed. */
  signal: AbortSignal;
}

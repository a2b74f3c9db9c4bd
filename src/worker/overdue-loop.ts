import type { OverdueReport } from '../broker/end-overdue-calls.ts';
import { type PassesDeps, startPasses } from './passes.ts';

export interface OverdueLoopDeps extends Omit<PassesDeps<OverdueReport>, 'pass' | 'isFull'> {
  endOverdueCalls(limit: number, requestId: string): Promise<OverdueReport>;
}

/** Closes the calls whose makers died every `intervalSeconds`, and again at once while a pass came back full; one pass at a time. */
export const startOverdueLoop = (deps: OverdueLoopDeps): (() => Promise<void>) =>
  startPasses({
    ...deps,
    pass: (limit, requestId) => deps.endOverdueCalls(limit, requestId),
    isFull: ({ proxy, lease, revocation }, limit) => proxy + lease + revocation >= limit,
  });

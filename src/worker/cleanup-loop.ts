import type { ExpireDueReport } from '../broker/expire-due.ts';
import { type PassesDeps, startPasses } from './passes.ts';

export interface CleanupLoopDeps extends Omit<PassesDeps<ExpireDueReport>, 'pass' | 'isFull'> {
  expireDue(limit: number, requestId: string): Promise<ExpireDueReport>;
}

/** Runs the cleanup every `intervalSeconds`, and again at once while a pass came back full; one pass at a time. */
export const startCleanupLoop = (deps: CleanupLoopDeps): (() => Promise<void>) =>
  startPasses({
    ...deps,
    pass: (limit, requestId) => deps.expireDue(limit, requestId),
    isFull: ({ sessions, grants, forgotten }, limit) => Math.max(sessions, grants, forgotten) >= limit,
  });

import type { RevokeDue, RevokeReport } from '../broker/revoke-due.ts';
import { type OverlappingPasses, type PassesDeps, startOverlappingPasses } from './passes.ts';

export interface RevocationLoopDeps extends Omit<PassesDeps<RevokeReport>, 'pass' | 'isFull' | 'intervalSeconds'> {
  revokeDue: RevokeDue;
}

export type RevocationLoop = OverlappingPasses;

/** What outlived its grant is still good downstream, so it is looked for often. */
const INTERVAL_SECONDS = 1;

/**
 * Revokes what is due every second, at once when woken, and again at once after a pass that came back full. A pass ends with its
 * slowest connector, so the next ones do not wait for it.
 */
export const startRevocationLoop = (deps: RevocationLoopDeps): RevocationLoop =>
  startOverlappingPasses({
    ...deps,
    intervalSeconds: INTERVAL_SECONDS,
    pass: deps.revokeDue,
    isFull: ({ revoked, expired, retried }, limit) => revoked + expired + retried >= limit,
  });

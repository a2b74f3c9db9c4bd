import type { SendNotifications, SendReport } from '../broker/send-notifications.ts';
import { type OverlappingPasses, type PassesDeps, startOverlappingPasses } from './passes.ts';

export interface OutboxLoopDeps extends Omit<PassesDeps<SendReport>, 'pass' | 'isFull' | 'intervalSeconds'> {
  send: SendNotifications;
}

export type OutboxLoop = OverlappingPasses;

const INTERVAL_SECONDS = 1;

/**
 * Sends what is due every second, at once when woken, and again at once after a pass that came back full. A pass ends with its
 * slowest receiver, so the next ones do not wait for it.
 */
export const startOutboxLoop = (deps: OutboxLoopDeps): OutboxLoop =>
  startOverlappingPasses({
    ...deps,
    intervalSeconds: INTERVAL_SECONDS,
    pass: deps.send,
    isFull: ({ delivered, retried, givenUp }, limit) => delivered + retried + givenUp >= limit,
  });

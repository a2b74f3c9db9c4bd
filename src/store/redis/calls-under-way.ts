import { randomUUID } from 'node:crypto';
import type { CallId, HandleHash } from '../../domain/ids.ts';
import type { HandleUsage, SlotRequest } from '../../domain/runtime-store.ts';

/** What the calls of one process have brought back through a handle, since it last had none under way behind it. */
export interface Tally {
  /** Its name in Redis. */
  name: string;
  /** In bytes. */
  total: number;
}

interface CallsOfHandle {
  tally: Tally;
  /** What the latest of them asked for. */
  request: SlotRequest;
  /** When the slots that are held lapse. */
  lapses: Map<CallId, Date>;
}

/**
 * The calls of this process that hold a slot. What one has brought back so far is on record only when it ends; a Redis that lost its
 * data hears it from the processes, as each says its whole tally every time.
 */
export class CallsUnderWay {
  readonly #calls = new Map<HandleHash, CallsOfHandle>();

  began(request: SlotRequest, lapsesAt: Date): void {
    const { handleHash, slotId } = request;
    const calls = this.#calls.get(handleHash) ?? { tally: newTally(), request, lapses: new Map<CallId, Date>() };
    calls.request = request;
    calls.lapses.set(slotId, lapsesAt);
    this.#calls.set(handleHash, calls);
  }

  /** Adds what a call has brought back. Null for a handle with no call of this process under way. */
  spent(handleHash: HandleHash, bytes: number): { tally: Readonly<Tally>; request: SlotRequest } | null {
    const calls = this.#calls.get(handleHash);
    if (calls === undefined) return null;
    calls.tally.total += bytes;
    return { tally: { ...calls.tally }, request: calls.request };
  }

  /** Whether a call of this process is among those that are open on record. */
  hasOpen(handleHash: HandleHash, { slots }: HandleUsage): boolean {
    const lapses = this.#calls.get(handleHash)?.lapses;
    return slots.some(({ slotId }) => lapses?.has(slotId));
  }

  /** Begins a new tally, where all that the old one counted is on record. */
  settle(handleHash: HandleHash): void {
    const calls = this.#calls.get(handleHash);
    if (calls !== undefined) calls.tally = newTally();
  }

  /** Answers the tally that is over with this call; null when there is none, or other calls go on with it. */
  ended(handleHash: HandleHash, slotId: CallId): Tally | null {
    const calls = this.#calls.get(handleHash);
    if (calls === undefined || !calls.lapses.delete(slotId) || calls.lapses.size > 0) return null;
    this.#calls.delete(handleHash);
    return calls.tally;
  }

  /** Drops calls whose slots have lapsed: nobody told of their end. */
  forgetLapsed(now: Date): void {
    for (const [handleHash, { lapses }] of this.#calls) {
      for (const [slotId, lapsesAt] of lapses) if (lapsesAt <= now) lapses.delete(slotId);
      if (lapses.size === 0) this.#calls.delete(handleHash);
    }
  }
}

const newTally = (): Tally => ({ name: randomUUID(), total: 0 });

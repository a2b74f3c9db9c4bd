import type { ChainLink, RecordedEvent } from '../domain/audit-chain.ts';
import { nextLink } from './chain.ts';

/** More than these are not looked for: each event that comes by costs as many hashes. */
const MAX_SOUGHT = 100;

export interface MissingEventsConfig {
  /** The link that they followed. */
  before: ChainLink;
  /** How many are missing. */
  count: number;
  /** Whether a link is the one that the last of them had. */
  isLast: (link: ChainLink) => boolean;
}

/** Looks for events that are missing from a chain among events that stand elsewhere, one after another. */
export class MissingEvents {
  readonly #config: MissingEventsConfig;
  readonly #recent: RecordedEvent[] = [];

  constructor(config: MissingEventsConfig) {
    this.#config = config;
  }

  /** The first of the missing events, once the last of them has come by; null before, and when they never come by in their order. */
  seen(event: RecordedEvent): RecordedEvent | null {
    const { before, count, isLast } = this.#config;
    if (count < 1 || count > MAX_SOUGHT) return null;
    this.#recent.push(event);
    if (this.#recent.length > count) this.#recent.shift();
    if (this.#recent.length < count) return null;
    const last = linkAfter(before, this.#recent);
    return last !== null && isLast(last) ? (this.#recent[0] ?? null) : null;
  }
}

/** The first of the missing events, when `events` has them all one after another; otherwise null. */
export async function findMissing(
  config: MissingEventsConfig,
  events: AsyncIterable<RecordedEvent>,
): Promise<RecordedEvent | null> {
  const missing = new MissingEvents(config);
  for await (const event of events) {
    const first = missing.seen(event);
    if (first !== null) return first;
  }
  return null;
}

/** Null when one of them has no canonical form. */
function linkAfter(before: ChainLink, events: readonly RecordedEvent[]): ChainLink | null {
  try {
    return events.reduce<ChainLink>(nextLink, before);
  } catch {
    return null;
  }
}

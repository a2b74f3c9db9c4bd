import type { ChainLink, RecordedEvent, SealedEvent } from '../domain/audit-chain.ts';
import { fits } from './chain.ts';
import { altered, type Finding, inserted, removed, reordered, unsealedAgain } from './finding.ts';
import { findMissing, MissingEvents } from './missing-events.ts';

/** How far the numbers after removed events may have been moved up for it to be noticed. */
const MAX_SHIFT = 1000;

/** A link that holds, and its event; that of `GENESIS` has none. */
export interface HeldLink extends ChainLink {
  eventId: string | null;
}

/** The place at which a chain stops fitting together. */
export interface Break {
  /** The last link that holds. */
  before: HeldLink;
  /** Some that hold before it, the nearest one last. */
  earlier: readonly HeldLink[];
  /** The first event that does not fit. */
  broken: SealedEvent;
  /** Those with higher numbers. Read once. */
  rest: AsyncIterable<SealedEvent>;
  /** Those without a number. Read once. */
  unsealed: AsyncIterable<RecordedEvent>;
  /** Where the chain should end: what its head and its last checkpoint say. */
  ends: readonly ChainLink[];
}

/**
 * Tells what was done where a chain breaks. Each answer but `altered` and `removed` rests on a hash that fits elsewhere, so it is not a
 * guess; these two are what is left when none does.
 */
export async function diagnoseBreak(found: Break): Promise<Finding> {
  const { before, broken, ends } = found;
  const { seq, event } = broken;
  if (seq <= before.seq) return inserted(seq, event.id, 'no event is sealed under such a number');
  const finding = await (seq > before.seq + 1 ? diagnoseGap(found) : diagnoseMisfit(found));
  const isBeyondTheEnd = ends.every((end) => end.seq <= before.seq);
  if (!isBeyondTheEnd || (finding.kind !== 'altered' && finding.kind !== 'removed')) return finding;
  return inserted(seq, event.id, `the chain was sealed up to ${before.seq}`);
}

/** Numbers are missing. Their events may stand elsewhere. */
async function diagnoseGap({ before, broken, rest, unsealed }: Break): Promise<Finding> {
  const seq = before.seq + 1;
  const count = broken.seq - seq;
  const isLast = (link: ChainLink) => fits(broken.hash, link.hash, broken.event, broken.seq);
  const missing = new MissingEvents({ before, count, isLast });
  for await (const later of startingWith(broken, rest)) {
    const keptItsHash = fits(later.hash, before.hash, later.event, seq);
    const moved = keptItsHash ? later.event : missing.seen(later.event);
    if (moved !== null) return reordered(seq, moved.id, 'it was sealed here and has another number now');
  }
  const waiting = await findMissing({ before, count, isLast }, unsealed);
  return waiting === null ? removed(seq, count) : unsealedAgain(seq, waiting.id);
}

/** An event has the number that comes next, and does not fit. */
async function diagnoseMisfit(found: Break): Promise<Finding> {
  const { before, broken, rest, unsealed } = found;
  const { seq, hash, event } = broken;
  let belongsHere: string | null = null;
  let shift: number | null = null;
  for await (const later of rest) {
    if (fits(hash, before.hash, later.event, seq)) {
      return reordered(seq, event.id, `it has changed places with ${later.event.id}, which was sealed here`);
    }
    const places = [later.seq, later.seq + 1, seq + 1];
    if (places.some((place) => fits(hash, later.hash, event, place))) {
      return reordered(seq, event.id, `it was sealed in another place, after ${later.event.id}`);
    }
    if (fits(later.hash, before.hash, later.event, seq)) belongsHere ??= later.event.id;
    shift ??= shiftBetween(broken, later);
  }
  for await (const waiting of unsealed) {
    const isLast = (link: ChainLink) => fits(hash, link.hash, event, link.seq + 1);
    if (new MissingEvents({ before, count: 1, isLast }).seen(waiting) !== null) return unsealedAgain(seq, waiting.id);
    if (fits(hash, before.hash, waiting, seq)) belongsHere ??= waiting.id;
  }
  if (belongsHere !== null) return inserted(seq, event.id, `${belongsHere} was sealed in its place`);
  return removedAndRenumbered(found, shift) ?? insertedEarlier(found) ?? altered(seq, event.id);
}

/** By how much the numbers of two neighbours are too low; null when they are not, or one of them was changed otherwise. */
function shiftBetween(broken: SealedEvent, next: SealedEvent): number | null {
  if (next.seq !== broken.seq + 1) return null;
  for (let shift = 1; shift <= MAX_SHIFT; shift += 1) {
    if (fits(next.hash, broken.hash, next.event, next.seq + shift)) return shift;
  }
  return null;
}

function removedAndRenumbered({ broken, ends }: Break, shift: number | null): Finding | null {
  const sealedAs = ends.find((end) => end.hash === broken.hash && end.seq > broken.seq)?.seq;
  const count = shift ?? (sealedAs === undefined ? 0 : sealedAs - broken.seq);
  return count === 0 ? null : removed(broken.seq, count);
}

/** The break shows at the first event that is genuine again: those before it were made to fit. */
function insertedEarlier({ before, earlier, broken }: Break): Finding | null {
  const held = [...earlier, before];
  const from = earlier.findLastIndex((link) => fits(broken.hash, link.hash, broken.event, link.seq + 1));
  const forged = from === -1 ? undefined : held[from + 1];
  if (forged === undefined) return null;
  return inserted(forged.seq, forged.eventId, `${broken.event.id} was sealed in its place`);
}

async function* startingWith<T>(first: T, rest: AsyncIterable<T>): AsyncGenerator<T> {
  yield first;
  yield* rest;
}

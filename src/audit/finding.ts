/** What was done to a chain, as far as can be told. The first four are about an event. */
export type FindingKind =
  | 'altered'
  | 'removed'
  | 'inserted'
  | 'reordered'
  /** Was sealed, and its number was taken away again. */
  | 'unsealed'
  /** An event before a checkpoint was changed, and every hash after it made anew. */
  | 'rewritten'
  /** Numbered events that no checkpoint vouches for. */
  | 'not_covered'
  | 'head_changed'
  | 'checkpoint_removed'
  | 'checkpoint_altered'
  | 'checkpoint_of_unknown_key';

/** One thing that is wrong with a chain. */
export interface Finding {
  kind: FindingKind;
  /** Where in the chain it shows. */
  seq: number;
  /** The event that stands there, or that was taken away from there; null when it is not known. */
  eventId: string | null;
  /** For a person. Holds nothing of what an event says. */
  message: string;
}

const aboutEvent =
  (kind: FindingKind, what: string) =>
  (seq: number, eventId: string | null, why: string): Finding => {
    const message = `event ${seq}${eventId === null ? '' : ` (${eventId})`} ${what}: ${why}`;
    return { kind, seq, eventId, message };
  };

export const inserted = aboutEvent('inserted', 'was inserted');
export const reordered = aboutEvent('reordered', 'was reordered');

export const altered = (seq: number, eventId: string): Finding =>
  aboutEvent('altered', 'was altered')(seq, eventId, 'it is not what its hash was made of');

export const unsealedAgain = (seq: number, eventId: string): Finding =>
  aboutEvent('unsealed', 'was unsealed')(seq, eventId, 'it is there, and its number was taken away');

export const removed = (seq: number, count: number): Finding =>
  aboutEvent('removed', 'was removed')(
    seq,
    null,
    count === 1 ? 'nothing is there' : `nothing is there, nor of the ${count - 1} after it`,
  );

/** A finding about a stretch or the end of a chain. */
export const aboutChain = (kind: FindingKind, seq: number, eventId: string | null, what: string): Finding => ({
  kind,
  seq,
  eventId,
  message: `the chain ${what}`,
});

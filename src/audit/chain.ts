import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';
import type { ChainHash, ChainLink, RecordedEvent } from '../domain/audit-chain.ts';
import { eventJson } from './event-json.ts';

/** Keeps our hashes apart from hashes of the same bytes for another purpose, or of a later version. */
const DOMAIN = 'asb-audit-chain-v1\n';

/**
 * SHA-256 over the domain, the 32 bytes of the previous hash, and the canonical JSON (RFC 8785) of the event under the names of
 * the audit log, its tenant among them, with its number as `chain_seq`. Numbers are what JavaScript reads them as.
 * Throws an Error when the event has no canonical form, which none has that the broker wrote.
 */
export function linkHash(previous: ChainHash, event: RecordedEvent, seq: number): ChainHash {
  const canonical = canonicalize({ ...eventJson(event, event.at), chain_seq: seq });
  if (canonical === undefined) throw new Error('an event has no canonical form');
  return createHash('sha256').update(DOMAIN).update(previous, 'hex').update(canonical).digest('hex') as ChainHash;
}

/** The link of the event that follows `previous`. */
export function nextLink(previous: ChainLink, event: RecordedEvent): ChainLink {
  const seq = previous.seq + 1;
  return { seq, hash: linkHash(previous.hash, event, seq) };
}

/** Whether a stored hash is the one that an event has at a place. An event without a canonical form fits nowhere. */
export function fits(hash: ChainHash, previous: ChainHash, event: RecordedEvent, seq: number): boolean {
  try {
    return linkHash(previous, event, seq) === hash;
  } catch {
    return false;
  }
}

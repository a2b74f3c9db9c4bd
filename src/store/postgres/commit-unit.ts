import type { AuditEvent } from '../../domain/audit-event.ts';
import { type EndedGrant, isGrantOpen } from '../../domain/grant.ts';
import type { ExpiredApproval } from '../../domain/approval.ts';
import type { Artifact } from '../../domain/artifact.ts';
import { type Database, type Row, type Run, StatementFailure } from './database.ts';
import { readApproval, readArtifact, readGrant } from './read-rows.ts';
import { RecordedEvents } from './recorded-events.ts';
import type { StagedUnit, UnitPart } from './staged-unit.ts';
import { COMMIT_UNIT, END_GRANTS_OF_SESSION, FIND_EVENT } from './unit-statements.ts';

/**
 * Commits a unit, and answers its events. Tries once more when it was undone, or when the connection was lost before the outcome was
 * known. The first try may then have committed, and the second one fails on what the first has done; the unit's first event
 * tells. A server that kept silent is not asked again: a call has no time for that. Rejects with what the unit raised, or with
 * `unavailable`.
 */
export async function commitUnit(database: Database, unit: StagedUnit): Promise<readonly AuditEvent[]> {
  const first = new RecordedEvents();
  try {
    await tryToCommit(database, unit, first);
    return first.events;
  } catch (error) {
    if (!(error instanceof StatementFailure)) throw error;
    if (error.outcome === 'final' || error.outcome === 'silent') throw error.translated();
    return commitAgain(database, unit, error.outcome === 'unknown' ? first : new RecordedEvents());
  }
}

/** `first` has the events of the try before, where that may have committed. */
async function commitAgain(database: Database, unit: StagedUnit, first: RecordedEvents): Promise<readonly AuditEvent[]> {
  const second = new RecordedEvents();
  try {
    await tryToCommit(database, unit, second);
    return second.events;
  } catch (error) {
    if (!(error instanceof StatementFailure)) throw error;
    if (error.outcome === 'silent') throw error.translated();
    const maybe = error.outcome === 'unknown' ? [first, second] : [first];
    for (const { events } of maybe) if (await areOnRecord(database, events)) return events;
    throw error.translated();
  }
}

/** Adds the unit's events to `events` as they become known. */
function tryToCommit(database: Database, unit: StagedUnit, events: RecordedEvents): Promise<unknown> {
  const [only] = unit.parts;
  if (only.end !== null) return database.inTransaction((run) => commitInParts(run, unit, events));
  events.addAll(only.events);
  // Where nothing has to be answered in between, one statement is the whole transaction.
  return database.once(COMMIT_UNIT, [unit.locks, changesOf(only), events.toJson()]);
}

async function commitInParts(run: Run, unit: StagedUnit, events: RecordedEvents): Promise<void> {
  let locks = unit.locks;
  for (const part of unit.parts) {
    events.addAll(part.events);
    if (part.end === null) {
      await run(COMMIT_UNIT, [locks, changesOf(part), events.toJson()]);
      return;
    }
    const ended = await run(END_GRANTS_OF_SESSION, [locks, changesOf(part), part.end.change]);
    locks = null;
    for (const row of ended) {
      for (const event of part.end.events(...readEnded(row))) events.add(event);
    }
  }
}

const changesOf = ({ changes }: UnitPart): string => `[${changes.join(',')}]`;

function readEnded(row: Row): [EndedGrant, Artifact | null, ExpiredApproval | null] {
  const grant = readGrant(row, 'grant_');
  const artifact = row.artifact_id === null ? null : readArtifact(row, 'artifact_');
  const approval = row.approval_id === null ? null : readApproval(row, 'approval_');
  if (isGrantOpen(grant) || (approval !== null && approval.state !== 'expired')) {
    throw new Error('a row of the database makes no sense: what was ended has not ended');
  }
  return [grant, artifact, approval];
}

/** Units commit whole, so one event answers for all. One that has none cannot be told from one that never was. */
async function areOnRecord(database: Database, [event]: readonly AuditEvent[]): Promise<boolean> {
  return event !== undefined && (await database.query(FIND_EVENT, [event.id])).length > 0;
}

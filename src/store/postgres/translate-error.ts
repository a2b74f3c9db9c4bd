import { DatabaseError } from 'pg';
import { BrokerError, budgetExceeded, conflict, forbidden, unavailable } from '../../domain/errors.ts';

/**
 * What is known of a statement that failed: it changed nothing and may be tried again, it may have committed, it changed nothing and
 * never will, or nothing at all was heard of it for as long as anybody waits (it may have committed, and there is no time to ask).
 */
export type FailedOutcome = 'undone' | 'unknown' | 'final' | 'silent';

/** SQLSTATE classes of a server that does not work just now (https://www.postgresql.org/docs/current/errcodes-appendix.html). */
const UNAVAILABLE_CLASSES: ReadonlySet<string> = new Set([
  '08', // connection exception
  '25', // invalid transaction state: read-only, or ended while it was idle
  '28', // invalid authorization
  '40', // transaction rollback
  '53', // insufficient resources
  '55', // not in prerequisite state: a lock timeout
  '57', // operator intervention: shutdown, a statement timeout
  '58', // system error
  '3D', // no such database
]);

const SERIALIZATION_FAILURE = '40001';
const DEADLOCK_DETECTED = '40P01';
const UNIQUE_VIOLATION = '23505';
/** The server went away: admin_shutdown, crash_shutdown, cannot_connect_now, idle_session_timeout. */
const SERVER_GONE = /^(08...|57P0[1235])$/;

/** pg's error for a `query_timeout` that ran out has no code and no class of its own. */
const READ_TIMEOUT = 'Query read timeout';

/** SQLSTATEs that migrations/0002_changes.sql raises, with messages for the caller. */
const OURS: Readonly<Record<string, (message: string) => Error>> = {
  ASB01: (message) => conflict(message),
  ASB02: (message) => budgetExceeded(message),
  ASB03: (message) => blockedBy(message === 'run' ? 'run' : 'workload'),
  // A mistake of the caller's, which no caller is told of.
  ASB09: (message) => new Error(message),
};

/** What is taken, by the constraint that says so. */
const TAKEN: Readonly<Record<string, string>> = {
  sessions_pkey: 'session id is taken',
  grants_pkey: 'grant id is taken',
  grants_by_request_id: 'request_id is taken: another grant of the session was asked for under it',
  artifacts_pkey: 'artifact id is taken',
  artifacts_by_grant: 'grant has its artifact already',
  artifacts_by_handle: 'handle is taken',
  approvals_pkey: 'approval id is taken',
  notifications_pkey: 'notification id is taken',
  downstream_calls_pkey: 'call id is taken',
  revocation_jobs_pkey: 'revocation id is taken',
  revocation_jobs_by_grant: 'grant has its revocation already',
  audit_events_pkey: 'event id is taken',
};

/**
 * Postgres' errors as the broker's. What a function of ours raised keeps its message; whatever else comes of the server says neither
 * SQL nor values. An error that is no BrokerError is a defect.
 */
export function translateError(failure: unknown): Error {
  if (failure instanceof BrokerError) return failure;
  if (!(failure instanceof DatabaseError)) return notAvailable(failure);
  const { code = '' } = failure;
  const ours = OURS[code];
  if (ours !== undefined) return ours(failure.message);
  if (code === UNIQUE_VIOLATION) return conflict(TAKEN[failure.constraint ?? ''] ?? 'it is there already');
  if (UNAVAILABLE_CLASSES.has(code.slice(0, 2))) return notAvailable(failure);
  return new Error('a statement was refused by the database', { cause: describe(failure) });
}

/** What is known of the statement that failed with this. */
export function outcomeOf(failure: unknown): FailedOutcome {
  if (failure instanceof DatabaseError) {
    const { code = '' } = failure;
    if (code === SERIALIZATION_FAILURE || code === DEADLOCK_DETECTED) return 'undone';
    // The server may have committed before it told that it goes.
    return SERVER_GONE.test(code) ? 'unknown' : 'final';
  }
  if (failure instanceof Error && failure.message === READ_TIMEOUT) return 'silent';
  // pg's other errors, of a socket or of a connection that ended, have nothing in common but that the server said nothing.
  return 'unknown';
}

function blockedBy(kind: 'run' | 'workload'): BrokerError {
  const reason = kind === 'run' ? 'run_revoked' : 'workload_revoked';
  return forbidden(reason, `an operator has revoked this ${kind}; it gets nothing any more`, { rule: 'revocation' });
}

const notAvailable = (failure: unknown): BrokerError =>
  unavailable('the database is not available; try again later', { cause: describe(failure) });

/** What the log may know. The server's words on data quote it, so of these only the names remain. */
function describe(failure: unknown): unknown {
  if (!(failure instanceof DatabaseError)) return failure;
  const { code = 'no code', severity = 'ERROR', table, column, constraint, routine } = failure;
  const quotesData = /^2[23]/.test(code);
  const names = Object.entries({ table, column, constraint, routine }).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name} ${value}`],
  );
  const words = [`Postgres ${severity} ${code}`, ...(quotesData ? [] : [failure.message]), ...names].join(', ');
  // The log keeps an error's code, and no foreign words.
  return Object.assign(new Error(words), { code });
}

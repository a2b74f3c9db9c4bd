import { Pool, TypeOverrides, types } from 'pg';

export interface PoolSettings {
  /** A connection URI (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING); its `sslmode` decides on TLS. */
  dsn: string;
  maxConnections: number;
  /** How long one statement may take before the server ends it. */
  statementTimeoutMs: number;
  /** How long it may wait for another's lock. */
  lockTimeoutMs: number;
  /** How long to wait for a connection, a new one or one that somebody gives back. */
  connectionTimeoutMs?: number;
  /** How the connections are named in `pg_stat_activity`. */
  applicationName?: string;
  /** Told when a connection that nobody uses is lost, as all are when the server restarts. */
  onError?: (error: Error) => void;
}

const CONNECTION_TIMEOUT_MS = 5000;
/** What the server's own timeout gets before a silent connection is given up. */
const READ_MARGIN_MS = 2000;
const IDLE_TIMEOUT_MS = 30_000;
/** So that connections move on to a server that has taken another's place. */
const MAX_LIFETIME_SECONDS = 30 * 60;

/**
 * What the statements rely on, whatever the database or the role is set to: a statement sees what has committed when it starts, and
 * dates are written as pg reads them. Compiling a plan pays for none of them.
 */
const SERVER_SETTINGS = '-c default_transaction_isolation=read\\ committed -c datestyle=ISO -c jit=off';

/** Opens connections when they are needed. Nothing is connected yet when it returns. */
export function openPool(settings: PoolSettings): Pool {
  const { statementTimeoutMs, lockTimeoutMs, onError = () => undefined } = settings;
  const pool = new Pool({
    connectionString: withServerSettings(settings.dsn),
    max: settings.maxConnections,
    application_name: settings.applicationName ?? 'asb',
    connectionTimeoutMillis: settings.connectionTimeoutMs ?? CONNECTION_TIMEOUT_MS,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    maxLifetimeSeconds: MAX_LIFETIME_SECONDS,
    keepAlive: true,
    statement_timeout: statementTimeoutMs,
    lock_timeout: lockTimeoutMs,
    // A process that froze in the middle of a transaction gives its locks up.
    idle_in_transaction_session_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + READ_MARGIN_MS,
    types: TYPES,
  });
  // A lost connection that nobody listens to would end the process.
  pool.on('error', onError);
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

/** The `options` of a DSN come before anybody else's, so the settings join those that it has. */
function withServerSettings(dsn: string): string {
  const url = new URL(dsn);
  const own = url.searchParams.get('options');
  url.searchParams.set('options', own === null ? SERVER_SETTINGS : `${own} ${SERVER_SETTINGS}`);
  return url.href;
}

/** Counts fit into a number; all else is parsed as pg does, dates to the millisecond. */
const TYPES = new TypeOverrides();
TYPES.setTypeParser(types.builtins.INT8, safeInteger);

function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError('a count in the database is larger than a number can tell');
  return value;
}

import type { ClientBase } from 'pg';
import { z } from 'zod';
import type { Clock } from '../../domain/clock.ts';
import { MigrationError } from './migration-error.ts';
import { type Migration, numbered, readMigrations } from './migration-files.ts';

/** What asks a database: a client, or a pool. */
export type Queryable = Pick<ClientBase, 'query'>;

/**
 * How a migration and the database stand: `applied`, `pending`, `changed` (the file is not the one that was applied), `late` (not applied, while
 * a later one is), `unknown` (applied, and this version of ASB does not have it: the database is newer).
 */
export type MigrationState = 'applied' | 'pending' | 'changed' | 'late' | 'unknown';

export interface MigrationEntry {
  version: number;
  file: string;
  state: MigrationState;
  /** Null until it is applied. */
  appliedAt: Date | null;
}

/** Told how a run goes. */
export interface MigrationProgress {
  /** Another runner is at work; this one waits for it. */
  waiting(): void;
  applied(migration: Migration): void;
}

// One runner at a time in a database; other programs lock other numbers. "asb_migr" in ASCII.
const LOCK_KEY = '7022064405997774706';
/** Longer than any migration should take: a runner that waits finds the work done. */
const WAIT_FOR_RUNNER_MS = 15 * 60_000;
/** A statement that waits for a table makes everyone else wait behind it: better to give up and try again. */
const LOCK_TIMEOUT_MS = 10_000;
const STATEMENT_TIMEOUT_MS = 10 * 60_000;
/** How soon the server notices that a runner was killed, ends its statement and lets go of its lock. */
const CONNECTION_CHECK_MS = 1_000;

const SET = `SELECT set_config($1, $2, false)`;
const TRY_LOCK = `SELECT pg_try_advisory_lock($1::bigint) AS locked`;
const LOCK = `SELECT pg_advisory_lock($1::bigint)`;
const UNLOCK = `SELECT pg_advisory_unlock($1::bigint)`;
const TABLE_EXISTS = `SELECT to_regclass('schema_migrations') IS NOT NULL AS exists`;
const CREATE_TABLE = `
  CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL
  )`;
const APPLIED = `SELECT version, name, checksum, applied_at FROM schema_migrations ORDER BY version`;
const TRANSACTION = `SELECT pg_current_xact_id()::text AS id`;
// Nothing is inserted when the migration ended the transaction that it was started in.
const RECORD = `
  INSERT INTO schema_migrations (version, name, checksum, applied_at)
  SELECT $1, $2, $3, $4
  WHERE pg_current_xact_id()::text = $5`;

const appliedRow = z.object({ version: z.number(), name: z.string(), checksum: z.string(), applied_at: z.date() });
type AppliedRow = z.infer<typeof appliedRow>;

/**
 * Applies what is pending, each migration in a transaction of its own that also puts it on record, and answers what it applied. One runner
 * works at a time; others wait, up to 15 minutes, and then find nothing to do. Rejects with MigrationError when the database and the
 * migrations do not go together, or a migration failed: nothing of it remains, and those before it stay. The client must be a connection of
 * the caller's own (it keeps the timeouts), and to Postgres itself, not through a pooler that changes servers between transactions.
 */
export async function migrateUp(
  client: ClientBase,
  migrations: readonly Migration[],
  clock: Clock,
  progress: MigrationProgress = { waiting: () => undefined, applied: () => undefined },
): Promise<Migration[]> {
  await lock(client, progress);
  try {
    await client.query(SET, ['lock_timeout', String(LOCK_TIMEOUT_MS)]);
    await client.query(SET, ['statement_timeout', String(STATEMENT_TIMEOUT_MS)]);
    const pending = pendingOf(await readEntries(client, migrations), migrations);
    for (const migration of pending) {
      await apply(client, migration, clock);
      progress.applied(migration);
    }
    return pending;
  } finally {
    // On a connection that is lost there is nothing left to let go.
    await client.query(UNLOCK, [LOCK_KEY]).catch(() => undefined);
  }
}

/** How each migration stands, in order; changes nothing. */
export async function readEntries(database: Queryable, migrations: readonly Migration[]): Promise<MigrationEntry[]> {
  const applied = await readApplied(database);
  const latest = applied.at(-1)?.version ?? 0;
  const versions = new Set([...migrations, ...applied].map(({ version }) => version));
  return [...versions]
    .sort((one, other) => one - other)
    .map((version) => {
      const file = migrations.find((migration) => migration.version === version);
      const row = applied.find((other) => other.version === version);
      return {
        version,
        file: file?.file ?? row?.name ?? '',
        state: stateOf(file, row, latest),
        appliedAt: row?.applied_at ?? null,
      };
    });
}

/** The migrations to apply. Throws MigrationError when the database is not one that they can be applied to. */
export function pendingOf(entries: readonly MigrationEntry[], migrations: readonly Migration[]): Migration[] {
  const newest = migrations.at(-1)?.version ?? 0;
  const problems = entries.flatMap(({ file, state, version }) => {
    if (state === 'unknown') {
      return [
        `${file}: applied to the database, but unknown here, where the newest is ${numbered(newest)}: use the newer version of ASB`,
      ];
    }
    if (state === 'changed')
      return [`${file}: changed or renamed after it was applied: restore it and write a new migration`];
    if (state === 'late')
      return [`${numbered(version)} is new, and a later one is applied already: give ${file} the next number`];
    return [];
  });
  if (problems.length > 0) throw new MigrationError(problems);
  return migrations.filter(({ version }) => entries.some((entry) => entry.version === version && entry.state === 'pending'));
}

/**
 * Throws MigrationError unless every migration of this version is applied as it is here. A database that is newer will do, for as long as an
 * upgrade or its undoing takes: a migration leaves what the version before it needs. Answers what this version does not know.
 */
export async function requireCurrentSchema(
  database: Queryable,
  migrations?: readonly Migration[],
): Promise<readonly MigrationEntry[]> {
  const entries = await readEntries(database, migrations ?? (await readMigrations()));
  const lacking = entries.filter(({ state }) => state === 'pending' || state === 'late').map(({ file }) => file);
  const changed = entries.filter(({ state }) => state === 'changed').map(({ file }) => file);
  const problems: string[] = [];
  if (lacking.length > 0) problems.push(`the database lacks ${lacking.join(', ')}: run \`migrate up\` first`);
  if (changed.length > 0)
    problems.push(`the database was made with another ${changed.join(', ')}: it belongs to another build`);
  if (problems.length > 0) throw new MigrationError(problems);
  return entries.filter(({ state }) => state === 'unknown');
}

async function lock(client: ClientBase, progress: MigrationProgress): Promise<void> {
  await client.query(SET, ['client_connection_check_interval', String(CONNECTION_CHECK_MS)]).catch(() => {
    // Not on every platform that Postgres runs on; there a killed runner's statement goes on to its end.
  });
  const { rows } = await client.query(TRY_LOCK, [LOCK_KEY]);
  if (z.tuple([z.object({ locked: z.boolean() })]).parse(rows)[0].locked) return;
  progress.waiting();
  await client.query(SET, ['statement_timeout', '0']);
  await client.query(SET, ['lock_timeout', String(WAIT_FOR_RUNNER_MS)]);
  await client.query(LOCK, [LOCK_KEY]).catch((error: unknown) => {
    throw new MigrationError(['another runner is still at work: look at what it does, and try again'], error);
  });
}

async function readApplied(database: Queryable): Promise<AppliedRow[]> {
  const found = await database.query(TABLE_EXISTS);
  if (!z.tuple([z.object({ exists: z.boolean() })]).parse(found.rows)[0].exists) return [];
  return z.array(appliedRow).parse((await database.query(APPLIED)).rows);
}

function stateOf(file: Migration | undefined, row: AppliedRow | undefined, latest: number): MigrationState {
  if (file === undefined) return 'unknown';
  if (row === undefined) return file.version < latest ? 'late' : 'pending';
  return row.checksum === file.checksum && row.name === file.file ? 'applied' : 'changed';
}

async function apply(client: ClientBase, migration: Migration, clock: Clock): Promise<void> {
  await client.query('BEGIN');
  try {
    await client.query(CREATE_TABLE);
    const [before] = z.tuple([z.object({ id: z.string() })]).parse((await client.query(TRANSACTION)).rows);
    await client.query(migration.sql);
    const { version, file, checksum } = migration;
    const recorded = await client.query(RECORD, [version, file, checksum, clock.now(), before.id]);
    if (recorded.rowCount !== 1) {
      throw new Error(
        'it ends the transaction that it runs in, and so may be applied in part: leave out COMMIT and ROLLBACK',
      );
    }
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw new MigrationError([`${migration.file}: ${whyItFailed(error, migration.sql)}`], error);
  }
}

/** What Postgres says, and on which line. */
function whyItFailed(error: unknown, sql: string): string {
  if (!(error instanceof Error)) return 'failed';
  const position = 'position' in error ? Number(error.position) : NaN;
  if (!(position >= 1)) return error.message;
  return `line ${sql.slice(0, position).split('\n').length}: ${error.message}`;
}

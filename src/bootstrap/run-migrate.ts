import { parseArgs } from 'node:util';
import { Client } from 'pg';
import type { Clock } from '../domain/clock.ts';
import { type Migration, MIGRATIONS_FOLDER, readMigrations } from '../store/postgres/migration-files.ts';
import { migrateUp, type MigrationEntry, pendingOf, readEntries } from '../store/postgres/migrations.ts';
import type { Output } from './check-config.ts';
import { databaseProblems } from './database-problems.ts';
import { systemClock } from './system-clock.ts';
import { VARIABLES } from './variables.ts';

export const MIGRATE_USAGE = `usage: migrate up [--dry-run]
       migrate status

up      Brings the database of ASB_POSTGRES_DSN up to date. --dry-run tells what would be applied, and changes nothing.
status  Lists the migrations and whether they are applied. The exit code is 1 when one is not.

A single dash will do: -dry-run.
`;

const DONE = 0;
const FAILED = 1;
const MISUSED = 2;
const CONNECT_TIMEOUT_MS = 10_000;

export interface MigrateParts {
  /** Where the migrations are. */
  folder: string;
  clock: Clock;
}

/**
 * The command that brings a database up to date. Answers the exit code: 0 when it is done, or there was nothing to do; 1 when it failed, was
 * refused, or `status` found something that is not applied; 2 when the command is not understood.
 */
export async function runMigrate(
  args: readonly string[],
  variables: Readonly<Record<string, string | undefined>>,
  output: Output,
  { folder = MIGRATIONS_FOLDER, clock = systemClock }: Partial<MigrateParts> = {},
): Promise<number> {
  const command = parseCommand(args);
  if (command === null) {
    output.stderr(MIGRATE_USAGE);
    return MISUSED;
  }
  const dsn = VARIABLES.ASB_POSTGRES_DSN.unwrap().safeParse(variables.ASB_POSTGRES_DSN ?? '');
  if (!dsn.success) {
    output.stderr(`migrate: ASB_POSTGRES_DSN: ${dsn.error.issues.map(({ message }) => message).join(', ')}\n`);
    return FAILED;
  }
  try {
    const migrations = await readMigrations(folder);
    return await withClient(dsn.data, (client) => COMMANDS[command](client, migrations, output, clock));
  } catch (error) {
    for (const problem of databaseProblems(error)) output.stderr(`migrate: ${problem}\n`);
    return FAILED;
  }
}

type CommandName = 'up' | 'dry-run' | 'status';
type Command = (client: Client, migrations: readonly Migration[], output: Output, clock: Clock) => Promise<number>;

function parseCommand(args: readonly string[]): CommandName | null {
  try {
    const { values, positionals } = parseArgs({
      // The single-dash spelling of Go's flag package.
      args: args.map((arg) => (/^-[a-z]/.test(arg) ? `-${arg}` : arg)),
      options: { 'dry-run': { type: 'boolean', default: false } },
      allowPositionals: true,
    });
    const [name, ...rest] = positionals;
    if (rest.length > 0) return null;
    if (name === 'up') return values['dry-run'] ? 'dry-run' : 'up';
    return name === 'status' ? 'status' : null;
  } catch {
    return null;
  }
}

const COMMANDS: Readonly<Record<CommandName, Command>> = {
  async up(client, migrations, output, clock) {
    const applied = await migrateUp(client, migrations, clock, {
      waiting: () => output.stderr('migrate: another runner is at work, waiting for it\n'),
      applied: ({ file }) => output.stdout(`applied ${file}\n`),
    });
    if (applied.length === 0) output.stdout('nothing to do: the database is up to date\n');
    return DONE;
  },

  async 'dry-run'(client, migrations, output) {
    const pending = pendingOf(await readOnly(client, migrations), migrations);
    for (const { file } of pending) output.stdout(`would apply ${file}\n`);
    if (pending.length === 0) output.stdout('nothing to do: the database is up to date\n');
    return DONE;
  },

  async status(client, migrations, output) {
    const entries = await readOnly(client, migrations);
    const width = Math.max(0, ...entries.map(({ file }) => file.length));
    for (const { file, state, appliedAt } of entries) {
      output.stdout(`${file.padEnd(width)}  ${state}${appliedAt === null ? '' : ` (${appliedAt.toISOString()})`}\n`);
    }
    pendingOf(entries, migrations);
    return entries.every(({ state }) => state === 'applied') ? DONE : FAILED;
  },
};

async function readOnly(client: Client, migrations: readonly Migration[]): Promise<MigrationEntry[]> {
  await client.query('SET default_transaction_read_only = on');
  return readEntries(client, migrations);
}

async function withClient<Result>(dsn: string, work: (client: Client) => Promise<Result>): Promise<Result> {
  const client = new Client({
    connectionString: dsn,
    application_name: 'asb-migrate',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
  });
  // A connection that is lost fails the query that it carries; nobody else listens.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

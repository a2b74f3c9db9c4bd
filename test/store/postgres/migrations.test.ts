import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Migration, MIGRATIONS_FOLDER, readMigrations } from '../../../src/store/postgres/migration-files.ts';
import { migrateUp, readEntries, requireCurrentSchema } from '../../../src/store/postgres/migrations.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { openDatabase, openEmptyDatabase, type TestDatabase } from '../../support/postgres.ts';

const FIRST = 'CREATE TABLE first (id integer);\nINSERT INTO first VALUES (1);';
const SECOND = 'CREATE TABLE second (id integer);';

/** For what other connections do; a busy machine takes its time. */
const PATIENT = { timeout: 20_000 };

const clock = new FakeClock();
let folder: string;
let database: TestDatabase;
let clients: Client[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'asb-migrations-'));
  database = await openEmptyDatabase();
  clients = [];
});

afterEach(async () => {
  for (const client of clients) await client.end().catch(() => undefined);
  await database.close();
  rmSync(folder, { recursive: true });
});

const write = (file: string, sql: string): void => writeFileSync(join(folder, file), sql);

async function aClient(): Promise<Client> {
  const client = new Client({ connectionString: database.dsn });
  client.on('error', () => undefined);
  clients.push(client);
  await client.connect();
  return client;
}

/** Applies what the folder holds, as a process of its own would. Answers the files. */
async function up(): Promise<string[]> {
  const applied = await migrateUp(await aClient(), await readMigrations(folder), clock);
  return applied.map(({ file }) => file);
}

async function ask(statement: string, values: unknown[] = []): Promise<unknown[]> {
  const client = await aClient();
  const { rows } = await client.query<unknown[]>({ text: statement, values, rowMode: 'array' });
  await client.end();
  return rows.flat();
}

const tables = (): Promise<unknown[]> =>
  ask("SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname");

const WAITING = `pg_locks WHERE locktype = 'advisory' AND NOT granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;

/** How many of the database's sessions wait for an advisory lock. */
const waiting = async (): Promise<number> => Number((await ask(`SELECT count(*) FROM ${WAITING}`))[0]);

test('each migration is applied once, in order, and put on record with its checksum and time', async () => {
  write('0001_first.sql', FIRST);
  write('0002_second.sql', SECOND);
  expect(await up()).toEqual(['0001_first.sql', '0002_second.sql']);
  expect(await up()).toEqual([]);
  write('0003_third.sql', 'INSERT INTO first SELECT id + 1 FROM first;');
  expect(await up()).toEqual(['0003_third.sql']);
  expect(await ask('SELECT id FROM first ORDER BY id')).toEqual([1, 2]);
  expect(await ask('SELECT version, name, checksum, applied_at FROM schema_migrations WHERE version = 1')).toEqual([
    1,
    '0001_first.sql',
    // sha256sum of the file.
    '141ed0b1c1936827e811ccf836c8781d5d0ed0425164ae0c5a604466df0f3d0c',
    clock.now(),
  ]);
});

test('no migrations leave no trace', async () => {
  expect(await up()).toEqual([]);
  expect(await tables()).toEqual([]);
});

describe('a migration that fails', () => {
  test('leaves nothing of itself, and the one before it stays', async () => {
    write('0001_first.sql', FIRST);
    write('0002_second.sql', `${SECOND}\n\nINSERT INTO second VALUES (1);\nINSERT INTO nowhere VALUES (1);`);
    await expect(up()).rejects.toThrow('0002_second.sql: line 4: relation "nowhere" does not exist');
    expect(await tables()).toEqual(['first', 'schema_migrations']);
    write('0002_second.sql', SECOND);
    expect(await up()).toEqual(['0002_second.sql']);
  });

  test('leaves not even the record when it is the first', async () => {
    write('0001_first.sql', `${FIRST} SELECT 1/0;`);
    await expect(up()).rejects.toThrow('0001_first.sql: division by zero');
    expect(await tables()).toEqual([]);
  });

  test.each([
    ['COMMIT', `${FIRST} COMMIT; ${SECOND}`],
    ['COMMIT and BEGIN', `${FIRST} COMMIT; BEGIN; ${SECOND}`],
    ['ROLLBACK and BEGIN', `${FIRST} ROLLBACK; BEGIN; ${SECOND}`],
  ])('fails when it takes the transaction into its own hands by %s', async (_way, sql) => {
    write('0001_before.sql', 'CREATE TABLE before ();');
    write('0002_first.sql', sql);
    await expect(up()).rejects.toThrow('0002_first.sql: it ends the transaction that it runs in');
    expect(await ask('SELECT version FROM schema_migrations')).toEqual([1]);
  });

  test('gives up on a table that others use, instead of making everyone wait', async () => {
    write('0001_first.sql', FIRST);
    await up();
    write('0002_second.sql', "SET LOCAL lock_timeout = '1ms'; ALTER TABLE first ADD COLUMN more integer;");
    const user = await aClient();
    await user.query('BEGIN; SELECT * FROM first');
    await expect(up()).rejects.toThrow('0002_second.sql: canceling statement due to lock timeout');
    await user.query('COMMIT');
    expect(await up()).toEqual(['0002_second.sql']);
  });
});

describe('timeouts', () => {
  test.each([
    ['lock_timeout', '10s'],
    ['statement_timeout', '10min'],
  ])('a migration runs with a %s of %s', async (name, value) => {
    write('0001_first.sql', `CREATE TABLE setting AS SELECT current_setting('${name}') AS value;`);
    await up();
    expect(await ask('SELECT value FROM setting')).toEqual([value]);
  });
});

describe('two runners at once', () => {
  const GATE = 42;

  /** A migration that stops in its middle until the test opens the gate. */
  async function aGatedMigration(): Promise<Client> {
    write(
      '0001_first.sql',
      `CREATE TABLE first (id integer); SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock(${GATE}); INSERT INTO first VALUES (1);`,
    );
    write('0002_second.sql', SECOND);
    const gate = await aClient();
    await gate.query('SELECT pg_advisory_lock($1)', [GATE]);
    return gate;
  }

  test('the second waits, and then finds nothing to do', async () => {
    const gate = await aGatedMigration();
    const one = up();
    await expect.poll(waiting, PATIENT).toBe(1);
    let told = 0;
    const other = migrateUp(await aClient(), await readMigrations(folder), clock, {
      waiting: () => (told += 1),
      applied: () => undefined,
    });
    await expect.poll(waiting, PATIENT).toBe(2);
    expect(told).toBe(1);
    await gate.query('SELECT pg_advisory_unlock($1)', [GATE]);
    expect(await one).toEqual(['0001_first.sql', '0002_second.sql']);
    expect(await other).toEqual([]);
    expect(await ask('SELECT id FROM first')).toEqual([1]);
  });

  test('of ten that start together one does the work', async () => {
    write('0001_first.sql', FIRST);
    write('0002_second.sql', SECOND);
    const applied = await Promise.all(Array.from({ length: 10 }, up));
    expect(applied.flat()).toEqual(['0001_first.sql', '0002_second.sql']);
  });

  test('the second takes over when the first loses its connection in the middle', async () => {
    const gate = await aGatedMigration();
    const one = up();
    const lost = expect(one).rejects.toThrow('0001_first.sql: ');
    await expect.poll(waiting, PATIENT).toBe(1);
    const other = up();
    await expect.poll(waiting, PATIENT).toBe(2);
    await ask(`SELECT pg_terminate_backend(pid) FROM ${WAITING} AND objid = ${GATE}`);
    await lost;
    await expect.poll(waiting, PATIENT).toBe(1);
    await gate.query('SELECT pg_advisory_unlock($1)', [GATE]);
    expect(await other).toEqual(['0001_first.sql', '0002_second.sql']);
    expect(await ask('SELECT id FROM first')).toEqual([1]);
  });
});

describe('a database that does not fit the files is refused, and nothing is applied to it', () => {
  beforeEach(async () => {
    write('0001_first.sql', FIRST);
    write('0002_second.sql', SECOND);
    await up();
    write('0003_third.sql', 'CREATE TABLE third ();');
  });

  const remove = (file: string): void => rmSync(join(folder, file));

  test.each<[string, () => unknown, string]>([
    [
      'a file that changed after it was applied',
      () => write('0001_first.sql', `${FIRST} `),
      '0001_first.sql: changed or renamed',
    ],
    [
      'a file that was renamed after it was applied',
      () => renameSync(join(folder, '0001_first.sql'), join(folder, '0001_one.sql')),
      '0001_one.sql: changed or renamed',
    ],
    [
      'a checksum on record that is not the file’s',
      () => ask('UPDATE schema_migrations SET checksum = upper(checksum) WHERE version = 2'),
      '0002_second.sql: changed or renamed',
    ],
    [
      'a file that is new, although a later one is applied',
      () => ask('DELETE FROM schema_migrations WHERE version = 1'),
      '0001 is new, and a later one is applied already',
    ],
    [
      'a database newer than the files',
      () => {
        remove('0003_third.sql');
        remove('0002_second.sql');
      },
      '0002_second.sql: applied to the database, but unknown here, where the newest is 0001',
    ],
    [
      'a database of another program with a record of the same name',
      () => ask("INSERT INTO schema_migrations VALUES (20240101, 'theirs', '', now())"),
      'theirs: applied to the database, but unknown here',
    ],
    ['a gap in the files', () => remove('0002_second.sql'), '0003_third.sql: a migration is missing before it, 0002'],
    [
      'files that do not begin at 0001',
      () => remove('0001_first.sql'),
      '0002_second.sql: a migration is missing before it, 0001',
    ],
    ['two files of one number', () => write('0002_other.sql', ''), '0002_second.sql: 0002_other.sql has the same number'],
    ['a file named 0000', () => write('0000_zero.sql', ''), '0000_zero.sql: a migration is missing before it'],
  ])('%s', async (_name, change, problem) => {
    await change();
    await expect(up()).rejects.toThrow(problem);
    expect(await tables()).toEqual(['first', 'schema_migrations', 'second']);
  });

  test.each([
    '4_short.sql',
    '0004-dash.sql',
    '0004_Upper.sql',
    '0004_.sql',
    '0004_x.SQL',
    '0004_x.sql.orig',
    '0004_a__b.sql',
    'x.txt',
  ])('a file named %s', async (file) => {
    write(file, '');
    await expect(up()).rejects.toThrow(`${file}: a migration is named NNNN_name.sql`);
  });

  test('every problem is told at once', async () => {
    write('0001_first.sql', '');
    write('0002_second.sql', '');
    await expect(up()).rejects.toThrow(/0001_first\.sql: .*\n0002_second\.sql: /);
  });

  test('a hidden file, such as an editor leaves, is none of them', async () => {
    write('.0003_third.sql.swp', '');
    expect(await up()).toEqual(['0003_third.sql']);
  });

  test('a folder that is not there', async () => {
    await expect(readMigrations(join(folder, 'nowhere'))).rejects.toThrow('nowhere, cannot be read');
  });
});

describe('what a process asks before it serves', () => {
  let migrations: Migration[];

  beforeEach(async () => {
    write('0001_first.sql', FIRST);
    write('0002_second.sql', SECOND);
    migrations = await readMigrations(folder);
  });

  test.each([0, 1])('a database with %i of two migrations will not do', async (applied) => {
    await migrateUp(await aClient(), migrations.slice(0, applied), clock);
    const lacking = migrations.slice(applied).map(({ file }) => file);
    await expect(requireCurrentSchema(await aClient(), migrations)).rejects.toThrow(
      `the database lacks ${lacking.join(', ')}: run \`migrate up\` first`,
    );
  });

  test('a database with all of them will do', async () => {
    await up();
    expect(await requireCurrentSchema(await aClient(), migrations)).toEqual([]);
  });

  test('a database that a later version has upgraded will do, and what is unknown is told', async () => {
    await up();
    expect(await requireCurrentSchema(await aClient(), migrations.slice(0, 1))).toEqual([
      { version: 2, file: '0002_second.sql', state: 'unknown', appliedAt: clock.now() },
    ]);
  });

  test('a database that was made from another file will not do', async () => {
    await up();
    write('0001_first.sql', SECOND);
    const other = await readMigrations(folder);
    await expect(requireCurrentSchema(await aClient(), other)).rejects.toThrow('made with another 0001_first.sql');
  });

  test('asking changes nothing', async () => {
    const states = (await readEntries(await aClient(), migrations)).map(({ state }) => state);
    expect(states).toEqual(['pending', 'pending']);
    expect(await tables()).toEqual([]);
  });
});

test('the migrations of ASB are well-formed, and a database with all of them is current', async () => {
  const migrations = await readMigrations();
  expect(migrations.length).toBeGreaterThan(0);
  expect(migrations[0]?.sql).toBe(readFileSync(join(MIGRATIONS_FOLDER, migrations[0]?.file ?? ''), 'utf8'));
  const current = await openDatabase();
  const client = new Client({ connectionString: current.dsn });
  await client.connect();
  expect(await requireCurrentSchema(client)).toEqual([]);
  await client.end();
  await current.close();
});

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client } from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MIGRATE_USAGE, runMigrate } from '../../src/bootstrap/run-migrate.ts';
import { readMigrations } from '../../src/store/postgres/migration-files.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { openEmptyDatabase, type TestDatabase } from '../support/postgres.ts';

const UP_TO_DATE = 'nothing to do: the database is up to date\n';
/** For what another process does; a busy machine takes its time. */
const PATIENT = { timeout: 20_000 };

const clock = new FakeClock();
let folder: string;
let database: TestDatabase;
let client: Client;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'asb-migrate-'));
  write('0001_first.sql', 'CREATE TABLE first ();');
  write('0002_second_one.sql', 'CREATE TABLE second ();');
  database = await openEmptyDatabase();
  client = new Client({ connectionString: database.dsn });
  await client.connect();
});

afterEach(async () => {
  await client.end();
  await database.close();
  rmSync(folder, { recursive: true });
});

const urlOf = (path: string): string => new URL(`../../src/${path}`, import.meta.url).href;

const write = (file: string, sql: string): void => writeFileSync(join(folder, file), sql);

async function run(args: readonly string[], dsn: string | null = database.dsn) {
  let stdout = '';
  let stderr = '';
  const output = { stdout: (text: string) => (stdout += text), stderr: (text: string) => (stderr += text) };
  const code = await runMigrate(args, dsn === null ? {} : { ASB_POSTGRES_DSN: dsn }, output, { folder, clock });
  return { code, stdout, stderr };
}

async function count(statement: string): Promise<number> {
  const { rows } = await client.query<[string]>({ text: `SELECT count(*) FROM ${statement}`, rowMode: 'array' });
  return Number(rows[0]?.[0]);
}

test('up tells what it applied, and then that there is nothing to do', async () => {
  const applied = 'applied 0001_first.sql\napplied 0002_second_one.sql\n';
  expect(await run(['up'])).toEqual({ code: 0, stdout: applied, stderr: '' });
  expect(await run(['up'])).toEqual({ code: 0, stdout: UP_TO_DATE, stderr: '' });
});

test('status lists every migration and fails for as long as one is not applied', async () => {
  const pending = '0001_first.sql       pending\n0002_second_one.sql  pending\n';
  expect(await run(['status'])).toEqual({ code: 1, stdout: pending, stderr: '' });
  await run(['up']);
  const at = clock.now().toISOString();
  const applied = `0001_first.sql       applied (${at})\n0002_second_one.sql  applied (${at})\n`;
  expect(await run(['status'])).toEqual({ code: 0, stdout: applied, stderr: '' });
  write('0001_first.sql', 'changed');
  write('0003_third.sql', '');
  const { code, stdout, stderr } = await run(['status']);
  expect(code).toBe(1);
  expect(stdout.split('\n')).toEqual([
    `0001_first.sql       changed (${at})`,
    `0002_second_one.sql  applied (${at})`,
    '0003_third.sql       pending',
    '',
  ]);
  expect(stderr).toBe(
    'migrate: 0001_first.sql: changed or renamed after it was applied: restore it and write a new migration\n',
  );
});

test.each(['--dry-run', '-dry-run'])('up %s tells what would be applied, and changes nothing', async (flag) => {
  const everything = "pg_class WHERE relnamespace = 'public'::regnamespace";
  const would = 'would apply 0001_first.sql\nwould apply 0002_second_one.sql\n';
  expect(await run(['up', flag])).toEqual({ code: 0, stdout: would, stderr: '' });
  expect(await count(everything)).toBe(0);
  await run(['up']);
  const before = await count(everything);
  write('0003_third.sql', 'CREATE TABLE third ();');
  expect(await run([flag, 'up'])).toEqual({ code: 0, stdout: 'would apply 0003_third.sql\n', stderr: '' });
  expect(await count(everything)).toBe(before);
  expect(await count('schema_migrations')).toBe(2);
  rmSync(join(folder, '0003_third.sql'));
  expect(await run(['up', flag])).toEqual({ code: 0, stdout: UP_TO_DATE, stderr: '' });
});

test.each([['up'], ['up', '--dry-run'], ['status']])('%s %s refuses a database newer than the files', async (...args) => {
  await run(['up']);
  rmSync(join(folder, '0002_second_one.sql'));
  const { code, stderr } = await run(args);
  expect(code).toBe(1);
  expect(stderr).toContain('0002_second_one.sql: applied to the database, but unknown here');
});

test.each([
  [[]],
  [['down']],
  [['up', 'now']],
  [['up', '--force']],
  [['--dry-run']],
  [['status', 'x']],
  [['up', '--dry-run=no']],
])('a command line that is not understood, %j, answers how it is used', async (args) => {
  expect(await run(args)).toEqual({ code: 2, stdout: '', stderr: MIGRATE_USAGE });
});

describe('what goes wrong is told without the password', () => {
  const SECRET = 'canary-p4ssword';

  test.each<[string, string | null, string | RegExp]>([
    ['no DSN', null, 'ASB_POSTGRES_DSN: write postgres://'],
    ['an empty DSN', '', 'ASB_POSTGRES_DSN: write postgres://'],
    ['a DSN of something else', `mysql://asb:${SECRET}@127.0.0.1/asb`, 'ASB_POSTGRES_DSN: write postgres://'],
    ['a DSN that is no URL', `postgres://asb:${SECRET}@:x/asb`, 'ASB_POSTGRES_DSN: write postgres://'],
    ['a server that is not there', `postgres://asb:${SECRET}@127.0.0.1:1/asb`, 'cannot be reached (ECONNREFUSED)'],
    [
      'a host that is a piece of the password',
      `postgres://asb:1@${SECRET}.invalid/asb`,
      /cannot be reached \((ENOTFOUND|EAI_AGAIN)\)/,
    ],
    [
      'a certificate that is not there',
      `postgres://asb:${SECRET}@127.0.0.1:1/asb?sslmode=verify-full&sslrootcert=/nowhere/${SECRET}`,
      'cannot be reached (ENOENT)',
    ],
  ])('%s', async (_name, dsn, problem) => {
    const { code, stdout, stderr } = await run(['up'], dsn);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^migrate: /);
    expect(stderr).toMatch(problem);
    expect(stderr).not.toContain(SECRET);
  });

  test('a password that the server does not take', async () => {
    const url = new URL(database.dsn);
    url.password = SECRET;
    const { code, stderr } = await run(['up'], url.href);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^migrate: password authentication failed for user "\w+"\n$/);
  });

  test('a migration that fails', async () => {
    write('0002_second_one.sql', 'SELECT 1/0');
    expect(await run(['up'])).toEqual({
      code: 1,
      stdout: 'applied 0001_first.sql\n',
      stderr: 'migrate: 0002_second_one.sql: division by zero\n',
    });
  });
});

describe('as a process', () => {
  const children: ChildProcess[] = [];
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });

  interface Runner {
    child: ChildProcess;
    output(): string;
    exit: Promise<unknown[]>;
  }

  function start(...argv: string[]): Runner {
    const child = spawn(process.execPath, argv, { env: { ASB_POSTGRES_DSN: database.dsn } });
    children.push(child);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    return { child, output: () => output, exit: once(child, 'close') };
  }

  const migrate = (...args: string[]): Runner => start(fileURLToPath(urlOf('main/migrate.ts')), ...args);

  /** Applies the migrations of the test's folder. */
  const migrateFolder = (): Runner =>
    start(
      '--input-type=module',
      '--eval',
      `const { runMigrate } = await import(${JSON.stringify(urlOf('bootstrap/run-migrate.ts'))});
      const output = { stdout: (text) => process.stdout.write(text), stderr: (text) => process.stderr.write(text) };
      process.exitCode = await runMigrate(['up'], process.env, output, { folder: ${JSON.stringify(folder)} });`,
    );

  test('it applies the migrations of ASB, and its exit code is what status found', async () => {
    const before = migrate('-dry-run', 'up');
    expect(await before.exit).toEqual([0, null]);
    const files = (await readMigrations()).map(({ file }) => file);
    expect(before.output()).toBe(files.map((file) => `would apply ${file}\n`).join(''));
    expect(await migrate('status').exit).toEqual([1, null]);
    const up = migrate('up');
    expect(await up.exit).toEqual([0, null]);
    expect(up.output()).toBe(files.map((file) => `applied ${file}\n`).join(''));
    expect(await migrate('status').exit).toEqual([0, null]);
  });

  test('killed in the middle of a migration it leaves nothing of it, and the next runner goes on at once', async () => {
    const gate = new Client({ connectionString: database.dsn });
    await gate.connect();
    await gate.query('SELECT pg_advisory_lock(42)');
    const waitsAtTheGate = 'SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock(42);';
    write('0001_first.sql', `CREATE TABLE first (); ${waitsAtTheGate} CREATE TABLE other ();`);
    const here = 'database = (SELECT oid FROM pg_database WHERE datname = current_database())';
    const held = `pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted AND ${here}`;
    const waiting = "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";

    const killed = migrateFolder();
    await expect.poll(() => count(held), PATIENT).toBe(1);
    const next = migrateFolder();
    await expect.poll(() => count(waiting), PATIENT).toBe(2);
    expect(next.output()).toBe('migrate: another runner is at work, waiting for it\n');
    killed.child.kill('SIGKILL');
    await killed.exit;
    // The server has noticed when the next runner stands at the gate in the killed one's place.
    await expect.poll(async () => [await count(held), await count(waiting)], PATIENT).toEqual([1, 1]);
    await gate.end();
    expect(await next.exit).toEqual([0, null]);
    expect(killed.output()).toBe('');
    expect(next.output()).toContain('applied 0001_first.sql\napplied 0002_second_one.sql\n');
  });
});

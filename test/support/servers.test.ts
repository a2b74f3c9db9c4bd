import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { afterEach, expect, test } from 'vitest';
import { openDatabase, openEmptyDatabase, startPostgres } from './postgres.ts';
import { redisForTest, startRedis } from './redis.ts';
import { GuardedProgram } from './servers/guarded-program.ts';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

/** One statement on a connection of its own. */
async function query(dsn: string, statement: string): Promise<unknown[][]> {
  const client = new Client({ connectionString: dsn });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<unknown[]>({ text: statement, rowMode: 'array' })).rows;
  } finally {
    await client.end();
  }
}

test('two databases of tests know nothing of each other, and a closed one is gone', async () => {
  const [one, other] = await Promise.all([openDatabase(), openDatabase()]);
  closers.push(() => other.close());
  await query(one.dsn, 'CREATE TABLE only_here ()');
  expect(await query(other.dsn, "SELECT to_regclass('only_here')")).toEqual([[null]]);
  await one.close();
  await expect(query(one.dsn, 'SELECT 1')).rejects.toThrow('does not exist');
});

test('databases sort as a language does, so that a statement cannot rely on bytes by accident', async () => {
  const database = await openEmptyDatabase();
  closers.push(() => database.close());
  expect(await query(database.dsn, "SELECT 'a' < 'B', 'a' < 'B' COLLATE \"C\"")).toEqual([[true, false]]);
});

test.each(['stop', 'kill'] as const)('a Postgres keeps address and commits over %s and start', async (way) => {
  const server = await startPostgres();
  closers.push(() => server.close());
  await query(server.dsn, 'CREATE TABLE kept AS SELECT 7 AS n');
  await server[way]();
  await expect(query(server.dsn, 'SELECT 1')).rejects.toThrow();
  await server.start();
  expect(await query(server.dsn, 'SELECT n FROM kept')).toEqual([[7]]);
});

test.each(['stop', 'kill'] as const)('a Redis keeps its address over %s and start, and forgets its keys', async (way) => {
  const server = await startRedis(['--requirepass', 'secret']);
  closers.push(() => server.close());
  expect(server.password).toBe('secret');
  const redis = new Redis({ ...server, password: 'secret', maxRetriesPerRequest: null });
  redis.on('error', () => undefined);
  closers.push(async () => redis.disconnect());
  await redis.set('key', 'value');
  await server[way]();
  const answer = redis.get('key');
  await server.start();
  expect(await answer).toBeNull();
});

test('a Redis that writes its log keeps its keys over a kill', async () => {
  const server = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always']);
  closers.push(() => server.close());
  const redis = new Redis({ ...server, password: '', maxRetriesPerRequest: null });
  redis.on('error', () => undefined);
  closers.push(async () => redis.disconnect());
  await redis.set('key', 'value');
  await server.kill();
  await server.start();
  expect(await redis.get('key')).toBe('value');
});

test('each test has a prefix of its own on the shared Redis', () => {
  expect(redisForTest().keyPrefix).not.toBe(redisForTest().keyPrefix);
});

test('a server and its folder are gone when the process that wanted it is killed', async () => {
  const script = `
    const { GuardedProgram } = await import(${JSON.stringify(new URL('servers/guarded-program.ts', import.meta.url).href)});
    const program = await GuardedProgram.open('killed', 'SIGTERM');
    program.start('sh', ['-c', 'echo $$ > pid; exec sleep 600']);
    const { existsSync, readFileSync } = await import('node:fs');
    while (!existsSync(program.folder + '/pid') || readFileSync(program.folder + '/pid', 'utf8') === '') await new Promise(setImmediate);
    console.log(program.folder + ' ' + readFileSync(program.folder + '/pid', 'utf8').trim());
    process.kill(process.pid, 'SIGKILL');`;
  let output = '';
  try {
    execFileSync(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  } catch (error) {
    output = String((error as { stdout: Buffer }).stdout);
  }
  const [folder = '', pid = ''] = output.trim().split(' ');
  expect(Number(pid)).toBeGreaterThan(1);
  await expect.poll(() => existsSync(folder), { timeout: 10_000 }).toBe(false);
  expect(() => process.kill(Number(pid), 0)).toThrow('ESRCH');
});

test('a program that does not stop in order is killed, and one that fails says why', async () => {
  const program = await GuardedProgram.open('stubborn', 'SIGTERM');
  await expect(program.run('sh', ['-c', 'echo no luck >&2; exit 3'])).rejects.toThrow(/ended with 3: no luck/);
  await expect(program.run('no-such-program', [])).rejects.toThrow('ENOENT');
  program.start('sh', ['-c', 'trap "" TERM; while :; do sleep 0.1; done']);
  await program.end('SIGKILL');
  expect(program.isRunning).toBe(false);
  await program.close();
  expect(existsSync(program.folder)).toBe(false);
});

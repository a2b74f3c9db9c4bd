import { escapeIdentifier } from 'pg';
import { z } from 'zod';
import { sharedServer } from './servers/shared.ts';
import { asAdmin, copyName, dropDatabase, dsnOf, type Template } from './servers/template.ts';

export { startPostgresServer as startPostgres } from './servers/start.ts';
export { migrate } from './servers/template.ts';
export type { PostgresServer } from './servers/server.ts';

/** A database of a test's own on the server that tests share. */
export interface TestDatabase {
  /** As superuser. */
  dsn: string;
  /** Cuts its connections and drops it. */
  close(): Promise<void>;
}

const template = z.object({ adminDsn: z.string(), name: z.string() });

/** A database with every migration and no rows. */
export async function openDatabase(): Promise<TestDatabase> {
  const shared = await sharedServer('postgres', template);
  return open(shared, `TEMPLATE ${escapeIdentifier(shared.name)}`);
}

/** A database without anything in it. */
export async function openEmptyDatabase(): Promise<TestDatabase> {
  return open(await sharedServer('postgres', template), '');
}

async function open(shared: Template, like: string): Promise<TestDatabase> {
  const name = copyName(shared);
  await asAdmin(shared.adminDsn, `CREATE DATABASE ${escapeIdentifier(name)} ${like}`);
  return { dsn: dsnOf(shared.adminDsn, name), close: () => dropDatabase(shared.adminDsn, name) };
}

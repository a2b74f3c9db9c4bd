import { randomBytes } from 'node:crypto';
import { Client, escapeIdentifier } from 'pg';
import { z } from 'zod';
import { systemClock } from '../../../src/bootstrap/system-clock.ts';
import { readMigrations } from '../../../src/store/postgres/migration-files.ts';
import { migrateUp } from '../../../src/store/postgres/migrations.ts';

/** A database that every test's database is a copy of. */
export interface Template {
  /** A superuser's database on the same server. */
  adminDsn: string;
  name: string;
}

/** Makes a database with every migration. */
export async function makeTemplate(adminDsn: string): Promise<Template> {
  const template = { adminDsn, name: `${PREFIX}${uniqueName()}` };
  await asAdmin(adminDsn, `CREATE DATABASE ${escapeIdentifier(template.name)}`);
  try {
    await migrate(dsnOf(adminDsn, template.name));
  } catch (error) {
    await closeTemplate(template);
    throw error;
  }
  return template;
}

/** Drops the template and every copy that a test has left. */
export async function closeTemplate({ adminDsn, name }: Template): Promise<void> {
  const found = await asAdmin(adminDsn, 'SELECT datname FROM pg_database WHERE starts_with(datname, $1)', [name]);
  for (const { datname } of z.array(z.object({ datname: z.string() })).parse(found)) await dropDatabase(adminDsn, datname);
}

/** The name of a copy, which nobody else has, whoever uses the same server. */
export const copyName = ({ name }: Template): string => `${name}_${uniqueName()}`;

const PREFIX = 'asb_test_';
const uniqueName = (): string => randomBytes(8).toString('hex');

/** Brings a database up to date. */
export async function migrate(dsn: string): Promise<void> {
  const client = new Client({ connectionString: dsn });
  await client.connect();
  try {
    await migrateUp(client, await readMigrations(), systemClock);
  } finally {
    await client.end();
  }
}

export async function dropDatabase(adminDsn: string, name: string): Promise<void> {
  await asAdmin(adminDsn, `DROP DATABASE IF EXISTS ${escapeIdentifier(name)} WITH (FORCE)`);
}

/** The DSN of another database on the same server. */
export function dsnOf(adminDsn: string, name: string): string {
  const url = new URL(adminDsn);
  url.pathname = `/${name}`;
  return url.href;
}

/** One statement on a connection of its own. Answers the rows. */
export async function asAdmin(adminDsn: string, statement: string, values: readonly unknown[] = []): Promise<unknown[]> {
  const client = new Client({ connectionString: adminDsn });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(statement, [...values])).rows;
  } finally {
    await client.end();
  }
}

import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MigrationError } from './migration-error.ts';

/** One step of the schema, as its file says. */
export interface Migration {
  /** The number that the file's name begins with; the first is 1 and none is left out. */
  version: number;
  /** The file's name, such as `0001_tables.sql`. */
  file: string;
  sql: string;
  /** SHA-256 of the file, in hex. */
  checksum: string;
}

/** The migrations that this version of ASB was built with. */
export const MIGRATIONS_FOLDER = fileURLToPath(new URL('../../../migrations', import.meta.url));

const FILE_NAME = /^(?<version>\d{4})_[a-z0-9]+(?:_[a-z0-9]+)*\.sql$/;

/** Reads the migrations of a folder, in their order. Rejects with MigrationError that names every file that is not as it should be. */
export async function readMigrations(folder: string = MIGRATIONS_FOLDER): Promise<Migration[]> {
  const files = (await filesIn(folder)).filter((file) => !file.startsWith('.')).sort();
  const problems = files
    .filter((file) => !FILE_NAME.test(file))
    .map((file) => `${file}: a migration is named NNNN_name.sql, the name in small letters, digits and underscores`);
  if (problems.length > 0) throw new MigrationError(problems);
  const versions = files.map((file) => Number(FILE_NAME.exec(file)?.groups?.version));
  const wrong = files.flatMap((file, at) => {
    const expected = (versions[at - 1] ?? 0) + 1;
    if (versions[at] === expected) return [];
    return [
      versions[at] === versions[at - 1]
        ? `${file}: ${files[at - 1] ?? ''} has the same number`
        : `${file}: a migration is missing before it, ${numbered(expected)}`,
    ];
  });
  if (wrong.length > 0) throw new MigrationError(wrong);
  return Promise.all(files.map((file, at) => readMigration(folder, file, versions[at] ?? 0)));
}

/** A version as file names write it. */
export const numbered = (version: number): string => String(version).padStart(4, '0');

async function filesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    throw new MigrationError([`the folder of the migrations, ${folder}, cannot be read`], error);
  }
}

async function readMigration(folder: string, file: string, version: number): Promise<Migration> {
  const bytes = await readFile(join(folder, file));
  return { version, file, sql: bytes.toString('utf8'), checksum: createHash('sha256').update(bytes).digest('hex') };
}

import { DatabaseError } from 'pg';
import { MigrationError } from '../store/postgres/migration-error.ts';

/**
 * What went wrong. Of an error of the network or the system only its code is told: its message quotes a piece of the DSN, and of one that is
 * written wrong that may be a piece of the password.
 */
export function databaseProblems(error: unknown): readonly string[] {
  if (error instanceof MigrationError) return error.problems;
  if (!(error instanceof Error)) return ['failed'];
  if (error instanceof DatabaseError || !('code' in error)) return [error.message];
  return [`the database of ASB_POSTGRES_DSN cannot be reached (${String(error.code)})`];
}

import { DatabaseError, type Pool, type PoolClient } from 'pg';
import { storableText } from './storable-text.ts';
import { type FailedOutcome, outcomeOf, translateError } from './translate-error.ts';

/** One statement. Those with a name are prepared once a connection; the others are planned anew, with their values. */
export interface Statement {
  name?: string;
  text: string;
  /** When it is given up, where that is sooner than usual. */
  timeoutMs?: number;
}

export type Value = string | number | Date | readonly string[] | null;
export type Row = Readonly<Record<string, unknown>>;
/** Runs a statement on one connection. Rejects with StatementFailure. */
export type Run = (statement: Statement, values: readonly Value[]) => Promise<readonly Row[]>;

/** A statement that failed, or a connection that could not be had. */
export class StatementFailure extends Error {
  readonly outcome: FailedOutcome;

  constructor(cause: unknown, outcome: FailedOutcome) {
    super('a statement failed', { cause });
    this.name = 'StatementFailure';
    this.outcome = outcome;
  }

  /** What the caller of the store gets. */
  translated(): Error {
    return translateError(this.cause);
  }
}

/** Runs statements on the connections of a pool. */
export class Database {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /**
   * Runs a statement that may be run twice: once more when it was undone or the connection was lost, and not when the server kept
   * silent, since the caller has no time for a second wait. Rejects with `unavailable`, or with what the statement raised.
   */
  async query(statement: Statement, values: readonly Value[] = []): Promise<readonly Row[]> {
    const run = (): Promise<readonly Row[]> => this.once(statement, values);
    try {
      return await run().catch((error: unknown) => {
        if (error instanceof StatementFailure && (error.outcome === 'undone' || error.outcome === 'unknown')) return run();
        throw error;
      });
    } catch (error) {
      throw error instanceof StatementFailure ? error.translated() : error;
    }
  }

  /** Runs a statement once. Rejects with StatementFailure. */
  once(statement: Statement, values: readonly Value[]): Promise<readonly Row[]> {
    return this.#withConnection((run) => run(statement, values));
  }

  /** Commits what `work` does, or nothing when it rejects. Rejects with what `work` does, or with StatementFailure. */
  inTransaction<T>(work: (run: Run) => Promise<T>): Promise<T> {
    return this.#withConnection(async (run) => {
      await run(BEGIN, []);
      try {
        const result = await work(run);
        await run(COMMIT, []);
        return result;
      } catch (error) {
        // When this fails as well the connection is dropped, and the server rolls back by itself.
        await run(ROLLBACK, []).catch(() => undefined);
        throw error;
      }
    });
  }

  async #withConnection<T>(work: (run: Run) => Promise<T>): Promise<T> {
    const client = await this.#connect();
    let isUsable = true;
    const run: Run = async (statement, values) => {
      try {
        return await send(client, statement, values);
      } catch (cause) {
        const outcome = outcomeOf(cause);
        if (endsConnection(cause)) isUsable = false;
        throw new StatementFailure(cause, outcome);
      }
    };
    try {
      return await work(run);
    } finally {
      client.release(!isUsable);
    }
  }

  async #connect(): Promise<PoolClient> {
    try {
      return await this.#pool.connect();
    } catch (cause) {
      // Nothing was sent, and whoever waited for this does not wait as long again.
      throw new StatementFailure(cause, 'final');
    }
  }
}

const BEGIN: Statement = { text: 'BEGIN' };
const COMMIT: Statement = { text: 'COMMIT' };
const ROLLBACK: Statement = { text: 'ROLLBACK' };

async function send(client: PoolClient, statement: Statement, values: readonly Value[]): Promise<readonly Row[]> {
  const { name, text, timeoutMs } = statement;
  const query = {
    text,
    values: values.map(storable),
    ...(name === undefined ? {} : { name }),
    ...(timeoutMs === undefined ? {} : { query_timeout: timeoutMs }),
  };
  const { rows } = await client.query<Row>(query);
  return rows;
}

function storable(value: Value): unknown {
  if (typeof value === 'string') return storableText(value);
  return Array.isArray(value) ? value.map(storableText) : value;
}

/**
 * Whether a connection is of no more use: it was lost, the server is about to close it, or the server takes no more writes, as one
 * does that another has replaced.
 */
function endsConnection(cause: unknown): boolean {
  if (!(cause instanceof DatabaseError)) return true;
  return cause.severity === 'FATAL' || cause.severity === 'PANIC' || cause.code === READ_ONLY_TRANSACTION;
}

const READ_ONLY_TRANSACTION = '25006';

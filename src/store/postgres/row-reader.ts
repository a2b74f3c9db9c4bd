import type { z } from 'zod';
import type { Row } from './database.ts';

/** Reads the columns of one row, each as the type that it must have. Throws an error that names the column, and no value, otherwise. */
export class RowReader {
  readonly #row: Row;
  readonly #prefix: string;

  /** `prefix` is what the row's columns are called by, where a statement answers several rows side by side. */
  constructor(row: Row, prefix: string) {
    this.#row = row;
    this.#prefix = prefix;
  }

  text(column: string): string {
    const value = this.#value(column);
    return typeof value === 'string' ? value : this.#fail(column);
  }

  textOrNull(column: string): string | null {
    return this.isNull(column) ? null : this.text(column);
  }

  /** An id of the kind that begins with `prefix`. */
  id(column: string, prefix: string): string {
    const value = this.text(column);
    return value.startsWith(prefix) ? value : this.#fail(column);
  }

  number(column: string): number {
    const value = this.#value(column);
    return typeof value === 'number' ? value : this.#fail(column);
  }

  boolean(column: string): boolean {
    const value = this.#value(column);
    return typeof value === 'boolean' ? value : this.#fail(column);
  }

  date(column: string): Date {
    const value = this.#value(column);
    return value instanceof Date && !Number.isNaN(value.getTime()) ? value : this.#fail(column);
  }

  oneOf<T extends string>(column: string, values: readonly T[]): T {
    const value = this.#value(column);
    return values.find((known) => known === value) ?? this.#fail(column);
  }

  /** A column of JSON, or of an array. */
  parsed<T>(column: string, schema: z.ZodType<T>): T {
    const { success, data } = schema.safeParse(this.#value(column));
    return success ? data : this.#fail(column);
  }

  isNull(column: string): boolean {
    return this.#value(column) === null;
  }

  #value(column: string): unknown {
    const value = this.#row[this.#prefix + column];
    return value === undefined ? this.#fail(column) : value;
  }

  #fail(column: string): never {
    throw new Error(`a row of the database makes no sense: column ${column}`);
  }
}

import { ParseError, type TypeCheckResult } from '@marcbachmann/cel-js';
import type { Condition } from '../domain/policy.ts';
import { conditionProblem } from './condition-checks.ts';
import { conditionEnvironment, ConditionScope } from './condition-variables.ts';

/** In UTF-16 code units; a condition that needs more wants to be several policies. */
const MAX_SOURCE_LENGTH = 4096;

/** A condition that cannot be used. The message begins with the place: `line 1, column 9: ...`. */
export class ConditionError extends Error {
  /** Both count from 1, the column in UTF-16 code units. */
  readonly line: number;
  readonly column: number;

  constructor(source: string, offset: number, problem: string) {
    const before = source.slice(0, offset).split('\n');
    const line = before.length;
    const column = (before.at(-1) ?? '').length + 1;
    super(`line ${line}, column ${column}: ${problem}`);
    this.name = 'ConditionError';
    this.line = line;
    this.column = column;
  }
}

/**
 * Compiles a condition in CEL (https://github.com/google/cel-spec) over the variables of `condition-variables.ts`. Everything
 * that can be known before a request comes is checked here: syntax, names, types, that it answers a bool, and that no request
 * can make it expensive (`condition-checks.ts`). Throws `ConditionError`.
 *
 * `holds` throws when the condition cannot be evaluated, as on a key that is not there, a division by zero or a text longer
 * than any name should be.
 */
export function compileCondition(source: string): Condition {
  if (source.length > MAX_SOURCE_LENGTH) {
    throw new ConditionError(source, MAX_SOURCE_LENGTH, `is longer than ${MAX_SOURCE_LENGTH} characters`);
  }
  const parsed = parse(source);
  const problem = conditionProblem(parsed.ast);
  if (problem !== null) throw new ConditionError(source, problem.offset, problem.message);
  requireBool(source, parsed.check());
  return {
    source,
    holds(input) {
      const answer: unknown = parsed(new ConditionScope(input));
      return answer === true;
    },
  };
}

function parse(source: string) {
  try {
    return conditionEnvironment.parse(source);
  } catch (error) {
    if (error instanceof ParseError) throw new ConditionError(source, error.range?.start ?? 0, error.summary);
    throw error;
  }
}

function requireBool(source: string, { valid, type, error }: TypeCheckResult): void {
  if (!valid) throw new ConditionError(source, error?.range?.start ?? 0, error?.summary ?? 'does not type-check');
  if (type !== 'bool') throw new ConditionError(source, 0, `must answer a bool, not a ${type ?? 'value of no type'}`);
}

import { DatabaseError } from 'pg';
import { describe, expect, it } from 'vitest';
import { conflict } from '../../../src/domain/errors.ts';
import { outcomeOf, translateError } from '../../../src/store/postgres/translate-error.ts';

const CANARY = 'canary-7f3a';

/** An error as the server words it: everything that it says of the statement and of its data has the canary in it. */
function fromServer(code: string, overrides: Partial<DatabaseError> = {}): DatabaseError {
  const error = new DatabaseError(`message ${CANARY}`, 100, 'error');
  return Object.assign(error, {
    code,
    severity: 'ERROR',
    detail: `Failing row contains (${CANARY})`,
    hint: CANARY,
    where: `SQL statement "INSERT INTO sessions ... ${CANARY}"`,
    internalQuery: CANARY,
    ...overrides,
  });
}
const fromSocket = (code: string): Error => Object.assign(new Error(`connect ${code} 127.0.0.1:5432`), { code });

describe('an error of the database', () => {
  it.each([
    ['08006', 'unavailable', 'unknown'],
    ['25006', 'unavailable', 'final'],
    ['28P01', 'unavailable', 'final'],
    ['3D000', 'unavailable', 'final'],
    ['40001', 'unavailable', 'undone'],
    ['40P01', 'unavailable', 'undone'],
    ['53100', 'unavailable', 'final'],
    ['53300', 'unavailable', 'final'],
    ['55P03', 'unavailable', 'final'],
    ['57014', 'unavailable', 'final'],
    ['57P01', 'unavailable', 'unknown'],
    ['57P02', 'unavailable', 'unknown'],
    ['57P03', 'unavailable', 'unknown'],
    ['58030', 'unavailable', 'final'],
    ['23505', 'conflict', 'final'],
  ])('of SQLSTATE %s is %s, its outcome %s, and says nothing of the statement', (sqlState, code, outcome) => {
    const failure = fromServer(sqlState);
    const error = translateError(failure);
    expect(error).toMatchObject({ name: 'BrokerError', code });
    expect(error.message).not.toContain(CANARY);
    expect(outcomeOf(failure)).toBe(outcome);
  });

  it.each([
    ['ECONNREFUSED', fromSocket('ECONNREFUSED')],
    ['ECONNRESET', fromSocket('ECONNRESET')],
    ['a connection that ended', new Error('Connection terminated unexpectedly')],
    ['a pool that has none', new Error('timeout exceeded when trying to connect')],
    ['something that is no error', 'gone'],
  ])('that is %s is unavailable, and nobody knows its outcome', (_, failure) => {
    expect(translateError(failure)).toMatchObject({ code: 'unavailable', cause: failure });
    expect(outcomeOf(failure)).toBe('unknown');
  });

  it('that is silence is unavailable, and leaves no time to ask again', () => {
    const failure = new Error('Query read timeout');
    expect(translateError(failure)).toMatchObject({ code: 'unavailable', cause: failure });
    expect(outcomeOf(failure)).toBe('silent');
  });

  it.each(['22P02', '22021', '23502', '23514', '42P01', '42703', 'P0001', 'XX000', '20000'])(
    'of SQLSTATE %s is a defect',
    (sqlState) => {
      const failure = fromServer(sqlState);
      const error = translateError(failure);
      expect(error).not.toHaveProperty('code');
      expect(error.message).toBe('a statement was refused by the database');
      expect(outcomeOf(failure)).toBe('final');
    },
  );

  it.each(['22P02', '23502', '23514'])('of SQLSTATE %s has a cause that names what refused, and no data', (sqlState) => {
    const names = { table: 'artifacts', constraint: 'artifacts_life', schema: CANARY, dataType: CANARY };
    const { cause } = translateError(fromServer(sqlState, names));
    expect(cause).toBeInstanceOf(Error);
    expect(cause).toMatchObject({
      code: sqlState,
      message: `Postgres ERROR ${sqlState}, table artifacts, constraint artifacts_life`,
    });
    expect(JSON.stringify({ ...(cause as Error) })).not.toContain(CANARY);
  });

  it('that a function of ours raised keeps its message', () => {
    const raised = (code: string, message: string) => Object.assign(fromServer(code), { message });
    expect(translateError(raised('ASB01', 'grant is not issued any more'))).toMatchObject({
      code: 'conflict',
      message: 'grant is not issued any more',
    });
    expect(translateError(raised('ASB02', 'the session has 5 grants open already'))).toMatchObject({
      code: 'resource_budget_exceeded',
      message: 'the session has 5 grants open already',
    });
    expect(translateError(raised('ASB03', 'run'))).toMatchObject({
      code: 'forbidden',
      reason: 'run_revoked',
      rule: 'revocation',
    });
    expect(translateError(raised('ASB03', 'workload'))).toMatchObject({ code: 'forbidden', reason: 'workload_revoked' });
    const mistake = translateError(raised('ASB09', 'grant: what was fixed when it was made cannot be changed'));
    expect(mistake).not.toHaveProperty('code');
    expect(mistake.message).toMatch(/^grant: /);
  });

  it('that is the broker’s own already stays what it is', () => {
    const own = conflict('taken');
    expect(translateError(own)).toBe(own);
  });
});

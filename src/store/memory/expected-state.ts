import { conflict } from '../../domain/errors.ts';

/** Throws `conflict` unless a row is in the state that its change expects. Another tenant's row answers like one that is not there. */
export function requireExpected<Row extends { tenantId: string; state: string }>(
  entity: string,
  current: Row | undefined,
  expected: string,
  next: Row,
): asserts current is Row {
  if (current?.tenantId !== next.tenantId || current.state !== expected) {
    throw conflict(`${entity} is not ${expected} any more`);
  }
}

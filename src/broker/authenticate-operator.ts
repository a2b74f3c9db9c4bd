import { forbidden, unauthorized } from '../domain/errors.ts';
import type { TenantId } from '../domain/ids.ts';
import { hasRole, type Operator, type OperatorRole, type OperatorVerifier } from '../domain/operator.ts';
import type { Trail } from './audit-trail.ts';

export interface AuthenticateOperatorDeps {
  operators: OperatorVerifier;
}

/** Whose operator token this is. Rejects with `unauthorized` when it is missing or not valid. */
export async function authenticateOperator(
  deps: AuthenticateOperatorDeps,
  token: string | null,
  trail: Trail,
): Promise<Operator> {
  if (token === null) throw unauthorized('authorization: an operator token is required, as Authorization: Bearer');
  const operator = await deps.operators.verify(token);
  trail.details.operator = operator.subject;
  trail.details.operator_issuer = operator.issuer;
  return operator;
}

/**
 * Throws `forbidden` (`role_missing`) unless the operator has one of these roles for the tenant. A tenant that does not exist
 * answers as one of somebody else's.
 */
export function requireRole(operator: Operator, tenantId: TenantId, oneOf: readonly OperatorRole[], trail: Trail): void {
  if (operator.roles.has(tenantId)) trail.subject.tenantId = tenantId;
  if (!hasRole(operator, tenantId, ...oneOf)) {
    throw forbidden('role_missing', `this needs the role ${oneOf.join(' or ')} for that tenant`, { rule: 'operator_roles' });
  }
}

/** Looks for a row in every tenant that the operator has any role for. Null is all that others' rows ever answer. */
export async function findForOperator<Row>(
  operator: Operator,
  find: (tenantId: TenantId) => Promise<Row | null>,
): Promise<Row | null> {
  for (const tenantId of operator.roles.keys()) {
    const row = await find(tenantId);
    if (row !== null) return row;
  }
  return null;
}

import type { TenantId } from './ids.ts';

export const OPERATOR_ROLES = ['viewer', 'auditor', 'operator', 'approver'] as const;
export type OperatorRole = (typeof OPERATOR_ROLES)[number];

/** A human, or a program of theirs, who runs ASB for some tenants. */
export interface Operator {
  issuer: string;
  subject: string;
  /** What they may do, tenant by tenant. Tenants that are not configured here never stand in it. */
  roles: ReadonlyMap<TenantId, ReadonlySet<OperatorRole>>;
}

/** Reads operator tokens. */
export interface OperatorVerifier {
  /** Rejects with `unauthorized` when the token is not valid or no operators are configured, with `unavailable` when the keys to check it cannot be had. */
  verify(token: string): Promise<Operator>;
}

/** Whether an operator has one of these roles for a tenant. */
export function hasRole(operator: Operator, tenantId: TenantId, ...oneOf: readonly OperatorRole[]): boolean {
  const roles = operator.roles.get(tenantId);
  return roles !== undefined && oneOf.some((role) => roles.has(role));
}

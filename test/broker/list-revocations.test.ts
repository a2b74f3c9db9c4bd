import { beforeEach, expect, test } from 'vitest';
import { listRevocations } from '../../src/broker/read-records.ts';
import { OPERATOR_ROLES, type OperatorRole } from '../../src/domain/operator.ts';
import { OTHER_TENANT, TENANT } from '../support/entities.ts';
import { CONTEXT, type LeaseWorld, makeLeaseWorld, OPERATOR, outcomeOf } from './lease-world.ts';

let world: LeaseWorld;
beforeEach(async () => {
  world = await makeLeaseWorld();
  const { token } = await world.openSession();
  await world.request(token);
});

function listAs(role: OperatorRole | null, tenantId = TENANT) {
  const roles = new Map(role === null ? [] : [[TENANT, new Set([role])] as const]);
  const operators = { verify: () => Promise.resolve({ issuer: 'https://login', subject: 'olga', roles }) };
  const list = listRevocations({ ...world.deps, operators });
  return list({ credential: OPERATOR, tenantId, filter: {}, page: { limit: 10, after: null } }, CONTEXT);
}

test.each(OPERATOR_ROLES)('a %s sees the leases of their tenant', async (role) => {
  const { rows } = await listAs(role);
  expect(rows).toMatchObject([{ tenantId: TENANT, state: 'held', connector: 'test_leases', leaseId: 'lease-1' }]);
  expect(JSON.stringify(rows)).not.toContain('CANARY');
});

test.each([
  ['whoever has no role', null, TENANT],
  ["an operator of another tenant's", 'operator', OTHER_TENANT],
] as const)('%s sees none, and that is on record', async (_name, role, tenantId) => {
  expect(await outcomeOf(listAs(role, tenantId))).toBe('forbidden');
  expect(world.audit.events.at(-1)).toMatchObject({ type: 'operator.refused', reason: 'role_missing' });
});

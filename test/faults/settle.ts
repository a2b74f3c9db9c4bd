import { verifyChain } from '../../src/audit/verify-chain.ts';
import { PostgresAuditChain } from '../../src/store/postgres/postgres-audit-chain.ts';
import { clockAhead } from './clock-ahead.ts';
import { findBroken, findLeakedLeases, type Findings, findUnannounced } from './invariants.ts';
import type { World } from './world.ts';

/**
 * By then everything that a dead process has left behind is overdue: a call for a lease a minute and a half after it was made, and
 * whatever it had claimed.
 */
export const LONG_ENOUGH_SECONDS = 120;

/** Has a worker clear up, and adds what is not as it must be then. */
export async function settle(world: World, findings: Findings, secondsAhead = LONG_ENOUGH_SECONDS): Promise<void> {
  await world.work(secondsAhead);
  await findBroken(world.database, findings);
  const { database, github, leases } = world;
  await findLeakedLeases(database, leases.ledger, clockAhead(secondsAhead).now(), findings);
  await findUnannounced(database, { ...leases.ledger.asked, proxy: github.requests.length }, findings);
  const chain = new PostgresAuditChain(world.database);
  for (const tenantId of await chain.tenants()) {
    const { findings: broken, unsealed } = await verifyChain(chain, tenantId, { keys: world.auditKeys, saved: [] });
    for (const { message } of broken) findings.lost.push(`audit chain of ${tenantId}: ${message}`);
    if (unsealed > 0) findings.leaked.push(`audit chain of ${tenantId}: ${unsealed} events are not sealed`);
  }
}

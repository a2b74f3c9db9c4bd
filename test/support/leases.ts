import { type Asb, bodyOf, sessionRequest, startAsb } from './asb.ts';
import { type Configured, configured, policies, TENANTS, tenantOf } from './configured.ts';
import { inProcessLeaseConnector } from './lease-connector.ts';
import { LeaseLedger } from './lease-ledger.ts';
import { z } from 'zod';

/** A broker whose tenants `free` and `human` may have leases of the test connector. */
export interface AsbWithLeases {
  asb: Asb;
  ledger: LeaseLedger;
  file: Configured;
  /** A session's token. */
  openSession(tenantId: string): Promise<string>;
  close(): Promise<void>;
}

export const LEASE_REQUEST = {
  tool: 'db',
  capability: 'db.read',
  resource_ref: 'dbrole:analytics_ro',
  delivery_mode: 'wrapped_secret',
  ttl_seconds: 600,
  reason: 'count the orders of yesterday',
};

const TOOL = {
  name: 'db',
  manifest_hash: `sha256:${'1'.repeat(64)}`,
  runtime_class: 'sidecar',
  delivery_modes: ['wrapped_secret'],
  capabilities: ['db.read'],
  trust_tags: ['trusted'],
};

const POLICY = {
  capability: 'db.read',
  resource_kind: 'db_role',
  delivery_modes: ['wrapped_secret'],
  default_ttl: '10m',
  max_ttl: '30m',
};

/** Puts it together; `isDurable` as in `startAsb`. */
export async function startAsbWithLeases(options: { isDurable?: boolean } = {}): Promise<AsbWithLeases> {
  const file = configured();
  for (const [tenantId, changes] of [
    [TENANTS.free, {}],
    [TENANTS.human, { approval: { required: 1, ttl: '5m' } }],
  ] as const) {
    const tenant = tenantOf(file, tenantId);
    tenant.tools = [...z.array(z.unknown()).parse(tenant.tools), TOOL];
    tenant.policies = [...z.array(z.unknown()).parse(tenant.policies), ...policies({ ...POLICY, ...changes })];
  }
  file.write();
  const ledger = new LeaseLedger();
  const asb = await startAsb({}, { file, connectors: [inProcessLeaseConnector(ledger)], ...options });
  return {
    asb,
    ledger,
    file,
    async openSession(tenantId) {
      const request = await sessionRequest(asb.attestation, { tenant_id: tenantId, tool_context: ['db', 'github'] });
      const answer = bodyOf(await asb.call('createSession', request));
      return z.object({ session_token: z.string() }).parse(answer).session_token;
    },
    async close() {
      await asb.close();
      file.remove();
    },
  };
}

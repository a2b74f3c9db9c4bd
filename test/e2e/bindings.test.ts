import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { type Asb, bodyOf, GRANT_REQUEST, startAsb } from '../support/asb.ts';
import { aWaitingGrant, collect, decide, openIn } from '../support/approvals.ts';
import { type Configured, configured, tenantOf, TENANTS } from '../support/configured.ts';

let file: Configured;
let asb: Asb;
beforeEach(async () => {
  file = configured();
  asb = await startAsb({}, { file });
});
afterEach(async () => {
  await asb.close();
  file.remove();
});

const NOT_BOUND = { ok: false, code: 'forbidden', reason: 'workload_not_bound', rule: 'binding' };

async function bind(tenantId: string, workload_bindings: unknown): Promise<void> {
  Object.assign(tenantOf(file, tenantId), { workload_bindings });
  file.write();
  await asb.reload();
}

async function explain(tenant_id: string, session_id: string) {
  const { tool, capability, resource_ref, delivery_mode } = GRANT_REQUEST;
  const question = { tenant_id, session_id, tool, capability, resource_ref, delivery_mode };
  const bearer = await asb.operatorToken(['viewer']);
  const verdict = z.object({ outcome: z.string(), rule: z.string(), reason: z.string().optional() });
  const { allowed, verdicts } = z
    .object({ allowed: z.boolean().default(false), verdicts: z.array(verdict) })
    .parse(bodyOf(await asb.call('explainDecision', question, { bearer })));
  return { allowed, denied: verdicts.find(({ outcome }) => outcome === 'denied') };
}

describe("a tenant's bindings that are taken away", () => {
  test('end what an open session may ask for, and a dry run says so', async () => {
    const { bearer, sessionId } = await openIn(asb, TENANTS.free);
    const bystander = await openIn(asb, TENANTS.condition);
    const bound = tenantOf(file, TENANTS.free).workload_bindings;
    expect(await explain(TENANTS.free, sessionId)).toEqual({ allowed: true, denied: undefined });

    await bind(TENANTS.free, []);
    expect(await asb.call('requestGrant', GRANT_REQUEST, { bearer })).toMatchObject(NOT_BOUND);
    expect(asb.audit.events.at(-1)).toMatchObject({
      type: 'grant.refused',
      reason: 'workload_not_bound',
      subject: { sessionId },
      details: { rule: 'binding' },
    });
    expect(await explain(TENANTS.free, sessionId)).toMatchObject({
      allowed: false,
      denied: { rule: 'binding', reason: 'workload_not_bound' },
    });
    expect(await asb.call('requestGrant', GRANT_REQUEST, { bearer: bystander.bearer })).toMatchObject({ ok: true });

    await bind(TENANTS.free, bound);
    expect(await asb.call('requestGrant', GRANT_REQUEST, { bearer })).toMatchObject({ ok: true });
  });

  test('let nobody approve what waits for it, and deny it still', async () => {
    const waiting = await aWaitingGrant(asb, TENANTS.human);
    const doomed = await aWaitingGrant(asb, TENANTS.human);
    const bound = tenantOf(file, TENANTS.human).workload_bindings;
    await bind(TENANTS.human, []);
    expect(await decide(asb, 'approveGrant', waiting)).toMatchObject(NOT_BOUND);
    expect(asb.audit.events.at(-1)).toMatchObject({
      type: 'approval.refused',
      reason: 'workload_not_bound',
      subject: { approvalId: waiting.approval_id },
    });
    expect(await explain(TENANTS.human, waiting.sessionId)).toMatchObject({
      allowed: false,
      denied: { rule: 'binding', reason: 'workload_not_bound' },
    });
    expect(asb.audit.types()).not.toContain('grant.issued');
    expect(bodyOf(await decide(asb, 'denyGrant', doomed))).toEqual({ state: 'denied' });

    // The word that was refused did not count.
    expect(await collect(asb, waiting)).toMatchObject({ state: 'pending' });
    await bind(TENANTS.human, bound);
    expect(bodyOf(await decide(asb, 'approveGrant', waiting))).toMatchObject({ state: 'issued' });
  });

  test('and one that names another account is the same as none', async () => {
    const { bearer, sessionId } = await openIn(asb, TENANTS.free);
    const bindings = z.array(z.record(z.string(), z.unknown())).parse(tenantOf(file, TENANTS.free).workload_bindings);
    await bind(
      TENANTS.free,
      bindings.map((binding) => ({ ...binding, service_account: 'somebody-else' })),
    );
    expect(await asb.call('requestGrant', GRANT_REQUEST, { bearer })).toMatchObject(NOT_BOUND);
    expect(await explain(TENANTS.free, sessionId)).toMatchObject({ allowed: false, denied: { rule: 'binding' } });
  });
});

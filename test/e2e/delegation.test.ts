import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Asb, bodyOf, GRANT_REQUEST, sessionRequest, startAsb } from '../support/asb.ts';
import { openIn, USE } from '../support/approvals.ts';
import { type Configured, configured, TENANTS } from '../support/configured.ts';
import { makeDelegations } from '../support/delegations.ts';

let file: Configured;
let asb: Asb;
beforeAll(async () => {
  file = configured();
  asb = await startAsb({}, { file });
});
afterAll(async () => {
  await asb.close();
  file.remove();
});

const tenantId = TENANTS.free;
const assertion = (changes: Partial<Parameters<Configured['delegations']['assertion']>[0]> = {}) =>
  file.delegations.assertion({ now: asb.clock.now(), tenantId, ...changes });
const open = async (delegation_assertion: string, changes: Record<string, string> = {}) =>
  asb.call(
    'createSession',
    await sessionRequest(asb.attestation, { tenant_id: tenantId, delegation_assertion, ...changes }),
  );

describe('a delegated run', () => {
  test('does what was delegated, on what was delegated', async () => {
    const { bearer } = await openIn(asb, tenantId, {
      delegation_assertion: await assertion({ resourceFilters: { repo: ['acme/widgets'] } }),
    });
    const granted = bodyOf(await asb.call('requestGrant', GRANT_REQUEST, { bearer }));
    const { handle } = (granted as { delivery: { handle: string } }).delivery;
    expect(await asb.call('executeGitHubProxy', { proxy_handle: handle, ...USE })).toMatchObject({ ok: true });
    const other = await asb.call('requestGrant', { ...GRANT_REQUEST, resource_ref: 'github:repo:acme/other' }, { bearer });
    expect(other).toMatchObject({ ok: false, reason: 'resource_not_delegated', rule: 'delegation' });
  });

  test('ends with its delegation, and so do its grants', async () => {
    const exp = Math.floor(asb.clock.now().getTime() / 1000) + 60;
    const opened = bodyOf(await open(await assertion({ claims: { exp } })));
    expect(opened).toMatchObject({ expires_at: new Date(exp * 1000).toISOString().replace('.000Z', 'Z') });
    const bearer = (opened as { session_token: string }).session_token;
    const granted = bodyOf(await asb.call('requestGrant', { ...GRANT_REQUEST, ttl_seconds: 600 }, { bearer }));
    expect(Date.parse((granted as { expires_at: string }).expires_at)).toBeLessThanOrEqual(exp * 1000);
  });

  test('may open more than one session with its assertion', async () => {
    const once = await assertion();
    expect(await open(once)).toMatchObject({ ok: true });
    expect(await open(once, { run_id: 'run-2' })).toMatchObject({ ok: true });
  });
});

describe('a delegation is refused', () => {
  test('when another agent has used it', async () => {
    const claims = { jti: 'shared-by-mistake' };
    expect(await open(await assertion({ claims }))).toMatchObject({ ok: true });
    const stolen = await open(await assertion({ claims, agentId: 'intruder' }), { agent_id: 'intruder' });
    expect(stolen).toMatchObject({ ok: false, code: 'forbidden', reason: 'delegation_not_yours', rule: 'delegation' });
  });

  test('when another workload has used it, also as the same agent', async () => {
    const once = await assertion({ claims: { jti: 'of-the-runner' } });
    expect(await open(once)).toMatchObject({ ok: true });
    const thief = await asb.attestation({
      sub: 'system:serviceaccount:agents:thief',
      'kubernetes.io': { namespace: 'agents', serviceaccount: { name: 'thief' } },
    });
    const request = await sessionRequest(asb.attestation, { tenant_id: tenantId, attestation: thief });
    // It may act as this agent, with a delegation of its own or without one.
    expect(await asb.call('createSession', request)).toMatchObject({ ok: true });
    const own = { ...request, delegation_assertion: await assertion() };
    expect(await asb.call('createSession', own)).toMatchObject({ ok: true });
    const stolen = await asb.call('createSession', { ...request, delegation_assertion: once });
    expect(stolen).toMatchObject({ ok: false, code: 'forbidden', reason: 'delegation_not_yours', rule: 'delegation' });
    expect(asb.audit.events.at(-1)).toMatchObject({ type: 'session.refused', reason: 'delegation_not_yours' });
    // Nor does the jti with other words behind it.
    const reworded = await assertion({ claims: { jti: 'of-the-runner' }, allowedCapabilities: ['*'] });
    expect(await asb.call('createSession', { ...request, delegation_assertion: reworded })).toMatchObject({
      reason: 'delegation_not_yours',
    });
    // The workload that used it first goes on, from another pod of its account as well.
    const sibling = await asb.attestation({
      'kubernetes.io': {
        namespace: 'agents',
        pod: { name: 'runner-2', uid: 'b1946ac9-2f5c-4a2b-9d55-000000000002' },
        serviceaccount: { name: 'runner' },
      },
    });
    const more = await sessionRequest(asb.attestation, { tenant_id: tenantId, attestation: sibling });
    expect(await asb.call('createSession', { ...more, delegation_assertion: once })).toMatchObject({ ok: true });
  });

  test.each<[name: string, make: () => Promise<string>, code: string, reason?: string]>([
    ['for another agent', () => assertion({ agentId: 'somebody' }), 'forbidden', 'delegation_not_yours'],
    ['for another tenant of the issuer', () => assertion({ tenantId: TENANTS.human }), 'forbidden', 'delegation_not_yours'],
    ['that has expired', () => assertion({ claims: { exp: 1_700_000_000 } }), 'unauthorized'],
    ['without an end', () => assertion({ claims: { exp: undefined } }), 'unauthorized'],
    ['without an id', () => assertion({ claims: { jti: undefined } }), 'unauthorized'],
    [
      'by a key nobody knows',
      () => makeDelegations(file.delegations.issuer).assertion({ now: asb.clock.now(), tenantId }),
      'unauthorized',
    ],
    ['that restricts in a way not known here', () => assertion({ claims: { only_on_fridays: true } }), 'unauthorized'],
    ['that filters a kind not known here', () => assertion({ resourceFilters: { s3: ['x'] } }), 'unauthorized'],
    ['that is an operator token', () => asb.operatorToken(), 'unauthorized'],
    ['that is the attestation', async () => (await asb.attestation()).token, 'unauthorized'],
    ['that is rubbish', () => Promise.resolve('rubbish'), 'unauthorized'],
  ])('%s', async (_name, make, code, reason) => {
    expect(await open(await make())).toMatchObject({ ok: false, code, ...(reason === undefined ? {} : { reason }) });
    expect(asb.audit.events.at(-1)).toMatchObject({ type: 'session.refused', code });
  });

  test('for a tenant that its issuer may not speak for', async () => {
    const foreign = await assertion({ tenantId: TENANTS.other });
    const answer = await open(foreign, { tenant_id: TENANTS.other });
    expect(answer).toMatchObject({ ok: false });
  });

  test('for a capability that the policy does not have: it only narrows', async () => {
    const { bearer } = await openIn(asb, tenantId, {
      delegation_assertion: await assertion({ allowedCapabilities: ['*'] }),
    });
    const answer = await asb.call('requestGrant', { ...GRANT_REQUEST, capability: 'repo.write' }, { bearer });
    expect(answer).toMatchObject({ ok: false, reason: 'policy_missing' });
  });
});

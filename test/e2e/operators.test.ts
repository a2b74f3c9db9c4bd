import type { JsonValue } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { type Asb, bodyOf, GRANT_REQUEST, sessionRequest, startAsb } from '../support/asb.ts';
import { aWaitingGrant, collect, openIn, USE } from '../support/approvals.ts';
import { type Configured, configured, TENANTS } from '../support/configured.ts';
import type { MethodName } from '../support/transports.ts';

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

const as = async (role: string): Promise<{ bearer: string }> => ({ bearer: await asb.operatorToken([role]) });
const handleOf = (granted: JsonValue): string =>
  z.object({ delivery: z.object({ handle: z.string() }) }).parse(granted).delivery.handle;

describe('an operator', () => {
  test.each([0, 1, 2, 3, 4])('reads what is on record over transport %i, page by page', async (index) => {
    const client = asb.clients[index]!;
    const viewer = await as('viewer');
    const { sessionId } = await openIn(asb, TENANTS.free, { run_id: `pages-${index}` });
    const second = await openIn(asb, TENANTS.free, { run_id: `pages-${index}` });
    const list = { tenant_id: TENANTS.free, run_id: `pages-${index}`, page_size: 1 };
    const page = z.object({
      sessions: z.array(z.object({ session_id: z.string(), workload_hash: z.string() })),
      next_page_token: z.string().optional(),
    });
    const first = page.parse(bodyOf(await client.call('listSessions', list, viewer)));
    expect(first.sessions.map(({ session_id }) => session_id)).toEqual([second.sessionId]);
    const next = { ...list, page_token: first.next_page_token ?? '' };
    const last = page.parse(bodyOf(await client.call('listSessions', next, viewer)));
    expect(last.sessions.map(({ session_id }) => session_id)).toEqual([sessionId]);
    expect(last.next_page_token ?? '').toBe('');
    expect(bodyOf(await client.call('getSession', { session_id: sessionId }, viewer))).toMatchObject({
      session: { session_id: sessionId, tenant_id: TENANTS.free, state: 'active' },
    });
  });

  test('sees approvals and grants, and no handle in any of them', async () => {
    const waiting = await aWaitingGrant(asb);
    const auditor = await as('auditor');
    const { bearer, sessionId } = await openIn(asb, TENANTS.human);
    const approver = await as('approver');
    await asb.call('approveGrant', { approval_id: waiting.approval_id }, approver);
    const handle = (await collect(asb, waiting)).delivery?.handle ?? 'none';
    expect(handle).toMatch(/^ph_/);
    const tenant_id = TENANTS.human;
    const answers = [
      await asb.call('listApprovals', { tenant_id, state: 'approved' }, auditor),
      await asb.call('listGrants', { tenant_id, session_id: waiting.sessionId }, auditor),
      await asb.call('getGrant', { grant_id: waiting.grant_id }, auditor),
      await asb.call('listAuditEvents', { tenant_id, page_size: 200 }, auditor),
      await asb.call('getSession', { session_id: sessionId }, auditor),
    ];
    for (const answer of answers) {
      const text = JSON.stringify(bodyOf(answer));
      expect(text).not.toContain(handle);
      expect(text).not.toContain(bearer);
      expect(text).not.toContain(waiting.bearer);
    }
    expect(JSON.stringify(bodyOf(answers[0]!))).toContain(waiting.approval_id);
    expect(JSON.stringify(bodyOf(answers[3]!))).toContain('approval.approved');
  });

  test('ends a session and a grant of their tenants', async () => {
    const operator = await as('operator');
    const { bearer, sessionId } = await openIn(asb, TENANTS.free);
    const granted = bodyOf(await asb.call('requestGrant', GRANT_REQUEST, { bearer }));
    const { grant_id } = z.object({ grant_id: z.string() }).parse(granted);
    expect(bodyOf(await asb.call('revokeGrant', { grant_id, reason: 'odd' }, operator))).toEqual({ state: 'revoked' });
    const use = { proxy_handle: handleOf(granted), ...USE };
    expect(await asb.call('executeGitHubProxy', use)).toMatchObject({ ok: false, code: 'unauthorized' });
    expect(bodyOf(await asb.call('revokeSession', { session_id: sessionId }, operator))).toEqual({ state: 'revoked' });
    expect(await asb.call('requestGrant', GRANT_REQUEST, { bearer })).toMatchObject({ ok: false, code: 'unauthorized' });
    expect(
      asb.audit.events.find(({ type, subject }) => type === 'session.revoked' && subject.sessionId === sessionId),
    ).toMatchObject({ details: { by: 'olga' } });
  });
});

describe('the kill switch', () => {
  test('ends every session of a run with its handles, refuses new ones, and leaves other runs alone', async () => {
    const operator = await as('operator');
    const run = { run_id: 'rogue' };
    const sessions = await Promise.all([openIn(asb, TENANTS.free, run), openIn(asb, TENANTS.free, run)]);
    const bystander = await openIn(asb, TENANTS.free, { run_id: 'innocent' });
    const namesake = await openIn(asb, TENANTS.condition, run);
    const handles = await Promise.all(
      sessions.map(async ({ bearer }) => handleOf(bodyOf(await asb.call('requestGrant', GRANT_REQUEST, { bearer })))),
    );
    const stopped = await asb.call(
      'revokeRun',
      { tenant_id: TENANTS.free, run_id: 'rogue', reason: 'exfiltration' },
      operator,
    );
    expect(bodyOf(stopped)).toMatchObject({ sessions: 2, grants: 2 });
    for (const proxy_handle of handles) {
      expect(await asb.call('executeGitHubProxy', { proxy_handle, ...USE })).toMatchObject({
        ok: false,
        code: 'unauthorized',
      });
    }
    const again = await sessionRequest(asb.attestation, { tenant_id: TENANTS.free, ...run });
    expect(await asb.call('createSession', again)).toMatchObject({ ok: false, code: 'forbidden', reason: 'run_revoked' });
    for (const { bearer } of [bystander, namesake]) {
      expect(await asb.call('requestGrant', GRANT_REQUEST, { bearer })).toMatchObject({ ok: true });
    }
    expect(asb.audit.types()).toContain('run.revoked');
  });

  test('ends every session of a workload, whatever its runs', async () => {
    const operator = await as('operator');
    const pod = { name: 'rogue-pod', uid: 'b1946ac9-2f5c-4a2b-9d55-000000000001' };
    const attestation = await asb.attestation({
      'kubernetes.io': { namespace: 'agents', pod, serviceaccount: { name: 'runner' } },
    });
    const sessions = await Promise.all([
      openIn(asb, TENANTS.condition, { attestation, run_id: 'a' }),
      openIn(asb, TENANTS.condition, { attestation, run_id: 'b' }),
    ]);
    const read = await asb.call('getSession', { session_id: sessions[0].sessionId }, operator);
    const { session } = z.object({ session: z.object({ workload_hash: z.string() }) }).parse(bodyOf(read));
    const stop = { tenant_id: TENANTS.condition, workload_hash: session.workload_hash, reason: 'compromised' };
    expect(bodyOf(await asb.call('revokeWorkload', stop, operator))).toMatchObject({ sessions: 2 });
    const again = await sessionRequest(asb.attestation, { tenant_id: TENANTS.condition, attestation });
    expect(await asb.call('createSession', again)).toMatchObject({ ok: false, reason: 'workload_revoked' });
    // Another pod of the same account is another workload.
    expect(await openIn(asb, TENANTS.condition)).toBeTruthy();
  });
});

describe('a dry run', () => {
  test('names each rule that allowed or denied, and issues nothing', async () => {
    const viewer = await as('viewer');
    const { sessionId } = await openIn(asb, TENANTS.human);
    const question = {
      tenant_id: TENANTS.human,
      session_id: sessionId,
      tool: 'github',
      capability: 'repo.read',
      resource_ref: 'github:repo:acme/widgets',
      delivery_mode: 'proxy',
    };
    const before = asb.audit.events.length;
    const yes = bodyOf(await asb.call('explainDecision', question, viewer));
    expect(yes).toMatchObject({
      allowed: true,
      approval: { required_approvers: 1 },
      verdicts: expect.arrayContaining([expect.objectContaining({ rule: 'policy:repo.read', outcome: 'allowed' })]),
    });
    const no = bodyOf(await asb.call('explainDecision', { ...question, delivery_mode: 'minted_token' }, viewer));
    expect(no).toMatchObject({
      verdicts: expect.arrayContaining([
        expect.objectContaining({ outcome: 'denied', reason: 'delivery_mode_not_allowed', rule: 'tool:github' }),
      ]),
    });
    expect(no).not.toHaveProperty('expires_at');
    expect(asb.audit.events.slice(before)).toEqual([]);
  });

  test('says what a real request would hear', async () => {
    const viewer = await as('viewer');
    const { bearer, sessionId } = await openIn(asb, TENANTS.condition);
    const wish = { ...GRANT_REQUEST, resource_ref: 'github:repo:umbrella/secrets' };
    const refused = await asb.call('requestGrant', wish, { bearer });
    const question = {
      tenant_id: TENANTS.condition,
      session_id: sessionId,
      tool: wish.tool,
      capability: wish.capability,
      resource_ref: wish.resource_ref,
      delivery_mode: wish.delivery_mode,
    };
    const explained = bodyOf(await asb.call('explainDecision', question, viewer));
    const { verdicts } = z
      .object({ verdicts: z.array(z.object({ outcome: z.string(), reason: z.string().optional(), rule: z.string() })) })
      .parse(explained);
    const first = verdicts.find(({ outcome }) => outcome === 'denied');
    expect(refused).toMatchObject({ ok: false, reason: 'condition_not_met', rule: 'policy:repo.read' });
    expect(first).toMatchObject({ reason: 'condition_not_met', rule: 'policy:repo.read' });
  });
});

describe('roles', () => {
  const reads: readonly [MethodName, JsonValue][] = [
    ['listSessions', { tenant_id: TENANTS.free }],
    ['listGrants', { tenant_id: TENANTS.free }],
    ['listApprovals', { tenant_id: TENANTS.free }],
  ];
  const stops: readonly [MethodName, JsonValue][] = [
    ['revokeRun', { tenant_id: TENANTS.free, run_id: 'nobody' }],
    ['revokeWorkload', { tenant_id: TENANTS.free, workload_hash: '0'.repeat(64) }],
  ];
  const events: [MethodName, JsonValue] = ['listAuditEvents', { tenant_id: TENANTS.free }];
  const TABLE: readonly (readonly [role: string, may: readonly (readonly [MethodName, JsonValue])[]])[] = [
    ['viewer', reads],
    ['auditor', [...reads, events]],
    ['operator', [...reads, ...stops]],
    ['approver', reads],
    ['janitor', []],
  ];
  test.each(TABLE)('%s may do no more than it should', async (role, may) => {
    const credential = await as(role);
    for (const [method, request] of [...reads, ...stops, events]) {
      const answer = await asb.call(method, request, credential);
      if (may.some(([allowed]) => allowed === method)) expect(answer, method).toMatchObject({ ok: true });
      else expect(answer, method).toMatchObject({ ok: false, code: 'forbidden', reason: 'role_missing' });
    }
  });

  test('are not what a session, an attestation or nobody has', async () => {
    const { bearer } = await openIn(asb, TENANTS.free);
    for (const credential of [{ bearer }, { bearer: (await asb.attestation()).token }, {}]) {
      for (const [method, request] of [...reads, ...stops, events]) {
        expect(await asb.call(method, request, credential), method).toMatchObject({ ok: false, code: 'unauthorized' });
      }
    }
  });
});

import type { JsonValue } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { type Asb, bodyOf, GRANT_REQUEST, sessionRequest, startAsb } from '../support/asb.ts';
import { aWaitingGrant, collect, openIn, USE } from '../support/approvals.ts';
import { type Configured, configured, TENANTS } from '../support/configured.ts';
import type { CallResult, MethodName } from '../support/transports.ts';

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

  test('names the grants of which a call is still under way', async () => {
    const operator = await as('operator');
    const { bearer } = await openIn(asb, TENANTS.free, { run_id: 'busy' });
    const granted = bodyOf(await asb.call('requestGrant', GRANT_REQUEST, { bearer }));
    const arrived = asb.github.nextRequest();
    let finish = (): void => undefined;
    asb.github.answerNext((_request, response) => {
      finish = () => void response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
    const call = asb.call('executeGitHubProxy', { proxy_handle: handleOf(granted), ...USE });
    await arrived;
    const stop = { tenant_id: TENANTS.free, run_id: 'busy' };
    const { grant_id } = z.object({ grant_id: z.string() }).parse(granted);
    expect(bodyOf(await asb.call('revokeRun', stop, operator))).toMatchObject({ still_revoking: [grant_id] });
    finish();
    await call;
    expect(bodyOf(await asb.call('revokeRun', stop, operator))).not.toHaveProperty('still_revoking');
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

describe("another tenant's id answers exactly as an unknown one", () => {
  /** An answer without what names the request. */
  const told = (answer: CallResult): unknown => ({
    ...answer,
    requestId: '',
    headers: { ...answer.headers, requestId: '' },
  });

  test.each<[method: MethodName, roles: string[], field: 'grant_id' | 'session_id' | 'approval_id', unknown: string]>([
    ['getGrant', ['viewer', 'operator', 'approver', 'auditor'], 'grant_id', 'gr_01890a5d-ac96-774b-bcce-b302099a8058'],
    ['revokeGrant', ['operator'], 'grant_id', 'gr_01890a5d-ac96-774b-bcce-b302099a8058'],
    ['getSession', ['viewer'], 'session_id', 'sess_01890a5d-ac96-774b-bcce-b302099a8057'],
    ['revokeSession', ['operator'], 'session_id', 'sess_01890a5d-ac96-774b-bcce-b302099a8057'],
    ['getApproval', ['viewer'], 'approval_id', 'ap_01890a5d-ac96-774b-bcce-b302099a8057'],
    ['approveGrant', ['approver'], 'approval_id', 'ap_01890a5d-ac96-774b-bcce-b302099a8057'],
    ['denyGrant', ['approver'], 'approval_id', 'ap_01890a5d-ac96-774b-bcce-b302099a8057'],
  ])('%s', async (method, roles, field, unknown) => {
    const waiting = await aWaitingGrant(asb, TENANTS.other);
    const ids = { grant_id: waiting.grant_id, session_id: waiting.sessionId, approval_id: waiting.approval_id };
    for (const client of asb.clients) {
      const bearer = await asb.operatorToken(roles);
      const foreign = await client.call(method, { [field]: ids[field] }, { bearer });
      expect(foreign).toMatchObject({ ok: false, code: 'not_found' });
      expect(told(foreign)).toEqual(told(await client.call(method, { [field]: unknown }, { bearer })));
    }
    // Nor does it take other work to find out: both are looked up in each tenant of the operator, and nothing is read after.
    expect(await collect(asb, waiting)).toMatchObject({ state: 'pending' });
  });

  test('to a session too', async () => {
    const waiting = await aWaitingGrant(asb, TENANTS.other);
    const { bearer } = await openIn(asb, TENANTS.free);
    for (const method of ['getGrant', 'revokeGrant'] as const) {
      const foreign = await asb.call(method, { grant_id: waiting.grant_id }, { bearer });
      const unknown = await asb.call(method, { grant_id: 'gr_01890a5d-ac96-774b-bcce-b302099a8058' }, { bearer });
      expect(told(foreign)).toEqual(told(unknown));
    }
    const mine = await asb.call('revokeSession', { session_id: waiting.sessionId }, { bearer });
    const unknown = await asb.call('revokeSession', { session_id: 'sess_x' }, { bearer });
    expect(told(mine)).toEqual(told(unknown));
  });

  test('and a tenant that is not ours as one that does not exist', async () => {
    const viewer = await as('viewer');
    for (const method of ['listSessions', 'listGrants', 'listApprovals'] as const) {
      const foreign = await asb.call(method, { tenant_id: TENANTS.other }, viewer);
      expect(told(foreign)).toEqual(told(await asb.call(method, { tenant_id: 't_nowhere' }, viewer)));
    }
    const auditor = await as('auditor');
    const events = bodyOf(await asb.call('listAuditEvents', { tenant_id: TENANTS.free, page_size: 200 }, auditor));
    expect(JSON.stringify(events)).not.toContain(TENANTS.other);
  });
});

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Asb, bodyOf, GRANT_REQUEST, startAsb } from '../support/asb.ts';
import { aWaitingGrant, collect, decide, openIn, USE, type Waiting } from '../support/approvals.ts';
import { type Configured, configured, tenantOf, TENANTS } from '../support/configured.ts';
import type { CallResult } from '../support/transports.ts';

let file: Configured;
let asb: Asb;
beforeAll(async () => {
  file = configured();
  asb = await startAsb({ ASB_CLEANUP_INTERVAL_SECONDS: '3600' }, { file });
});
afterAll(async () => {
  await asb.close();
  file.remove();
});

const typesOf = (approvalId: string): string[] =>
  asb.audit.events.filter(({ subject }) => subject.approvalId === approvalId).map(({ type }) => type);
const issuesOf = (grantId: string): number =>
  asb.audit.events.filter(({ type, subject }) => type === 'grant.issued' && subject.grantId === grantId).length;

describe('an approval', () => {
  test.each([0, 1, 2, 3, 4])('is given over transport %i, and the agent collects its delivery itself', async (index) => {
    const client = asb.clients[index]!;
    const waiting = await aWaitingGrant(asb);
    expect(waiting.state).toBe('pending');
    const bearer = await asb.operatorToken(['approver'], 'olga');

    const approval = bodyOf(await client.call('getApproval', { approval_id: waiting.approval_id }, { bearer }));
    expect(approval).toMatchObject({
      approval: {
        approval_id: waiting.approval_id,
        state: 'pending',
        tool: 'github',
        capability: 'repo.read',
        resource_ref: GRANT_REQUEST.resource_ref,
        delivery_mode: 'proxy',
        reason: GRANT_REQUEST.reason,
        agent_id: 'reviewer',
        run_id: 'run-1',
        session_id: waiting.sessionId,
        request_hash: expect.stringMatching(/^[0-9a-f]{64}$/),
      },
    });

    const given = bodyOf(
      await client.call('approveGrant', { approval_id: waiting.approval_id, comment: 'fine' }, { bearer }),
    );
    expect(given).toMatchObject({ grant_id: waiting.grant_id, state: 'issued', approval_id: waiting.approval_id });
    expect(JSON.stringify(given)).not.toMatch(/ph_|delivery/);

    const again = await client.call('requestGrant', waiting.request, { bearer: waiting.bearer });
    expect(bodyOf(again)).toMatchObject({ grant_id: waiting.grant_id, state: 'issued' });
    const { delivery, state } = await collect(asb, waiting);
    expect(state).toBe('issued');
    const use = await client.call('executeGitHubProxy', { proxy_handle: delivery?.handle ?? '', ...USE });
    expect(use).toMatchObject({ ok: true });
    expect(issuesOf(waiting.grant_id)).toBe(1);
  });

  test('that is denied tells the agent why, and nothing is issued', async () => {
    const waiting = await aWaitingGrant(asb);
    const denied = await decide(asb, 'denyGrant', waiting, { comment: 'not during the freeze' });
    expect(bodyOf(denied)).toEqual({ state: 'denied' });
    expect(await collect(asb, waiting)).toMatchObject({ state: 'denied', end_reason: 'not during the freeze' });
    const again = await asb.call('requestGrant', waiting.request, { bearer: waiting.bearer });
    expect(bodyOf(again)).toMatchObject({ state: 'denied', end_reason: 'not during the freeze' });
    expect(issuesOf(waiting.grant_id)).toBe(0);
  });

  test('that asks for two counts two people, and one of them once', async () => {
    const waiting = await aWaitingGrant(asb, TENANTS.two);
    expect(bodyOf(await decide(asb, 'approveGrant', waiting, { subject: 'olga' }))).toMatchObject({ state: 'pending' });
    expect(await decide(asb, 'approveGrant', waiting, { subject: 'olga' })).toMatchObject({ ok: false, code: 'conflict' });
    expect(issuesOf(waiting.grant_id)).toBe(0);
    expect(bodyOf(await decide(asb, 'approveGrant', waiting, { subject: 'otto' }))).toMatchObject({ state: 'issued' });
    expect(typesOf(waiting.approval_id).filter((type) => type !== 'approval.refused')).toEqual([
      'approval.requested',
      'approval.given',
      'approval.approved',
    ]);
  });

  test('that asks for two ends with one no, also from whoever said yes before', async () => {
    const waiting = await aWaitingGrant(asb, TENANTS.two);
    await decide(asb, 'approveGrant', waiting, { subject: 'olga' });
    expect(bodyOf(await decide(asb, 'denyGrant', waiting, { subject: 'olga' }))).toEqual({ state: 'denied' });
    expect(await decide(asb, 'approveGrant', waiting, { subject: 'otto' })).toMatchObject({ ok: false, code: 'conflict' });
  });

  test('asks the policy again at the moment of the last yes', async () => {
    const waiting = await aWaitingGrant(asb);
    const before = structuredClone(file.config);
    Object.assign(tenantOf(file, TENANTS.human), { policies: [] });
    file.write();
    await asb.reload();
    expect(await decide(asb, 'approveGrant', waiting)).toMatchObject({
      ok: false,
      code: 'forbidden',
      reason: 'policy_missing',
    });
    Object.assign(file.config, before);
    file.write();
    await asb.reload();
    expect(bodyOf(await decide(asb, 'approveGrant', waiting))).toMatchObject({ state: 'issued' });
  });
});

describe('a request that is sent again', () => {
  test('under its request id is the same grant, also when both arrive at once', async () => {
    const { bearer } = await openIn(asb, TENANTS.human);
    const request = { ...GRANT_REQUEST, request_id: 'once' };
    const answers = await Promise.all(Array.from({ length: 20 }, () => asb.call('requestGrant', request, { bearer })));
    const ids = new Set(answers.map((answer) => (bodyOf(answer) as { grant_id: string }).grant_id));
    expect(ids.size).toBe(1);
  });

  test('under its request id, and differs, is a conflict', async () => {
    const { bearer } = await openIn(asb, TENANTS.free);
    const request = { ...GRANT_REQUEST, request_id: 'once' };
    await asb.call('requestGrant', request, { bearer });
    const other = await asb.call('requestGrant', { ...request, ttl_seconds: 60 }, { bearer });
    expect(other).toMatchObject({ ok: false, code: 'conflict' });
  });

  test('without one does not pile up approvals', async () => {
    const { bearer } = await openIn(asb, TENANTS.human);
    const first = bodyOf(await asb.call('requestGrant', GRANT_REQUEST, { bearer }));
    expect(bodyOf(await asb.call('requestGrant', GRANT_REQUEST, { bearer }))).toEqual(first);
  });
});

describe('a race has one winner', () => {
  test('of two approvers one decides, one hears a conflict, and one grant is issued', async () => {
    const waiting = await aWaitingGrant(asb);
    const answers = await Promise.all(['olga', 'otto'].map((subject) => decide(asb, 'approveGrant', waiting, { subject })));
    expect(answers.map((answer) => (answer.ok ? 'ok' : answer.code)).sort()).toEqual(['conflict', 'ok']);
    expect(issuesOf(waiting.grant_id)).toBe(1);
  });

  test('of 50 decisions, yes and no, one stands', async () => {
    const waiting = await aWaitingGrant(asb);
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        decide(asb, index % 2 === 0 ? 'approveGrant' : 'denyGrant', waiting, { subject: `person-${index}` }),
      ),
    );
    expect(answers.filter(({ ok }) => ok)).toHaveLength(1);
    for (const answer of answers) if (!answer.ok) expect(answer.code).toBe('conflict');
    expect(typesOf(waiting.approval_id).filter((type) => /approved|denied/.test(type))).toHaveLength(1);
    expect(issuesOf(waiting.grant_id)).toBeLessThanOrEqual(1);
  });

  test('an approval and the end of its session never leave a live grant behind', async () => {
    const rounds = await Promise.all(Array.from({ length: 20 }, () => aWaitingGrant(asb)));
    for (const waiting of rounds) {
      const [, revoked] = await Promise.all([
        decide(asb, 'approveGrant', waiting),
        asb.call('revokeSession', { session_id: waiting.sessionId }, { bearer: waiting.bearer }),
      ]);
      expect(revoked).toMatchObject({ ok: true });
      const bearer = await asb.operatorToken(['viewer']);
      const grant = bodyOf(await asb.call('getGrant', { grant_id: waiting.grant_id }, { bearer }));
      expect((grant as { state: string }).state).toMatch(/^(revoked|expired)$/);
    }
  });
});

interface Attack {
  name: string;
  attempt: (waiting: Waiting) => Promise<CallResult>;
  code: string;
  reason?: string;
  tenant?: string;
}

const ATTACKS: readonly Attack[] = [
  {
    name: 'by the session itself',
    attempt: ({ approval_id, bearer }) => asb.call('approveGrant', { approval_id }, { bearer }),
    code: 'unauthorized',
  },
  {
    name: 'by the pod, with its own attestation',
    attempt: async ({ approval_id }) =>
      asb.call('approveGrant', { approval_id }, { bearer: (await asb.attestation()).token }),
    code: 'unauthorized',
  },
  {
    name: 'by nobody',
    attempt: ({ approval_id }) => asb.call('approveGrant', { approval_id }),
    code: 'unauthorized',
  },
  {
    name: 'by an operator with the subject of the workload',
    attempt: (waiting) => decide(asb, 'approveGrant', waiting, { subject: 'system:serviceaccount:agents:runner' }),
    code: 'forbidden',
    reason: 'self_approval',
  },
  {
    name: 'by that subject under all roles at once',
    attempt: (waiting) =>
      decide(asb, 'approveGrant', waiting, {
        subject: 'system:serviceaccount:agents:runner',
        roles: ['viewer', 'auditor', 'operator', 'approver'],
      }),
    code: 'forbidden',
    reason: 'self_approval',
  },
  {
    name: 'by a viewer',
    attempt: (waiting) => decide(asb, 'approveGrant', waiting, { roles: ['viewer', 'auditor', 'operator'] }),
    code: 'forbidden',
    reason: 'role_missing',
  },
  {
    name: 'by an approver of another tenant',
    attempt: (waiting) => decide(asb, 'approveGrant', waiting, { roles: ['other-approver'] }),
    code: 'not_found',
  },
  {
    name: 'by somebody without any role',
    attempt: (waiting) => decide(asb, 'approveGrant', waiting, { roles: ['janitor'] }),
    code: 'not_found',
  },
  {
    name: 'in the name of somebody else',
    attempt: async ({ approval_id }) =>
      asb.call('approveGrant', { approval_id, approver: 'the-boss' }, { bearer: await asb.operatorToken() }),
    code: 'forbidden',
    reason: 'approver_mismatch',
  },
  {
    name: 'of an approval that is none',
    attempt: async () => asb.call('approveGrant', { approval_id: 'ap_none' }, { bearer: await asb.operatorToken() }),
    code: 'not_found',
  },
  {
    name: 'with a token that has expired',
    attempt: async ({ approval_id }) => {
      const now = new Date(asb.clock.now().getTime() - 7_200_000);
      return asb.call('approveGrant', { approval_id }, { bearer: await file.operators.token({ now }) });
    },
    code: 'unauthorized',
  },
  {
    name: 'with a token for another audience',
    attempt: async ({ approval_id }) => {
      const token = await file.operators.token({ now: asb.clock.now(), claims: { aud: 'payroll' } });
      return asb.call('approveGrant', { approval_id }, { bearer: token });
    },
    code: 'unauthorized',
  },
  {
    name: 'after the session ended',
    attempt: async (waiting) => {
      await asb.call('revokeSession', { session_id: waiting.sessionId }, { bearer: waiting.bearer });
      return decide(asb, 'approveGrant', waiting);
    },
    code: 'conflict',
  },
  {
    name: 'after the agent took its request back',
    attempt: async (waiting) => {
      await asb.call('revokeGrant', { grant_id: waiting.grant_id }, { bearer: waiting.bearer });
      return decide(asb, 'approveGrant', waiting);
    },
    code: 'conflict',
  },
  {
    name: 'after it was denied',
    attempt: async (waiting) => {
      await decide(asb, 'denyGrant', waiting);
      return decide(asb, 'approveGrant', waiting, { subject: 'otto' });
    },
    code: 'conflict',
  },
  {
    name: 'after its time',
    attempt: (waiting) => {
      asb.clock.advance(301);
      return decide(asb, 'approveGrant', waiting);
    },
    code: 'conflict',
  },
];

describe('nobody approves', () => {
  test.each(ATTACKS)('$name', async ({ attempt, code, reason }) => {
    const waiting = await aWaitingGrant(asb);
    const before = asb.audit.events.length;
    expect(await attempt(waiting)).toMatchObject({ ok: false, code, ...(reason === undefined ? {} : { reason }) });
    expect(asb.audit.events.slice(before).map(({ type }) => type)).toContain('approval.refused');
    expect(issuesOf(waiting.grant_id)).toBe(0);
  });

  test('twice: a decision that is sent again is a conflict, and issues nothing more', async () => {
    const waiting = await aWaitingGrant(asb);
    expect(await decide(asb, 'approveGrant', waiting)).toMatchObject({ ok: true });
    expect(await decide(asb, 'approveGrant', waiting)).toMatchObject({ ok: false, code: 'conflict' });
    expect(await decide(asb, 'denyGrant', waiting)).toMatchObject({ ok: false, code: 'conflict' });
    expect(issuesOf(waiting.grant_id)).toBe(1);
  });

  test('what they delegated themselves', async () => {
    const now = asb.clock.now();
    const delegation_assertion = await file.delegations.assertion({ now, subject: 'dora', tenantId: TENANTS.human });
    const waiting = await aWaitingGrant(asb, TENANTS.human, { delegation_assertion });
    expect(await decide(asb, 'approveGrant', waiting, { subject: 'dora' })).toMatchObject({
      ok: false,
      code: 'forbidden',
      reason: 'self_approval',
    });
    expect(await decide(asb, 'approveGrant', waiting, { subject: 'olga' })).toMatchObject({ ok: true });
  });
});

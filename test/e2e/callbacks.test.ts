import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { type Asb, bodyOf, startAsb } from '../support/asb.ts';
import {
  aToldGrant as toldOf,
  aWaitingGrant,
  collect,
  decide,
  signedByReceiver,
  type SignedOptions,
  type Told,
} from '../support/approvals.ts';
import { type Configured, configured, TENANTS } from '../support/configured.ts';
import { startReceiver, type TestReceiver } from '../support/receiver.ts';
import type { CallResult } from '../support/transports.ts';

let receiver: TestReceiver;
let file: Configured;
let asb: Asb;
beforeAll(async () => {
  receiver = await startReceiver();
  file = configured(receiver.url.href);
  asb = await startAsb({ ASB_PUBLIC_BASE_URL: 'https://asb.example' }, { file });
});
afterAll(async () => {
  await asb.close();
  await receiver.close();
  file.remove();
});
beforeEach(() => {
  receiver.answer = () => ({ status: 204 });
});

const aToldGrant = (tenant?: string): Promise<Told> => toldOf(asb, receiver, tenant);
const signed = (told: Told, changes: SignedOptions = {}): Promise<string> => signedByReceiver(asb, file, told, changes);
const call = (approval_id: string, assertion: string, comment = ''): Promise<CallResult> =>
  asb.call('decideByCallback', { approval_id, assertion, comment });
const issues = (grantId: string): number =>
  asb.audit.events.filter(({ type, subject }) => type === 'grant.issued' && subject.grantId === grantId).length;

describe('whoever is told of an approval may decide it', () => {
  test('by a one-time link, which is for people and stays out of every request line', async () => {
    const told = await aToldGrant();
    const { body } = receiver.received.at(-1)!;
    expect(body).toContain('https://asb.example/approval#');
    expect(bodyOf(await call(told.approval_id, told.approve, 'fine'))).toMatchObject({ state: 'issued' });
    expect(await collect(asb, told)).toMatchObject({ state: 'issued', delivery: { handle: expect.stringMatching(/^ph_/) } });
  });

  test.each([0, 1, 2, 3, 4])('by what the receiver signed itself, over transport %i', async (index) => {
    const told = await aToldGrant();
    const assertion = await signed(told, { claims: { decision: 'deny', comment: 'not today' } });
    const answer = await asb.clients[index]!.call('decideByCallback', { approval_id: told.approval_id, assertion });
    expect(bodyOf(answer)).toMatchObject({ state: 'denied' });
    expect(await collect(asb, told)).toMatchObject({ state: 'denied', end_reason: 'not today' });
  });

  test('as one person of the two that a policy asks for', async () => {
    const told = await aToldGrant(TENANTS.two);
    expect(bodyOf(await call(told.approval_id, told.approve))).toMatchObject({ state: 'pending' });
    expect(await call(told.approval_id, await signed(told))).toMatchObject({ ok: false, code: 'conflict' });
    expect(issues(told.grant_id)).toBe(0);
    expect(bodyOf(await decide(asb, 'approveGrant', told))).toMatchObject({ state: 'issued' });
  });

  test('and a receiver that is away fails no grant, and is told when it is back', async () => {
    receiver.answer = () => ({ status: 503 });
    const waiting = await aWaitingGrant(asb);
    const heard = () => receiver.received.filter(({ body }) => body.includes(waiting.approval_id)).length;
    const pass = () => {
      asb.clock.advance(5);
      return heard();
    };
    await expect.poll(pass).toBeGreaterThan(0);
    receiver.answer = () => ({ status: 204 });
    await expect
      .poll(() => {
        pass();
        return asb.audit.events.some(
          ({ type, subject }) => type === 'notification.delivered' && subject.approvalId === waiting.approval_id,
        );
      })
      .toBe(true);
    expect(heard()).toBeGreaterThan(1);
  });
});

interface Attack {
  name: string;
  attempt: (told: Told) => Promise<CallResult>;
  code: string;
}

const swapped = (token: string, change: Record<string, unknown>): string => {
  const [header, payload = '', signature] = token.split('.');
  const claims = z.record(z.string(), z.unknown()).parse(JSON.parse(Buffer.from(payload, 'base64url').toString()));
  return [header, Buffer.from(JSON.stringify({ ...claims, ...change })).toString('base64url'), signature].join('.');
};

const ATTACKS: readonly Attack[] = [
  {
    name: 'for another approval',
    attempt: async (told) => call((await aToldGrant()).approval_id, told.approve),
    code: 'unauthorized',
  },
  {
    name: 'whose link was altered from no to yes',
    attempt: (told) => call(told.approval_id, swapped(told.deny, { decision: 'approve' })),
    code: 'unauthorized',
  },
  {
    name: 'that was altered',
    attempt: async (told) =>
      call(told.approval_id, swapped(await signed(told, { claims: { decision: 'deny' } }), { decision: 'approve' })),
    code: 'unauthorized',
  },
  {
    name: 'for another request than the one that waits',
    attempt: async (told) => call(told.approval_id, await signed(told, { claims: { request_hash: '0'.repeat(64) } })),
    code: 'unauthorized',
  },
  {
    name: 'that comes late',
    attempt: async (told) => {
      const assertion = await signed(told);
      asb.clock.advance(121);
      return call(told.approval_id, assertion);
    },
    code: 'unauthorized',
  },
  {
    name: 'by a link that comes late',
    attempt: (told) => {
      asb.clock.advance(301);
      return call(told.approval_id, told.approve);
    },
    code: 'unauthorized',
  },
  {
    name: 'that lives too long',
    attempt: async (told) => {
      const exp = Math.floor(asb.clock.now().getTime() / 1000) + 3600;
      return call(told.approval_id, await signed(told, { claims: { exp } }));
    },
    code: 'unauthorized',
  },
  {
    name: 'in the name of another receiver',
    attempt: async (told) => call(told.approval_id, await signed(told, { claims: { iss: 'somebody' } })),
    code: 'unauthorized',
  },
  {
    name: 'for another broker',
    attempt: async (told) => call(told.approval_id, await signed(told, { claims: { aud: 'other' } })),
    code: 'unauthorized',
  },
  {
    name: 'that passes itself off as a link of ours',
    attempt: async (told) =>
      call(told.approval_id, await signed(told, { header: { typ: 'asb-approval-link+jwt' }, claims: { iss: 'asb' } })),
    code: 'unauthorized',
  },
  {
    name: 'that is a session token',
    attempt: (told) => call(told.approval_id, told.bearer),
    code: 'unauthorized',
  },
  {
    name: 'that is an operator token',
    attempt: async (told) => call(told.approval_id, await asb.operatorToken()),
    code: 'unauthorized',
  },
  {
    name: 'by a link that is used as a session token',
    attempt: (told) => asb.call('getGrant', { grant_id: told.grant_id }, { bearer: told.approve }),
    code: 'unauthorized',
  },
  {
    name: 'after it was decided',
    attempt: async (told) => {
      await decide(asb, 'denyGrant', told);
      return call(told.approval_id, told.approve);
    },
    code: 'conflict',
  },
  {
    name: 'after the session ended',
    attempt: async (told) => {
      await asb.call('revokeSession', { session_id: told.sessionId }, { bearer: told.bearer });
      return call(told.approval_id, told.approve);
    },
    code: 'conflict',
  },
];

describe('no callback decides', () => {
  test.each(ATTACKS)('$name', async ({ attempt, code }) => {
    const told = await aToldGrant();
    expect(await attempt(told)).toMatchObject({ ok: false, code });
    expect(issues(told.grant_id)).toBe(0);
  });

  test('twice', async () => {
    const told = await aToldGrant();
    const assertion = await signed(told);
    const answers = await Promise.all(Array.from({ length: 10 }, () => call(told.approval_id, assertion)));
    expect(answers.filter(({ ok }) => ok)).toHaveLength(1);
    for (const answer of answers) if (!answer.ok) expect(answer.code).toBe('conflict');
    expect(await call(told.approval_id, told.deny)).toMatchObject({ ok: false, code: 'conflict' });
    expect(issues(told.grant_id)).toBe(1);
  });

  test('by GET, and the page of a link loads nothing and names nobody', async () => {
    const told = await aToldGrant();
    const page = await asb.raw.send({ method: 'GET', path: '/approval' });
    expect(page.status).toBe(200);
    expect(page.headers['content-security-policy']).toMatch(/^default-src 'none'/);
    const path = `/v1/approvals/${told.approval_id}:callback`;
    const got = await asb.raw.send({ method: 'GET', path: `${path}?assertion=${told.approve}` });
    expect(got.status).toBe(404);
    expect(await collect(asb, told)).toMatchObject({ state: 'pending' });
  });

  test('once its receiver is taken out of the configuration', async () => {
    const told = await aToldGrant();
    const { notifications } = file.config;
    file.config.notifications = { receivers: [] };
    file.write();
    await asb.reload();
    expect(await call(told.approval_id, told.approve)).toMatchObject({ ok: false, code: 'unauthorized' });
    expect(await call(told.approval_id, await signed(told))).toMatchObject({ ok: false, code: 'unauthorized' });
    file.config.notifications = notifications;
    file.write();
    await asb.reload();
    expect(await call(told.approval_id, told.approve)).toMatchObject({ ok: true });
  });
});

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Asb, bodyOf, startAsb } from '../support/asb.ts';
import { aToldGrant, collect, decide, signedByReceiver, type Told } from '../support/approvals.ts';
import { type Configured, configured, TENANTS } from '../support/configured.ts';
import { startReceiver, type TestReceiver } from '../support/receiver.ts';

// A receiver of which nobody said whom it reaches.
let receiver: TestReceiver;
let file: Configured;
let asb: Asb;
beforeAll(async () => {
  receiver = await startReceiver();
  file = configured(receiver.url.href, { approver: null });
  asb = await startAsb({ ASB_PUBLIC_BASE_URL: 'https://asb.example' }, { file });
});
afterAll(async () => {
  await asb.close();
  await receiver.close();
  file.remove();
});

const NOT_NAMED = { ok: false, code: 'forbidden', reason: 'approver_not_named', rule: 'receiver' };

const ways = (told: Told) => ({
  link: { approve: () => Promise.resolve(told.approve), deny: () => Promise.resolve(told.deny) },
  signed: {
    approve: () => signedByReceiver(asb, file, told),
    deny: () => signedByReceiver(asb, file, told, { claims: { decision: 'deny' } }),
  },
});

const WAYS = ['link', 'signed'] as const;

const send = async (told: Told, way: (typeof WAYS)[number], decision: 'approve' | 'deny') =>
  asb.call('decideByCallback', { approval_id: told.approval_id, assertion: await ways(told)[way][decision]() });

const delegated = async (tenantId: string) => ({
  delegation_assertion: await file.delegations.assertion({ now: asb.clock.now(), tenantId, subject: 'dora' }),
});

const issued = (grantId: string): boolean =>
  asb.audit.events.some(({ type, subject }) => type === 'grant.issued' && subject.grantId === grantId);

describe.each(WAYS)('a receiver without a named approver, by what it was sent or signs (%s)', (way) => {
  test('may say yes where one yes is enough and nobody delegated', async () => {
    const told = await aToldGrant(asb, receiver);
    expect(bodyOf(await send(told, way, 'approve'))).toMatchObject({ state: 'issued' });
  });

  test('is not one of two', async () => {
    const told = await aToldGrant(asb, receiver, TENANTS.two);
    expect(await send(told, way, 'approve')).toMatchObject(NOT_NAMED);
    expect(bodyOf(await decide(asb, 'approveGrant', told, { subject: 'olga' }))).toMatchObject({ state: 'pending' });
    expect(await send(told, way, 'approve')).toMatchObject(NOT_NAMED);
    expect(issued(told.grant_id)).toBe(false);
    expect(bodyOf(await decide(asb, 'approveGrant', told, { subject: 'otto' }))).toMatchObject({ state: 'issued' });
  });

  test('does not say yes to a delegated run: it may be whoever delegated', async () => {
    const told = await aToldGrant(asb, receiver, TENANTS.human, await delegated(TENANTS.human));
    expect(await send(told, way, 'approve')).toMatchObject(NOT_NAMED);
    expect(issued(told.grant_id)).toBe(false);
    expect(await collect(asb, told)).toMatchObject({ state: 'pending' });
  });

  test.each([
    ['that needs two', TENANTS.two, () => Promise.resolve({})],
    ['of a delegated run', TENANTS.human, () => delegated(TENANTS.human)],
  ])('may say no to one %s', async (_name, tenant, session) => {
    const told = await aToldGrant(asb, receiver, tenant, await session());
    expect(bodyOf(await send(told, way, 'deny'))).toMatchObject({ state: 'denied' });
    expect(await collect(asb, told)).toMatchObject({ state: 'denied' });
  });
});

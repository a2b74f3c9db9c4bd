import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Asb, bodyOf, startAsb } from '../support/asb.ts';
import { aWaitingGrant, collect, decide, type Waiting } from '../support/approvals.ts';
import { type Configured, configured } from '../support/configured.ts';
import type { CallOptions, CallResult } from '../support/transports.ts';

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

const APPROVAL_SECONDS = 300;
const WAIT_SECONDS = 30;

/** Moves time on, and lets what falls due be done. */
async function pass(seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second += 1) {
    asb.clock.advance(1);
    await new Promise(setImmediate);
  }
}

/** Asks for a grant with patience, and moves time on in small steps until there is an answer. Tells how long that took. */
async function waitFor({ grant_id }: Pick<Waiting, 'grant_id'>, options: CallOptions, meanwhile?: () => Promise<unknown>) {
  const start = asb.clock.now().getTime();
  const answer = asb.call('getGrant', { grant_id, wait_seconds: WAIT_SECONDS }, options);
  await meanwhile?.();
  let answered: CallResult | null = null;
  void answer.then((result) => (answered = result));
  await expect
    .poll(
      () => {
        if (answered === null) asb.clock.advance(0.25);
        return answered;
      },
      { interval: 1, timeout: 20_000 },
    )
    .not.toBeNull();
  return { body: bodyOf(await answer), seconds: (asb.clock.now().getTime() - start) / 1000 };
}

describe('whoever waits for a grant', () => {
  test('hears of the approval, with what it delivers', async () => {
    const waiting = await aWaitingGrant(asb);
    const { body, seconds } = await waitFor(waiting, { bearer: waiting.bearer }, () => decide(asb, 'approveGrant', waiting));
    expect(body).toMatchObject({ state: 'issued', delivery: { kind: 'proxy_handle' } });
    expect(seconds).toBeLessThan(WAIT_SECONDS);
  });

  test('hears that it was denied, and why', async () => {
    const waiting = await aWaitingGrant(asb);
    const { body } = await waitFor(waiting, { bearer: waiting.bearer }, () =>
      decide(asb, 'denyGrant', waiting, { comment: 'not on a Friday' }),
    );
    expect(body).toMatchObject({ state: 'denied', end_reason: 'not on a Friday' });
  });

  test('across the end of the approval hears that it expired, and why, before the wait is over', async () => {
    const waiting = await aWaitingGrant(asb);
    await pass(APPROVAL_SECONDS - 15);
    expect(await collect(asb, waiting)).toMatchObject({ state: 'pending' });
    const { body, seconds } = await waitFor(waiting, { bearer: waiting.bearer });
    expect(body).toMatchObject({ state: 'expired', end_reason: 'nobody approved it in time' });
    expect(body).not.toHaveProperty('delivery');
    expect(seconds).toBeGreaterThanOrEqual(15);
    expect(seconds).toBeLessThan(WAIT_SECONDS);
    expect(await decide(asb, 'approveGrant', waiting)).toMatchObject({ ok: false, code: 'conflict' });
    expect(asb.audit.events.filter(({ subject }) => subject.grantId === waiting.grant_id).map(({ type }) => type)).toEqual([
      'grant.requested',
      'approval.requested',
      'grant.expired',
      'approval.expired',
      'approval.refused',
    ]);
  });

  test('as a viewer hears the same, and of one that was approved no delivery', async () => {
    const runsOut = await aWaitingGrant(asb);
    await pass(APPROVAL_SECONDS - 15);
    const viewer = { bearer: await asb.operatorToken(['viewer']) };
    expect((await waitFor(runsOut, viewer)).body).toMatchObject({
      state: 'expired',
      end_reason: 'nobody approved it in time',
    });
    const waiting = await aWaitingGrant(asb);
    const { body } = await waitFor(waiting, viewer, () => decide(asb, 'approveGrant', waiting));
    expect(body).toMatchObject({ state: 'issued' });
    expect(body).not.toHaveProperty('delivery');
    expect(JSON.stringify(body)).not.toContain('ph_');
  });

  test('in vain hears, once the wait is over, that it still is pending', async () => {
    const waiting = await aWaitingGrant(asb);
    const { body, seconds } = await waitFor(waiting, { bearer: waiting.bearer });
    expect(body).toMatchObject({ state: 'pending' });
    expect(seconds).toBeGreaterThanOrEqual(WAIT_SECONDS);
  });
});

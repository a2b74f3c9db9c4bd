import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import { decideApproval, expireApproval } from '../../src/domain/approval.ts';
import { Secret } from '../../src/domain/secret.ts';
import { sendNotifications } from '../../src/broker/send-notifications.ts';
import { errorChain } from '../../src/transport/logging.ts';
import { type Asked, aSlack, aWebhook, makeWorld, SECRET, type World } from '../notify/setup.ts';
import { OTHER_TENANT, TENANT } from '../support/entities.ts';
import { type ReceiverAnswer, startReceiver, type TestReceiver } from '../support/receiver.ts';

const open: TestReceiver[] = [];

async function receiver(path?: string, port?: number): Promise<TestReceiver> {
  const started = await startReceiver(path, port);
  open.push(started);
  return started;
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close()));
});

/** Waits for what takes a few turns of the real network. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise(setImmediate);
}

const NOTHING = { delivered: 0, retried: 0, givenUp: 0 };
const ids = (one: TestReceiver) => one.received.map(({ headers }) => headers['webhook-id']);

test('every receiver of the tenant is told once, and nobody else', async () => {
  const [hook, slack, other] = [await receiver(), await receiver(), await receiver()];
  const world = await makeWorld(
    aWebhook({ url: hook.url }),
    aSlack({ url: slack.url }),
    aWebhook({ name: 'other', url: other.url, tenants: [OTHER_TENANT] }),
  );
  const { approval } = await world.ask();
  expect(await world.send()).toEqual({ delivered: 2, retried: 0, givenUp: 0 });
  expect(await world.send()).toEqual(NOTHING);
  expect([hook, slack, other].map(({ received }) => received.length)).toEqual([1, 1, 0]);
  const events = world.audit.events.filter(({ type }) => type === 'notification.delivered');
  expect(events.map(({ subject, details }) => [subject.tenantId, subject.approvalId, details?.receiver]).sort()).toEqual([
    [TENANT, approval.id, 'hook'],
    [TENANT, approval.id, 'slack'],
  ]);
});

test('a receiver that was away is told when it is back, under the same id', async () => {
  const first = await receiver();
  const world = await makeWorld(aWebhook({ url: first.url }));
  await world.ask();
  const [waiting] = await world.due(0);
  await first.close();
  open.splice(0);
  expect(await world.send()).toEqual({ delivered: 0, retried: 1, givenUp: 0 });
  const [later] = await world.due(10);
  expect(later).toMatchObject({ attempts: 1, lastError: 'the receiver could not be reached (ECONNREFUSED)' });

  const back = await receiver('/hook', Number(first.url.port));
  expect(await world.send(), 'it is not due yet').toEqual(NOTHING);
  world.clock.advance(2);
  expect(await world.send()).toEqual({ delivered: 1, retried: 0, givenUp: 0 });
  expect(ids(back)).toEqual([waiting!.id]);
  expect(world.outcomes()).toEqual(['notification.delivered']);
});

test.each([
  { name: 'without chance', random: 0, delays: [1, 2, 4, 8, 16, 30, 30] },
  { name: 'with all of it', random: 1 - Number.EPSILON, delays: [2, 4, 8, 16, 32, 60, 60] },
])('each failure doubles the wait, up to a minute: $name', async ({ random, delays }) => {
  const hook = await receiver();
  hook.answer = () => ({ status: 500 });
  const world = await makeWorld(aWebhook({ url: hook.url }));
  world.random.next = random;
  await world.ask();
  for (const [attempt, delay] of delays.entries()) {
    expect(await world.send()).toMatchObject({ retried: 1 });
    expect(await world.due(delay - 0.1)).toEqual([]);
    expect(await world.due(delay + 0.1)).toMatchObject([{ attempts: attempt + 1, lastError: 'the receiver answered 500' }]);
    world.clock.advance(delay);
  }
  expect(hook.received.length).toBe(delays.length);
});

test.each([
  { header: '30', seconds: 30 },
  { header: '0', seconds: 1 },
  { header: '86400', seconds: 120 },
  { header: 'Fri, 02 Jan 2026 03:04:50 GMT', seconds: 45 },
  { header: 'Thu, 01 Jan 2026 00:00:00 GMT', seconds: 1 },
  { header: 'soon', seconds: 1 },
])('a receiver that asks for patience gets it, within bounds: Retry-After: $header', async ({ header, seconds }) => {
  const hook = await receiver();
  hook.answer = () => ({ status: 429, headers: { 'retry-after': header } });
  const world = await makeWorld(aWebhook({ url: hook.url }));
  await world.ask();
  await world.send();
  expect(await world.due(seconds - 0.1)).toEqual([]);
  expect(await world.due(seconds)).toHaveLength(1);
});

test('a receiver that hangs holds up nobody else', async () => {
  const [hanging, well] = [await receiver(), await receiver()];
  hanging.answer = () => null;
  const world = await makeWorld(aWebhook({ name: 'hangs', url: hanging.url }), aWebhook({ url: well.url }));
  await world.ask();
  const pass = world.send();
  await hanging.arrived(1);
  await until(() => world.outcomes().length === 1);

  await world.ask();
  expect(await world.send(), 'a pass that begins meanwhile').toEqual({ delivered: 1, retried: 0, givenUp: 0 });
  expect(hanging.received).toHaveLength(1);
  world.clock.advance(10);
  expect(await pass).toEqual({ delivered: 1, retried: 1, givenUp: 0 });
  expect(await world.due(60)).toMatchObject([
    { receiver: 'hangs', attempts: 0 },
    { receiver: 'hangs', attempts: 1, lastError: 'no answer in time' },
  ]);
});

test('an answer whose body never ends, or is endless, has said enough with its status', async () => {
  const [slow, long] = [await receiver(), await receiver()];
  slow.answer = () => ({ status: 200, body: 'x', unfinished: true });
  long.answer = () => ({ status: 200, body: 'x'.repeat(1_000_000), unfinished: true });
  const world = await makeWorld(aWebhook({ name: 'slow', url: slow.url }), aWebhook({ url: long.url }));
  await world.ask();
  const heads: unknown[] = [];
  const note = (head: unknown) => void heads.push(head);
  subscribe('undici:request:headers', note);
  onTestFinished(() => void unsubscribe('undici:request:headers', note));
  const pass = world.send();
  await until(() => heads.length === 2);
  world.clock.advance(10);
  expect(await pass).toEqual({ delivered: 2, retried: 0, givenUp: 0 });
});

test('a notifier that pays no heed is left behind', async () => {
  const world = await makeWorld(aWebhook());
  let isSending = false;
  const send = (): Promise<never> => {
    isSending = true;
    return new Promise(() => undefined);
  };
  await world.ask();
  const notifiers = { receiversOf: () => ['hook'], find: () => ({ send }) };
  const pass = sendNotifications({ ...world.deps, notifiers })(100, 'req_1', new AbortController().signal);
  await until(() => isSending);
  world.clock.advance(11);
  expect(await pass).toEqual({ delivered: 0, retried: 1, givenUp: 0 });
});

test('no more than eight receivers are sent to at a time', async () => {
  const hooks = await Promise.all(Array.from({ length: 10 }, () => receiver()));
  for (const hook of hooks) hook.answer = () => null;
  const world = await makeWorld(...hooks.map(({ url }, index) => aWebhook({ name: `hook-${index}`, url })));
  await world.ask();
  const pass = world.send();
  const received = () => hooks.flatMap((hook) => hook.received).length;
  await until(() => received() === 8);
  expect(await world.send()).toEqual(NOTHING);
  expect(received()).toBe(8);
  world.clock.advance(10);
  expect(await pass).toMatchObject({ retried: 8 });
});

test('what waits behind a failure is put off with it, and counts no try', async () => {
  const hook = await receiver();
  hook.answer = () => ({ status: 503 });
  const world = await makeWorld(aWebhook({ url: hook.url }));
  for (let count = 0; count < 3; count += 1) await world.ask();
  expect(await world.send()).toEqual({ delivered: 0, retried: 3, givenUp: 0 });
  expect(hook.received).toHaveLength(1);
  expect(await world.due(0.9)).toEqual([]);
  expect((await world.due(1)).map(({ attempts }) => attempts).sort()).toEqual([0, 0, 1]);

  hook.answer = () => ({ status: 200 });
  world.clock.advance(1);
  expect(await world.send()).toEqual({ delivered: 3, retried: 0, givenUp: 0 });
});

test('a message that its receiver does not take does not hold up the next', async () => {
  const hook = await receiver();
  const world = await makeWorld(aWebhook({ url: hook.url }));
  await world.ask();
  await world.ask();
  const [bad] = await world.due(0);
  hook.answer = ({ headers }) => ({ status: headers['webhook-id'] === bad!.id ? 400 : 200 });
  expect(await world.send()).toEqual({ delivered: 1, retried: 1, givenUp: 0 });
});

test('a receiver that is gone for good gets no second try', async () => {
  const hook = await receiver();
  hook.answer = () => ({ status: 410 });
  const world = await makeWorld(aWebhook({ url: hook.url }));
  await world.ask();
  expect(await world.send()).toEqual({ delivered: 0, retried: 0, givenUp: 1 });
  expect(await world.due(1000)).toEqual([]);
  expect(world.audit.events.at(-1)).toMatchObject({
    type: 'notification.given_up',
    details: { receiver: 'hook', attempts: 1, why: 'the receiver answered 410: it is gone' },
  });
});

test.each([301, 302, 303, 307, 308])('a redirect to another host is not followed: %i', async (status) => {
  const [hook, thief] = [await receiver(), await receiver('/steal')];
  hook.answer = () => ({ status, headers: { location: thief.url.href } });
  const world = await makeWorld(aWebhook({ url: hook.url }));
  await world.ask();
  expect(await world.send()).toEqual({ delivered: 0, retried: 1, givenUp: 0 });
  expect(thief.received).toEqual([]);
  expect((await world.due(60))[0]?.lastError).toBe(`the receiver answered ${status}; redirects are not followed`);
});

describe('two workers', () => {
  test('deliver each message once', async () => {
    const hook = await receiver();
    const world = await makeWorld(aWebhook({ url: hook.url }));
    for (let count = 0; count < 20; count += 1) await world.ask();
    const [one, other] = [sendNotifications(world.deps), sendNotifications(world.deps)];
    const { signal } = new AbortController();
    const reports = await Promise.all([one(100, 'req_1', signal), other(100, 'req_2', signal)]);
    expect(reports[0].delivered + reports[1].delivered).toBe(20);
    expect(new Set(ids(hook)).size).toBe(20);
    expect(hook.received).toHaveLength(20);
    expect(world.outcomes()).toHaveLength(20);
  });

  test('take over from one that died while it sent, and not before its claim is over', async () => {
    const hook = await receiver();
    hook.answer = () => null;
    const world = await makeWorld(aWebhook({ url: hook.url }));
    await world.ask();
    const died = sendNotifications({
      ...world.deps,
      clock: { now: () => world.clock.now(), schedule: () => () => undefined },
    });
    const never = died(100, 'req_1', new AbortController().signal);
    await hook.arrived(1);
    hook.answer = () => ({ status: 200 });
    expect(await world.send()).toEqual(NOTHING);
    world.clock.advance(29);
    expect(await world.send()).toEqual(NOTHING);
    world.clock.advance(1);
    expect(await world.send()).toMatchObject({ delivered: 1 });
    expect(new Set(ids(hook)).size).toBe(1);
    expect(hook.received).toHaveLength(2);

    await hook.close();
    open.splice(0);
    expect(await never, 'it comes back to find that it has lost').toEqual(NOTHING);
    expect(world.outcomes()).toEqual(['notification.delivered']);
  });
});

describe('a message that has become pointless is given up unsent', () => {
  const somebody = { issuer: 'https://login.example', subject: 'ana' };
  const cases: readonly [name: string, change: (world: World, asked: Asked) => unknown, why: string][] = [
    [
      'approved',
      ({ repository, clock }, { approval }) =>
        repository.transact((unit) => {
          const word = { approver: somebody, decision: 'approve' as const, comment: '', at: clock.now() };
          unit.updateApproval({ expected: 'pending', expectedDecisions: 0, next: decideApproval(approval, word) });
        }),
      'the approval is approved',
    ],
    [
      'denied',
      ({ repository, clock }, { approval }) =>
        repository.transact((unit) => {
          const word = { approver: somebody, decision: 'deny' as const, comment: '', at: clock.now() };
          unit.updateApproval({ expected: 'pending', expectedDecisions: 0, next: decideApproval(approval, word) });
        }),
      'the approval is denied',
    ],
    [
      'expired by the cleanup',
      ({ repository, clock }, { approval }) =>
        repository.transact((unit) => {
          const next = expireApproval(approval, clock.now());
          unit.updateApproval({ expected: 'pending', expectedDecisions: 0, next });
        }),
      'the approval is expired',
    ],
    ['out of time', ({ clock }) => clock.advance(300), 'nobody decided in time'],
    [
      'of a receiver that a reload took away',
      ({ configured }) => (configured.receivers = []),
      'the receiver is not configured any more',
    ],
    [
      'of a receiver that a reload took away from the tenant',
      (world) => (world.configured.receivers = [aWebhook({ tenants: [OTHER_TENANT] })]),
      'the receiver is not configured any more',
    ],
  ];
  test.each(cases)('%s', async (_name, change, why) => {
    const hook = await receiver();
    const world = await makeWorld(aWebhook({ url: hook.url }));
    const asked = await world.ask();
    await change(world, asked);
    expect(await world.send()).toEqual({ delivered: 0, retried: 0, givenUp: 1 });
    expect(hook.received).toEqual([]);
    expect(world.audit.events.at(-1)).toMatchObject({
      type: 'notification.given_up',
      subject: { tenantId: TENANT, approvalId: asked.approval.id },
      details: { why, attempts: 0 },
    });
    expect(await world.due(1000)).toEqual([]);
  });

  test('and one that keeps failing ends with its approval', async () => {
    const world = await makeWorld(aWebhook());
    await world.ask();
    let passes = 0;
    while (world.outcomes().length === 0 && passes < 400) {
      await world.send();
      world.clock.advance(1);
      passes += 1;
    }
    expect(passes).toBe(301);
    expect(world.outcomes()).toEqual(['notification.given_up']);
  });
});

test('a partly approved one is still sent', async () => {
  const hook = await receiver();
  const world = await makeWorld(aWebhook({ url: hook.url }));
  const { approval } = await world.ask({ approval: { requiredApprovers: 2 } });
  const word = {
    approver: { issuer: 'i', subject: 'ana' },
    decision: 'approve' as const,
    comment: '',
    at: world.clock.now(),
  };
  await world.repository.transact((unit) =>
    unit.updateApproval({ expected: 'pending', expectedDecisions: 0, next: decideApproval(approval, word) }),
  );
  expect(await world.send()).toMatchObject({ delivered: 1 });
});

test('when the end cannot be put on record the message is sent again, under the same id', async () => {
  const hook = await receiver();
  const world = await makeWorld(aWebhook({ url: hook.url }));
  await world.ask();
  world.audit.failNext();
  await expect(world.send()).rejects.toMatchObject({ code: 'unavailable' });
  expect(world.outcomes()).toEqual([]);
  world.clock.advance(30);
  expect(await world.send()).toMatchObject({ delivered: 1 });
  expect(new Set(ids(hook)).size).toBe(1);
});

test('a defect in one notifier is reported at the end and spoils nothing for others', async () => {
  const hook = await receiver();
  const broken = aWebhook({ name: 'broken', secret: new Secret('not base64!') });
  const world = await makeWorld(broken, aWebhook({ url: hook.url }));
  await world.ask();
  await expect(world.send()).rejects.toThrow();
  expect(hook.received).toHaveLength(1);
  expect(await world.due(60)).toMatchObject([{ receiver: 'broken', attempts: 1, lastError: 'could not be sent' }]);
});

test('a worker that is told to stop ends what is under way and takes up nothing new', async () => {
  const hook = await receiver();
  hook.answer = () => null;
  const world = await makeWorld(aWebhook({ url: hook.url }));
  for (let count = 0; count < 3; count += 1) await world.ask();
  const stopping = new AbortController();
  const pass = sendNotifications(world.deps)(100, 'req_1', stopping.signal);
  await hook.arrived(1);
  stopping.abort();
  world.clock.advance(10);
  expect(await pass).toEqual({ delivered: 0, retried: 1, givenUp: 0 });
  expect(await world.due(0)).toHaveLength(2);
});

test('no secret and nothing that a receiver said is in an event, a row or an error', async () => {
  const failing = await receiver('/services/CANARY-slack-path');
  const nobody = new URL('http://127.0.0.1:1/services/CANARY-slack-path');
  const answers: ReceiverAnswer[] = [
    { status: 500, body: 'CANARY-answer' },
    { status: 302, headers: { location: 'http://CANARY-location.example/' } },
    { status: 429, headers: { 'retry-after': 'CANARY-header' } },
    { status: 410, body: 'CANARY-answer' },
  ];
  failing.answer = () => answers.shift() ?? { status: 200, body: 'CANARY-answer' };
  const world = await makeWorld(
    aSlack({ url: failing.url }),
    aSlack({ name: 'nobody', url: nobody }),
    aWebhook({ url: nobody }),
    aWebhook({ name: 'broken', secret: new Secret('CANARY-secret') }),
  );
  const seen: unknown[] = [];
  for (let round = 0; round < 5; round += 1) {
    await world.ask();
    await world.send().catch((error: unknown) => seen.push(errorChain(error)));
    seen.push(await world.due(1000));
    world.clock.advance(61);
  }
  expect(failing.received.length).toBeGreaterThan(answers.length);
  expect(world.outcomes()).toEqual(expect.arrayContaining(['notification.delivered', 'notification.given_up']));
  const written = JSON.stringify([seen, world.audit.events]);
  expect(written).not.toContain('CANARY');
  expect(written).not.toContain(SECRET.slice('whsec_'.length));
  expect(written).not.toContain('127.0.0.1');
});

describe('the outbox is filled with the approval', () => {
  test('and not at all when that does not commit', async () => {
    const world = await makeWorld(aWebhook());
    world.audit.failNext();
    const asked = await world.ask();
    await expect(
      world.repository.transact((unit) => {
        world.notifications.enqueue(unit, asked.approval, world.clock.now());
        unit.insertApproval(asked.approval);
      }),
    ).rejects.toMatchObject({ code: 'conflict' });
    expect(await world.due(1000)).toHaveLength(1);
  });

  test('and the loop is woken only for somebody who is to be told', async () => {
    const world = await makeWorld(aWebhook({ tenants: [OTHER_TENANT] }));
    await world.ask();
    world.notifications.wake();
    expect(world.waker.woken).toBe(0);
    world.configured.receivers = [aWebhook()];
    await world.ask();
    world.notifications.wake();
    world.notifications.wake();
    expect(world.waker.woken).toBe(1);
  });
});

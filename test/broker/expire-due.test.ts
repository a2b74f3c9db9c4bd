import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Asb, startAsb } from '../support/asb.ts';

let asb: Asb;
beforeEach(async () => {
  asb = await startAsb({ ASB_CLEANUP_INTERVAL_SECONDS: '5', ASB_RETENTION_SECONDS: '60' });
});
afterEach(() => asb.close());

/** Each commit takes a turn of the event loop, and a pass makes a few. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await new Promise(setImmediate);
}

/** Moves time on by the second and lets each cleanup that falls due finish. */
async function pass(seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second += 1) {
    asb.clock.advance(1);
    await settle();
  }
}

const metric = async (what: string): Promise<number> => {
  const { body } = await asb.raw.send({ method: 'GET', path: '/metrics' });
  return Number(new RegExp(`^asb_cleanup_rows_total\\{what="${what}"\\} (\\d+)$`, 'm').exec(body.toString())?.[1]);
};

test('a grant whose time is up expires with its artifact, each once', async () => {
  const { session_token } = await asb.openSession();
  const { grant_id } = await asb.requestGrant(session_token, { ttl_seconds: 60 });
  const before = asb.audit.events.length;
  await pass(59);
  expect(asb.audit.events).toHaveLength(before);
  await pass(5);
  await pass(5);
  const events = asb.audit.events.slice(before);
  expect(events.map(({ type }) => type)).toEqual(['grant.expired', 'artifact.expired']);
  expect(events[0]).toMatchObject({
    subject: { grantId: grant_id, tenantId: 't_dev' },
    requestId: expect.stringMatching(/^req_/),
  });
});

test('a session whose time is up takes its grants along', async () => {
  const exp = Math.floor(asb.clock.now().getTime() / 1000) + 120;
  const session = await asb.openSession({ attestation: await asb.attestation({ exp }) });
  await asb.requestGrant(session.session_token, { ttl_seconds: 600 });
  const before = asb.audit.events.length;
  await pass(125);
  const types = asb.audit.events.slice(before).map(({ type }) => type);
  expect(types).toEqual(['session.expired', 'grant.expired', 'artifact.expired']);
});

test('what has ended is dropped after its retention, not before', async () => {
  const session = await asb.openSession();
  await asb.requestGrant(session.session_token);
  await asb.call('revokeSession', { session_id: session.session_id }, { bearer: session.session_token });
  await pass(55);
  expect(await metric('rows_forgotten')).toBe(0);
  await pass(15);
  await pass(5);
  expect(await metric('rows_forgotten')).toBe(3);
});

test('an expiry that cannot be recorded is tried again', async () => {
  const { session_token } = await asb.openSession();
  await asb.requestGrant(session_token, { ttl_seconds: 60 });
  asb.audit.failNext();
  await pass(61);
  expect(asb.audit.types()).not.toContain('grant.expired');
  expect(asb.logged.join()).toContain('a pass failed');
  await pass(5);
  expect(asb.audit.types()).toContain('grant.expired');
});

test('a failure that passes puts nothing off', async () => {
  const { session_token } = await asb.openSession();
  await asb.requestGrant(session_token, { ttl_seconds: 60 });
  await asb.requestGrant(session_token, { ttl_seconds: 60 });
  asb.audit.failNext();
  await pass(61);
  expect(asb.audit.types().filter((type) => type === 'grant.expired')).toHaveLength(2);
});

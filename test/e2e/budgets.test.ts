import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import { hang, huge } from '../../dev/github/answers.ts';
import { type Asb, bodyOf, GRANT_REQUEST, startAsb } from '../support/asb.ts';

let asb: Asb;
afterEach(() => asb.close());

async function aHandle(): Promise<string> {
  const { session_token } = await asb.openSession();
  return (await asb.requestGrant(session_token)).delivery.handle;
}

const read = (handle: string, client = asb.clients[0]) =>
  client.call('executeGitHubProxy', { proxy_handle: handle, operation: 'repository_metadata' });

test('50 concurrent calls on a budget of 10 let exactly 10 through, whatever transport they come by', async () => {
  asb = await startAsb({ ASB_PROXY_MAX_REQUESTS: '10', ASB_PROXY_MAX_CONCURRENT: '50' });
  const handle = await aHandle();
  const before = asb.github.requests.length;
  const results = await Promise.all(
    Array.from({ length: 50 }, (_, index) => read(handle, asb.clients[index % asb.clients.length])),
  );
  expect(results.filter(({ ok }) => ok)).toHaveLength(10);
  expect(asb.github.requests.length - before).toBe(10);
  for (const result of results) {
    if (!result.ok) expect(result).toMatchObject({ code: 'resource_budget_exceeded', retryAfterSeconds: null });
  }
});

test('no more calls than allowed are under way, and a slot that is free again can be used', async () => {
  asb = await startAsb({ ASB_PROXY_MAX_CONCURRENT: '2' });
  const handle = await aHandle();
  asb.github.answerNext(hang());
  asb.github.answerNext(hang());
  const giveUp = new AbortController();
  const arrived = [asb.github.nextRequest(), asb.github.nextRequest()];
  const options = { signal: giveUp.signal };
  const hanging = [1, 2].map(() =>
    asb.clients[0]
      .call('executeGitHubProxy', { proxy_handle: handle, operation: 'repository_metadata' }, options)
      .catch(() => null),
  );
  const [first] = await Promise.all(arrived);
  await expect.poll(() => asb.github.requests.length).toBe(2);
  expect(await read(handle)).toMatchObject({ ok: false, code: 'resource_budget_exceeded', retryAfterSeconds: 1 });
  giveUp.abort();
  await Promise.all(hanging);
  await first!.ended;
  await expect.poll(async () => (await read(handle)).ok).toBe(true);
});

test('bytes are cut off while they stream', async () => {
  asb = await startAsb({ ASB_PROXY_MAX_BYTES: '1000000' });
  const handle = await aHandle();
  asb.github.answerNext(huge(200_000_000));
  const request = asb.github.nextRequest();
  expect(await read(handle)).toMatchObject({ ok: false, code: 'resource_budget_exceeded' });
  const { bytesSent, complete } = await (await request).ended;
  expect(complete).toBe(false);
  expect(bytesSent).toBeLessThan(50_000_000);
  expect(await read(handle)).toMatchObject({
    ok: false,
    code: 'resource_budget_exceeded',
    message: expect.stringMatching(/bytes are used up/),
  });
});

test('a call that takes too long ends with 504, is on record, and gives its slot back', async () => {
  asb = await startAsb({ ASB_PROXY_MAX_CONCURRENT: '1', ASB_PROXY_TIMEOUT_SECONDS: '15' });
  const handle = await aHandle();
  asb.github.answerNext(hang());
  const arrived = asb.github.nextRequest();
  const result = read(handle);
  await arrived;
  asb.clock.advance(15);
  expect(await result).toMatchObject({
    ok: false,
    code: 'deadline_exceeded',
    message: 'GitHub did not finish within 15 seconds',
  });
  expect(asb.audit.events.at(-1)).toMatchObject({ type: 'proxy.failed', code: 'deadline_exceeded' });
  expect(await read(handle)).toMatchObject({ ok: true });
});

test('each handle has a budget of its own', async () => {
  asb = await startAsb({ ASB_PROXY_MAX_REQUESTS: '1' });
  const [one, other] = [await aHandle(), await aHandle()];
  expect(await read(one)).toMatchObject({ ok: true });
  expect(await read(one)).toMatchObject({ ok: false });
  expect(await read(other)).toMatchObject({ ok: true });
});

test('a session has so many grants open at once and no more, and another may be asked for when one has ended', async () => {
  asb = await startAsb({ ASB_MAX_OPEN_GRANTS: '3' });
  const { session_token: bearer } = await asb.openSession();
  const results = await Promise.all(
    Array.from({ length: 15 }, (_, index) =>
      asb.clients[index % asb.clients.length]!.call('requestGrant', GRANT_REQUEST, { bearer }),
    ),
  );
  const [granted, ...others] = results.filter(({ ok }) => ok);
  expect(others).toHaveLength(2);
  for (const result of results) {
    if (!result.ok) {
      expect(result).toMatchObject({ code: 'resource_budget_exceeded', message: expect.stringMatching(/3 grants open/) });
    }
  }
  expect(asb.audit.events.at(-1)).toMatchObject({ type: 'grant.refused', code: 'resource_budget_exceeded' });
  const { grant_id } = z.object({ grant_id: z.string() }).parse(bodyOf(granted!));
  await asb.call('revokeGrant', { grant_id }, { bearer });
  await asb.requestGrant(bearer);
  expect(await asb.call('requestGrant', GRANT_REQUEST, { bearer })).toMatchObject({ ok: false });
});

test('large answers are refused while the process holds as much as it may, small ones are not', async () => {
  let bufferedBytes = 0;
  asb = await startAsb({ ASB_PROXY_MAX_BUFFERED_BYTES: '8000000' }, { memory: { bufferedBytes: () => bufferedBytes } });
  const handle = await aHandle();
  bufferedBytes = 8_000_000;
  asb.github.answerNext(huge(20_000_000));
  const request = asb.github.nextRequest();
  expect(await read(handle)).toMatchObject({ ok: false, code: 'unavailable', retryAfterSeconds: 5 });
  expect((await (await request).ended).complete).toBe(false);
  expect(await read(handle)).toMatchObject({ ok: true });
  bufferedBytes = 0;
  asb.github.answerNext(huge(2_000_000));
  expect(await read(handle)).toMatchObject({ ok: true });
});

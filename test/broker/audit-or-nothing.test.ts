import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Asb, GRANT_REQUEST, sessionRequest, startAsb } from '../support/asb.ts';
import type { CallResult } from '../support/transports.ts';

let asb: Asb;
beforeAll(async () => {
  asb = await startAsb();
});
afterAll(() => asb.close());

const UNAVAILABLE = { ok: false, code: 'unavailable', message: 'audit log cannot be written' };

/** Makes a call whose event cannot be written. */
async function unrecorded(call: () => Promise<CallResult>): Promise<void> {
  const before = asb.audit.events.length;
  asb.audit.failNext();
  expect(await call()).toMatchObject(UNAVAILABLE);
  expect(asb.audit.events).toHaveLength(before);
}

describe('when its event cannot be written, a request fails and changes nothing', () => {
  test('no session is opened', async () => {
    const request = await sessionRequest(asb.attestation);
    await unrecorded(() => asb.call('createSession', request));
  });

  test('no grant is issued', async () => {
    const { session_token } = await asb.openSession();
    await unrecorded(() => asb.call('requestGrant', GRANT_REQUEST, { bearer: session_token }));
  });

  test('no call is made downstream', async () => {
    const { delivery } = await asb.requestGrant((await asb.openSession()).session_token);
    const before = asb.github.requests.length;
    const use = { proxy_handle: delivery.handle, operation: 'repository_metadata' };
    await unrecorded(() => asb.call('executeGitHubProxy', use));
    expect(asb.github.requests).toHaveLength(before);
  });

  test('a grant that could not be revoked still works, and can be revoked later', async () => {
    const { session_token } = await asb.openSession();
    const { grant_id, delivery } = await asb.requestGrant(session_token);
    await unrecorded(() => asb.call('revokeGrant', { grant_id }, { bearer: session_token }));
    const use = { proxy_handle: delivery.handle, operation: 'repository_metadata' };
    expect(await asb.call('executeGitHubProxy', use)).toMatchObject({ ok: true });
    expect(await asb.call('revokeGrant', { grant_id }, { bearer: session_token })).toMatchObject({ ok: true });
    expect(await asb.call('executeGitHubProxy', use)).toMatchObject({ ok: false, code: 'unauthorized' });
  });

  test('a session that could not be revoked goes on, with its grants', async () => {
    const { session_id, session_token } = await asb.openSession();
    const { delivery } = await asb.requestGrant(session_token);
    await unrecorded(() => asb.call('revokeSession', { session_id }, { bearer: session_token }));
    const use = { proxy_handle: delivery.handle, operation: 'repository_metadata' };
    expect(await asb.call('executeGitHubProxy', use)).toMatchObject({ ok: true });
  });

  test('not even a refusal is answered', async () => {
    const request = await sessionRequest(asb.attestation, { tenant_id: 't_other' });
    await unrecorded(() => asb.call('createSession', request));
    await unrecorded(() => asb.call('requestGrant', GRANT_REQUEST, { bearer: 'x.y.z' }));
  });
});

test('the outcome of a call that was made is on record before its answer leaves', async () => {
  const { delivery } = await asb.requestGrant((await asb.openSession()).session_token);
  const arrived = asb.github.nextRequest();
  asb.github.answerNext((_request, response) => {
    asb.audit.failNext();
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
  const use = { proxy_handle: delivery.handle, operation: 'repository_metadata' };
  expect(await asb.call('executeGitHubProxy', use)).toMatchObject(UNAVAILABLE);
  await arrived;
  expect(asb.audit.events.at(-1)).toMatchObject({ type: 'proxy.failed', code: 'unavailable' });
});

test('handles and tokens that a caller puts where they do not belong stay out of the record', async () => {
  const { session_token } = await asb.openSession();
  const { delivery } = await asb.requestGrant(session_token, { reason: `my token is ${session_token}.` });
  const written = JSON.stringify(asb.audit.events);
  expect(written).toContain('my token is [secret].');
  await asb.call('revokeGrant', { grant_id: delivery.handle }, { bearer: session_token });
  expect(JSON.stringify(asb.audit.events)).not.toContain(delivery.handle);
});

test('what an unproved caller claims is on record as a claim', async () => {
  const attestation = { kind: 'k8s_sa_jwt', token: 'a.b.c' };
  const run_id = (await asb.openSession()).session_token.slice(0, 190);
  await asb.call('createSession', await sessionRequest(asb.attestation, { agent_id: 'payroll', run_id, attestation }));
  const event = asb.audit.events.at(-1);
  expect(event).toMatchObject({ subject: { tenantId: 't_unattributed' }, details: { claimed_agent_id: 'payroll' } });
  expect(JSON.stringify(event)).not.toContain(run_id);
});

describe('a race has one winner', () => {
  test('of 20 concurrent revokes of one grant one succeeds', async () => {
    const { session_token } = await asb.openSession();
    const { grant_id } = await asb.requestGrant(session_token);
    const results = await Promise.all(
      Array.from({ length: 20 }, () => asb.call('revokeGrant', { grant_id }, { bearer: session_token })),
    );
    expect(results.filter(({ ok }) => ok)).toHaveLength(1);
    for (const result of results) if (!result.ok) expect(result.code).toBe('conflict');
  });

  test('no grant survives the revoke of its session, however they interleave', async () => {
    const { session_id, session_token } = await asb.openSession();
    const bearer = { bearer: session_token };
    const asked = Array.from({ length: 30 }, () => asb.call('requestGrant', GRANT_REQUEST, bearer));
    const revoked = asb.call('revokeSession', { session_id }, bearer);
    asked.push(...Array.from({ length: 30 }, () => asb.call('requestGrant', GRANT_REQUEST, bearer)));
    expect(await revoked).toMatchObject({ ok: true });
    for (const result of await Promise.all(asked)) {
      if (!result.ok) {
        expect(['unauthorized', 'conflict']).toContain(result.code);
        continue;
      }
      const { delivery } = result.body as { delivery: { handle: string } };
      const use = { proxy_handle: delivery.handle, operation: 'repository_metadata' };
      expect(await asb.call('executeGitHubProxy', use)).toMatchObject({ ok: false, code: 'unauthorized' });
    }
  });
});

import type { JsonValue } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { type Asb, bodyOf, GRANT_REQUEST, startAsb } from '../support/asb.ts';
import { aWaitingGrant, decide, openIn, USE, type Waiting } from '../support/approvals.ts';
import { type Configured, configured, policies, tenantOf, TENANTS } from '../support/configured.ts';

let file: Configured;
let asb: Asb;
beforeEach(async () => {
  file = configured();
  asb = await startAsb({}, { file });
});
afterEach(async () => {
  await asb.close();
  file.remove();
});

const REUSED = { required: 1, ttl: '5m', reuse: true };

const answered = z.object({
  grant_id: z.string(),
  state: z.string(),
  approval_id: z.string(),
  expires_at: z.iso.datetime(),
  delivery: z.object({ handle: z.string() }).optional(),
});

let requests = 0;

/** Asks under a request id that nobody has used. */
async function ask(bearer: string, request: Record<string, JsonValue>) {
  requests += 1;
  const request_id = `reuse-${requests}`;
  return answered.parse(bodyOf(await asb.call('requestGrant', { ...request, request_id }, { bearer })));
}

/** The same request once more. */
const again = ({ bearer, request }: Waiting) => ask(bearer, request);

async function configure(tenantId: string, policy: Record<string, unknown>): Promise<void> {
  Object.assign(tenantOf(file, tenantId), { policies: policies(policy) });
  file.write();
  await asb.reload();
}

/** A grant that was approved under a policy which lets one approval answer again. */
async function anApprovedGrant(): Promise<Waiting> {
  const waiting = await aWaitingGrant(asb, TENANTS.reuse);
  expect(bodyOf(await decide(asb, 'approveGrant', waiting))).toMatchObject({ state: 'issued' });
  return waiting;
}

const secondsLeft = (expiresAt: string): number => (Date.parse(expiresAt) - asb.clock.now().getTime()) / 1000;

describe('an approval that may be used again', () => {
  test('answers the same request of the same session, and no other', async () => {
    const waiting = await anApprovedGrant();
    expect(await again(waiting)).toMatchObject({ state: 'issued', approval_id: waiting.approval_id });
    const { bearer, request } = waiting;
    const changes: Record<string, JsonValue>[] = [
      { resource_ref: 'github:repo:acme/other' },
      { ttl_seconds: 301 },
      { reason: 'something else' },
    ];
    for (const change of changes) {
      const other = await ask(bearer, { ...request, ...change });
      expect(other).toMatchObject({ state: 'pending' });
      expect(other.approval_id).not.toBe(waiting.approval_id);
    }
    const elsewhere = await openIn(asb, TENANTS.reuse);
    expect(await ask(elsewhere.bearer, request)).toMatchObject({ state: 'pending' });
    expect(asb.audit.types().filter((type) => type === 'approval.reused')).toHaveLength(1);
  });

  test.each<[name: string, revoked: (first: Waiting, second: { grant_id: string }) => string]>([
    ['its first grant', ({ grant_id }) => grant_id],
    ['a later grant of it', (_first, { grant_id }) => grant_id],
  ])('goes before people again once an operator has revoked %s', async (_name, revoked) => {
    const waiting = await anApprovedGrant();
    const second = await again(waiting);
    expect(second).toMatchObject({ state: 'issued', approval_id: waiting.approval_id });
    const grant_id = revoked(waiting, second);
    const bearer = await asb.operatorToken(['operator'], 'otto');
    expect(bodyOf(await asb.call('revokeGrant', { grant_id }, { bearer }))).toEqual({ state: 'revoked' });

    const third = await again(waiting);
    expect(third.state).toBe('pending');
    expect(third.delivery).toBeUndefined();
    expect(third.approval_id).not.toBe(waiting.approval_id);
    // And a new yes is one again.
    expect(bodyOf(await decide(asb, 'approveGrant', third))).toMatchObject({ state: 'issued' });
    expect(await again(waiting)).toMatchObject({ state: 'issued', approval_id: third.approval_id });
  });

  test('and a revocation at the same moment never leave a grant behind that was issued after it', async () => {
    const waiting = await anApprovedGrant();
    const bearer = await asb.operatorToken(['operator']);
    await Promise.all([
      asb.call('revokeGrant', { grant_id: waiting.grant_id }, { bearer }),
      ...Array.from({ length: 10 }, () => again(waiting)),
    ]);
    const types = asb.audit.events.filter(({ subject }) => subject.sessionId === waiting.sessionId).map(({ type }) => type);
    const revoked = types.indexOf('grant.revoked');
    expect(revoked).toBeGreaterThan(0);
    expect(types.slice(revoked)).not.toContain('approval.reused');
    expect(types.slice(revoked)).not.toContain('grant.issued');
  });

  test('gives no more time than the approver saw, whatever the file says by then', async () => {
    await configure(TENANTS.reuse, { approval: REUSED, default_ttl: '1m', max_ttl: '1m' });
    const { bearer } = await openIn(asb, TENANTS.reuse);
    // Without a time of its own: the policy's default.
    const request = {
      tool: GRANT_REQUEST.tool,
      capability: GRANT_REQUEST.capability,
      resource_ref: GRANT_REQUEST.resource_ref,
      delivery_mode: GRANT_REQUEST.delivery_mode,
      reason: GRANT_REQUEST.reason,
    };
    const first = await ask(bearer, request);
    const seen = bodyOf(
      await asb.call('getApproval', { approval_id: first.approval_id }, { bearer: await asb.operatorToken() }),
    );
    expect(seen).toMatchObject({ approval: { ttl_seconds: 60 } });

    await configure(TENANTS.reuse, { approval: REUSED, default_ttl: '10m', max_ttl: '10m' });
    const given = z.object({ expires_at: z.iso.datetime() }).parse(bodyOf(await decide(asb, 'approveGrant', first)));
    expect(secondsLeft(given.expires_at)).toBe(60);
    asb.clock.advance(30);
    const reused = await ask(bearer, request);
    expect(reused).toMatchObject({ state: 'issued', approval_id: first.approval_id });
    expect(secondsLeft(reused.expires_at)).toBe(60);
    const use = { proxy_handle: reused.delivery?.handle ?? '', ...USE };
    expect(await asb.call('executeGitHubProxy', use)).toMatchObject({ ok: true });
    asb.clock.advance(60);
    expect(await asb.call('executeGitHubProxy', use)).toMatchObject({ ok: false, code: 'unauthorized' });
  });

  test('gives less time once the file allows less', async () => {
    const waiting = await anApprovedGrant();
    await configure(TENANTS.reuse, { approval: REUSED, default_ttl: '1m', max_ttl: '1m' });
    const reused = await again(waiting);
    expect(reused).toMatchObject({ state: 'issued', approval_id: waiting.approval_id });
    expect(secondsLeft(reused.expires_at)).toBe(60);
  });

  test.each<[name: string, policy: Record<string, unknown>]>([
    ['the file no longer lets it', { approval: { ...REUSED, reuse: false } }],
    ['the file asks for more people by then', { approval: { ...REUSED, required: 2 } }],
  ])('is not used again when %s', async (_name, policy) => {
    const waiting = await anApprovedGrant();
    await configure(TENANTS.reuse, policy);
    const next = await again(waiting);
    expect(next.state).toBe('pending');
    expect(next.approval_id).not.toBe(waiting.approval_id);
  });
});

test('an approval that was for one time when it was given does not become more by a reload', async () => {
  const waiting = await aWaitingGrant(asb, TENANTS.human);
  expect(bodyOf(await decide(asb, 'approveGrant', waiting))).toMatchObject({ state: 'issued' });
  await configure(TENANTS.human, { approval: REUSED });
  const next = await again(waiting);
  expect(next.state).toBe('pending');
  expect(next.approval_id).not.toBe(waiting.approval_id);
});

test('an approval that was for one time when it was asked for does not become more by a reload before it is given', async () => {
  const waiting = await aWaitingGrant(asb, TENANTS.human);
  await configure(TENANTS.human, { approval: REUSED });
  expect(bodyOf(await decide(asb, 'approveGrant', waiting))).toMatchObject({ state: 'issued' });
  const next = await again(waiting);
  expect(next.state).toBe('pending');
  expect(next.approval_id).not.toBe(waiting.approval_id);
});

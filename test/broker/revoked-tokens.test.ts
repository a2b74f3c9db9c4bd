import { beforeEach, describe, expect, test } from 'vitest';
import { unavailable } from '../../src/domain/errors.ts';
import type { GrantId } from '../../src/domain/ids.ts';
import type { ActiveSession } from '../../src/domain/session.ts';
import { CONTEXT, type LeaseWorld, makeLeaseWorld, OPERATOR, outcomeOf, settle } from './lease-world.ts';

let world: LeaseWorld;
let token: string;
let session: ActiveSession;
let grantId: GrantId;
beforeEach(async () => {
  world = await makeLeaseWorld();
  ({ token, session } = await world.openSession());
  world.policy.approval = { requiredApprovers: 1, ttlSeconds: 300, reuse: false };
  ({ grantId } = await world.request(token));
});

const isMarked = () => world.runtime.isTokenRevoked(session.tokenId, world.clock.now());
const revokeSession = (credential: string) =>
  world.broker.revokeSession({ credential, sessionId: session.id, reason: '' }, CONTEXT);
const revokeRun = () =>
  world.broker.revokeRun({ credential: OPERATOR, tenantId: session.tenantId, runId: session.runId, reason: '' }, CONTEXT);

describe('the token of a session is marked as revoked', () => {
  test.each([
    ['by itself', () => revokeSession(token)],
    ['by an operator', () => revokeSession(OPERATOR)],
    ['with its run', revokeRun],
  ])('%s', async (_name, revoke) => {
    expect(await isMarked()).toBe(false);
    await revoke();
    expect(await isMarked()).toBe(true);
    // As long as it would have been good.
    expect(await world.runtime.isTokenRevoked(session.tokenId, new Date(session.expiresAt.getTime() - 1))).toBe(true);
  });

  test('not when the revocation failed', async () => {
    world.effects.beforeCommit = () => {
      throw unavailable('the store is away');
    };
    expect(await outcomeOf(revokeSession(token))).toBe('unavailable');
    expect(await isMarked()).toBe(false);
  });

  test('or is not, while the marks are away: it is revoked all the same', async () => {
    world.runtime.revokeToken = () => Promise.reject(unavailable('Redis is away'));
    expect(await revokeSession(token)).toEqual({ state: 'revoked' });
    expect(await outcomeOf(world.request(token))).toBe('unauthorized');
  });
});

describe('whoever waits with a token that is revoked meanwhile', () => {
  const wait = () => outcomeOf(world.broker.getGrant({ credential: token, grantId, waitSeconds: 30 }, CONTEXT));

  test('hears that, at the next look', async () => {
    const waiting = wait();
    await settle();
    await revokeSession(OPERATOR);
    world.clock.advance(0.5);
    expect(await waiting).toBe('unauthorized');
  });

  test('hears how the grant stands where the marks are away', async () => {
    const waiting = wait();
    await settle();
    await revokeSession(OPERATOR);
    world.runtime.isTokenRevoked = () => Promise.reject(unavailable('Redis is away'));
    world.clock.advance(0.5);
    expect(await waiting).toMatchObject({ state: 'expired', delivery: null });
  });

  test("goes on waiting when it was another's", async () => {
    const other = await world.openSession();
    const waiting = wait();
    await settle();
    await world.broker.revokeSession({ credential: OPERATOR, sessionId: other.session.id, reason: '' }, CONTEXT);
    for (let look = 0; look < 60; look += 1) {
      world.clock.advance(0.5);
      await settle(5);
    }
    expect(await waiting).toMatchObject({ state: 'pending' });
  });
});

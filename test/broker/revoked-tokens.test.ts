import { beforeEach, describe, expect, test, vi } from 'vitest';
import { unavailable } from '../../src/domain/errors.ts';
import type { GrantId } from '../../src/domain/ids.ts';
import type { ActiveSession } from '../../src/domain/session.ts';
import { CONTEXT, type LeaseWorld, makeLeaseWorld, OPERATOR, outcomeOf, until } from './lease-world.ts';

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
  /** Begins to wait. Answers when it has looked once and waits for its next look. */
  async function wait() {
    const schedule = vi.spyOn(world.clock, 'schedule');
    const answer = outcomeOf(world.broker.getGrant({ credential: token, grantId, waitSeconds: 30 }, CONTEXT));
    await until(() => schedule.mock.calls.length === 1);
    return { answer, looks: () => schedule.mock.calls.length };
  }

  test('hears that, at the next look', async () => {
    const waiting = await wait();
    await revokeSession(OPERATOR);
    world.clock.advance(0.5);
    expect(await waiting.answer).toBe('unauthorized');
  });

  test('hears how the grant stands where the marks are away', async () => {
    const waiting = await wait();
    await revokeSession(OPERATOR);
    world.runtime.isTokenRevoked = () => Promise.reject(unavailable('Redis is away'));
    world.clock.advance(0.5);
    expect(await waiting.answer).toMatchObject({ state: 'expired', delivery: null });
  });

  test("goes on waiting when it was another's", async () => {
    const other = await world.openSession();
    const waiting = await wait();
    await world.broker.revokeSession({ credential: OPERATOR, sessionId: other.session.id, reason: '' }, CONTEXT);
    for (let look = 2; look <= 60; look += 1) {
      world.clock.advance(0.5);
      await until(() => waiting.looks() === look);
    }
    world.clock.advance(0.5);
    expect(await waiting.answer).toMatchObject({ state: 'pending' });
  });
});

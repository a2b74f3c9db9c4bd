import { beforeEach, describe, expect, test } from 'vitest';
import { endOverdueCalls } from '../../src/broker/end-overdue-calls.ts';
import { unavailable } from '../../src/domain/errors.ts';
import type { Grant } from '../../src/domain/grant.ts';
import { TENANT } from '../support/entities.ts';
import { CONTEXT, type LeaseWorld, makeLeaseWorld, outcomeOf, PROXY_REQUEST } from './lease-world.ts';

let world: LeaseWorld;
let token: string;
beforeEach(async () => {
  world = await makeLeaseWorld();
  ({ token } = await world.openSession());
});

const pass = () => world.worker.endOverdueCalls(100, 'req_pass');
const NOTHING = { proxy: 0, lease: 0, revocation: 0 };

async function onlyGrant(): Promise<Grant> {
  const [grant] = (await world.stored.listGrants(TENANT, {}, { limit: 10, after: null })).rows;
  if (grant === undefined) throw new Error('there is no grant');
  return grant;
}

/** Kills the process with a call on record and no outcome. Answers how long its deadline and the grace after it are. */
const dying: Record<keyof typeof NOTHING, () => Promise<number>> = {
  async lease() {
    world.effects.killAt(3);
    expect(await outcomeOf(world.request(token))).toBe('killed');
    return 90;
  },
  async proxy() {
    const { delivery } = await world.request(token, PROXY_REQUEST);
    if (delivery?.kind !== 'proxy_handle') throw new Error('there is no handle');
    const call = { proxyHandle: delivery.handle, operation: 'repository_metadata', params: {} };
    world.effects.killAt(2);
    expect(await outcomeOf(world.broker.executeGitHubProxy(call, CONTEXT))).toBe('killed');
    return 45;
  },
  async revocation() {
    const { grantId } = await world.request(token);
    await world.broker.revokeGrant({ credential: token, grantId, reason: '' }, CONTEXT);
    world.effects.killAt(3);
    expect(await outcomeOf(world.revoke())).toBe('killed');
    return 90;
  },
};

const UNKNOWN = { lease: 'lease.unknown', proxy: 'proxy.unknown', revocation: 'lease.revocation_unknown' } as const;

describe.each(['lease', 'proxy', 'revocation'] as const)('a call whose maker died: %s', (kind) => {
  test('is closed when its deadline and a while have passed, and its outcome is unknown', async () => {
    const startedAt = world.clock.now();
    const seconds = await dying[kind]();
    world.effects.revive();
    world.clock.advance(seconds);
    expect(await pass()).toEqual(NOTHING);
    world.clock.advance(0.001);
    expect(await pass()).toEqual({ ...NOTHING, [kind]: 1 });
    expect(await world.openCalls()).toEqual([]);
    const [event] = world.audit.events.filter(({ type }) => type === UNKNOWN[kind]);
    expect(event).toMatchObject({
      // That of the request, or the pass, that made it.
      requestId: kind === 'revocation' ? 'req_pass' : 'req_1',
      subject: { tenantId: TENANT, grantId: (await onlyGrant()).id },
      details: { started_at: startedAt.toISOString(), found_by: 'req_pass' },
    });
    expect(await pass()).toEqual(NOTHING);
  });

  test('is closed once, by whoever comes first', async () => {
    world.clock.advance(await dying[kind]());
    world.effects.revive();
    world.clock.advance(1);
    const passes = Array.from({ length: 5 }, () => endOverdueCalls(world.workerDeps)(100, 'req_pass'));
    const counts = (await Promise.all(passes)).map((report) => report[kind]);
    expect(counts.reduce((sum, count) => sum + count)).toBe(1);
    expect(world.audit.types().filter((type) => type === UNKNOWN[kind])).toHaveLength(1);
  });
});

describe('a lease of which nobody knows', () => {
  beforeEach(async () => {
    await dying.lease();
    world.effects.revive();
  });

  test('is due, and its grant comes to nothing', async () => {
    world.clock.advance(90.1);
    await pass();
    expect(await onlyGrant()).toMatchObject({ state: 'expired', endReason: 'could not be issued' });
    const revocation = await world.revocation(await onlyGrant());
    expect(revocation).toMatchObject({ state: 'due', leaseId: null, attempts: 0, nextAttemptAt: world.clock.now() });
    expect(world.audit.types().slice(-2)).toEqual(['lease.unknown', 'grant.expired']);
    expect(world.ledger.alive()).toHaveLength(1);
    await world.revoke();
    expect(world.ledger.alive()).toEqual([]);
  });

  test('is due when its grant was revoked before anybody looked', async () => {
    const { id: grantId } = await onlyGrant();
    await world.broker.revokeGrant({ credential: token, grantId, reason: 'enough' }, CONTEXT);
    expect(await world.revocation(await onlyGrant())).toMatchObject({ state: 'requested' });
    world.clock.advance(90.1);
    await pass();
    expect(await onlyGrant()).toMatchObject({ state: 'revoked', endReason: 'enough' });
    expect(await world.revocation(await onlyGrant())).toMatchObject({ state: 'due' });
  });

  test('whose grant is revoked while the worker looks is found again by its next pass', async () => {
    const { id: grantId } = await onlyGrant();
    world.clock.advance(90.1);
    world.effects.commits = 0;
    world.effects.beforeCommit = async (number) => {
      if (number === 1) await world.broker.revokeGrant({ credential: token, grantId, reason: '' }, CONTEXT);
    };
    expect(await pass()).toEqual(NOTHING);
    world.effects.beforeCommit = null;
    expect(await pass()).toEqual({ ...NOTHING, lease: 1 });
    expect(await world.revocation(await onlyGrant())).toMatchObject({ state: 'due' });
  });
});

test('a maker that was only slow finds its call closed, and what it made is revoked', async () => {
  const { promise: slow, resolve: goOn } = Promise.withResolvers<undefined>();
  const { deliveries } = world.deps;
  const wrap: typeof deliveries.secret.wrap = async (...args) => {
    await slow;
    return deliveries.secret.wrap(...args);
  };
  world.deps.deliveries = { ...deliveries, secret: { ...deliveries.secret, wrap } };
  const asked = outcomeOf(world.request(token));
  while (world.ledger.issued().length === 0) await new Promise(setImmediate);
  world.clock.advance(90.1);
  await pass();
  goOn(undefined);
  expect(await asked).toBe('conflict');
  await world.workOff();
  expect(world.ledger.alive()).toEqual([]);
  expect(world.audit.types()).not.toContain('grant.issued');
});

test('one that cannot be closed does not keep the others open, and is reported', async () => {
  for (let count = 0; count < 20; count += 1) {
    world.effects.killAt(2);
    await outcomeOf(world.request(token));
    world.effects.revive();
  }
  world.clock.advance(90.1);
  const failure = unavailable('a lock was not to be had');
  world.effects.commits = 0;
  world.effects.beforeCommit = (number) => {
    if (number === 5) throw failure;
  };
  await expect(pass()).rejects.toBe(failure);
  expect(await world.openCalls()).toHaveLength(1);
  world.effects.beforeCommit = null;
  expect(await pass()).toEqual({ ...NOTHING, lease: 1 });
});

test('a pass takes as many as it may', async () => {
  for (let count = 0; count < 5; count += 1) {
    world.effects.killAt(2);
    await outcomeOf(world.request(token));
    world.effects.revive();
  }
  world.clock.advance(90.1);
  expect(await world.worker.endOverdueCalls(3, 'req_pass')).toEqual({ ...NOTHING, lease: 3 });
  expect(await world.worker.endOverdueCalls(3, 'req_pass')).toEqual({ ...NOTHING, lease: 2 });
});

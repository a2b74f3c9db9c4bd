import { beforeEach, describe, expect, test } from 'vitest';
import { revokeDue } from '../../src/broker/revoke-due.ts';
import { makeStaticResolver } from '../../src/connectors/resolver.ts';
import type { LeaseConnector } from '../../src/domain/connector.ts';
import { rateLimited, unavailable, upstreamError } from '../../src/domain/errors.ts';
import type { Revocation } from '../../src/domain/revocation.ts';
import { TENANT } from '../support/entities.ts';
import { CONTEXT, GRANT_SECONDS, type LeaseWorld, makeLeaseWorld, OPERATOR, until } from './lease-world.ts';

let world: LeaseWorld;
beforeEach(async () => {
  world = await makeLeaseWorld();
});

const NOTHING = { revoked: 0, expired: 0, retried: 0 };

/** Has so many leases issued, of one session each, and ends their grants. */
async function dueLeases(count: number, ttlSeconds = GRANT_SECONDS): Promise<void> {
  const { token, session } = await world.openSession();
  for (let number = 0; number < count; number += 1) await world.request(token, { ttlSeconds });
  await world.broker.revokeSession({ credential: token, sessionId: session.id, reason: 'done' }, CONTEXT);
  world.effects.log.length = 0;
}

const revocations = async (): Promise<readonly Revocation[]> =>
  (await world.stored.listRevocations(TENANT, {}, { limit: 1000, after: null })).rows;

async function onlyRevocation(): Promise<Revocation> {
  const [revocation] = await revocations();
  if (revocation === undefined) throw new Error('there is no revocation');
  return revocation;
}

const seconds = (count: number) => new Date(world.clock.now().getTime() + count * 1000);
const eventsOf = (type: string) => world.audit.events.filter((event) => event.type === type);

describe('a lease that is due', () => {
  test('is revoked when the intent is on record', async () => {
    await dueLeases(1);
    expect(await world.revoke()).toEqual({ revoked: 1, expired: 0, retried: 0 });
    expect(world.effects.log).toEqual(['commit lease.revocation_requested', 'revoke', 'commit lease.revoked']);
    expect(world.ledger.alive()).toEqual([]);
    expect(await onlyRevocation()).toMatchObject({ state: 'done', outcome: 'revoked', attempts: 1 });
    const { id, grantId } = await onlyRevocation();
    for (const type of ['lease.revocation_requested', 'lease.revoked']) {
      const details = { revocation_id: id, connector: 'test_leases', resource_ref: 'dbrole:reporting', attempt: 1 };
      expect(eventsOf(type)).toMatchObject([{ requestId: 'req_pass', subject: { tenantId: TENANT, grantId }, details }]);
    }
    expect(await world.revoke()).toEqual(NOTHING);
  });

  test('is told by its own id, our id and its resource', async () => {
    await dueLeases(1);
    const [lease] = world.ledger.issued();
    const heard: unknown[] = [];
    world.leases.revoke = ({ signal: _signal, ...request }) => Promise.resolve(void heard.push(request));
    await world.revoke();
    const resource = { kind: 'db_role', name: 'reporting', ref: 'dbrole:reporting' };
    expect(heard).toEqual([{ revocationId: lease?.revocationId, leaseId: lease?.leaseId, resource }]);
  });

  test('is revoked once, of 200 leases and four workers at once', async () => {
    await dueLeases(200);
    const workers = await Promise.all(
      Array.from({ length: 4 }, () => revokeDue(world.workerDeps)(100, 'req_pass', new AbortController().signal)),
    );
    await world.workOff();
    expect(workers.reduce((sum, { revoked }) => sum + revoked, 0)).toBe(200);
    expect(world.ledger.asked.revoke).toBe(200);
    expect(eventsOf('lease.revoked')).toHaveLength(200);
  });
});

describe('what fails is tried again', () => {
  test.each([
    { name: 'without chance', random: 0, delays: [1, 2, 4, 8, 16, 32, 64, 128, 150, 150] },
    { name: 'with all of it', random: 1 - Number.EPSILON, delays: [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] },
  ])('after twice as long each time, up to five minutes: $name', async ({ random, delays }) => {
    await dueLeases(1, 3000);
    world.random.next = random;
    world.ledger.failAlways('revoke', 'fail_before');
    for (const [index, delay] of delays.entries()) {
      expect(await world.revoke()).toEqual({ revoked: 0, expired: 0, retried: 1 });
      const lastError = 'the test database failed';
      expect(await onlyRevocation()).toMatchObject({
        state: 'due',
        attempts: index + 1,
        lastError,
        nextAttemptAt: seconds(delay),
      });
      world.clock.advance(delay - 0.1);
      expect(await world.revoke()).toEqual(NOTHING);
      world.clock.advance(0.1);
    }
    world.ledger.failAlways('revoke', null);
    expect(await world.revoke()).toEqual({ revoked: 1, expired: 0, retried: 0 });
    const failed = eventsOf('lease.revocation_failed');
    expect(failed).toHaveLength(delays.length);
    expect(failed[1]).toMatchObject({
      code: 'upstream_error',
      details: { attempt: 2, why: 'the test database failed' },
    });
  });

  test('until the lease has run out by itself, and not once more', async () => {
    await dueLeases(1, 30);
    world.random.next = 0;
    world.ledger.failAlways('revoke', 'fail_before');
    const [retriedAt, expiredAt]: [number[], number[]] = [[], []];
    for (let second = 0; second < 60; second += 1) {
      const { retried, expired } = await world.revoke();
      if (retried > 0) retriedAt.push(second);
      if (expired > 0) expiredAt.push(second);
      world.clock.advance(1);
    }
    expect(retriedAt).toEqual([0, 1, 3, 7, 15]);
    // The next try would have been at 31 seconds.
    expect(expiredAt).toEqual([30]);
    expect(await onlyRevocation()).toMatchObject({ state: 'done', outcome: 'expired', attempts: 6 });
    expect(eventsOf('lease.expired')).toHaveLength(1);
    expect(world.ledger.asked.revoke).toBe(5);
  });

  test.each([
    { name: 'a failure', fault: 'fail_before', code: 'upstream_error' },
    { name: 'a failure after it was revoked', fault: 'fail_after', code: 'upstream_error' },
    { name: 'a refusal', fault: 'refuse', code: 'forbidden' },
    { name: 'an answer that was lost', fault: 'lose_answer', code: 'unavailable' },
    { name: 'no answer', fault: 'hang_before', code: 'deadline_exceeded' },
    { name: 'no answer after it was revoked', fault: 'hang_after', code: 'deadline_exceeded' },
  ] as const)('$name', async ({ fault, code }) => {
    await dueLeases(1);
    world.ledger.failNext('revoke', fault);
    const pass = world.revoke();
    await until(() => world.ledger.asked.revoke === 1);
    if (code === 'deadline_exceeded') world.clock.advance(15);
    expect(await pass).toEqual({ revoked: 0, expired: 0, retried: 1 });
    expect(eventsOf('lease.revocation_failed')).toMatchObject([{ code }]);
    expect(await world.openCalls()).toEqual([]);
    world.clock.advance(2);
    expect(await world.revoke()).toEqual({ revoked: 1, expired: 0, retried: 0 });
    expect(world.ledger.alive()).toEqual([]);
  });

  test('a defect is reported, and put on record without its words', async () => {
    await dueLeases(1);
    const defect = new TypeError('CANARY of a driver');
    const { revoke } = world.leases;
    world.leases.revoke = () => Promise.reject(defect);
    await expect(world.revoke()).rejects.toBe(defect);
    expect(await onlyRevocation()).toMatchObject({ state: 'due', lastError: 'could not be revoked' });
    expect(eventsOf('lease.revocation_failed')).toMatchObject([{ code: 'internal' }]);
    expect(JSON.stringify(world.audit.events)).not.toContain('CANARY');
    world.leases.revoke = revoke;
    world.clock.advance(2);
    expect(await world.revoke()).toMatchObject({ revoked: 1 });
  });

  test('a connector that is not configured any more is waited for', async () => {
    await dueLeases(1);
    const { current } = world.connectors;
    world.connectors.current = makeStaticResolver([]);
    expect(await world.revoke()).toEqual({ revoked: 0, expired: 0, retried: 1 });
    expect(await onlyRevocation()).toMatchObject({ state: 'due', lastError: 'its connector is not configured any more' });
    // Nobody was asked.
    expect(eventsOf('lease.revocation_requested')).toEqual([]);
    world.connectors.current = current;
    world.clock.advance(2);
    expect(await world.revoke()).toMatchObject({ revoked: 1 });
  });

  test.each([
    { asked: 90, delay: 90 },
    { asked: 86_400, delay: 120 },
    { asked: 0, delay: 1 },
  ])('a connector that asks for $asked seconds of patience gets $delay', async ({ asked, delay }) => {
    await dueLeases(1);
    world.leases.revoke = () => Promise.reject(rateLimited('later', { retryAfterSeconds: asked }));
    await world.revoke();
    expect(await onlyRevocation()).toMatchObject({ nextAttemptAt: seconds(delay) });
  });
});

describe('a connector that is down', () => {
  test('is not asked for each lease in turn', async () => {
    await dueLeases(100);
    world.leases.revoke = () => Promise.reject(unavailable('the test database could not be reached'));
    expect(await world.revoke()).toEqual({ revoked: 0, expired: 0, retried: 100 });
    // As many as are asked for at a time.
    expect(eventsOf('lease.revocation_failed')).toHaveLength(8);
    for (const revocation of await revocations()) {
      expect(revocation).toMatchObject({ attempts: 1, lastError: 'the test database could not be reached' });
    }
  });

  test('of which one lease fails is asked for the others', async () => {
    await dueLeases(20);
    const { revoke } = world.leases;
    const [bad] = world.ledger.issued();
    world.leases.revoke = (request) =>
      request.leaseId === bad?.leaseId ? Promise.reject(upstreamError('no such user')) : revoke(request);
    expect(await world.revoke()).toEqual({ revoked: 19, expired: 0, retried: 1 });
    expect(world.ledger.alive()).toEqual([bad]);
  });

  test('and hangs holds up nobody else', async () => {
    const other: LeaseConnector = {
      ...world.leases,
      name: 'other',
      resourceKind: 'browser_origin',
      checkResource: () => undefined,
    };
    await dueLeases(10);
    const heard: AbortSignal[] = [];
    const hanging: LeaseConnector = {
      ...world.leases,
      revoke({ signal }) {
        heard.push(signal);
        return new Promise(() => undefined);
      },
    };
    world.connectors.current = makeStaticResolver([hanging, other]);
    const neverStops = new AbortController().signal;
    const pass = world.worker.revokeDue(9, 'req_pass', neverStops);
    await until(() => heard.length === 8);

    world.deps.connectors = makeStaticResolver([other]);
    const { token, session } = await world.openSession();
    await world.request(token, { resourceRef: 'browser_origin:https://shop.example' });
    const resource = 'browser_origin:https://shop.example';
    await world.broker.revokeSession({ credential: token, sessionId: session.id, reason: '' }, CONTEXT);
    expect(await world.revoke(), 'a pass that begins meanwhile').toEqual({ revoked: 1, expired: 0, retried: 0 });
    const done = (await revocations()).filter(({ state }) => state === 'done');
    expect(done.map(({ resourceRef }) => resourceRef)).toEqual([resource]);
    // It pays no heed to its deadline either.
    world.clock.advance(16);
    expect(await pass).toEqual({ revoked: 0, expired: 0, retried: 9 });
    const waiting = (await revocations()).filter((revocation) => revocation.state === 'due');
    expect(waiting.map(({ attempts }) => attempts).sort(), 'one was left alone').toEqual([0, ...Array<number>(9).fill(1)]);
  });
});

describe('a pass', () => {
  test('takes as many as it may, oldest first', async () => {
    await dueLeases(5);
    world.clock.advance(1);
    await dueLeases(5);
    expect(await world.worker.revokeDue(5, 'req_pass', new AbortController().signal)).toMatchObject({ revoked: 5 });
    expect(world.ledger.issued().map(({ isRevoked }) => isRevoked)).toEqual([
      ...Array(5).fill(true),
      ...Array(5).fill(false),
    ]);
  });

  test('that is told to stop begins nothing new and leaves nothing claimed', async () => {
    await dueLeases(20);
    const stopping = new AbortController();
    const { revoke } = world.leases;
    world.leases.revoke = async (request) => {
      stopping.abort();
      await revoke(request);
    };
    const report = await world.worker.revokeDue(100, 'req_pass', stopping.signal);
    // Those that were under way.
    expect(report.revoked).toBe(8);
    expect(world.ledger.asked.revoke).toBe(8);
    expect(await world.revoke(), 'by the next worker, at once').toMatchObject({ revoked: 12 });
  });

  test('begins nothing that would outlast its claim', async () => {
    await dueLeases(9);
    const { promise: hung, resolve: goOn } = Promise.withResolvers<undefined>();
    const { revoke } = world.leases;
    let underWay = 0;
    world.leases.revoke = async (request) => {
      underWay += 1;
      await hung;
      await revoke(request);
    };
    const pass = world.revoke();
    await until(() => underWay === 8);
    // The process stood still: the clock has gone on, and no timer has fired.
    world.clock.schedule = () => () => undefined;
    const later = seconds(40);
    world.clock.now = () => later;
    goOn(undefined);
    expect(await pass).toEqual({ revoked: 8, expired: 0, retried: 0 });
    expect(world.ledger.asked.revoke).toBe(8);
    expect(await world.revoke()).toMatchObject({ revoked: 1 });
  });

  test('whose process dies in mid-call delays the next try by its claim', async () => {
    await dueLeases(1);
    world.effects.killAt(4);
    await expect(world.revoke()).rejects.toThrow();
    expect(world.effects.log).toEqual(['commit lease.revocation_requested', 'revoke']);
    world.effects.revive();
    world.clock.advance(59.9);
    expect(await world.revoke()).toEqual(NOTHING);
    world.clock.advance(0.1);
    expect(await world.revoke()).toMatchObject({ revoked: 1 });
    world.clock.advance(30.1);
    expect(await world.worker.endOverdueCalls(100, 'req_pass')).toEqual({ proxy: 0, lease: 0, revocation: 1 });
    expect(eventsOf('lease.revocation_unknown')).toHaveLength(1);
  });

  test('that cannot put an outcome on record says so, and the lease is tried again', async () => {
    await dueLeases(2);
    const failure = unavailable('the store is away');
    world.effects.commits = 0;
    world.effects.beforeCommit = (number) => {
      if (number === 3) throw failure;
    };
    await expect(world.revoke()).rejects.toBe(failure);
    world.effects.beforeCommit = null;
    expect(world.ledger.alive()).toEqual([]);
    expect((await revocations()).map(({ state }) => state).sort()).toEqual(['done', 'due']);
    world.clock.advance(91);
    await world.workOff();
    expect((await revocations()).map(({ state }) => state)).toEqual(['done', 'done']);
    expect(await world.openCalls()).toEqual([]);
  });

  test('that finds another one claiming leaves the connector to it', async () => {
    await dueLeases(10);
    const pass = () => world.worker.revokeDue(5, 'req_pass', new AbortController().signal);
    expect(await Promise.all([pass(), pass()])).toEqual([{ revoked: 5, expired: 0, retried: 0 }, NOTHING]);
  });

  test('that stood still until its claim was over leaves the lease to whoever took it then', async () => {
    await dueLeases(1);
    const other = revokeDue({ ...world.workerDeps, repository: world.stored });
    world.effects.commits = 0;
    world.effects.beforeCommit = async (number) => {
      if (number > 1) return;
      world.clock.advance(60);
      expect(await other(100, 'req_other', new AbortController().signal)).toMatchObject({ revoked: 1 });
    };
    expect(await world.revoke()).toEqual(NOTHING);
    expect(world.ledger.asked.revoke).toBe(1);
    expect(await onlyRevocation()).toMatchObject({ outcome: 'revoked', attempts: 2 });
  });

  test('whose lease was revoked by another meanwhile puts its own outcome on record too', async () => {
    await dueLeases(1);
    const other = revokeDue({ ...world.workerDeps, repository: world.stored });
    const { revoke } = world.leases;
    world.leases.revoke = async (request) => {
      world.leases.revoke = revoke;
      world.clock.advance(60);
      await other(100, 'req_other', new AbortController().signal);
      return revoke(request);
    };
    await world.revoke();
    const outcome = ({ type, requestId }: { type: string; requestId: string }) => [type, requestId];
    const [first, second, ...outcomes] = world.audit.events.slice(-4).map(outcome);
    expect([first, second]).toEqual([
      ['lease.revocation_requested', 'req_pass'],
      ['lease.revocation_requested', 'req_other'],
    ]);
    expect(outcomes).toHaveLength(2);
    expect(outcomes).toContainEqual(['lease.revoked', 'req_other']);
    expect(outcomes).toContainEqual(['lease.revocation_failed', 'req_pass']);
    expect(await onlyRevocation()).toMatchObject({ state: 'done', outcome: 'revoked' });
    expect(await world.openCalls()).toEqual([]);
  });
});

test('what an operator revokes is told as still alive downstream until it is dead there', async () => {
  const { token, session } = await world.openSession();
  const { grantId } = await world.request(token);
  const { tenantId, runId } = session;
  const revoke = () => world.broker.revokeRun({ credential: OPERATOR, tenantId, runId, reason: 'stop' }, CONTEXT);
  expect(await revoke()).toEqual({ sessions: 1, grants: 1, stillRevoking: [grantId] });
  expect(await revoke()).toEqual({ sessions: 0, grants: 0, stillRevoking: [grantId] });
  await world.revoke();
  expect(await revoke()).toEqual({ sessions: 0, grants: 0, stillRevoking: [] });
});

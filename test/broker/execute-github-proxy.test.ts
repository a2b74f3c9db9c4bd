import { beforeEach, describe, expect, test } from 'vitest';
import { unavailable, upstreamError } from '../../src/domain/errors.ts';
import type { HandleHash } from '../../src/domain/ids.ts';
import { MemoryRuntimeStore } from '../../src/store/memory/memory-runtime-store.ts';
import { TENANT } from '../support/entities.ts';
import { CONTEXT, type LeaseWorld, makeLeaseWorld, OPERATOR, outcomeOf, PROXY_REQUEST, until } from './lease-world.ts';

let world: LeaseWorld;
let token: string;
let proxyHandle: string;
let handleHash: HandleHash;
beforeEach(async () => {
  world = await makeLeaseWorld();
  ({ token } = await world.openSession());
  const { delivery } = await world.request(token, PROXY_REQUEST);
  if (delivery?.kind !== 'proxy_handle') throw new Error('there is no handle');
  proxyHandle = delivery.handle;
  handleHash = world.ids.hashHandle(proxyHandle);
  world.effects.log.length = 0;
  answerBytes(100);
});

/** Makes GitHub answer with so many bytes. */
function answerBytes(count: number): void {
  world.github.send = async (options) => {
    await options.spendBytes(count);
    return { payload: Buffer.alloc(count), contentType: 'application/json', nextPage: null };
  };
}

const call = () => world.broker.executeGitHubProxy({ proxyHandle, operation: 'repository_metadata', params: {} }, CONTEXT);
const usage = () => world.stored.findHandleUsage(handleHash);
const lastEvent = () => world.audit.events.at(-1);
const grantId = async () => (await world.stored.listGrants(TENANT, {}, { limit: 1, after: null })).rows[0]!.id;

/** As a Redis that lost its data and does not know the handle any more. */
const loseRuntime = () => void (world.deps.runtime = new MemoryRuntimeStore());

describe('a proxied call', () => {
  test('is made when its intent is on record, and answered when its outcome is', async () => {
    expect(await call()).toMatchObject({ contentType: 'application/json' });
    expect(world.effects.log).toEqual(['commit proxy.requested', 'send', 'commit proxy.completed']);
    expect(await usage()).toEqual({ requests: 1, bytes: 100, slots: [] });
  });

  test('is on record as open meanwhile, under the id of its slot, until its time is up', async () => {
    const seen: unknown[] = [];
    const { send } = world.github;
    const startedAt = world.clock.now();
    world.github.send = async (options) => {
      seen.push(await usage(), ...(await world.openCalls()));
      return send(options);
    };
    const acquireSlot = world.runtime.acquireSlot.bind(world.runtime);
    const slots: string[] = [];
    world.runtime.acquireSlot = (request) => {
      slots.push(request.slotId);
      return acquireSlot(request);
    };
    await call();
    const [slotId] = slots;
    const deadline = new Date(startedAt.getTime() + 15_000);
    expect(seen).toMatchObject([
      { requests: 1, bytes: 0, slots: [{ slotId, lapsesAt: deadline }] },
      { id: slotId, kind: 'proxy', requestId: 'req_1', startedAt, deadline, subject: { grantId: await grantId() } },
    ]);
  });

  test('that fails has used its request, and what it brought back', async () => {
    world.github.send = async (options) => {
      await options.spendBytes(300);
      throw upstreamError('GitHub broke off');
    };
    expect(await outcomeOf(call())).toBe('upstream_error');
    expect(lastEvent()).toMatchObject({ type: 'proxy.failed', code: 'upstream_error' });
    expect(await usage()).toEqual({ requests: 1, bytes: 300, slots: [] });
  });

  test('that brings back more than is left is cut off, and all of it counts', async () => {
    answerBytes(1001);
    await expect(call()).rejects.toThrow("the handle's 1000 bytes are used up; request a new grant");
    expect(lastEvent()).toMatchObject({ type: 'proxy.failed', code: 'resource_budget_exceeded' });
    expect(await usage()).toEqual({ requests: 1, bytes: 1001, slots: [] });
  });

  test('whose grant is revoked meanwhile gets no answer', async () => {
    const { send } = world.github;
    world.github.send = async (options) => {
      await world.broker.revokeGrant({ credential: OPERATOR, grantId: await grantId(), reason: '' }, CONTEXT);
      return send(options);
    };
    expect(await outcomeOf(call())).toBe('unauthorized');
    expect(lastEvent()).toMatchObject({ type: 'proxy.failed', code: 'unauthorized' });
    expect(await usage()).toEqual({ requests: 1, bytes: 100, slots: [] });
    expect(await world.openCalls()).toEqual([]);
  });

  test('whose grant only ran out meanwhile is answered', async () => {
    const { send } = world.github;
    world.github.send = async (options) => {
      world.clock.schedule = () => () => undefined;
      world.clock.advance(600);
      await world.worker.expireDue(100, 'req_pass');
      return send(options);
    };
    expect(await outcomeOf(call())).toMatchObject({ contentType: 'application/json' });
  });

  test('that the worker took for dead is not answered, and has one outcome', async () => {
    const { send } = world.github;
    world.github.send = async (options) => {
      world.clock.schedule = () => () => undefined;
      world.clock.advance(45.1);
      await world.worker.endOverdueCalls(100, 'req_pass');
      return send(options);
    };
    expect(await outcomeOf(call())).toBe('unauthorized');
    const outcomes = world.audit.types().filter((type) => /^proxy\.(completed|failed|unknown)$/.test(type));
    expect(outcomes).toEqual(['proxy.unknown']);
  });

  test('whose outcome cannot be put on record is not answered', async () => {
    world.effects.commits = 0;
    world.effects.beforeCommit = (number) => {
      if (number >= 2) throw unavailable('the store is away');
    };
    expect(await outcomeOf(call())).toBe('unavailable');
    expect(await world.openCalls()).toHaveLength(1);
  });

  test('whose intent cannot be put on record is not made', async () => {
    world.effects.beforeCommit = () => {
      throw unavailable('the store is away');
    };
    expect(await outcomeOf(call())).toBe('unavailable');
    expect(world.effects.log).toEqual([]);
    expect(await world.runtime.slotsHeld(handleHash, world.clock.now())).toBe(0);
  });
});

describe('the budget holds when the runtime store has lost its data', () => {
  test('requests', async () => {
    for (let count = 0; count < 5; count += 1) await call();
    loseRuntime();
    await expect(call()).rejects.toThrow("the handle's 5 requests are used up; request a new grant");
    expect(lastEvent()).toMatchObject({ type: 'proxy.refused', code: 'resource_budget_exceeded' });
    expect(await usage()).toMatchObject({ requests: 5 });
    expect(world.effects.log.filter((line) => line === 'send')).toHaveLength(5);
  });

  test('concurrency', async () => {
    const { promise: hung, resolve: goOn } = Promise.withResolvers<undefined>();
    const { send } = world.github;
    world.github.send = async (options) => {
      await hung;
      return send(options);
    };
    const underWay = [call(), call()];
    await until(() => world.effects.log.filter((line) => line === 'send').length === 2);
    loseRuntime();
    await expect(call()).rejects.toMatchObject({
      message: 'the handle already has 2 calls under way; wait for one to end',
      retryAfterSeconds: 1,
    });
    goOn(undefined);
    for (const answer of await Promise.all(underWay)) expect(answer.payload).toHaveLength(100);
    expect(await usage()).toMatchObject({ requests: 2, slots: [] });
  });

  test('bytes', async () => {
    answerBytes(600);
    await call();
    loseRuntime();
    await expect(call()).rejects.toThrow("the handle's 1000 bytes are used up; request a new grant");
    expect(lastEvent()).toMatchObject({ type: 'proxy.failed', code: 'resource_budget_exceeded' });
    expect(await usage()).toMatchObject({ requests: 2, bytes: 1200 });
  });

  test('the message is the one that the runtime store gives', async () => {
    for (let count = 0; count < 5; count += 1) await call();
    const said = await call().catch((error: unknown) => error);
    loseRuntime();
    const saidThen = await call().catch((error: unknown) => error);
    expect(saidThen).toMatchObject({ message: (said as Error).message, code: 'resource_budget_exceeded' });
  });

  test('of 100 calls at once no more than fit are made', async () => {
    const answers = await Promise.all(Array.from({ length: 100 }, () => outcomeOf(call())));
    expect(answers.filter((answer) => typeof answer !== 'string').length).toBeLessThanOrEqual(5);
    expect((await usage())?.requests).toBeLessThanOrEqual(5);
  });
});

describe('a runtime store that goes away', () => {
  test('before the call refuses it', async () => {
    world.runtime.acquireSlot = () => Promise.reject(unavailable('Redis is away'));
    expect(await outcomeOf(call())).toBe('unavailable');
    expect(world.effects.log).toEqual([]);
  });

  test('after the call does not keep its answer back', async () => {
    world.runtime.releaseSlot = () => Promise.reject(unavailable('Redis is away'));
    expect(await call()).toMatchObject({ contentType: 'application/json' });
    expect(await world.openCalls()).toEqual([]);
  });

  test('after a call that failed does not hide why', async () => {
    world.runtime.releaseSlot = () => Promise.reject(unavailable('Redis is away'));
    world.github.send = () => Promise.reject(upstreamError('GitHub broke off'));
    expect(await outcomeOf(call())).toBe('upstream_error');
  });
});

describe('a credential in what came back', () => {
  test('is on record by how often it stood there, and nowhere when it did not', async () => {
    await call();
    expect(lastEvent()?.details).not.toHaveProperty('redactions');
    world.github.send = () =>
      Promise.resolve({ payload: Buffer.alloc(9), contentType: 'application/json', nextPage: null, redactions: 3 });
    await call();
    expect(lastEvent()).toMatchObject({ type: 'proxy.completed', details: { bytes: 9, redactions: 3 } });
  });
});

test('the connector hears which capability the grant is for', async () => {
  const asked: unknown[] = [];
  const prepare = world.gitHub.prepare.bind(world.gitHub);
  world.gitHub.prepare = (request) => {
    asked.push(request);
    return prepare(request);
  };
  await call();
  expect(asked).toEqual([expect.objectContaining({ capability: 'repo.read', operation: 'repository_metadata' })]);
});

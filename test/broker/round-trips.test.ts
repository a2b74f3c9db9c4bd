import { beforeEach, describe, expect, test } from 'vitest';
import type { Repository } from '../../src/domain/repository.ts';
import { CONTEXT, type LeaseWorld, makeLeaseWorld, outcomeOf, PROXY_REQUEST } from './lease-world.ts';

// With a database behind it, each wait on the repository is a round trip; what is asked for at once is one.

let world: LeaseWorld;
let token: string;
beforeEach(async () => {
  world = await makeLeaseWorld();
  ({ token } = await world.openSession());
});

/** Lets a use case go on, one answer of the repository after the other, and tells what it asked for each time. */
async function waitsOf(call: () => Promise<unknown>): Promise<string[][]> {
  const waiting: { name: string; answer: () => void }[] = [];
  const { repository } = world.deps;
  world.deps.repository = new Proxy(repository, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return async (...args: unknown[]): Promise<unknown> => {
        await new Promise<void>((answer) => waiting.push({ name: String(name), answer }));
        return Reflect.apply(member, target, args);
      };
    },
  });
  const waits: string[][] = [];
  const done = new AbortController();
  const over = call().finally(() => done.abort());
  while (!done.signal.aborted) {
    // Everything that does not wait for the repository is done in a few turns.
    for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
    const asked = waiting.splice(0);
    if (asked.length > 0) waits.push(asked.map(({ name }) => name));
    for (const { answer } of asked) answer();
  }
  await over;
  world.deps.repository = repository;
  return waits;
}

const request = (changes: Partial<typeof PROXY_REQUEST>) => () =>
  world.broker.requestGrant({ ...PROXY_REQUEST, sessionToken: token, ...changes }, CONTEXT);

describe('a grant takes two waits, the commit included', () => {
  test('without a request id', async () => {
    expect(await waitsOf(request({}))).toEqual([['findSession'], ['transact']]);
  });

  test('with one', async () => {
    const waits = await waitsOf(request({ requestId: 'one' }));
    expect(waits).toEqual([['findSession', 'findGrantByRequestId'], ['transact']]);
  });

  test('and one more for the outcome of a lease', async () => {
    const waits = await waitsOf(() => world.request(token, { requestId: 'one' }));
    expect(waits).toEqual([['findSession', 'findGrantByRequestId'], ['transact'], ['transact']]);
  });
});

test('a retry finds its grant at once, and its delivery', async () => {
  await request({ requestId: 'one' })();
  expect(await waitsOf(request({ requestId: 'one' }))).toEqual([
    ['findSession', 'findGrantByRequestId'],
    ['findArtifact'],
    ['transact'],
  ]);
});

test('a proxied call takes three: its handle, its intent, its outcome', async () => {
  const { delivery } = await request({})();
  if (delivery?.kind !== 'proxy_handle') throw new Error('there is no handle');
  world.github.send = () => Promise.resolve({ payload: Buffer.alloc(0), contentType: 'text/plain', nextPage: null });
  const call = { proxyHandle: delivery.handle, operation: 'repository_metadata', params: {} };
  const waits = await waitsOf(() => world.broker.executeGitHubProxy(call, CONTEXT));
  expect(waits).toEqual([['findByHandle'], ['transact'], ['transact']]);
});

test('an unwrap takes three', async () => {
  const { delivery } = await world.request(token);
  const waits = await waitsOf(() => world.unwrap(token, delivery!.artifactId));
  expect(waits).toEqual([['findSession', 'findArtifact'], ['findGrant'], ['transact']]);
});

describe('what is looked up beside the session', () => {
  test('is not used when the session is not the one that the token says', async () => {
    await request({ requestId: 'one' })();
    const { session } = await world.openSession();
    const forged = {
      ...session,
      sessionId: session.id,
      runId: 'run_2' as typeof session.runId,
      issuedAt: world.clock.now(),
    };
    const stranger = await world.deps.tokens.sign(forged);
    const asked = { ...PROXY_REQUEST, requestId: 'one', sessionToken: stranger };
    expect(await outcomeOf(world.broker.requestGrant(asked, CONTEXT))).toBe('unauthorized');
  });

  test('leaves no rejection behind when both fail', async () => {
    const failing = (name: keyof Repository) => ({ [name]: () => Promise.reject(new Error(`${name} failed`)) });
    const { repository } = world.deps;
    world.deps.repository = new Proxy(repository, {
      get: (target, name) =>
        ({ ...failing('findSession'), ...failing('findGrantByRequestId') })[String(name)] ??
        (Reflect.get(target, name, target) as unknown),
    });
    const unhandled: unknown[] = [];
    const note = (error: unknown) => void unhandled.push(error);
    process.on('unhandledRejection', note);
    await expect(request({ requestId: 'one' })()).rejects.toThrow('findSession failed');
    await new Promise(setImmediate);
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
  });

  test('is nothing when the request id is no id of their own', async () => {
    const waits = await waitsOf(() => outcomeOf(request({ requestId: `ph_${'a'.repeat(43)}` })()));
    expect(waits).toEqual([['findSession']]);
  });
});

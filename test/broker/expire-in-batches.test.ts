import { beforeEach, describe, expect, test } from 'vitest';
import { expireDue } from '../../src/broker/expire-due.ts';
import { unavailable } from '../../src/domain/errors.ts';
import type { GrantId } from '../../src/domain/ids.ts';
import type { Repository } from '../../src/domain/repository.ts';
import type { UnitOfWork } from '../../src/domain/unit-of-work.ts';
import { TENANT } from '../support/entities.ts';
import { GRANT_SECONDS, type LeaseWorld, makeLeaseWorld, PROXY_REQUEST } from './lease-world.ts';

let world: LeaseWorld;
/** How many grants each unit that was tried had. */
let units: number[];
beforeEach(async () => {
  world = await makeLeaseWorld();
  units = [];
});

/** Grants whose time is up, of one session. */
async function expiredGrants(count: number): Promise<GrantId[]> {
  const { token } = await world.openSession();
  const ids: GrantId[] = [];
  for (let number = 0; number < count; number += 1) ids.push((await world.request(token, PROXY_REQUEST)).grantId);
  world.clock.advance(GRANT_SECONDS);
  return ids;
}

/** A worker whose units that touch one of these grants fail. */
function workerWhere(fails: ReadonlyMap<GrantId, Error>, ping: () => Promise<void> = () => Promise.resolve()) {
  const transact: Repository['transact'] = async (stage) => {
    const touched: GrantId[] = [];
    const look = new Proxy({} as UnitOfWork, {
      get: (_target, name) => (change: { next: { id: GrantId } }) => {
        if (name === 'updateGrant') touched.push(change.next.id);
      },
    });
    stage(look);
    if (touched.length > 0) units.push(touched.length);
    const failure = touched.map((id) => fails.get(id)).find((error) => error !== undefined);
    if (failure !== undefined) throw failure;
    return world.stored.transact(stage);
  };
  const repository = new Proxy<Repository>(world.stored, {
    get(target, name) {
      if (name === 'transact') return transact;
      if (name === 'ping') return ping;
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? (member.bind(target) as unknown) : member;
    },
  });
  return expireDue({ ...world.workerDeps, repository });
}

const stateOf = async (id: GrantId) => (await world.stored.findGrant(TENANT, id))?.state;
const expiredCount = () => world.audit.types().filter((type) => type === 'grant.expired').length;

describe('grants whose time is up', () => {
  test('end fifty at a time', async () => {
    await expiredGrants(250);
    expect(await workerWhere(new Map())(1000, 'req_pass')).toMatchObject({ grants: 250 });
    expect(units).toEqual([50, 50, 50, 50, 50]);
    expect(expiredCount()).toBe(250);
  });

  test('end but for the one that cannot, which is found and reported', async () => {
    const ids = await expiredGrants(100);
    const failure = new Error('its row is broken');
    const bad = ids[37]!;
    await expect(workerWhere(new Map([[bad, failure]]))(100, 'req_pass')).rejects.toBe(failure);
    expect(expiredCount()).toBe(99);
    expect(await stateOf(bad)).toBe('issued');
    // By halving: two units for each step, where one by one would take a hundred.
    expect(units.length).toBeLessThanOrEqual(15);
  });

  test('end but for several that cannot; the first is reported', async () => {
    const ids = await expiredGrants(64);
    const bad = [ids[0]!, ids[31]!, ids[63]!];
    const failures = new Map(bad.map((id, index) => [id, new Error(`broken ${index}`)]));
    await expect(workerWhere(failures)(100, 'req_pass')).rejects.toThrow('broken 0');
    for (const id of ids) expect(await stateOf(id)).toBe(bad.includes(id) ? 'issued' : 'expired');
  });

  test('that another worker has ended by now cost it no more than a look', async () => {
    await expiredGrants(100);
    const report = await Promise.all([workerWhere(new Map())(100, 'req_1'), workerWhere(new Map())(100, 'req_2')]);
    expect(report.map(({ grants }) => grants).sort((one, other) => one - other)).toEqual([0, 100]);
    expect(expiredCount()).toBe(100);
    expect(units).toEqual([50, 50, 50, 50]);
  });

  test('of which another worker has ended some by now end all the same', async () => {
    const ids = await expiredGrants(100);
    // The same list, and then one of them is gone.
    const found = await world.stored.findExpiredGrants(world.clock.now(), 100);
    await expireDue({ ...world.workerDeps, repository: world.stored })(10, 'req_other');
    let looks = 0;
    const repository = new Proxy<Repository>(world.stored, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name, target);
        if (name === 'findExpiredGrants') {
          looks += 1;
          if (looks === 1) return () => Promise.resolve(found);
        }
        return typeof member === 'function' ? (member.bind(target) as unknown) : member;
      },
    });
    expect(await expireDue({ ...world.workerDeps, repository })(100, 'req_pass')).toMatchObject({ grants: 90 });
    for (const id of ids) expect(await stateOf(id)).toBe('expired');
    expect(expiredCount()).toBe(100);
  });

  test('are left to the next pass when the store is away, after one try of each unit', async () => {
    const ids = await expiredGrants(100);
    const away = unavailable('the store is away');
    const all = new Map(ids.map((id) => [id, away]));
    await expect(workerWhere(all, () => Promise.reject(away))(100, 'req_pass')).rejects.toBe(away);
    expect(units).toEqual([50, 50]);
  });

  test('are halved when a unit takes too long, and the store is there', async () => {
    const ids = await expiredGrants(8);
    const locked = new Map([[ids[5]!, unavailable('a lock was not to be had in time')]]);
    await expect(workerWhere(locked)(100, 'req_pass')).rejects.toMatchObject({ code: 'unavailable' });
    expect(expiredCount()).toBe(7);
  });
});

describe('leases', () => {
  test('of grants whose time is up are due', async () => {
    const { token } = await world.openSession();
    const { grantId } = await world.request(token);
    world.clock.advance(GRANT_SECONDS);
    await world.worker.expireDue(100, 'req_pass');
    expect(await world.revocation({ tenantId: TENANT, id: grantId })).toMatchObject({
      state: 'due',
      nextAttemptAt: world.clock.now(),
    });
  });

  test('of a session whose time is up are due, opened or not', async () => {
    const { token, session } = await world.openSession({ expiresAt: new Date(world.clock.now().getTime() + 60_000) });
    const { delivery } = await world.request(token);
    await world.request(token);
    await world.unwrap(token, delivery!.artifactId);
    world.clock.advance(60);
    expect(await world.worker.expireDue(100, 'req_pass')).toMatchObject({ sessions: 1 });
    const { rows } = await world.stored.listRevocations(TENANT, { state: 'due' }, { limit: 10, after: null });
    expect(rows.map(({ sessionId }) => sessionId)).toEqual([session.id, session.id]);
    await world.revoke();
    expect(world.ledger.alive()).toEqual([]);
  });
});

describe('sessions whose time is up', () => {
  const expiredSessions = async (count: number) => {
    for (let number = 0; number < count; number += 1) {
      await world.openSession({ expiresAt: new Date(world.clock.now().getTime() + 60_000) });
    }
    world.clock.advance(60);
  };

  test('end eight at a time', async () => {
    await expiredSessions(50);
    let [now, most] = [0, 0];
    const transact: Repository['transact'] = async (stage) => {
      now += 1;
      most = Math.max(most, now);
      await new Promise(setImmediate);
      await world.stored.transact(stage);
      now -= 1;
    };
    const repository = new Proxy<Repository>(world.stored, {
      get(target, name) {
        if (name === 'transact') return transact;
        const member: unknown = Reflect.get(target, name, target);
        return typeof member === 'function' ? (member.bind(target) as unknown) : member;
      },
    });
    expect(await expireDue({ ...world.workerDeps, repository })(100, 'req_pass')).toMatchObject({ sessions: 50 });
    expect(most).toBe(8);
  });

  test('end but for the one that cannot, which is reported', async () => {
    await expiredSessions(20);
    const failure = unavailable('a lock was not to be had in time');
    world.effects.commits = 0;
    world.effects.beforeCommit = (number) => {
      if (number === 7) throw failure;
    };
    await expect(world.worker.expireDue(100, 'req_pass')).rejects.toBe(failure);
    expect(world.audit.types().filter((type) => type === 'session.expired')).toHaveLength(19);
  });
});

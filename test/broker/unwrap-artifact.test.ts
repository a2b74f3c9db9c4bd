import { beforeEach, describe, expect, test } from 'vitest';
import type { UnwrapArtifactRequest } from '../../src/broker/unwrap-artifact.ts';
import { unavailable } from '../../src/domain/errors.ts';
import type { ArtifactId, GrantId, SessionId } from '../../src/domain/ids.ts';
import { anArtifactId, OTHER_TENANT, TENANT } from '../support/entities.ts';
import {
  CONTEXT,
  GRANT_SECONDS,
  type LeaseWorld,
  makeLeaseWorld,
  OPERATOR,
  outcomeOf,
  PROXY_REQUEST,
} from './lease-world.ts';

let world: LeaseWorld;
let token: string;
let sessionId: SessionId;
let grantId: GrantId;
let artifactId: ArtifactId;
beforeEach(async () => {
  world = await makeLeaseWorld();
  const opened = await world.openSession();
  token = opened.token;
  sessionId = opened.session.id;
  const answer = await world.request(token);
  grantId = answer.grantId;
  artifactId = answer.delivery!.artifactId;
});

const artifact = () => world.stored.findArtifact(TENANT, artifactId);
const grant = () => world.stored.findGrant(TENANT, grantId);

describe('a wrapped secret', () => {
  test('opens for its session, as it was issued', async () => {
    const before = world.audit.events.length;
    expect(await world.unwrap(token, artifactId)).toEqual({
      artifactId,
      origin: '',
      fields: [
        { name: 'username', selector: '', value: 'user-1' },
        { name: 'password', selector: '', value: 'CANARY-lease-password-1' },
      ],
    });
    const events = world.audit.events.slice(before);
    expect(events.map(({ type }) => type)).toEqual(['artifact.used', 'grant.used']);
    for (const { subject } of events) expect(subject).toMatchObject({ tenantId: TENANT, sessionId, grantId, artifactId });
    expect(JSON.stringify(world.audit.events)).not.toContain('CANARY');
  });

  test('is erased when it was opened, and its lease lives as long as its grant', async () => {
    await world.unwrap(token, artifactId);
    expect(await artifact()).toMatchObject({ state: 'used', endedAt: world.clock.now() });
    expect(await artifact()).not.toHaveProperty('sealed');
    expect(await grant()).toMatchObject({ state: 'used', artifactId });
    expect(await world.revocation({ tenantId: TENANT, id: grantId })).toMatchObject({ state: 'held' });
    world.clock.advance(GRANT_SECONDS);
    await world.workOff();
    expect(await grant()).toMatchObject({ state: 'expired' });
    expect(await world.revocation({ tenantId: TENANT, id: grantId })).toMatchObject({ state: 'done' });
  });

  test('of a grant that is revoked after it was opened is revoked downstream', async () => {
    await world.unwrap(token, artifactId);
    await world.broker.revokeGrant({ credential: token, grantId, reason: 'done' }, CONTEXT);
    await world.revoke();
    expect(world.ledger.alive()).toEqual([]);
  });

  test('opens once, of 200 who try at once', async () => {
    const answers = await Promise.all(Array.from({ length: 200 }, () => outcomeOf(world.unwrap(token, artifactId))));
    expect(answers.filter((answer) => typeof answer !== 'string')).toHaveLength(1);
    expect(answers.filter((answer) => answer === 'conflict')).toHaveLength(199);
    const used = world.audit.types().filter((type) => type === 'artifact.used' || type === 'grant.used');
    expect(used).toEqual(['artifact.used', 'grant.used']);
  });
});

describe('nobody else opens it', () => {
  const opens = (changes: Partial<UnwrapArtifactRequest>) =>
    world.broker.unwrapArtifact({ sessionToken: token, artifactId, keyId: '', origin: '', tabId: '', ...changes }, CONTEXT);

  const attempts: readonly (readonly [name: string, attempt: () => Promise<unknown>, code: string])[] = [
    ['without a token', () => opens({ sessionToken: null }), 'unauthorized'],
    ["with another session's token", async () => opens({ sessionToken: (await world.openSession()).token }), 'not_found'],
    [
      "with another tenant's token",
      async () => opens({ sessionToken: (await world.openSession({ tenantId: OTHER_TENANT })).token }),
      'not_found',
    ],
    ['by an id of nothing', () => opens({ artifactId: anArtifactId() }), 'not_found'],
    [
      "where it is a proxy handle's artifact",
      async () => opens({ artifactId: (await world.request(token, PROXY_REQUEST)).delivery!.artifactId }),
      'not_found',
    ],
    ["with a relay's key, and none is bound to it", () => opens({ keyId: 'key-1' }), 'invalid_request'],
    ['with an origin', () => opens({ origin: 'https://bank.example' }), 'invalid_request'],
    ['with a tab', () => opens({ tabId: '7' }), 'invalid_request'],
    [
      'after its grant was revoked',
      async () => {
        await world.broker.revokeGrant({ credential: token, grantId, reason: '' }, CONTEXT);
        return opens({});
      },
      'conflict',
    ],
    [
      'after its session was revoked',
      async () => {
        await world.broker.revokeSession({ credential: token, sessionId, reason: '' }, CONTEXT);
        return opens({});
      },
      'unauthorized',
    ],
    [
      'when its grant ran out and nobody has ended it yet',
      () => {
        world.clock.advance(GRANT_SECONDS);
        return opens({});
      },
      'conflict',
    ],
    [
      'when its grant ran out and was ended',
      async () => {
        world.clock.advance(GRANT_SECONDS);
        await world.worker.expireDue(100, 'req_pass');
        return opens({});
      },
      'conflict',
    ],
  ];

  test.each(attempts)('%s', async (_name, attempt, code) => {
    expect(await outcomeOf(attempt())).toBe(code);
    expect(world.audit.types()).not.toContain('artifact.used');
    const refused = world.audit.events.filter(({ type }) => type === 'unwrap.refused');
    // A mistake of form is no refusal.
    if (code === 'invalid_request') expect(refused).toEqual([]);
    else expect(refused).toMatchObject([{ code, details: { artifact_id: expect.any(String) } }]);
    expect(JSON.stringify(world.audit.events)).not.toContain('CANARY');
  });

  test('and what they tried takes the same work as an unknown id', async () => {
    const calls: string[] = [];
    const { repository } = world.deps;
    world.deps.repository = new Proxy(repository, {
      get(target, name) {
        if (typeof name === 'string') calls.push(name);
        return Reflect.get(target, name, target) as unknown;
      },
    });
    const stranger = (await world.openSession()).token;
    const [unknown, foreign] = [anArtifactId(), artifactId];
    await outcomeOf(world.unwrap(stranger, unknown));
    const first = calls.splice(0);
    await outcomeOf(world.unwrap(stranger, foreign));
    expect(calls).toEqual(first);
    expect(first).toEqual(['findSession', 'findArtifact', 'transact']);
  });
});

describe('between opening and committing', () => {
  /** Does something after the secret was opened and before that is on record. */
  const openingThen = (meanwhile: () => Promise<unknown>) => {
    const { deliveries } = world.deps;
    const open: typeof deliveries.secret.open = async (sealed) => {
      const fields = await deliveries.secret.open(sealed);
      await meanwhile();
      return fields;
    };
    world.deps.deliveries = { ...deliveries, secret: { ...deliveries.secret, open } };
    return outcomeOf(world.unwrap(token, artifactId));
  };
  const seconds = (count: number) => new Date(world.clock.now().getTime() + count * 1000);

  test.each([
    [
      'its grant is revoked',
      'conflict',
      () => world.broker.revokeGrant({ credential: token, grantId, reason: '' }, CONTEXT),
    ],
    [
      'its session is revoked',
      'conflict',
      () => world.broker.revokeSession({ credential: OPERATOR, sessionId, reason: '' }, CONTEXT),
    ],
    [
      'its run is blocked',
      'forbidden',
      async () => {
        const { runId } = (await grant())!;
        const terms = { tenantId: TENANT, reason: '', createdAt: world.clock.now(), expiresAt: seconds(60) };
        await world.stored.transact((unit) => unit.insertBlock({ kind: 'run', runId, ...terms }));
      },
    ],
  ] as const)('%s: nothing is answered', async (_name, code, meanwhile) => {
    expect(await openingThen(meanwhile)).toBe(code);
    expect(world.audit.types()).not.toContain('artifact.used');
    expect(world.audit.types()).toContain('unwrap.refused');
  });

  test('the store goes away: it can be opened later', async () => {
    world.effects.beforeCommit = () => {
      throw unavailable('the store is away');
    };
    expect(await outcomeOf(world.unwrap(token, artifactId))).toBe('unavailable');
    world.effects.beforeCommit = null;
    expect(await world.unwrap(token, artifactId)).toMatchObject({ artifactId });
  });

  test('the answer of the store is lost: it is not opened twice', async () => {
    world.effects.afterCommit = () => {
      throw unavailable('the connection broke');
    };
    expect(await outcomeOf(world.unwrap(token, artifactId))).toBe('unavailable');
    world.effects.afterCommit = null;
    expect(await outcomeOf(world.unwrap(token, artifactId))).toBe('conflict');
  });
});

test('a key service that is away loses nothing', async () => {
  const { deliveries } = world.deps;
  const away = { ...deliveries.secret, open: () => Promise.reject(unavailable('no key')) };
  world.deps.deliveries = { ...deliveries, secret: away };
  expect(await outcomeOf(world.unwrap(token, artifactId))).toBe('unavailable');
  expect(await artifact()).toMatchObject({ state: 'issued' });
  world.deps.deliveries = deliveries;
  expect(await world.unwrap(token, artifactId)).toMatchObject({ artifactId });
});

test("another artifact's secret in its place does not open, and costs nothing", async () => {
  const other = await world.request(token);
  const moved = await world.stored.findArtifact(TENANT, other.delivery!.artifactId);
  if (moved?.state !== 'issued' || moved.kind !== 'wrapped_secret') throw new Error('there is no secret to move');
  const { repository } = world.deps;
  world.deps.repository = new Proxy(repository, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (name !== 'findArtifact') return member;
      return async () => ({ ...(await artifact()), sealed: moved.sealed });
    },
  });
  await expect(world.unwrap(token, artifactId)).rejects.toThrow(expect.not.stringMatching('CANARY'));
  expect(await artifact()).toMatchObject({ state: 'issued' });
});

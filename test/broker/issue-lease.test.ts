import { beforeEach, describe, expect, test } from 'vitest';
import { BrokerError, conflict, notFound, rateLimited, unavailable, upstreamError } from '../../src/domain/errors.ts';
import type { Grant } from '../../src/domain/grant.ts';
import type { GrantId } from '../../src/domain/ids.ts';
import { TENANT } from '../support/entities.ts';
import type { LeaseFault } from '../support/lease-ledger.ts';
import {
  CONTEXT,
  GRANT_SECONDS,
  type LeaseWorld,
  makeLeaseWorld,
  OPERATOR,
  outcomeOf,
  REQUEST,
  until,
} from './lease-world.ts';

let world: LeaseWorld;
let token: string;
beforeEach(async () => {
  world = await makeLeaseWorld();
  ({ token } = await world.openSession());
});

/** The one grant that there is. */
async function onlyGrant(): Promise<Grant> {
  const { rows } = await world.stored.listGrants(TENANT, {}, { limit: 10, after: null });
  const [grant] = rows;
  if (grant === undefined || rows.length > 1) throw new Error(`there are ${rows.length} grants`);
  return grant;
}

const seconds = (count: number) => new Date(world.clock.now().getTime() + count * 1000);
const eventsOf = (type: string) => world.audit.events.filter((event) => event.type === type);
const asOlga = (grantId: GrantId) => world.broker.revokeGrant({ credential: OPERATOR, grantId, reason: 'stop' }, CONTEXT);

const ISSUED = ['commit grant.approved lease.requested', 'issue', 'commit lease.issued artifact.issued grant.issued'];
const COULD_NOT_BE_ISSUED = { state: 'expired', endReason: 'could not be issued' };

describe('a wrapped secret', () => {
  test('is asked for when the intent is on record, and delivered when the lease is', async () => {
    const answer = await world.request(token);
    expect(answer).toMatchObject({
      state: 'issued',
      delivery: { kind: 'wrapped_secret' },
      expiresAt: seconds(GRANT_SECONDS),
    });
    expect(world.effects.log).toEqual(ISSUED);
    const grant = await onlyGrant();
    expect(grant).toMatchObject({ state: 'issued', artifactId: answer.delivery?.artifactId });
    const [lease] = world.ledger.issued();
    expect(lease).toMatchObject({ capability: 'db.read', resourceRef: 'dbrole:reporting', expiresAt: grant.expiresAt });
    expect(await world.revocation(grant)).toMatchObject({
      ...{ state: 'held', id: lease?.revocationId, leaseId: lease?.leaseId, connector: 'test_leases' },
      ...{ sessionId: grant.sessionId, resourceRef: 'dbrole:reporting', leaseExpiresAt: grant.expiresAt },
    });
    expect(await world.openCalls()).toEqual([]);
  });

  test('leaves no credential in an answer, an event or, unsealed, in the store', async () => {
    const answer = await world.request(token);
    const grant = await onlyGrant();
    const artifact = await world.stored.findArtifact(TENANT, answer.delivery!.artifactId);
    expect(artifact).toMatchObject({ state: 'issued', kind: 'wrapped_secret', sealed: expect.any(String) });
    const revocation = await world.revocation(grant);
    expect(JSON.stringify([answer, grant, artifact, revocation, world.audit.events])).not.toContain('CANARY');
  });

  test('names its lease by our own id in every event, and by no other', async () => {
    await world.request(token);
    const [lease] = world.ledger.issued();
    for (const type of ['lease.requested', 'lease.issued']) {
      expect(eventsOf(type)).toMatchObject([
        { details: { connector: 'test_leases', resource_ref: 'dbrole:reporting', revocation_id: lease?.revocationId } },
      ]);
    }
    expect(JSON.stringify(world.audit.events)).not.toContain(lease?.leaseId);
  });

  test('is delivered again to its session, until it is opened', async () => {
    const { grantId, delivery } = await world.request(token, { requestId: 'one' });
    const collect = () => world.broker.getGrant({ credential: token, grantId, waitSeconds: 0 }, CONTEXT);
    expect(await collect()).toMatchObject({ state: 'issued', delivery });
    expect(await world.request(token, { requestId: 'one' })).toMatchObject({ grantId, delivery });
    await world.unwrap(token, delivery!.artifactId);
    expect(await collect()).toMatchObject({ state: 'used', delivery: null });
    expect(world.ledger.asked.issue).toBe(1);
  });

  test('is not delivered when its lease ran out before its grant', async () => {
    const { issue } = world.leases;
    world.leases.issue = async (request) => ({ ...(await issue(request)), expiresAt: seconds(60) });
    const { grantId, delivery } = await world.request(token);
    expect(await world.stored.findArtifact(TENANT, delivery!.artifactId)).toMatchObject({ expiresAt: seconds(60) });
    world.clock.advance(60);
    const answer = await world.broker.getGrant({ credential: token, grantId, waitSeconds: 0 }, CONTEXT);
    expect(answer).toMatchObject({ state: 'issued', delivery: null });
    expect(await outcomeOf(world.unwrap(token, delivery!.artifactId))).toBe('conflict');
  });

  test('is nothing that a connector without leases delivers', async () => {
    const changes = { resourceRef: 'github:repo:acme/widgets', capability: 'repo.read' };
    expect(await outcomeOf(world.request(token, changes))).toBe('delivery_mode_not_implemented');
    expect(await outcomeOf(world.request(token, { deliveryMode: 'proxy' }))).toBe('delivery_mode_not_implemented');
    expect(await outcomeOf(world.request(token, { deliveryMode: 'minted_token' }))).toBe('delivery_mode_not_implemented');
    expect(world.effects.log.filter((line) => line === 'issue')).toEqual([]);
  });
});

interface Failure {
  name: string;
  fault?: LeaseFault;
  error?: Error;
  code: string;
  revocation: 'not_issued' | 'due';
  alive: number;
}

const FAILURES: readonly Failure[] = [
  { name: 'refuses', fault: 'refuse', code: 'forbidden', revocation: 'not_issued', alive: 0 },
  { name: 'knows no such role', error: notFound('no such role'), code: 'not_found', revocation: 'not_issued', alive: 0 },
  { name: 'asks for patience', error: rateLimited('later'), code: 'rate_limited', revocation: 'not_issued', alive: 0 },
  { name: 'fails', fault: 'fail_before', code: 'upstream_error', revocation: 'due', alive: 0 },
  { name: 'fails after it has issued', fault: 'fail_after', code: 'upstream_error', revocation: 'due', alive: 1 },
  { name: 'loses its answer', fault: 'lose_answer', code: 'unavailable', revocation: 'due', alive: 1 },
  { name: 'hangs', fault: 'hang_before', code: 'deadline_exceeded', revocation: 'due', alive: 0 },
  { name: 'hangs after it has issued', fault: 'hang_after', code: 'deadline_exceeded', revocation: 'due', alive: 1 },
  { name: 'issues when it was given up', fault: 'late_effect', code: 'deadline_exceeded', revocation: 'due', alive: 1 },
  { name: 'has a defect', error: new TypeError('oops'), code: 'internal', revocation: 'due', alive: 0 },
];

/** Asks for a grant of a connector that fails. Time passes as long as it hangs. */
async function requestFailing({ fault, error }: Failure): Promise<unknown> {
  if (fault !== undefined) world.ledger.failNext('issue', fault);
  if (error !== undefined) world.leases.issue = () => Promise.reject(error);
  const asked = world.request(token).catch((thrown: unknown) => thrown);
  if (fault === 'hang_before' || fault === 'hang_after' || fault === 'late_effect') {
    await until(() => world.ledger.asked.issue === 1);
    world.clock.advance(10);
  }
  return asked;
}

describe('when the connector', () => {
  test.each(FAILURES)('$name, its grant ends and what may have been issued is revoked', async (failure) => {
    const startedAt = world.clock.now();
    const thrown = await requestFailing(failure);
    expect(thrown instanceof BrokerError ? thrown.code : 'internal').toBe(failure.code);
    expect(world.audit.types().slice(0, 4)).toEqual(['grant.approved', 'lease.requested', 'lease.failed', 'grant.expired']);
    expect(eventsOf('lease.failed')).toMatchObject([{ code: failure.code }]);
    const grant = await onlyGrant();
    expect(grant).toMatchObject(COULD_NOT_BE_ISSUED);
    expect(await world.openCalls()).toEqual([]);
    expect(world.ledger.alive()).toHaveLength(failure.alive);
    const revocation = await world.revocation(grant);
    if (failure.revocation === 'not_issued') {
      expect(revocation).toMatchObject({ state: 'done', outcome: 'not_issued' });
      return;
    }
    // What is still on its way downstream must arrive before it is revoked there.
    const nextAttemptAt = new Date(startedAt.getTime() + 60_000);
    expect(revocation).toMatchObject({ state: 'due', leaseId: null, attempts: 0, nextAttemptAt });
    await world.workOff();
    expect(await world.revocation(grant), 'not before the call is over for sure').toEqual(revocation);
    world.clock.advance(60);
    await world.workOff();
    expect(await world.revocation(grant)).toMatchObject({ state: 'done', outcome: 'revoked' });
    expect(world.ledger.alive()).toEqual([]);
  });

  test('pays no heed to its deadline, it is left behind a second later', async () => {
    const heard: AbortSignal[] = [];
    world.leases.issue = ({ signal }) => {
      heard.push(signal);
      return new Promise(() => undefined);
    };
    const asked = outcomeOf(world.request(token));
    await until(() => heard.length === 1);
    world.clock.advance(10.9);
    expect(heard[0]?.aborted).toBe(true);
    await new Promise(setImmediate);
    expect(world.audit.types()).not.toContain('lease.failed');
    world.clock.advance(0.1);
    expect(await asked).toBe('deadline_exceeded');
    expect(await onlyGrant()).toMatchObject(COULD_NOT_BE_ISSUED);
  });

  test('is still at work when the caller goes away, it is not cut short', async () => {
    const { promise: told, resolve: tell } = Promise.withResolvers<undefined>();
    const { issue } = world.leases;
    const heard: AbortSignal[] = [];
    world.leases.issue = async (request) => {
      heard.push(request.signal);
      await told;
      return issue(request);
    };
    const gone = new AbortController();
    const context = { ...CONTEXT, signal: gone.signal };
    const asked = world.broker.requestGrant({ ...REQUEST, sessionToken: token }, context);
    await until(() => heard.length === 1);
    gone.abort(new Error('the caller went away'));
    expect(heard.map(({ aborted }) => aborted)).toEqual([false]);
    tell(undefined);
    expect(await asked).toMatchObject({ state: 'issued' });
  });
});

describe('a lease that came too late', () => {
  const lossOf = async (meanwhile: () => Promise<unknown>) => {
    const { issue } = world.leases;
    world.leases.issue = async (request) => {
      const lease = await issue(request);
      await meanwhile();
      return lease;
    };
    return outcomeOf(world.request(token, { ttlSeconds: 5 }));
  };
  const revokeItsRun = async () => {
    const { tenantId, runId } = await onlyGrant();
    return world.broker.revokeRun({ credential: OPERATOR, tenantId, runId, reason: 'stop' }, CONTEXT);
  };
  const blockItsRun = async () => {
    const { tenantId, runId } = await onlyGrant();
    const [createdAt, expiresAt] = [world.clock.now(), seconds(3600)];
    return world.stored.transact((unit) =>
      unit.insertBlock({ kind: 'run', tenantId, runId, reason: 'stop', createdAt, expiresAt }),
    );
  };
  const revokeItsSession = async () => {
    const { sessionId } = await onlyGrant();
    return world.broker.revokeSession({ credential: OPERATOR, sessionId, reason: 'stop' }, CONTEXT);
  };
  const losses: readonly (readonly [why: string, meanwhile: () => Promise<unknown>, code: string, state: string])[] = [
    ['its grant was revoked', async () => asOlga((await onlyGrant()).id), 'conflict', 'revoked'],
    ['its session was revoked', revokeItsSession, 'conflict', 'revoked'],
    ['its run was revoked', revokeItsRun, 'forbidden', 'revoked'],
    ['its run was blocked, and its session has not ended yet', blockItsRun, 'forbidden', 'expired'],
    [
      'its grant ran out',
      async () => {
        world.clock.advance(5);
        await world.worker.expireDue(100, 'req_pass');
      },
      'conflict',
      'expired',
    ],
  ];

  test.each(losses)('is taken back by its id: %s', async (_why, meanwhile, code, state) => {
    expect(await lossOf(meanwhile)).toBe(code);
    const grant = await onlyGrant();
    expect(grant).toMatchObject({ state });
    const [lease] = world.ledger.issued();
    expect(await world.revocation(grant)).toMatchObject({ state: 'due', leaseId: lease?.leaseId, attempts: 0 });
    expect(await world.openCalls()).toEqual([]);
    expect(eventsOf('lease.issued')).toHaveLength(1);
    expect(world.audit.types()).not.toContain('artifact.issued');
    await world.workOff();
    expect(await world.revocation(grant)).toMatchObject({ state: 'done' });
  });

  test('is known as revoked downstream soon after', async () => {
    await lossOf(async () => asOlga((await onlyGrant()).id));
    await world.revoke();
    expect(world.ledger.alive()).toEqual([]);
  });
});

describe('when what was issued cannot be put on record', () => {
  /** Makes the second commit fail, and what comes after it as it is told. */
  const secondFails = (error: Error, then: 'goes on' | 'stays away') => {
    world.effects.beforeCommit = (number) => {
      if (number === 2 || (number > 2 && then === 'stays away')) throw error;
    };
  };

  test('the grant ends and the lease is due by its id', async () => {
    secondFails(unavailable('the store is away'), 'goes on');
    expect(await outcomeOf(world.request(token))).toBe('unavailable');
    const grant = await onlyGrant();
    expect(grant).toMatchObject(COULD_NOT_BE_ISSUED);
    expect(await world.revocation(grant)).toMatchObject({ state: 'due', leaseId: world.ledger.issued()[0]?.leaseId });
    await world.revoke();
    expect(world.ledger.alive()).toEqual([]);
  });

  test('and the store stays away, the worker finds the call overdue', async () => {
    secondFails(unavailable('the store is away'), 'stays away');
    expect(await outcomeOf(world.request(token))).toBe('unavailable');
    expect(await onlyGrant()).toMatchObject({ state: 'approved' });
    expect(world.ledger.alive()).toHaveLength(1);
    world.effects.beforeCommit = null;
    await world.workOff();
    expect(world.ledger.alive(), 'it may still be at work').toHaveLength(1);
    world.clock.advance(90.1);
    await world.workOff();
    expect(world.ledger.alive()).toEqual([]);
    expect(await onlyGrant()).toMatchObject(COULD_NOT_BE_ISSUED);
  });

  test('since it could not be sealed, nothing is left of it', async () => {
    const { deliveries } = world.deps;
    world.deps.deliveries = {
      ...deliveries,
      secret: { ...deliveries.secret, wrap: () => Promise.reject(unavailable('no key')) },
    };
    expect(await outcomeOf(world.request(token))).toBe('unavailable');
    expect(await onlyGrant()).toMatchObject(COULD_NOT_BE_ISSUED);
    await world.revoke();
    expect(world.ledger.alive()).toEqual([]);
  });

  test('or so it seemed: a commit whose answer was lost stands, and is collected', async () => {
    world.effects.afterCommit = (number) => {
      if (number === 2) throw unavailable('the connection broke');
    };
    expect(await outcomeOf(world.request(token, { requestId: 'one' }))).toBe('unavailable');
    const grant = await onlyGrant();
    expect(grant).toMatchObject({ state: 'issued' });
    expect(await world.revocation(grant)).toMatchObject({ state: 'held' });
    const { delivery } = await world.request(token, { requestId: 'one' });
    expect(await world.unwrap(token, delivery!.artifactId)).toMatchObject({ fields: [{}, {}] });
    expect(world.ledger.issued()).toHaveLength(1);
  });

  test('and its intent is not on record either, the connector is never asked', async () => {
    world.effects.beforeCommit = () => {
      throw unavailable('the store is away');
    };
    expect(await outcomeOf(world.request(token))).toBe('unavailable');
    expect(world.ledger.asked.issue).toBe(0);
  });

  test.each([
    // A refusal that cannot be put on record is not answered.
    ['refused', 'refuse', 'unavailable'],
    ['failed', 'fail_after', 'upstream_error'],
  ] as const)('nor that the connector %s, the worker finds out', async (_name, fault, code) => {
    secondFails(unavailable('the store is away'), 'stays away');
    world.ledger.failNext('issue', fault);
    expect(await outcomeOf(world.request(token))).toBe(code);
    world.effects.beforeCommit = null;
    world.clock.advance(90.1);
    await world.workOff();
    expect(world.ledger.alive()).toEqual([]);
    expect(await world.openCalls()).toEqual([]);
  });
});

describe('of many at once', () => {
  test('approving one request, one issues', async () => {
    world.policy.approval = { requiredApprovers: 1, ttlSeconds: 300, reuse: false };
    const { approvalId } = await world.request(token);
    const yes = { credential: OPERATOR, approvalId: approvalId!, approver: '', comment: '' };
    const answers = await Promise.all(Array.from({ length: 50 }, () => outcomeOf(world.broker.approveGrant(yes, CONTEXT))));
    expect(answers.filter((answer) => typeof answer !== 'string')).toMatchObject([{ state: 'issued' }]);
    expect(answers.filter((answer) => answer === 'conflict')).toHaveLength(49);
    expect(world.ledger.asked.issue).toBe(1);
    expect(await onlyGrant()).toMatchObject({ state: 'issued' });
  });

  test('that are one request, sent again and again, one issues', async () => {
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => outcomeOf(world.request(token, { requestId: 'one' }))),
    );
    for (const answer of answers) expect(answer).toMatchObject({ grantId: (await onlyGrant()).id });
    expect(world.ledger.asked.issue).toBe(1);
  });

  test('that share an id and are not one request, the first alone is answered', async () => {
    await world.request(token, { requestId: 'one' });
    const other = { requestId: 'one', reason: 'count the customers' };
    expect(await outcomeOf(world.request(token, other))).toBe('conflict');
    const answers = await Promise.all([
      outcomeOf(world.request(token, { ...other, requestId: 'two' })),
      outcomeOf(world.request(token, { requestId: 'two' })),
    ]);
    expect(answers).toContainEqual(expect.objectContaining({ state: 'issued' }));
    expect(answers).toContain('conflict');
    expect(world.ledger.asked.issue).toBe(2);
  });

  test('each that asks gets its own', async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => world.request(token)));
    expect(new Set(answers.map(({ delivery }) => delivery?.artifactId)).size).toBe(50);
    expect(world.ledger.issued()).toHaveLength(50);
  });
});

describe('an approval', () => {
  const ask = async () => {
    world.policy.approval = { requiredApprovers: 1, ttlSeconds: 300, reuse: true };
    const { approvalId } = await world.request(token);
    return { credential: OPERATOR, approvalId: approvalId!, approver: '', comment: '' };
  };

  test('whose lease cannot be issued stands, and its grant has come to nothing', async () => {
    const yes = await ask();
    world.ledger.failNext('issue', 'fail_before');
    expect(await outcomeOf(world.broker.approveGrant(yes, CONTEXT))).toBe('upstream_error');
    expect(await world.stored.findApproval(TENANT, yes.approvalId)).toMatchObject({ state: 'approved' });
    expect(await onlyGrant()).toMatchObject(COULD_NOT_BE_ISSUED);
  });

  test('answers the same request again, by a lease of its own', async () => {
    const yes = await ask();
    await world.broker.approveGrant(yes, CONTEXT);
    expect(await world.request(token)).toMatchObject({ state: 'issued', approvalId: yes.approvalId });
    expect(world.ledger.issued()).toHaveLength(2);
  });

  test('that was reused is not asked for anew when its grant is revoked while it is issued', async () => {
    const yes = await ask();
    await world.broker.approveGrant(yes, CONTEXT);
    const { issue } = world.leases;
    world.leases.issue = async (request) => {
      const lease = await issue(request);
      const { rows } = await world.stored.listGrants(TENANT, { state: 'approved' }, { limit: 1, after: null });
      await asOlga(rows[0]!.id);
      return lease;
    };
    expect(await outcomeOf(world.request(token))).toBe('conflict');
    expect(world.audit.types().filter((type) => type === 'approval.requested')).toHaveLength(1);
  });
});

test('a failure that is none of ours is told as it is', async () => {
  const error = upstreamError('the database is down');
  world.leases.issue = () => Promise.reject(error);
  await expect(world.request(token)).rejects.toBe(error);
  const odd = conflict('the role is being changed');
  world.leases.issue = () => Promise.reject(odd);
  await expect(world.request(token)).rejects.toBe(odd);
});

describe('a connector whose leases may outlive the grant', () => {
  const HOUR = 3600;

  test('is asked to revoke what never became known until that has run out by itself', async () => {
    Object.assign(world.leases, { longestLeaseSeconds: HOUR });
    world.leases.issue = () => Promise.reject(upstreamError('the answer broke off'));
    world.leases.revoke = ({ leaseId }) => Promise.reject(upstreamError(`no lease id: ${String(leaseId)}`));
    expect(await outcomeOf(world.request(token))).toBe('upstream_error');
    const grant = await onlyGrant();
    expect(grant).toMatchObject(COULD_NOT_BE_ISSUED);
    world.clock.advance(2 * GRANT_SECONDS);
    const signal = new AbortController().signal;
    expect(await world.worker.revokeDue(100, 'req_pass', signal)).toMatchObject({ retried: 1, expired: 0 });
    expect(await world.revocation(grant)).toMatchObject({ state: 'due', leaseId: null });
    world.clock.advance(HOUR - 2 * GRANT_SECONDS);
    expect(await world.worker.revokeDue(100, 'req_pass', signal)).toMatchObject({ retried: 0, expired: 1 });
    expect(await world.revocation(grant)).toMatchObject({ state: 'done', outcome: 'expired' });
  });

  test('revokes them when the grant runs out', async () => {
    Object.assign(world.leases, { longestLeaseSeconds: HOUR });
    const { issue } = world.leases;
    world.leases.issue = async (request) => ({ ...(await issue(request)), expiresAt: seconds(HOUR) });
    await world.request(token);
    world.clock.advance(GRANT_SECONDS);
    await world.worker.expireDue(100, 'req_pass');
    expect(await world.worker.revokeDue(100, 'req_pass', new AbortController().signal)).toMatchObject({ revoked: 1 });
    expect(await world.revocation(await onlyGrant())).toMatchObject({ state: 'done', outcome: 'revoked' });
  });
});

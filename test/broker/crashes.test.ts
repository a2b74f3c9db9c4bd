import { describe, expect, test } from 'vitest';
import type { AuditEvent } from '../../src/domain/audit-event.ts';
import { TENANT } from '../support/entities.ts';
import { CONTEXT, type LeaseWorld, makeLeaseWorld, OPERATOR, outcomeOf, PROXY_REQUEST } from './lease-world.ts';

// A process is killed between every pair of its steps, and another one goes on with what it left behind.

interface Story {
  name: string;
  /** Everything up to what is interrupted; answers that. */
  begin: (world: LeaseWorld) => Promise<() => Promise<unknown>>;
  /** What must hold when all is worked off. The answer is what the caller heard, or 'killed'. */
  then: (world: LeaseWorld, answer: unknown) => Promise<void>;
}

const grantsOf = async ({ stored }: LeaseWorld) => (await stored.listGrants(TENANT, {}, { limit: 10, after: null })).rows;

const stories: readonly Story[] = [
  {
    name: 'a grant is issued',
    async begin(world) {
      const { token } = await world.openSession();
      return () => world.request(token);
    },
    async then(world, answer) {
      const [grant] = await grantsOf(world);
      if (answer !== 'killed') expect(grant).toMatchObject({ state: 'issued' });
      if (grant?.state !== 'issued') expect(world.ledger.alive()).toEqual([]);
    },
  },
  {
    name: 'a grant is issued by a connector that fails when it has issued',
    async begin(world) {
      const { token } = await world.openSession();
      world.ledger.failNext('issue', 'fail_after');
      return () => world.request(token);
    },
    async then(world) {
      for (const grant of await grantsOf(world)) {
        expect(grant).toMatchObject({ state: 'expired', endReason: 'could not be issued' });
      }
      expect(world.ledger.alive()).toEqual([]);
    },
  },
  {
    name: 'a grant is revoked while it is issued',
    async begin(world) {
      const { token } = await world.openSession();
      const { issue } = world.leases;
      world.leases.issue = async (request) => {
        const lease = await issue(request);
        const [grant] = await grantsOf(world);
        await world.broker.revokeGrant({ credential: OPERATOR, grantId: grant!.id, reason: '' }, CONTEXT);
        return lease;
      };
      return () => world.request(token);
    },
    then(world) {
      expect(world.ledger.alive()).toEqual([]);
      return Promise.resolve();
    },
  },
  {
    name: 'a request is approved',
    async begin(world) {
      const { token } = await world.openSession();
      world.policy.approval = { requiredApprovers: 1, ttlSeconds: 3000, reuse: false };
      const { approvalId } = await world.request(token);
      return () =>
        world.broker.approveGrant({ credential: OPERATOR, approvalId: approvalId!, approver: '', comment: '' }, CONTEXT);
    },
    async then(world, answer) {
      const [grant] = await grantsOf(world);
      if (answer !== 'killed') expect(grant).toMatchObject({ state: 'issued' });
      expect(['pending', 'issued', 'expired']).toContain(grant?.state);
      expect(world.ledger.issued().length).toBeLessThanOrEqual(1);
      if (grant?.state !== 'issued') expect(world.ledger.alive()).toEqual([]);
    },
  },
  {
    name: 'a secret is unwrapped',
    async begin(world) {
      const { token } = await world.openSession();
      const { delivery, grantId } = await world.request(token);
      return () => world.unwrap(token, delivery!.artifactId).then((answer) => ({ ...answer, token, grantId }));
    },
    async then(world, answer) {
      const [grant] = await grantsOf(world);
      const session = await world.stored.findSession(TENANT, grant!.sessionId);
      const token = await world.deps.tokens.sign({ ...session!, sessionId: session!.id, issuedAt: world.clock.now() });
      const artifactId = grant !== undefined && 'artifactId' in grant ? grant.artifactId : null;
      const again = await outcomeOf(world.unwrap(token, artifactId!));
      const wasUsed = world.audit.types().filter((type) => type === 'artifact.used').length;
      // It went out, or was lost with the process, or is still there: one of them, and never twice.
      expect(wasUsed).toBe(1);
      if (answer !== 'killed') expect(again).toBe('conflict');
    },
  },
  {
    name: 'a grant is revoked',
    async begin(world) {
      const { token } = await world.openSession();
      const { grantId } = await world.request(token);
      return () => world.broker.revokeGrant({ credential: token, grantId, reason: 'done' }, CONTEXT);
    },
    async then(world, answer) {
      const [grant] = await grantsOf(world);
      if (answer !== 'killed') expect(grant).toMatchObject({ state: 'revoked' });
      expect(world.ledger.alive()).toHaveLength(grant?.state === 'issued' ? 1 : 0);
    },
  },
  {
    name: 'a session is revoked, with leases of which one is being opened',
    async begin(world) {
      const { token, session } = await world.openSession();
      await world.request(token);
      const { delivery } = await world.request(token);
      await world.unwrap(token, delivery!.artifactId);
      return () => world.broker.revokeSession({ credential: token, sessionId: session.id, reason: 'done' }, CONTEXT);
    },
    async then(world, answer) {
      const states = new Set((await grantsOf(world)).map(({ state }) => state));
      if (answer !== 'killed') expect([...states]).toEqual(['revoked']);
      expect(world.ledger.alive()).toHaveLength(states.has('revoked') ? 0 : 2);
    },
  },
  {
    name: 'what is due is revoked downstream',
    async begin(world) {
      const { token, session } = await world.openSession();
      for (let count = 0; count < 3; count += 1) await world.request(token);
      world.ledger.failNext('revoke', 'fail_before', 'fail_after');
      await world.broker.revokeSession({ credential: token, sessionId: session.id, reason: 'done' }, CONTEXT);
      return world.revoke;
    },
    then(world) {
      expect(world.ledger.alive()).toEqual([]);
      return Promise.resolve();
    },
  },
  {
    name: 'a call is proxied',
    async begin(world) {
      const { token } = await world.openSession();
      const { delivery } = await world.request(token, PROXY_REQUEST);
      if (delivery?.kind !== 'proxy_handle') throw new Error('there is no handle');
      const payload = Buffer.from('{}');
      world.github.send = async (options) => {
        await options.spendBytes(payload.length);
        return { payload, contentType: 'application/json', nextPage: null };
      };
      const call = { proxyHandle: delivery.handle, operation: 'repository_metadata', params: {} };
      return () => world.broker.executeGitHubProxy(call, CONTEXT);
    },
    async then(world, answer) {
      const requested = world.audit.types().filter((type) => type === 'proxy.requested').length;
      if (answer !== 'killed') expect(world.audit.types()).toContain('proxy.completed');
      const [grant] = await grantsOf(world);
      const artifactId = grant !== undefined && 'artifactId' in grant ? grant.artifactId : null;
      const artifact = await world.stored.findArtifact(TENANT, artifactId!);
      if (artifact?.kind !== 'proxy_handle') throw new Error('there is no handle');
      // What began counts, whatever came of it.
      expect(await world.stored.findHandleUsage(artifact.handleHash)).toMatchObject({ requests: requested, slots: [] });
    },
  },
];

const detail = (event: AuditEvent, name: string) => String(event.details?.[name]);

/** Each intent has one outcome, and only those that ended have one. */
function expectOutcomes(events: readonly AuditEvent[]): void {
  const count = (types: readonly string[], key: (event: AuditEvent) => string) => {
    const counts: Record<string, number> = {};
    for (const event of events.filter(({ type }) => types.includes(type)))
      counts[key(event)] = (counts[key(event)] ?? 0) + 1;
    return counts;
  };
  const ofGrant = ({ subject }: AuditEvent) => String(subject.grantId);
  expect(count(['lease.issued', 'lease.failed', 'lease.unknown'], ofGrant)).toEqual(count(['lease.requested'], ofGrant));
  expect(count(['proxy.completed', 'proxy.failed', 'proxy.unknown'], ofGrant)).toEqual(count(['proxy.requested'], ofGrant));
  const outcomes = ['lease.revoked', 'lease.revocation_failed', 'lease.revocation_unknown'];
  expect(count(outcomes, ofGrant)).toEqual(count(['lease.revocation_requested'], ofGrant));
  // Nothing is done that is not on record before.
  for (const event of events.filter(({ type }) => type === 'lease.revoked')) {
    const before = events.slice(0, events.indexOf(event));
    expect(before.map(({ type, details }) => [type, details?.revocation_id])).toContainEqual([
      'lease.revocation_requested',
      detail(event, 'revocation_id'),
    ]);
  }
}

/** Works off what the dead process left, until nothing is due any more. */
async function recover(world: LeaseWorld): Promise<void> {
  world.effects.revive();
  // Past every deadline with its grace, and every claim; well before the grants run out.
  for (let round = 0; round < 3; round += 1) {
    world.clock.advance(91);
    await world.workOff();
  }
}

describe.each(stories)('killed while $name', ({ begin, then }) => {
  test('at any moment, nothing is left behind that the worker does not clear', async () => {
    let moment = 0;
    for (let answer: unknown = 'killed'; answer === 'killed'; moment += 1) {
      const world = await makeLeaseWorld();
      const interrupted = await begin(world);
      world.effects.killAt(moment);
      answer = await outcomeOf(interrupted());
      if (world.effects.isDead) answer = 'killed';
      await recover(world);
      const where = `at moment ${moment}: ${world.effects.log.join(', ')}`;
      expect(await world.openCalls(), where).toEqual([]);
      expectOutcomes(world.audit.events);
      for (const grant of await grantsOf(world)) expect(grant.state, where).not.toBe('approved');
      for (const { revocationId } of world.ledger.alive()) {
        const { rows } = await world.stored.listRevocations(TENANT, { state: 'held' }, { limit: 10, after: null });
        expect(
          rows.map(({ id }) => id),
          where,
        ).toContain(revocationId);
      }
      await then(world, answer);
    }
    // Before and after each of the effects.
    expect(moment).toBeGreaterThanOrEqual(3);
  });
});

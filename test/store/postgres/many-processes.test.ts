import type { Pool } from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decideApproval } from '../../../src/domain/approval.ts';
import { endArtifact } from '../../../src/domain/artifact.ts';
import { approveGrant, endGrant, issueGrant } from '../../../src/domain/grant.ts';
import { dueRevocation, holdLease } from '../../../src/domain/revocation.ts';
import { endSession } from '../../../src/domain/session.ts';
import type { UnitOfWork } from '../../../src/domain/unit-of-work.ts';
import { openPool } from '../../../src/store/postgres/pool.ts';
import { PostgresRepository } from '../../../src/store/postgres/postgres-repository.ts';
import {
  endSessionAfter,
  givenIssuedGrant,
  givenPendingGrant,
  givenSession,
  winnersOf,
} from '../../contract/repository-under-test.ts';
import {
  aBlock,
  aCall,
  aGrant,
  aLeaseGrant,
  anArtifact,
  anArtifactId,
  anEvent,
  aRevocation,
  aSession,
  aWord,
  aWrappedSecret,
  after,
} from '../../support/entities.ts';
import { emptiedDatabase } from './emptied-database.ts';
import { recordedEvents } from './recorded-events.ts';

const database = emptiedDatabase();
const pools: Pool[] = [];
const repositories: PostgresRepository[] = [];

beforeEach(async () => {
  for (let process = 0; process < 2; process += 1) {
    const limits = { maxConnections: 8, statementTimeoutMs: 20_000, lockTimeoutMs: 8000, connectionTimeoutMs: 20_000 };
    const dsn = new URL(await database.dsn());
    // Postgres would end a deadlock before anybody notices; this way it ends as a lock that could not be had.
    dsn.searchParams.set('options', '-c deadlock_timeout=60s');
    const pool = openPool({ dsn: dsn.href, ...limits });
    pools.push(pool);
    repositories.push(new PostgresRepository({ pool }));
  }
});
afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.end();
  repositories.length = 0;
  await database.empty();
});

/** The process whose turn it is. */
function process(index: number): PostgresRepository {
  const repository = repositories[index % 2];
  if (repository === undefined) throw new Error('no process is open');
  return repository;
}

/** Runs attempts at once, by turns in both processes. */
const together = (count: number, stage: (unit: UnitOfWork, index: number) => void): Promise<void>[] =>
  Array.from({ length: count }, (_, index) => process(index).transact((unit) => stage(unit, index)));

describe('of two processes on one database', () => {
  it('exactly one of 200 unwraps of one secret succeeds', async () => {
    const session = await givenSession(process(0));
    const approved = aLeaseGrant(session);
    const grant = issueGrant(approved, anArtifactId(), after(1));
    const artifact = aWrappedSecret(grant);
    await process(0).transact((unit) => {
      unit.insertGrant(approved);
      unit.updateGrant({ expected: 'approved', next: grant });
      unit.insertArtifact(artifact);
    });
    const attempts = together(200, (unit, index) => {
      unit.updateArtifact({ expected: 'issued', next: endArtifact(artifact, 'used', after(2)) });
      unit.updateGrant({ expected: 'issued', next: { ...grant, state: 'used' } });
      unit.record(anEvent({ type: 'artifact.used', requestId: `attempt ${index}` }));
    });
    const winners = await winnersOf(attempts);
    expect(winners).toHaveLength(1);
    expect((await recordedEvents(await database.pool())).map(({ requestId }) => requestId)).toEqual([
      `attempt ${winners[0]}`,
    ]);
  });

  it('exactly one of 200 decisions on one approval counts, and the grant follows it', async () => {
    const session = await givenSession(process(0));
    const { grant, approval } = await givenPendingGrant(process(0), session);
    const attempts = together(200, (unit, index) => {
      const isYes = index % 3 > 0;
      const word = aWord(`person ${index}`, { decision: isYes ? 'approve' : 'deny' });
      unit.updateApproval({ expected: 'pending', expectedDecisions: 0, next: decideApproval(approval, word) });
      const next = isYes ? approveGrant(grant, after(610)) : endGrant(grant, 'denied', word.at, 'no');
      unit.updateGrant({ expected: 'pending', next });
      unit.record(anEvent({ requestId: `person ${index}` }));
    });
    const [winner = -1, ...more] = await winnersOf(attempts);
    expect(more).toEqual([]);
    const state = winner % 3 > 0 ? 'approved' : 'denied';
    expect(await process(1).findApproval(session.tenantId, approval.id)).toMatchObject({
      state,
      decisions: [{ approver: { subject: `person ${winner}` } }],
    });
    expect(await process(0).findGrant(session.tenantId, grant.id)).toMatchObject({ state });
    expect(await recordedEvents(await database.pool())).toHaveLength(1);
  });

  it('exactly 100 of 300 calls get through on a budget of 100', async () => {
    const { artifact } = await givenIssuedGrant(process(0));
    const attempts = together(300, (unit) => {
      const call = aCall(artifact);
      const { tenantId, id: artifactId } = artifact;
      unit.openCall(call);
      unit.spendRequest({ tenantId, artifactId, callId: call.id, maxRequests: 100, maxConcurrent: 300, now: after(0) });
    });
    expect(await winnersOf(attempts, 'resource_budget_exceeded')).toHaveLength(100);
    expect(await process(1).findHandleUsage(artifact.handleHash)).toMatchObject({ requests: 100, slots: { length: 100 } });
  });

  it('never more grants are open in a session than may be', async () => {
    const session = await givenSession(process(0));
    const { tenantId, id: sessionId } = session;
    const attempts = together(60, (unit) => {
      unit.requireRoomForGrant({ tenantId, sessionId, maxOpen: 7 });
      unit.insertGrant(aGrant(session));
    });
    expect(await winnersOf(attempts, 'resource_budget_exceeded')).toHaveLength(7);
  });

  it('each of 100 due revocations is claimed once, however many workers claim', async () => {
    await process(0).transact((unit) => {
      for (let made = 0; made < 100; made += 1) {
        const requested = aRevocation(aSession());
        unit.insertRevocation(requested);
        unit.updateRevocation({ expected: 'requested', next: dueRevocation(requested, after(made)) });
      }
    });
    const claim = { now: after(200), claimedUntil: after(300), limit: 10, busy: [] };
    const claims = await Promise.all(Array.from({ length: 12 }, (_, index) => process(index).claimDueRevocations(claim)));
    const rest = await process(0).claimDueRevocations({ ...claim, limit: 100 });
    const ids = [...claims.flat(), ...rest].map(({ id }) => id);
    expect(ids).toHaveLength(100);
    expect(new Set(ids).size).toBe(100);
  });

  it('two that forget at once leave nothing and count each row once', async () => {
    for (let made = 0; made < 20; made += 1) {
      const { session } = await givenIssuedGrant(process(0));
      await endSessionAfter(process(0), session, 10);
    }
    let forgotten = 0;
    for (let round = 0; round < 5; round += 1) {
      const counts = await Promise.all([0, 1].map((index) => process(index).forgetEnded(after(11), 4)));
      forgotten += counts.reduce((sum, count) => sum + count, 0);
    }
    expect(forgotten).toBe(60);
  });
});

describe('units that lock the same rows', () => {
  /** What happens to one session, in every order that the broker stages its changes. */
  const world = async () => {
    const session = await givenSession(process(0));
    const approved = aGrant(session);
    const grant = issueGrant(approved, anArtifactId(), after(1));
    const artifact = anArtifact(grant);
    const lease = aLeaseGrant(session);
    const requested = aRevocation(session, { grantId: lease.id });
    const calls = Array.from({ length: 12 }, () => aCall(artifact));
    const waiting = await givenPendingGrant(process(0), session);
    await process(0).transact((unit) => {
      unit.insertGrant(approved);
      unit.updateGrant({ expected: 'approved', next: grant });
      unit.insertArtifact(artifact);
      unit.insertGrant(lease);
      unit.insertRevocation(requested);
      calls.forEach((call) => unit.openCall(call));
    });
    return { session, grant, artifact, lease, requested, calls, waiting };
  };
  type World = Awaited<ReturnType<typeof world>>;

  const closing =
    (place: number) =>
    (unit: UnitOfWork, { grant, artifact, calls }: World): void => {
      const { tenantId, sessionId, id: grantId } = grant;
      unit.closeCall({ tenantId, callId: calls[place]?.id ?? (artifact.id as never) });
      unit.spendBytes({ tenantId, artifactId: artifact.id, bytes: 10, maxBytes: null });
      unit.requireIssuedGrant({ tenantId, sessionId, grantId, orExpired: true });
      unit.record(anEvent({ type: 'proxy.completed' }));
    };
  const opening = (unit: UnitOfWork, { grant, artifact }: World): void => {
    const { tenantId, sessionId, id: grantId } = grant;
    const call = aCall(artifact);
    unit.requireIssuedGrant({ tenantId, sessionId, grantId, orExpired: false });
    unit.openCall(call);
    unit.spendRequest({
      tenantId,
      artifactId: artifact.id,
      callId: call.id,
      maxRequests: 9,
      maxConcurrent: 99,
      now: after(0),
    });
  };
  const requesting = (unit: UnitOfWork, { session }: World): void => {
    unit.requireNoBlock(session);
    unit.requireRoomForGrant({ tenantId: session.tenantId, sessionId: session.id, maxOpen: 9 });
    unit.insertGrant(aGrant(session));
  };
  const revoking = (unit: UnitOfWork, { grant, artifact }: World): void => {
    unit.updateArtifact({ expected: 'issued', next: endArtifact(artifact, 'revoked', after(2)) });
    unit.updateGrant({ expected: 'issued', next: endGrant(grant, 'revoked', after(2), 'stop') });
    unit.makeRevocationDue({ tenantId: grant.tenantId, grantId: grant.id, at: after(2) });
  };
  const issuing = (unit: UnitOfWork, { lease, requested }: World): void => {
    const grant = issueGrant(lease, anArtifactId(), after(2));
    unit.updateRevocation({ expected: 'requested', next: holdLease(requested, { leaseId: 'x', expiresAt: after(600) }) });
    unit.insertArtifact(aWrappedSecret(grant));
    unit.updateGrant({ expected: 'approved', next: grant });
  };
  const deciding = (unit: UnitOfWork, { session, waiting }: World): void => {
    const { grant, approval } = waiting;
    unit.updateApproval({ expected: 'pending', expectedDecisions: 0, next: decideApproval(approval, aWord('alice')) });
    unit.updateGrant({ expected: 'pending', next: approveGrant(grant, after(610)) });
    unit.requireNoBlock(session);
  };
  const expiring = (unit: UnitOfWork, { waiting }: World): void => {
    unit.updateApproval({
      expected: 'pending',
      expectedDecisions: 0,
      next: { ...waiting.approval, state: 'expired', endedAt: after(301) },
    });
    unit.updateGrant({ expected: 'pending', next: endGrant(waiting.grant, 'expired', after(301), 'late') });
  };
  const ending = (unit: UnitOfWork, { session }: World): void => {
    const { tenantId, id: sessionId } = session;
    unit.endGrantsOfSession({ tenantId, sessionId, state: 'revoked', at: after(3), reason: 'stop', events: () => [] });
    unit.updateSession({ expected: 'active', next: endSession(session, 'revoked', after(3), 'stop') });
  };
  const blocking = (unit: UnitOfWork, { session }: World): void => {
    unit.insertBlock(aBlock({ workloadHash: session.workloadHash }));
    unit.insertBlock(aBlock({ runId: session.runId }));
  };
  const stages = [
    opening,
    requesting,
    closing(0),
    revoking,
    issuing,
    deciding,
    expiring,
    ending,
    blocking,
    opening,
    requesting,
  ];

  it('in different orders never wait for each other for ever', async () => {
    for (let round = 0; round < 15; round += 1) {
      const given = await world();
      const closings = Array.from({ length: 12 }, (_, place) => closing(place));
      const turn = [...closings, ...stages.slice(round % stages.length), ...stages.slice(0, round % stages.length)];
      const outcomes = await Promise.allSettled(
        turn.map((stage, index) => process(index).transact((unit) => stage(unit, given))),
      );
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') {
          const { code } = outcome.reason as { code: string };
          expect(['conflict', 'forbidden', 'resource_budget_exceeded']).toContain(code);
        }
      }
      await database.empty();
    }
  });
});

import { afterEach, describe, expect, it } from 'vitest';
import { endGrant, issueGrant } from '../../../src/domain/grant.ts';
import type { UnitOfWork } from '../../../src/domain/unit-of-work.ts';
import { PostgresRepository } from '../../../src/store/postgres/postgres-repository.ts';
import { StagedUnit } from '../../../src/store/postgres/staged-unit.ts';
import { givenPendingGrant, givenSession } from '../../contract/repository-under-test.ts';
import {
  aGrant,
  anArtifact,
  anArtifactId,
  anEvent,
  aSession,
  aWrappedSecret,
  after,
  OTHER_TENANT,
} from '../../support/entities.ts';
import { emptiedDatabase } from './emptied-database.ts';
import { recordedEvents } from './recorded-events.ts';

const database = emptiedDatabase();
const open = async () => new PostgresRepository({ pool: await database.pool() });
afterEach(() => database.empty());

/** The kinds of changes that a unit sends to the database. */
function changesOf(stage: (unit: UnitOfWork) => void): string[] {
  const unit = new StagedUnit();
  stage(unit);
  const kinds = unit.parts.flatMap(({ changes }) => changes.map((change) => JSON.parse(change) as { do: string }));
  return kinds.map((change) => change.do);
}

describe('a grant that is made and issued in one unit', () => {
  const session = aSession();
  const approved = aGrant(session);
  const grant = issueGrant(approved, anArtifactId(), after(1));
  const room = { tenantId: session.tenantId, sessionId: session.id, maxOpen: 5 };
  const issue = (unit: UnitOfWork): void => unit.updateGrant({ expected: 'approved', next: grant });

  it('is written once, together with the requirement of room', () => {
    const changes = changesOf((unit) => {
      unit.requireRoomForGrant(room);
      unit.insertGrant(approved);
      unit.insertArtifact(anArtifact(grant));
      issue(unit);
    });
    expect(changes).toEqual(['insert_grant', 'insert_artifact']);
  });

  it.each<[string, (unit: UnitOfWork) => void, string[]]>([
    [
      'somebody asks for its state in between',
      (unit) => {
        unit.insertGrant(approved);
        unit.requireIssuedGrant({ ...room, grantId: approved.id, orExpired: false });
        issue(unit);
      },
      ['insert_grant', 'require_issued_grant', 'update_grant'],
    ],
    [
      'the grants of a session end in between',
      (unit) => {
        unit.insertGrant(approved);
        unit.endGrantsOfSession({ ...room, state: 'revoked', at: after(2), reason: 'stop', events: () => [] });
        issue(unit);
      },
      ['insert_grant', 'update_grant'],
    ],
    [
      'it is issued on other terms',
      (unit) => {
        unit.insertGrant(approved);
        unit.updateGrant({ expected: 'approved', next: { ...grant, resourceRef: 'github:repo:acme/crown-jewels' } });
      },
      ['insert_grant', 'update_grant'],
    ],
    [
      'it is revoked and not issued',
      (unit) => {
        unit.insertGrant(approved);
        unit.updateGrant({ expected: 'approved', next: endGrant(approved, 'revoked', after(1), 'stop') });
      },
      ['insert_grant', 'update_grant'],
    ],
    [
      'it changes twice',
      (unit) => {
        unit.insertGrant(approved);
        issue(unit);
        unit.updateGrant({ expected: 'issued', next: { ...grant, state: 'used' } });
      },
      ['insert_grant', 'update_grant'],
    ],
    [
      'the room is another session’s',
      (unit) => {
        unit.requireRoomForGrant({ ...room, sessionId: aSession().id });
        unit.insertGrant(approved);
      },
      ['require_room_for_grant', 'insert_grant'],
    ],
    [
      'the room was required before something else',
      (unit) => {
        unit.requireRoomForGrant(room);
        unit.insertSession(session);
        unit.insertGrant(approved);
      },
      ['require_room_for_grant', 'insert_session', 'insert_grant'],
    ],
    [
      'the room is for two',
      (unit) => {
        unit.requireRoomForGrant(room);
        unit.insertGrant(approved);
        unit.insertGrant(aGrant(session));
      },
      ['insert_grant', 'insert_grant'],
    ],
  ])('is written step by step when %s', (_, stage, changes) => {
    expect(changesOf(stage)).toEqual(changes);
  });
});

describe('what is staged together', () => {
  it('asks for a state at the moment at which it stands', async () => {
    const repository = await open();
    const session = await givenSession(repository);
    const approved = aGrant(session);
    const { tenantId, sessionId, id: grantId } = approved;
    const attempt = repository.transact((unit) => {
      unit.insertGrant(approved);
      unit.requireIssuedGrant({ tenantId, sessionId, grantId, orExpired: false });
      unit.updateGrant({ expected: 'approved', next: issueGrant(approved, anArtifactId(), after(1)) });
    });
    await expect(attempt).rejects.toMatchObject({ code: 'conflict', message: 'grant is not issued any more' });
  });

  it('has no artifact of a new grant that has ended with its session, and none that is for another session', async () => {
    const repository = await open();
    const [session, other] = [await givenSession(repository), await givenSession(repository)];
    const approved = aGrant(session);
    const { tenantId, sessionId } = approved;
    const attempts: ((unit: UnitOfWork) => void)[] = [
      (unit) => {
        unit.insertGrant(approved);
        unit.endGrantsOfSession({ tenantId, sessionId, state: 'revoked', at: after(2), reason: 'stop', events: () => [] });
        unit.insertArtifact(anArtifact(approved));
      },
      (unit) => {
        unit.insertGrant(approved);
        unit.insertArtifact(anArtifact(approved, { sessionId: other.id }));
      },
      (unit) => {
        unit.insertGrant(approved);
        unit.insertArtifact(aWrappedSecret(approved, { tenantId: OTHER_TENANT }));
      },
    ];
    for (const attempt of attempts) {
      await expect(repository.transact(attempt)).rejects.toMatchObject({
        code: 'conflict',
        message: 'grant is not open any more',
      });
      expect(await repository.findGrant(tenantId, approved.id)).toBeNull();
    }
  });

  it('stays as it was staged, whatever becomes of the values afterwards', async () => {
    const repository = await open();
    const session = aSession();
    const approved = aGrant(session);
    const grant = issueGrant(approved, anArtifactId(), after(1));
    const artifact = anArtifact(grant);
    const event = anEvent({ details: { tools: ['github'] } });
    const kept = structuredClone({ session, grant, artifact });
    await repository.transact((unit) => {
      unit.insertSession(session);
      unit.insertGrant(approved);
      unit.updateGrant({ expected: 'approved', next: grant });
      unit.insertArtifact(artifact);
      unit.record(event);
      spoil([session, approved, grant, artifact]);
    });
    expect(await repository.findByHandle(kept.artifact.handleHash)).toEqual(kept);
  });

  it('keeps the order of its events, those of ended grants among them, whatever each of them has', async () => {
    const repository = await open();
    const session = await givenSession(repository);
    const { grant } = await givenPendingGrant(repository, session);
    const { tenantId, id: sessionId } = session;
    const subject = { tenantId, sessionId };
    const full = anEvent({
      type: 'grant.refused',
      subject: { ...subject, grantId: grant.id },
      code: 'forbidden',
      reason: 'run_revoked',
      revision: 'f'.repeat(64),
      details: { first: true },
    });
    const bare = anEvent({ type: 'session.revoked', at: after(3), requestId: 'req_2', subject: { tenantId: OTHER_TENANT } });
    const ofGrant = anEvent({ type: 'grant.expired', subject, details: { size: 1 } });
    const last = anEvent({ type: 'proxy.failed', code: 'forbidden', details: { first: true } });
    for (const before of [
      [full, bare],
      [bare, full],
    ]) {
      await database.empty();
      await repository.transact((unit) => unit.insertSession(session));
      await repository.transact((unit) => unit.insertGrant(aGrant(session)));
      await repository.transact((unit) => {
        for (const event of before) unit.record(event);
        unit.endGrantsOfSession({ ...subject, state: 'expired', at: after(4), reason: 'x', events: () => [ofGrant] });
        unit.record(last);
      });
      expect(await recordedEvents(await database.pool())).toEqual([...before, ofGrant, last]);
    }
  });
});

/** Changes everything that can be reached from a value. */
function spoil(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  if (value instanceof Date) return void value.setTime(0);
  for (const inner of Object.values(value)) spoil(inner);
  if (Array.isArray(value)) return void value.push('spoilt');
  for (const key of Object.keys(value)) Reflect.set(value, key, 'spoilt');
}

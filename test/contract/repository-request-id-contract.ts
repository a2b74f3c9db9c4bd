import { describe, expect, it } from 'vitest';
import { endGrant } from '../../src/domain/grant.ts';
import { aGrant, aPendingGrant, aSession, aSessionId, after, OTHER_TENANT } from '../support/entities.ts';
import { eachWithRepository, givenSession, type OpenRepository, winnersOf } from './repository-under-test.ts';

/** What every repository must do with the ids that sessions give to their requests. */
export function repositoryRequestIdContract(open: OpenRepository): void {
  describe('a request id', () => {
    const under = eachWithRepository(open);

    it('finds the grant that its session asked for under it, in whatever state', async () => {
      const { repository } = under.current;
      const session = await givenSession(repository);
      const { tenantId, id } = session;
      const [grant, other] = [aGrant(session, { requestId: 'one' }), aPendingGrant(session, { requestId: 'two' })];
      await repository.transact((unit) => [grant, other].forEach((made) => unit.insertGrant(made)));
      expect(await repository.findGrantByRequestId(tenantId, id, 'one')).toEqual(grant);
      expect(await repository.findGrantByRequestId(tenantId, id, 'two')).toEqual(other);
      const ended = endGrant(grant, 'revoked', after(5), 'done');
      await repository.transact((unit) => unit.updateGrant({ expected: 'approved', next: ended }));
      expect(await repository.findGrantByRequestId(tenantId, id, 'one')).toEqual(ended);
      expect(await repository.findGrantByRequestId(tenantId, id, 'three')).toBeNull();
      expect(await repository.findGrantByRequestId(tenantId, aSessionId(), 'one')).toBeNull();
      expect(await repository.findGrantByRequestId(OTHER_TENANT, id, 'one')).toBeNull();
    });

    it('stands for one grant, also when that has ended', async () => {
      const { repository } = under.current;
      const session = await givenSession(repository);
      const grant = aGrant(session, { requestId: 'one' });
      const next = endGrant(grant, 'revoked', after(5), 'done');
      const again = aGrant(session, { requestId: 'one' });
      const attempt = () => repository.transact((unit) => unit.insertGrant(again));
      await repository.transact((unit) => unit.insertGrant(grant));
      await expect(attempt()).rejects.toMatchObject({ code: 'conflict' });
      await repository.transact((unit) => unit.updateGrant({ expected: 'approved', next }));
      await expect(attempt()).rejects.toMatchObject({ code: 'conflict' });
      expect(await repository.findGrant(session.tenantId, again.id)).toBeNull();
      expect(await repository.findGrantByRequestId(session.tenantId, session.id, 'one')).toEqual(next);
    });

    it('stands for one grant within a unit', async () => {
      const { repository } = under.current;
      const session = aSession();
      const attempt = repository.transact((unit) => {
        unit.insertSession(session);
        unit.insertGrant(aGrant(session, { requestId: 'one' }));
        unit.insertGrant(aGrant(session, { requestId: 'one' }));
      });
      await expect(attempt).rejects.toMatchObject({ code: 'conflict' });
      expect(await repository.findGrantByRequestId(session.tenantId, session.id, 'one')).toBeNull();
    });

    it('is given to one of twenty grants that ask for it at once', async () => {
      const { repository } = under.current;
      const session = await givenSession(repository);
      const grants = Array.from({ length: 20 }, () => aGrant(session, { requestId: 'one' }));
      const winners = await winnersOf(grants.map((grant) => repository.transact((unit) => unit.insertGrant(grant))));
      expect(winners).toHaveLength(1);
      const found = await repository.findGrantByRequestId(session.tenantId, session.id, 'one');
      expect(found).toEqual(grants[winners[0] ?? -1]);
    });

    it('is its session’s own, and grants without one are never the same', async () => {
      const { repository } = under.current;
      const sessions = [aSession(), aSession(), aSession({ tenantId: OTHER_TENANT })];
      const grants = sessions.map((session) => aGrant(session, { requestId: 'one' }));
      await repository.transact((unit) => {
        sessions.forEach((session) => unit.insertSession(session));
        grants.forEach((grant) => unit.insertGrant(grant));
        for (let made = 0; made < 3; made += 1) sessions.forEach((session) => unit.insertGrant(aGrant(session)));
      });
      for (const grant of grants) {
        expect(await repository.findGrantByRequestId(grant.tenantId, grant.sessionId, 'one')).toEqual(grant);
      }
    });

    it('is taken as it is written', async () => {
      const { repository } = under.current;
      const session = await givenSession(repository);
      const ids = ['One', 'one', ' one', 'one ', 'o%e', 'o_e', '"', '\\', '","', "'; --", 'é', 'e\u0301', '💥', ''];
      const grants = ids.map((requestId) => aGrant(session, { requestId }));
      await repository.transact((unit) => grants.forEach((grant) => unit.insertGrant(grant)));
      for (const [index, requestId] of ids.entries()) {
        expect(await repository.findGrantByRequestId(session.tenantId, session.id, requestId)).toEqual(grants[index]);
      }
    });

    it('may be used again when its grant is forgotten', async () => {
      const { repository } = under.current;
      const session = await givenSession(repository);
      const [grant, again] = [aGrant(session, { requestId: 'one' }), aGrant(session, { requestId: 'one' })];
      const next = endGrant(grant, 'revoked', after(5), 'done');
      await repository.transact((unit) => {
        unit.insertGrant(grant);
        unit.updateGrant({ expected: 'approved', next });
      });
      await repository.forgetEnded(after(6), 10);
      expect(await repository.findGrantByRequestId(session.tenantId, session.id, 'one')).toBeNull();
      await repository.transact((unit) => unit.insertGrant(again));
      expect(await repository.findGrantByRequestId(session.tenantId, session.id, 'one')).toEqual(again);
    });
  });
}

import { describe, expect, it } from 'vitest';
import { decideApproval } from '../../src/domain/approval.ts';
import { approveGrant, endGrant, type EndedGrant, type Grant, issueGrant, type LiveGrant } from '../../src/domain/grant.ts';
import type { Repository } from '../../src/domain/repository.ts';
import { type ActiveSession, endSession } from '../../src/domain/session.ts';
import type { UnitOfWork } from '../../src/domain/unit-of-work.ts';
import {
  aGrant,
  aGrantId,
  anApprovalId,
  anArtifactId,
  anEvent,
  aSession,
  aSessionId,
  aWord,
  after,
  OTHER_TENANT,
} from '../support/entities.ts';
import {
  eachWithRepository,
  givenIssuedGrant,
  givenPendingGrant,
  givenSession,
  type OpenRepository,
  winnersOf,
} from './repository-under-test.ts';

/** What every repository must check for a caller at the moment at which its unit commits. */
export function repositoryRequirementsContract(open: OpenRepository): void {
  issuedGrants(open);
  standingApprovals(open);
}

type IssuedQuestion = Parameters<UnitOfWork['requireIssuedGrant']>[0];
type Given = Awaited<ReturnType<typeof givenIssuedGrant>>;
type GrantOf = Pick<Grant, 'tenantId' | 'sessionId' | 'id'>;

const of = ({ tenantId, sessionId, id: grantId }: GrantOf): IssuedQuestion => {
  return { tenantId, sessionId, grantId, orExpired: false };
};
const revoke = (unit: UnitOfWork, grant: LiveGrant): void =>
  unit.updateGrant({ expected: grant.state, next: endGrant(grant, 'revoked', after(2), 'stop') });
const stop = (unit: UnitOfWork, session: ActiveSession): void =>
  unit.updateSession({ expected: 'active', next: endSession(session, 'revoked', after(2), 'stop') });

/** Brings a state about and answers whom to ask for. */
type Setting = (repository: Repository, given: Given) => Promise<IssuedQuestion> | IssuedQuestion;

const moved = async (repository: Repository, { grant }: Given, next: Grant): Promise<IssuedQuestion> => {
  await repository.transact((unit) => unit.updateGrant({ expected: 'issued', next }));
  return of(grant);
};

const notIssued: [string, Setting][] = [
  ['pending', async (repository, { session }) => of((await givenPendingGrant(repository, session)).grant)],
  [
    'approved and no more',
    async (repository, { session }) => {
      const approved = aGrant(session);
      await repository.transact((unit) => unit.insertGrant(approved));
      return of(approved);
    },
  ],
  ['delivered', (repository, given) => moved(repository, given, { ...given.grant, state: 'delivered' })],
  ['used', (repository, given) => moved(repository, given, { ...given.grant, state: 'used' })],
  ['revoked', (repository, given) => moved(repository, given, endGrant(given.grant, 'revoked', after(2), 'stop'))],
  ['expired', (repository, given) => moved(repository, given, endGrant(given.grant, 'expired', after(2), 'late'))],
  ['not there', (_, { grant }) => ({ ...of(grant), grantId: aGrantId() })],
  ["another session's", async (repository, { grant }) => ({ ...of(grant), sessionId: (await givenSession(repository)).id })],
  ['of a session that is not there', (_, { grant }) => ({ ...of(grant), sessionId: aSessionId() })],
  ["another tenant's", (_, { grant }) => ({ ...of(grant), tenantId: OTHER_TENANT })],
  [
    'of a session that has ended, though nobody ended the grant',
    async (repository, { session, grant }) => {
      await repository.transact((unit) => stop(unit, session));
      return of(grant);
    },
  ],
];

function issuedGrants(open: OpenRepository): void {
  describe('a unit that requires an issued grant', () => {
    const under = eachWithRepository(open);

    it('commits while the grant is issued and its session active', async () => {
      const { repository, events } = under.current;
      const { grant } = await givenIssuedGrant(repository);
      const event = anEvent();
      await repository.transact((unit) => {
        unit.requireIssuedGrant(of(grant));
        unit.record(event);
      });
      expect(await events()).toEqual([event]);
      expect(await repository.findGrant(grant.tenantId, grant.id)).toEqual(grant);
    });

    it.each(notIssued)('is a conflict, and leaves nothing, when the grant is %s', async (_, setting) => {
      const { repository, events } = under.current;
      const question = await setting(repository, await givenIssuedGrant(repository));
      const late = aSession();
      const attempt = repository.transact((unit) => {
        unit.insertSession(late);
        unit.record(anEvent());
        unit.requireIssuedGrant(question);
      });
      await expect(attempt).rejects.toMatchObject({ code: 'conflict' });
      expect(await repository.findSession(late.tenantId, late.id)).toBeNull();
      expect(await events()).toEqual([]);
    });

    it('passes one that ended by its time, with its session too, where that may be', async () => {
      const { repository } = under.current;
      const given = await givenIssuedGrant(repository);
      const question = { ...of(given.grant), orExpired: true };
      const ask = () => repository.transact((unit) => unit.requireIssuedGrant(question));
      await moved(repository, given, endGrant(given.grant, 'expired', after(2), 'late'));
      await expect(ask()).resolves.toBeUndefined();
      await repository.transact((unit) =>
        unit.updateSession({ expected: 'active', next: endSession(given.session, 'expired', after(3), 'late') }),
      );
      await expect(ask()).resolves.toBeUndefined();
    });

    it('never passes one that was revoked, or whose session was', async () => {
      const { repository } = under.current;
      const [one, other] = [await givenIssuedGrant(repository), await givenIssuedGrant(repository)];
      await moved(repository, one, endGrant(one.grant, 'revoked', after(2), 'stop'));
      await repository.transact((unit) => stop(unit, other.session));
      for (const { grant } of [one, other]) {
        const question = { ...of(grant), orExpired: true };
        const attempt = repository.transact((unit) => unit.requireIssuedGrant(question));
        await expect(attempt).rejects.toMatchObject({ code: 'conflict' });
      }
    });

    it('takes one that the same unit has issued', async () => {
      const { repository } = under.current;
      const session = aSession();
      const approved = aGrant(session);
      const attempt = repository.transact((unit) => {
        unit.insertSession(session);
        unit.insertGrant(approved);
        unit.updateGrant({ expected: 'approved', next: issueGrant(approved, anArtifactId(), after(1)) });
        unit.requireIssuedGrant(of(approved));
      });
      await expect(attempt).resolves.toBeUndefined();
    });

    it.each<[string, (unit: UnitOfWork, given: Given) => void]>([
      ['the grant', (unit, { grant }) => revoke(unit, grant)],
      ['the session', (unit, { session }) => stop(unit, session)],
    ])('is a conflict when the same unit has ended %s before', async (_, end) => {
      const { repository } = under.current;
      const given = await givenIssuedGrant(repository);
      const attempt = repository.transact((unit) => {
        end(unit, given);
        unit.requireIssuedGrant(of(given.grant));
      });
      await expect(attempt).rejects.toMatchObject({ code: 'conflict' });
      expect(await repository.findByHandle(given.artifact.handleHash)).toMatchObject({
        session: { state: 'active' },
        grant: { state: 'issued' },
      });
    });

    it.each<[string, (unit: UnitOfWork, given: Given) => void]>([
      ['the grant', (unit, { grant }) => revoke(unit, grant)],
      ['the session', (unit, { session }) => stop(unit, session)],
    ])('never commits after the end of %s, however many race it', async (_, end) => {
      const { repository, events } = under.current;
      const given = await givenIssuedGrant(repository);
      const requiring = Array.from(
        { length: 20 },
        (_, index) => () =>
          repository.transact((unit) => {
            unit.requireIssuedGrant(of(given.grant));
            unit.record(anEvent({ type: 'proxy.requested', requestId: `call ${index}` }));
          }),
      );
      const ending = () =>
        repository.transact((unit) => {
          end(unit, given);
          unit.record(anEvent({ type: 'grant.revoked', requestId: 'end' }));
        });
      const attempts = [...requiring.slice(0, 10), ending, ...requiring.slice(10)];
      const winners = await winnersOf(attempts.map((attempt) => attempt()));
      expect(winners).toContain(10);
      const recorded = (await events()).map(({ requestId }) => requestId);
      expect(recorded).toHaveLength(winners.length);
      expect(recorded.at(-1)).toBe('end');
      await expect(requiring[0]?.()).rejects.toMatchObject({ code: 'conflict' });
    });
  });
}

/** A yes that has been given, with the grant that it was given for, and whom to ask for. */
async function givenYes(repository: Repository, session: ActiveSession) {
  const { grant: pending, approval } = await givenPendingGrant(repository, session);
  const grant = issueGrant(approveGrant(pending, after(610)), anArtifactId(), after(10));
  await repository.transact((unit) => {
    unit.updateApproval({ expected: 'pending', expectedDecisions: 0, next: decideApproval(approval, aWord('alice')) });
    unit.updateGrant({ expected: 'pending', next: approveGrant(pending, after(610)) });
    unit.updateGrant({ expected: 'approved', next: grant });
  });
  const { tenantId, id: sessionId } = session;
  return { session, grant, approval, question: { tenantId, sessionId, approvalId: approval.id } };
}

type Yes = Awaited<ReturnType<typeof givenYes>>;

/** A grant that the same yes has allowed once more. */
async function givenReuse(repository: Repository, { session, approval }: Yes) {
  const reused = aGrant(session, { approvalId: approval.id });
  await repository.transact((unit) => unit.insertGrant(reused));
  return reused;
}

const end = (repository: Repository, grant: Grant, state: EndedGrant['state']): Promise<void> =>
  repository.transact((unit) =>
    unit.updateGrant({ expected: grant.state, next: endGrant(grant, state, after(20), 'over') }),
  );

const takenBack: [string, (repository: Repository, yes: Yes) => Promise<unknown>][] = [
  ['the grant that it was given for', (repository, { grant }) => end(repository, grant, 'revoked')],
  [
    'a grant that it allowed again',
    async (repository, yes) => end(repository, await givenReuse(repository, yes), 'revoked'),
  ],
  [
    'one of three that it allowed, and the newest is open',
    async (repository, yes) => {
      const second = await givenReuse(repository, yes);
      await givenReuse(repository, yes);
      await end(repository, second, 'revoked');
    },
  ],
  [
    'all that its session had',
    (repository, { session: { tenantId, id: sessionId } }) =>
      repository.transact((unit) =>
        unit.endGrantsOfSession({ tenantId, sessionId, state: 'revoked', at: after(20), reason: 'stop', events: () => [] }),
      ),
  ],
];

const standing: [string, (repository: Repository, yes: Yes) => Promise<unknown>][] = [
  ['its grants are open', givenReuse],
  ['its grant has expired', (repository, { grant }) => end(repository, grant, 'expired')],
  [
    'a grant of another approval of the session was revoked',
    async (repository, { session }) => end(repository, (await givenYes(repository, session)).grant, 'revoked'),
  ],
  [
    'a grant of the session that needed no approval was revoked',
    async (repository, { session }) => {
      const unasked = aGrant(session);
      await repository.transact((unit) => unit.insertGrant(unasked));
      await end(repository, unasked, 'revoked');
    },
  ],
  [
    'a grant of another session that names it was revoked',
    async (repository, { approval }) => {
      const session = await givenSession(repository);
      const strange = aGrant(session, { approvalId: approval.id });
      await repository.transact((unit) => unit.insertGrant(strange));
      await end(repository, strange, 'revoked');
    },
  ],
  [
    'a grant of another tenant that names it was revoked',
    async (repository, { approval }) => {
      const session = await givenSession(repository, aSession({ tenantId: OTHER_TENANT }));
      const strange = aGrant(session, { approvalId: approval.id });
      await repository.transact((unit) => unit.insertGrant(strange));
      await end(repository, strange, 'revoked');
    },
  ],
];

function standingApprovals(open: OpenRepository): void {
  describe('a unit that requires a standing approval', () => {
    const under = eachWithRepository(open);
    const givenAYes = async () => {
      const { repository } = under.current;
      return givenYes(repository, await givenSession(repository));
    };

    it.each(takenBack)('is a conflict, and leaves nothing, after the revocation of %s', async (_, takeBack) => {
      const { repository, events } = under.current;
      const yes = await givenAYes();
      await takeBack(repository, yes);
      const late = aGrant(yes.session, { approvalId: yes.approval.id });
      const attempt = repository.transact((unit) => {
        unit.insertGrant(late);
        unit.record(anEvent());
        unit.requireStandingApproval(yes.question);
      });
      await expect(attempt).rejects.toMatchObject({ code: 'conflict' });
      expect(await repository.findGrant(late.tenantId, late.id)).toBeNull();
      expect(await events()).toEqual([]);
    });

    it.each(standing)('commits when %s', async (_, prepare) => {
      const { repository, events } = under.current;
      const yes = await givenAYes();
      await prepare(repository, yes);
      await repository.transact((unit) => {
        unit.requireStandingApproval(yes.question);
        unit.record(anEvent());
      });
      expect(await events()).toHaveLength(1);
    });

    it('counts a denied grant as no revocation', async () => {
      const { repository } = under.current;
      const session = await givenSession(repository);
      const { grant, approval } = await givenPendingGrant(repository, session);
      await end(repository, grant, 'denied');
      const { tenantId, id: sessionId } = session;
      const question = { tenantId, sessionId, approvalId: approval.id };
      await expect(repository.transact((unit) => unit.requireStandingApproval(question))).resolves.toBeUndefined();
    });

    it('asks for one tenant, session and approval alone', async () => {
      const { repository } = under.current;
      const yes = await givenAYes();
      await end(repository, yes.grant, 'revoked');
      const other = await givenSession(repository);
      for (const change of [{ tenantId: OTHER_TENANT }, { sessionId: other.id }, { approvalId: anApprovalId() }]) {
        const question = { ...yes.question, ...change };
        await expect(repository.transact((unit) => unit.requireStandingApproval(question))).resolves.toBeUndefined();
      }
    });

    it('is a conflict when the same unit has revoked before', async () => {
      const { repository } = under.current;
      const { grant, question } = await givenAYes();
      const attempt = repository.transact((unit) => {
        revoke(unit, grant);
        unit.requireStandingApproval(question);
      });
      await expect(attempt).rejects.toMatchObject({ code: 'conflict' });
      expect(await repository.findGrant(grant.tenantId, grant.id)).toEqual(grant);
    });

    it('is a conflict for as long as the session goes on, whatever the cleanup has forgotten by then', async () => {
      const { repository } = under.current;
      const { grant, question } = await givenAYes();
      await end(repository, grant, 'revoked');
      await repository.forgetEnded(after(1e6), 1000);
      await expect(repository.transact((unit) => unit.requireStandingApproval(question))).rejects.toMatchObject({
        code: 'conflict',
      });
    });

    it('never lets a grant in after the revocation, however many race it', async () => {
      const { repository, events } = under.current;
      const yes = await givenAYes();
      const reusing = Array.from(
        { length: 20 },
        (_, index) => () =>
          repository.transact((unit) => {
            unit.insertGrant(aGrant(yes.session, { approvalId: yes.approval.id }));
            unit.requireStandingApproval(yes.question);
            unit.record(anEvent({ type: 'approval.reused', requestId: `again ${index}` }));
          }),
      );
      const revoking = () =>
        repository.transact((unit) => {
          revoke(unit, yes.grant);
          unit.record(anEvent({ type: 'grant.revoked', requestId: 'revoked' }));
        });
      const attempts = [...reusing.slice(0, 10), revoking, ...reusing.slice(10)];
      const winners = await winnersOf(attempts.map((attempt) => attempt()));
      expect(winners).toContain(10);
      const recorded = (await events()).map(({ requestId }) => requestId);
      expect(recorded).toHaveLength(winners.length);
      expect(recorded.at(-1)).toBe('revoked');
      const { rows } = await repository.listGrants(yes.question.tenantId, {}, { limit: 100, after: null });
      expect(rows).toHaveLength(winners.length);
    });
  });
}

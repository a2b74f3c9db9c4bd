import { describe, expect, it } from 'vitest';
import type { EndedNotification, WaitingNotification } from '../../src/domain/notification.ts';
import type { UnitOfWork } from '../../src/domain/unit-of-work.ts';
import { anApprovalId, aNotification, aNotificationId, after, OTHER_TENANT, TENANT } from '../support/entities.ts';
import {
  eachWithRepository,
  givenPendingGrant,
  givenSession,
  type OpenRepository,
  winnersOf,
} from './repository-under-test.ts';

const APPROVAL = { id: anApprovalId(), tenantId: TENANT, expiresAt: after(300) };

const delivered = (sent: WaitingNotification, seconds = 10): EndedNotification => {
  const { nextAttemptAt: _, ...terms } = sent;
  return { ...terms, state: 'delivered', attempts: sent.attempts + 1, endedAt: after(seconds) };
};
const failed = (sent: WaitingNotification, nextAttemptAt = after(60)): WaitingNotification => ({
  ...sent,
  attempts: sent.attempts + 1,
  nextAttemptAt,
  lastError: 'the receiver answered 503',
});
const tell = (unit: UnitOfWork, sent: WaitingNotification, next: WaitingNotification | EndedNotification): void =>
  unit.updateNotification({ expectedAttempts: sent.attempts, next });

const conflicts: { name: string; stage: (unit: UnitOfWork, given: WaitingNotification) => void }[] = [
  {
    name: 'a notification id is taken',
    stage: (unit, { id }) => unit.insertNotification(aNotification(APPROVAL, { id })),
  },
  {
    name: 'a notification id is taken by another tenant',
    stage: (unit, { id }) => unit.insertNotification(aNotification(APPROVAL, { id, tenantId: OTHER_TENANT })),
  },
  {
    name: 'a notification is not there',
    stage: (unit, given) => tell(unit, given, delivered({ ...given, id: aNotificationId() })),
  },
  {
    name: "a notification is another tenant's",
    stage: (unit, given) => tell(unit, given, delivered({ ...given, tenantId: OTHER_TENANT })),
  },
  {
    name: 'a notification was tried meanwhile',
    stage: (unit, given) => {
      tell(unit, given, failed(given));
      tell(unit, given, delivered(given));
    },
  },
  {
    name: 'a notification was delivered meanwhile',
    stage: (unit, given) => {
      const sent = delivered(given);
      tell(unit, given, sent);
      unit.updateNotification({ expectedAttempts: sent.attempts, next: { ...sent, state: 'given_up' } });
    },
  },
];

const mistakes: [string, Partial<WaitingNotification>][] = [
  ['to another receiver', { receiver: 'elsewhere' }],
  ['about another approval', { approvalId: anApprovalId() }],
  ['that is wanted for longer', { expiresAt: after(1e6) }],
];

/** What every repository must do with the messages that wait to be sent. */
export function repositoryOutboxContract(open: OpenRepository): void {
  describe('a notification', () => {
    const under = eachWithRepository(open);
    const given = async (overrides: Partial<WaitingNotification> = {}): Promise<WaitingNotification> => {
      const notification = aNotification(APPROVAL, overrides);
      await under.current.repository.transact((unit) => unit.insertNotification(notification));
      return notification;
    };

    it('is found when it is due, the one that waits longest first, and no more than asked for', async () => {
      const { repository } = under.current;
      const dues = [50, 10, 40, 20, 30, 60];
      for (const due of dues) await given({ nextAttemptAt: after(due), tenantId: due === 20 ? OTHER_TENANT : TENANT });
      const find = async (now: Date, limit: number) =>
        (await repository.findDueNotifications(now, limit, [])).map(({ nextAttemptAt }) => nextAttemptAt);
      expect(await find(after(9.999), 10)).toEqual([]);
      expect(await find(after(10), 10)).toEqual([after(10)]);
      expect(await find(after(50), 3)).toEqual([after(10), after(20), after(30)]);
      expect(await find(after(50), 10)).toEqual([10, 20, 30, 40, 50].map(after));
    });

    it('is found among those of all receivers, the one that waits longest first', async () => {
      const { repository } = under.current;
      const [late, early, middle] = [
        await given({ receiver: 'oncall', nextAttemptAt: after(30) }),
        await given({ receiver: 'chat', nextAttemptAt: after(10) }),
        await given({ receiver: 'oncall', nextAttemptAt: after(20) }),
      ];
      expect(await repository.findDueNotifications(after(30), 10, [])).toEqual([early, middle, late]);
      expect(await repository.findDueNotifications(after(30), 2, [])).toEqual([early, middle]);
      expect(await repository.findDueNotifications(after(30), 10, ['chat'])).toEqual([middle, late]);
      expect(await repository.findDueNotifications(after(30), 10, ['oncall'])).toEqual([early]);
      expect(await repository.findDueNotifications(after(30), 10, ['oncall', 'chat', 'nobody'])).toEqual([]);
    });

    it('is not hidden by 300 older ones of a receiver that is busy', async () => {
      const { repository } = under.current;
      await repository.transact((unit) => {
        for (let made = 0; made < 300; made += 1) unit.insertNotification(aNotification(APPROVAL, { receiver: 'slow' }));
      });
      const other = await given({ receiver: 'chat', nextAttemptAt: after(5) });
      expect(await repository.findDueNotifications(after(5), 100, ['slow'])).toEqual([other]);
      expect(await repository.findDueNotifications(after(5), 1, ['slow'])).toEqual([other]);
      expect(await repository.findDueNotifications(after(5), 100, [])).toHaveLength(100);
    });

    it.each(['ONCALL', 'on', 'oncall ', 'oncall%', '%', '_', "oncall' OR 'a'='a", ''])(
      'is found while a receiver called %j is busy',
      async (busy) => {
        const sent = await given({ receiver: 'oncall' });
        expect(await under.current.repository.findDueNotifications(after(5), 10, [busy])).toEqual([sent]);
      },
    );

    it('comes back with all that is known of it when it failed, and not before its time', async () => {
      const { repository } = under.current;
      const first = await given();
      const second = failed(first);
      expect(await repository.findDueNotifications(after(5), 10, [])).toEqual([first]);
      await repository.transact((unit) => tell(unit, first, second));
      expect(await repository.findDueNotifications(after(59), 10, [])).toEqual([]);
      expect(await repository.findDueNotifications(after(60), 10, [])).toEqual([second]);
    });

    it.each(['delivered', 'given_up'] as const)('that was %s is not found any more', async (state) => {
      const { repository } = under.current;
      const [sent, other] = [await given(), await given()];
      await repository.transact((unit) => tell(unit, sent, { ...delivered(sent), state }));
      expect(await repository.findDueNotifications(after(1e6), 10, [])).toEqual([other]);
    });

    it('is told of by one of twenty who tried it at once', async () => {
      const { repository } = under.current;
      const sent = await given();
      const attempts = Array.from({ length: 20 }, (_, index) =>
        repository.transact((unit) => tell(unit, sent, failed(sent, after(60 + index)))),
      );
      const [winner = -1, ...more] = await winnersOf(attempts);
      expect(more).toEqual([]);
      expect(await repository.findDueNotifications(after(1e6), 10, [])).toEqual([failed(sent, after(60 + winner))]);
    });

    it.each(conflicts)('is a conflict when $name', async ({ stage }) => {
      const { repository } = under.current;
      const sent = await given();
      await expect(repository.transact((unit) => stage(unit, sent))).rejects.toMatchObject({ code: 'conflict' });
      expect(await repository.findDueNotifications(after(1e6), 10, [])).toEqual([sent]);
    });

    it.each(mistakes)('is never changed into one %s, which is no lost race', async (_, change) => {
      const { repository } = under.current;
      const sent = await given();
      const failure: unknown = await repository
        .transact((unit) => tell(unit, sent, { ...failed(sent), ...change }))
        .catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(Error);
      expect(failure).not.toHaveProperty('code', 'conflict');
      expect(await repository.findDueNotifications(after(1e6), 10, [])).toEqual([sent]);
    });

    it('is there when its approval is, and not when that was refused', async () => {
      const { repository } = under.current;
      const session = await givenSession(repository);
      const { grant, approval } = await givenPendingGrant(repository, session);
      const attempt = repository.transact((unit) => {
        unit.insertNotification(aNotification(approval));
        unit.insertApproval({ ...approval, grantId: grant.id });
      });
      await expect(attempt).rejects.toMatchObject({ code: 'conflict' });
      expect(await repository.findDueNotifications(after(1e6), 10, [])).toEqual([]);
    });

    it('is forgotten long after it ended, and never while it waits', async () => {
      const { repository } = under.current;
      const [early, late, waiting] = [await given(), await given(), await given()];
      await repository.transact((unit) => {
        tell(unit, early, delivered(early, 10));
        tell(unit, late, delivered(late, 20));
      });
      expect(await repository.forgetEnded(after(10), 100)).toBe(0);
      expect(await repository.forgetEnded(after(20), 100)).toBe(1);
      expect(await repository.forgetEnded(after(1e6), 100)).toBe(1);
      expect(await repository.forgetEnded(after(1e6), 100)).toBe(0);
      expect(await repository.findDueNotifications(after(1e6), 10, [])).toEqual([waiting]);
    });
  });
}

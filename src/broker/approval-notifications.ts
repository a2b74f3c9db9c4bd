import type { IdSource } from '../domain/id-source.ts';
import type { Notifiers } from '../domain/notifier.ts';
import type { ApprovalNotifications } from './request-grant.ts';

export interface ApprovalNotificationsDeps {
  ids: IdSource;
  notifiers: Notifiers;
  /** Makes the outbox be looked at soon. */
  wake: () => void;
}

/** Puts one message for each receiver of the tenant into the outbox. Nothing is sent here, so nothing here can fail a grant. */
export function makeApprovalNotifications({ ids, notifiers, wake }: ApprovalNotificationsDeps): ApprovalNotifications {
  let staged = false;
  return {
    enqueue(unit, { id: approvalId, tenantId, expiresAt }, now) {
      for (const receiver of notifiers.receiversOf(tenantId)) {
        unit.insertNotification({
          id: ids.notificationId(),
          tenantId,
          approvalId,
          receiver,
          state: 'waiting',
          attempts: 0,
          nextAttemptAt: now,
          lastError: null,
          createdAt: now,
          expiresAt,
        });
        staged = true;
      }
    },

    wake() {
      if (!staged) return;
      staged = false;
      wake();
    },
  };
}

import type { ApprovalId, NotificationId, TenantId } from './ids.ts';

/** One message to one receiver about one approval, kept until it is delivered or given up. */
export interface NotificationTerms {
  id: NotificationId;
  tenantId: TenantId;
  approvalId: ApprovalId;
  /** Name of the configured receiver. */
  receiver: string;
  createdAt: Date;
  /** Nobody needs it after this. */
  expiresAt: Date;
}

export type WaitingNotification = NotificationTerms & {
  state: 'waiting';
  /** How often it was tried. */
  attempts: number;
  nextAttemptAt: Date;
  /** Why the last try failed, in words of ours; null before the first. */
  lastError: string | null;
};
export type EndedNotification = NotificationTerms & {
  state: 'delivered' | 'given_up';
  attempts: number;
  lastError: string | null;
  endedAt: Date;
};
export type Notification = WaitingNotification | EndedNotification;

/** Takes a notification for one more try; nobody else tries it before `leaseEnd`. */
export const claimNotification = (notification: WaitingNotification, leaseEnd: Date): WaitingNotification => ({
  ...notification,
  attempts: notification.attempts + 1,
  nextAttemptAt: leaseEnd,
});

/** Puts the next try off; after its end there is none. */
export function postponeNotification(
  notification: WaitingNotification,
  until: Date,
  lastError: string,
): WaitingNotification {
  // Due at its end at the latest, so that it is given up then.
  const nextAttemptAt = until < notification.expiresAt ? until : notification.expiresAt;
  return { ...notification, nextAttemptAt, lastError };
}

/** Ends a notification, for good. */
export function endNotification(
  { nextAttemptAt: _over, ...notification }: WaitingNotification,
  end: { state: EndedNotification['state']; endedAt: Date; lastError: string | null },
): EndedNotification {
  return { ...notification, ...end };
}

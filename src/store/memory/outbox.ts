import type { NotificationId } from '../../domain/ids.ts';
import type { Notification, WaitingNotification } from '../../domain/notification.ts';
import { TimeQueue } from './time-queue.ts';
import { TimeQueues } from './time-queues.ts';

/** The messages that wait to be sent, and for a while those that were. */
export class Outbox {
  readonly #notifications = new Map<NotificationId, Notification>();
  /** By receiver. */
  readonly #waiting = new TimeQueues<NotificationId>();
  readonly #ended = new TimeQueue<NotificationId>();

  get(id: NotificationId): Notification | undefined {
    return this.#notifications.get(id);
  }

  /** Waiting ones whose next attempt is due, oldest first, but for those of busy receivers. */
  due(now: Date, limit: number, busy: readonly string[]): WaitingNotification[] {
    const found: WaitingNotification[] = [];
    for (const id of this.#waiting.until(now, limit, busy)) {
      const notification = this.#notifications.get(id);
      if (notification?.state === 'waiting') found.push(notification);
    }
    return found;
  }

  put(notification: Notification): void {
    const { id, receiver } = notification;
    this.#notifications.set(id, notification);
    if (notification.state === 'waiting') {
      this.#waiting.put(receiver, id, notification.nextAttemptAt);
    } else {
      this.#waiting.remove(receiver, id);
      this.#ended.put(id, notification.endedAt);
    }
  }

  /** Drops up to `limit` that ended before `endedBefore`. Answers how many went. */
  forgetEnded(endedBefore: Date, limit: number): number {
    const ended = this.#ended.takeBefore(endedBefore, limit);
    for (const id of ended) this.#notifications.delete(id);
    return ended.length;
  }

  counts(): Readonly<Record<string, number>> {
    return {
      notifications: this.#notifications.size,
      waitingNotifications: this.#waiting.size,
      receiversWaitedFor: this.#waiting.groups,
      endedNotifications: this.#ended.size,
    };
  }
}

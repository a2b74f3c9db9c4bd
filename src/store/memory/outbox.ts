import type { NotificationId } from '../../domain/ids.ts';
import type { Notification, WaitingNotification } from '../../domain/notification.ts';
import { TimeQueue } from './time-queue.ts';

/** The messages that wait to be sent, and for a while those that were. */
export class Outbox {
  readonly #notifications = new Map<NotificationId, Notification>();
  readonly #waiting = new TimeQueue<NotificationId>();
  readonly #ended = new TimeQueue<NotificationId>();

  get(id: NotificationId): Notification | undefined {
    return this.#notifications.get(id);
  }

  /** Waiting ones whose next attempt is due, oldest first. */
  due(now: Date, limit: number): WaitingNotification[] {
    const found: WaitingNotification[] = [];
    for (const id of this.#waiting.until(now, limit)) {
      const notification = this.#notifications.get(id);
      if (notification?.state === 'waiting') found.push(notification);
    }
    return found;
  }

  put(notification: Notification): void {
    this.#notifications.set(notification.id, notification);
    if (notification.state === 'waiting') {
      this.#waiting.put(notification.id, notification.nextAttemptAt);
    } else {
      this.#waiting.remove(notification.id);
      this.#ended.put(notification.id, notification.endedAt);
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
      endedNotifications: this.#ended.size,
    };
  }
}

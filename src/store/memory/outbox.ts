import type { NotificationId } from '../../domain/ids.ts';
import type { EndedNotification, Notification, WaitingNotification } from '../../domain/notification.ts';
import { TimeQueue } from './time-queue.ts';

/** The messages that wait to be sent, and for a while those that were. */
export class Outbox {
  readonly #notifications = new Map<NotificationId, Notification>();
  // One for each receiver: many that wait for one of them must not hide the others'.
  readonly #waiting = new Map<string, TimeQueue<NotificationId>>();
  readonly #ended = new TimeQueue<NotificationId>();

  get(id: NotificationId): Notification | undefined {
    return this.#notifications.get(id);
  }

  /** Waiting ones whose next attempt is due, oldest first, but for those of busy receivers. */
  due(now: Date, limit: number, busy: readonly string[]): WaitingNotification[] {
    const found: WaitingNotification[] = [];
    for (const [receiver, waiting] of this.#waiting) {
      if (busy.includes(receiver)) continue;
      for (const id of waiting.until(now, limit)) {
        const notification = this.#notifications.get(id);
        if (notification?.state === 'waiting') found.push(notification);
      }
    }
    found.sort((one, other) => one.nextAttemptAt.getTime() - other.nextAttemptAt.getTime());
    return found.slice(0, limit);
  }

  put(notification: Notification): void {
    this.#notifications.set(notification.id, notification);
    if (notification.state === 'waiting') this.#wait(notification);
    else this.#end(notification);
  }

  #wait({ id, receiver, nextAttemptAt }: WaitingNotification): void {
    let waiting = this.#waiting.get(receiver);
    if (waiting === undefined) {
      waiting = new TimeQueue();
      this.#waiting.set(receiver, waiting);
    }
    waiting.put(id, nextAttemptAt);
  }

  #end({ id, receiver, endedAt }: EndedNotification): void {
    const waiting = this.#waiting.get(receiver);
    waiting?.remove(id);
    if (waiting?.size === 0) this.#waiting.delete(receiver);
    this.#ended.put(id, endedAt);
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
      waitingNotifications: [...this.#waiting.values()].reduce((sum, { size }) => sum + size, 0),
      receiversWaitedFor: this.#waiting.size,
      endedNotifications: this.#ended.size,
    };
  }
}

import type { PendingApproval } from './approval.ts';
import type { PendingGrant } from './grant.ts';
import type { NotificationId, TenantId } from './ids.ts';

/** What a receiver is told: an approval that waits, and all that it is about. */
export interface ApprovalNotice {
  /** The same at every try, so that the receiver can drop repeats. */
  id: NotificationId;
  receiver: string;
  approval: PendingApproval;
  grant: PendingGrant;
  /** Who asks: the subject of the session's workload. */
  workloadSubject: string;
}

/** How one try ended. `why` is in words of ours: it goes on record. */
export type SendResult =
  | { kind: 'delivered' }
  | {
      kind: 'failed';
      why: string;
      /** How long the receiver asked us to wait; null when it did not. */
      retryAfterSeconds: number | null;
      /** Whether others to the same receiver would fail as well now: it is away, hangs, or asks to be left alone. */
      receiverDown: boolean;
    }
  /** The receiver wants no more of this, ever. */
  | { kind: 'refused'; why: string };

/** The way to one receiver. */
export interface Notifier {
  /** Tries once, until the signal aborts. Rejects only for defects; what goes wrong on the way is a result. */
  send(notice: ApprovalNotice, signal: AbortSignal): Promise<SendResult>;
}

/** The receivers that are configured now. */
export interface Notifiers {
  /** Names of those who are told of a tenant's approvals. */
  receiversOf(tenantId: TenantId): readonly string[];
  /** Null when it is not, or no longer, one of that tenant's. */
  find(tenantId: TenantId, receiver: string): Notifier | null;
}

import type { Approval } from '../domain/approval.ts';
import {
  claimNotification,
  endNotification,
  type EndedNotification,
  postponeNotification,
  type WaitingNotification,
} from '../domain/notification.ts';
import type { ApprovalNotice, Notifier, Notifiers, SendResult } from '../domain/notifier.ts';
import type { ApprovalRepository, GrantRepository, OutboxRepository, SessionRepository } from '../domain/repository.ts';
import { approvalSubject, type AuditDeps, auditEvent, codeOf } from './audit-trail.ts';
import { backoffSeconds, secondsFrom } from './backoff.ts';
import { unlessLost } from './lost-race.ts';
import { withinTime } from './within-time.ts';

export interface SendNotificationsDeps extends AuditDeps {
  repository: AuditDeps['repository'] & OutboxRepository & ApprovalRepository & GrantRepository & SessionRepository;
  notifiers: Notifiers;
  /** Uniform, from 0 up to 1 and never 1. */
  random: () => number;
}

/** How many messages came to which end in a pass. */
export interface SendReport {
  delivered: number;
  retried: number;
  givenUp: number;
}

/** Sends what is due, `limit` messages at most. Once the signal aborts it takes up nothing new. */
export type SendNotifications = (limit: number, requestId: string, stop: AbortSignal) => Promise<SendReport>;

/** Receivers that are sent to at a time, by all passes of this process together. */
const MAX_LANES = 8;
const SEND_TIMEOUT_SECONDS = 10;
/** How long a claim lasts: a try and its two commits, with room. Whoever dies in between delays the message by as much. */
const LEASE_SECONDS = 30;
/** Approvals wait for minutes, so a receiver that comes back must be found soon. */
const BACKOFF = { firstSeconds: 2, maxSeconds: 60 };
/** What a receiver may ask for at most. */
const MAX_RETRY_AFTER_SECONDS = 120;

type Failure = Extract<SendResult, { kind: 'failed' }>;

const NO_ANSWER: Failure = {
  kind: 'failed',
  why: 'no answer in time',
  retryAfterSeconds: null,
  receiverDown: true,
};
const NOT_SENT: Failure = { kind: 'failed', why: 'could not be sent', retryAfterSeconds: null, receiverDown: false };

/** One pass, as each of its messages sees it. */
interface Pass {
  requestId: string;
  stop: AbortSignal;
  report: SendReport;
  failures: unknown[];
}

/**
 * Sends what waits in the outbox, each receiver's messages one after the other and the receivers side by side. Passes may
 * overlap: a receiver that another pass is busy with is left to it, so that one that hangs holds up nobody else. A message is
 * claimed before it is sent, so two workers do not send it twice unless one of them stops for longer than the claim lasts.
 * Rejects at its end with the first failure.
 */
export function sendNotifications(deps: SendNotificationsDeps): SendNotifications {
  const busy = new Set<string>();
  return async (limit, requestId, stop) => {
    const pass: Pass = { requestId, stop, report: { delivered: 0, retried: 0, givenUp: 0 }, failures: [] };
    const due = await deps.repository.findDueNotifications(deps.clock.now(), limit, [...busy]);
    const lanes: Promise<void>[] = [];
    for (const [receiver, messages] of Map.groupBy(due, (notification) => notification.receiver)) {
      if (busy.has(receiver) || busy.size >= MAX_LANES) continue;
      busy.add(receiver);
      lanes.push(sendInOrder(deps, pass, messages).finally(() => busy.delete(receiver)));
    }
    await Promise.all(lanes);
    if (pass.failures.length > 0) throw pass.failures[0];
    return pass.report;
  };
}

async function sendInOrder(
  deps: SendNotificationsDeps,
  pass: Pass,
  messages: readonly WaitingNotification[],
): Promise<void> {
  let down: Failure | null = null;
  for (const message of messages) {
    if (pass.stop.aborted) return;
    try {
      // The rest would only wait in line for the same failure, and keep other receivers' messages from being found.
      if (down !== null) await putOff(deps, pass, message, down);
      else down = await handle(deps, pass, message);
    } catch (error) {
      pass.failures.push(error);
    }
  }
}

/** Answers how the receiver failed when it is no use to send it anything more now. */
async function handle(deps: SendNotificationsDeps, pass: Pass, message: WaitingNotification): Promise<Failure | null> {
  const found = await lookUp(deps, message);
  if ('pointless' in found) {
    await end(deps, pass, message, found.approval, 'given_up', found.pointless);
    return null;
  }
  const leaseEnd = secondsFrom(deps.clock.now(), LEASE_SECONDS);
  const claimed = claimNotification(message, leaseEnd);
  const isOurs = await unlessLost(deps, (unit) =>
    unit.updateNotification({ expectedAttempts: message.attempts, next: claimed }),
  );
  if (!isOurs) return null;
  const result = await sendInTime(deps, pass, found.notifier, found.notice);
  if (result.kind === 'delivered') await end(deps, pass, claimed, found.notice.approval, 'delivered', null);
  else if (result.kind === 'refused') await end(deps, pass, claimed, found.notice.approval, 'given_up', result.why);
  else await putOff(deps, pass, claimed, result);
  return result.kind === 'failed' && result.receiverDown ? result : null;
}

type Found = { notifier: Notifier; notice: ApprovalNotice } | { pointless: string; approval: Approval | null };

/** What a message says and the way to its receiver, or why there is no point in sending it any more. */
async function lookUp(deps: SendNotificationsDeps, message: WaitingNotification): Promise<Found> {
  const { tenantId, approvalId, receiver } = message;
  const approval = await deps.repository.findApproval(tenantId, approvalId);
  if (approval === null) return { pointless: 'the approval is not there any more', approval };
  if (approval.state !== 'pending') return { pointless: `the approval is ${approval.state}`, approval };
  const now = deps.clock.now();
  if (now >= message.expiresAt || now >= approval.expiresAt) return { pointless: 'nobody decided in time', approval };
  const notifier = deps.notifiers.find(tenantId, receiver);
  if (notifier === null) return { pointless: 'the receiver is not configured any more', approval };
  const [grant, session] = await Promise.all([
    deps.repository.findGrant(tenantId, approval.grantId),
    deps.repository.findSession(tenantId, approval.sessionId),
  ]);
  if (grant?.state !== 'pending' || session?.state !== 'active') return { pointless: 'the request has ended', approval };
  return { notifier, notice: { id: message.id, receiver, approval, grant, workloadSubject: session.workload.subject } };
}

async function sendInTime(
  deps: SendNotificationsDeps,
  pass: Pass,
  notifier: Notifier,
  notice: ApprovalNotice,
): Promise<SendResult> {
  try {
    return await withinTime(deps.clock, SEND_TIMEOUT_SECONDS, NO_ANSWER.why, (signal) => notifier.send(notice, signal));
  } catch (error) {
    if (codeOf(error) === 'deadline_exceeded') return NO_ANSWER;
    pass.failures.push(error);
    return NOT_SENT;
  }
}

async function putOff(
  deps: SendNotificationsDeps,
  pass: Pass,
  message: WaitingNotification,
  { why, retryAfterSeconds }: Failure,
): Promise<void> {
  const asked = Math.min(retryAfterSeconds ?? 0, MAX_RETRY_AFTER_SECONDS);
  const delay = backoffSeconds(message.attempts, { ...BACKOFF, random: deps.random });
  const next = postponeNotification(message, secondsFrom(deps.clock.now(), Math.max(delay, asked)), why);
  const expectedAttempts = message.attempts;
  if (await unlessLost(deps, (unit) => unit.updateNotification({ expectedAttempts, next }))) pass.report.retried += 1;
}

async function end(
  deps: SendNotificationsDeps,
  pass: Pass,
  message: WaitingNotification,
  approval: Approval | null,
  state: EndedNotification['state'],
  why: string | null,
): Promise<void> {
  const { tenantId, approvalId, receiver, attempts, id } = message;
  const next = endNotification(message, { state, endedAt: deps.clock.now(), lastError: why ?? message.lastError });
  const subject = approval === null ? { tenantId, approvalId } : approvalSubject(approval);
  const details = { receiver, attempts, notification_id: id, ...(why === null ? {} : { why }) };
  const isOurs = await unlessLost(deps, (unit) => {
    unit.updateNotification({ expectedAttempts: attempts, next });
    unit.record(auditEvent(deps, pass, `notification.${state}`, subject, { details }));
  });
  if (isOurs) pass.report[state === 'delivered' ? 'delivered' : 'givenUp'] += 1;
}

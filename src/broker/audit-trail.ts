import { withoutBearerSecrets as scrub } from '../domain/bearer-secrets.ts';
import type { AuditEvent, AuditEventType, AuditSubject } from '../domain/audit-event.ts';
import { UNATTRIBUTED_TENANT } from '../domain/audit-event.ts';
import type { Approval } from '../domain/approval.ts';
import type { CallContext } from '../domain/call-context.ts';
import type { Clock } from '../domain/clock.ts';
import { BrokerError, type ErrorCode } from '../domain/errors.ts';
import type { Grant } from '../domain/grant.ts';
import type { IdSource } from '../domain/id-source.ts';
import type { RevocationTerms } from '../domain/revocation.ts';
import type { Session } from '../domain/session.ts';
import type { Transactor } from '../domain/unit-of-work.ts';

export interface AuditDeps {
  clock: Clock;
  ids: IdSource;
  repository: Transactor;
  /** Names the configuration in force. */
  revision: () => string;
}

type Facts = Pick<AuditEvent, 'code' | 'reason' | 'details'>;
type Detail = NonNullable<AuditEvent['details']>[string];

/** Makes an event of this moment, under the configuration in force. */
export function auditEvent(
  deps: Omit<AuditDeps, 'repository'>,
  context: Pick<CallContext, 'requestId'>,
  type: AuditEventType,
  subject: AuditSubject,
  facts: Facts = {},
): AuditEvent {
  return {
    id: deps.ids.eventId(),
    at: deps.clock.now(),
    type,
    requestId: context.requestId,
    subject: scrubbed(subject),
    revision: deps.revision(),
    ...facts,
    ...(facts.details === undefined ? {} : { details: withoutSecrets(facts.details) }),
  };
}

// Agent and run are named by the caller, who may have put anything there.
function scrubbed(subject: AuditSubject): AuditSubject {
  const clean = { ...subject };
  if (clean.agentId !== undefined) clean.agentId = scrub(clean.agentId);
  if (clean.runId !== undefined) clean.runId = scrub(clean.runId);
  return clean;
}

/** Callers' words go on record, but not a handle or token among them. */
function withoutSecrets(details: NonNullable<AuditEvent['details']>): Record<string, Detail> {
  const clean = (detail: Detail): Detail => {
    if (typeof detail === 'string') return scrub(detail);
    return typeof detail === 'object' ? detail.map(scrub) : detail;
  };
  // A loop, since every event passes here.
  const cleaned: Record<string, Detail> = {};
  for (const [name, detail] of Object.entries(details)) cleaned[name] = clean(detail);
  return cleaned;
}

export const sessionSubject = (session: Session): AuditSubject => ({
  tenantId: session.tenantId,
  agentId: session.agentId,
  runId: session.runId,
  workloadHash: session.workloadHash,
  sessionId: session.id,
});

/** What an approval's events are about. */
export const approvalSubject = (approval: Approval): AuditSubject => ({
  tenantId: approval.tenantId,
  agentId: approval.agentId,
  runId: approval.runId,
  sessionId: approval.sessionId,
  grantId: approval.grantId,
  approvalId: approval.id,
});

export const grantSubject = (grant: Grant): AuditSubject => ({
  tenantId: grant.tenantId,
  agentId: grant.agentId,
  runId: grant.runId,
  sessionId: grant.sessionId,
  grantId: grant.id,
});

/** What the events of a lease are about. */
export const leaseSubject = (revocation: RevocationTerms): AuditSubject => ({
  tenantId: revocation.tenantId,
  agentId: revocation.agentId,
  runId: revocation.runId,
  workloadHash: revocation.workloadHash,
  sessionId: revocation.sessionId,
  grantId: revocation.grantId,
});

/** What the events of a lease tell of it. */
export const leaseDetails = ({ id, connector, resourceRef }: RevocationTerms) => ({
  connector,
  resource_ref: resourceRef,
  revocation_id: id,
});

/** The code under which a failure goes on record. */
export const codeOf = (error: unknown): ErrorCode => (error instanceof BrokerError ? error.code : 'internal');

/** What a refusal's event will say of its caller; a use case fills it in as it learns more. */
export interface Trail {
  subject: AuditSubject;
  details: Record<string, string | number | boolean | readonly string[]>;
}

// Mistakes of form (400) say nothing about rights, and failures of our own are in the log.
const REFUSALS: ReadonlySet<ErrorCode> = new Set([
  'unauthorized',
  'forbidden',
  'not_found',
  'conflict',
  'resource_budget_exceeded',
  'delivery_mode_not_implemented',
]);

/**
 * Runs one use case and puts every refusal on record before the caller hears of it. When the event cannot be written
 * the caller gets that failure instead.
 */
export async function auditRefusals<T>(
  deps: AuditDeps,
  context: CallContext,
  type: AuditEventType,
  run: (trail: Trail) => Promise<T>,
): Promise<T> {
  const trail: Trail = { subject: { tenantId: UNATTRIBUTED_TENANT }, details: {} };
  try {
    return await run(trail);
  } catch (error) {
    if (error instanceof BrokerError && REFUSALS.has(error.code)) {
      const details = error.rule === null ? trail.details : { ...trail.details, rule: error.rule };
      const facts: Facts = { code: error.code, details };
      if (error.reason !== null) facts.reason = error.reason;
      await deps.repository.transact((unit) => unit.record(auditEvent(deps, context, type, trail.subject, facts)));
    }
    throw error;
  }
}

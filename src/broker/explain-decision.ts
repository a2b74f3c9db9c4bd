import { notFound } from '../domain/errors.ts';
import type { DeliveryMode } from '../domain/grant.ts';
import type { GrantAuthorizer, Verdict } from '../domain/grant-authorizer.ts';
import type { AgentId, RunId, SessionId, TenantId, WorkloadHash } from '../domain/ids.ts';
import type { ApprovalRule } from '../domain/policy.ts';
import type { BlockRepository, SessionRepository } from '../domain/repository.ts';
import { parseResourceRef, type ResourceKind } from '../domain/resource.ts';
import { type ActiveSession, isSessionLive, type Session } from '../domain/session.ts';
import type { SessionAuthorizer } from '../domain/session-authorizer.ts';
import type { WorkloadIdentity } from '../domain/workload.ts';
import { type AuditDeps, auditRefusals, sessionSubject } from './audit-trail.ts';
import { authenticateOperator, type AuthenticateOperatorDeps } from './authenticate-operator.ts';
import { requireReader } from './read-records.ts';
import type { UseCase } from './use-case.ts';

/** Who would ask: a session on record, or one that is only imagined. */
export type ExplainSubject =
  | { kind: 'session'; sessionId: SessionId }
  | {
      kind: 'hypothetical';
      agentId: AgentId;
      runId: RunId;
      toolContext: readonly string[];
      workload: WorkloadIdentity;
      delegation: {
        allowedCapabilities: readonly string[];
        resourceFilters: Readonly<Partial<Record<ResourceKind, readonly string[]>>>;
      } | null;
      hasProofKey: boolean;
    };

export interface ExplainDecisionRequest {
  /** An operator token. */
  credential: string | null;
  tenantId: TenantId;
  subject: ExplainSubject;
  tool: string;
  capability: string;
  resourceRef: string;
  deliveryMode: DeliveryMode;
  ttlSeconds: number | null;
}

export interface ExplainDecisionResponse {
  allowed: boolean;
  /** What every rule says, in order; the first that denies decides. */
  verdicts: readonly Verdict[];
  /** What an allowed grant would be; null for a denied one. */
  expiresAt: Date | null;
  approval: ApprovalRule | null;
  revision: string;
}

export interface ExplainDecisionDeps extends AuditDeps, AuthenticateOperatorDeps {
  repository: AuditDeps['repository'] & SessionRepository & BlockRepository;
  sessions: SessionAuthorizer;
  grants: GrantAuthorizer;
  sessionTtlSeconds: number;
  /** The hash under which an identity goes on record. */
  hashWorkload: (identity: WorkloadIdentity) => WorkloadHash;
}

/** Says what would be decided and why, and issues nothing. */
export function explainDecision(deps: ExplainDecisionDeps): UseCase<ExplainDecisionRequest, ExplainDecisionResponse> {
  return (request, context) =>
    auditRefusals(deps, context, 'operator.refused', async (trail) => {
      const operator = await authenticateOperator(deps, request.credential, trail);
      requireReader(operator, request.tenantId, trail);
      const session = await subjectSession(deps, request);
      trail.subject = sessionSubject(session);
      const resource = parseResourceRef(request.resourceRef);
      const { tool, capability, deliveryMode, ttlSeconds } = request;
      const now = deps.clock.now();
      const question = { session, tool, capability, resource, deliveryMode, ttlSeconds, now };
      const verdicts = [
        ...deps.sessions.explain({ ...session, identity: session.workload }),
        await revocationVerdict(deps, session),
        ...deps.grants.explain(question),
      ];
      const denied = verdicts.some(({ outcome }) => outcome === 'denied');
      const decision = deps.grants.decide(question);
      const allowed = !denied && decision.allowed;
      return {
        allowed,
        verdicts,
        expiresAt: allowed ? decision.expiresAt : null,
        approval: allowed ? decision.approval : null,
        revision: deps.grants.revision,
      };
    });
}

async function subjectSession(deps: ExplainDecisionDeps, { tenantId, subject }: ExplainDecisionRequest): Promise<Session> {
  if (subject.kind === 'hypothetical') return imagined(deps, tenantId, subject);
  const session = await deps.repository.findSession(tenantId, subject.sessionId);
  if (session === null) throw notFound('session_id: no such session');
  return session;
}

/** Whether the session has ended, or an operator has stopped its run or its workload. */
async function revocationVerdict({ repository, clock }: ExplainDecisionDeps, session: Session): Promise<Verdict> {
  const rule = 'revocation';
  const block = await repository.findBlock(session);
  if (block !== null) {
    const reason = block === 'run' ? 'run_revoked' : 'workload_revoked';
    return { rule, outcome: 'denied', reason, message: `an operator has revoked this ${block}` };
  }
  if (!isSessionLive(session, clock.now())) {
    return { rule, outcome: 'denied', reason: 'session_ended', message: 'the session has ended' };
  }
  return { rule, outcome: 'allowed', message: 'neither the run nor the workload is revoked' };
}

function imagined(
  deps: ExplainDecisionDeps,
  tenantId: TenantId,
  subject: Extract<ExplainSubject, { kind: 'hypothetical' }>,
): ActiveSession {
  const createdAt = deps.clock.now();
  const expiresAt = new Date(createdAt.getTime() + deps.sessionTtlSeconds * 1000);
  const { agentId, runId, toolContext, workload, delegation, hasProofKey } = subject;
  return {
    id: deps.ids.sessionId(),
    tenantId,
    agentId,
    runId,
    toolContext,
    workload,
    workloadHash: deps.hashWorkload(workload),
    tokenId: '',
    delegation:
      delegation === null ? null : { ...delegation, issuer: '', subject: '', id: '', tenantId, agentId, expiresAt },
    proofKeyThumbprint: hasProofKey ? 'imagined' : null,
    state: 'active',
    createdAt,
    expiresAt,
  };
}

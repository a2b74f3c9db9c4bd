import type { AttestationVerifier } from '../domain/attestation-verifier.ts';
import { forbidden, unauthorized } from '../domain/errors.ts';
import type { AgentId, RunId, SessionId, TenantId } from '../domain/ids.ts';
import type { ActiveSession } from '../domain/session.ts';
import type { SessionAuthorizer } from '../domain/session-authorizer.ts';
import type { SessionTokens } from '../domain/session-tokens.ts';
import type { Attestation, VerifiedWorkload } from '../domain/workload.ts';
import { type AuditDeps, auditEvent, auditRefusals, sessionSubject } from './audit-trail.ts';
import type { UseCase } from './use-case.ts';

export interface CreateSessionRequest {
  tenantId: TenantId;
  agentId: AgentId;
  runId: RunId;
  toolContext: readonly string[];
  attestation: Attestation;
  delegationAssertion: string | null;
}

export interface CreateSessionResponse {
  sessionId: SessionId;
  sessionToken: string;
  expiresAt: Date;
}

export interface CreateSessionDeps extends AuditDeps {
  attestation: AttestationVerifier;
  sessions: SessionAuthorizer;
  tokens: SessionTokens;
  sessionTtlSeconds: number;
}

/** Opens a session for an attested workload that is bound to the tenant and agent it claims. */
export function createSession(deps: CreateSessionDeps): UseCase<CreateSessionRequest, CreateSessionResponse> {
  return (request, context) =>
    auditRefusals(deps, context, 'session.refused', async (trail) => {
      // Nobody has proved any of this yet, so a refusal names it as a claim.
      trail.details = {
        claimed_tenant_id: request.tenantId,
        claimed_agent_id: request.agentId,
        claimed_run_id: request.runId,
      };
      const workload = await deps.attestation.verify(request.attestation);
      trail.subject.workloadHash = workload.hash;
      // A delegation narrows; one that nobody here can check must not be dropped in silence.
      if (request.delegationAssertion !== null) {
        throw forbidden('delegation_not_accepted', 'delegation_assertion: no delegation issuer is configured; leave it out');
      }
      const decision = deps.sessions.decide({ ...request, identity: workload.identity });
      if (!decision.allowed) throw forbidden(decision.reason, decision.message);

      const session = openSession(deps, request, workload);
      const sessionToken = await deps.tokens.sign({
        ...session,
        sessionId: session.id,
        issuedAt: session.createdAt,
      });
      await deps.repository.transact((unit) => {
        unit.insertSession(session);
        unit.record(
          auditEvent(deps, context, 'session.created', sessionSubject(session), {
            details: { subject: workload.identity.subject, tools: session.toolContext },
          }),
        );
      });
      return { sessionId: session.id, sessionToken, expiresAt: session.expiresAt };
    });
}

function openSession(deps: CreateSessionDeps, request: CreateSessionRequest, workload: VerifiedWorkload): ActiveSession {
  const now = deps.clock.now();
  const end = Math.min(now.getTime() + deps.sessionTtlSeconds * 1000, workload.expiresAt.getTime());
  // A token's times are whole seconds (RFC 7519 section 2); the session must not outlive its token.
  const expiresAt = new Date(Math.floor(end / 1000) * 1000);
  if (expiresAt <= now) {
    throw unauthorized('attestation: token is about to expire; read the projected token again');
  }
  return {
    id: deps.ids.sessionId(),
    tenantId: request.tenantId,
    agentId: request.agentId,
    runId: request.runId,
    toolContext: [...request.toolContext],
    workload: workload.identity,
    workloadHash: workload.hash,
    tokenId: deps.ids.tokenId(),
    state: 'active',
    createdAt: now,
    expiresAt,
  };
}

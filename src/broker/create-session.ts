import type { AttestationVerifier } from '../domain/attestation-verifier.ts';
import type { CallContext } from '../domain/call-context.ts';
import type { Delegation, DelegationVerifier } from '../domain/delegation.ts';
import { forbidden, unauthorized } from '../domain/errors.ts';
import type { AgentId, RunId, SessionId, TenantId } from '../domain/ids.ts';
import type { ProofVerifier } from '../domain/proof.ts';
import type { RuntimeStore } from '../domain/runtime-store.ts';
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
  delegations: DelegationVerifier;
  proofs: ProofVerifier;
  runtime: RuntimeStore;
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
      const { delegationAssertion: assertion } = request;
      const delegation = assertion === null ? null : await deps.delegations.verify(assertion);
      const decision = deps.sessions.decide({ ...request, delegation, identity: workload.identity });
      if (!decision.allowed) throw forbidden(decision.reason, decision.message, { rule: decision.rule });
      // Only now: whoever may not come in marks no proof as used and no delegation as taken.
      const proofKeyThumbprint = await provenKey(deps, context);
      if (delegation !== null) await bindDelegation(deps, delegation, workload);

      const session = openSession(deps, request, { workload, delegation, proofKeyThumbprint });
      const sessionToken = await deps.tokens.sign({
        ...session,
        sessionId: session.id,
        issuedAt: session.createdAt,
      });
      await deps.repository.transact((unit) => {
        unit.requireNoBlock(session);
        unit.insertSession(session);
        unit.record(auditEvent(deps, context, 'session.created', sessionSubject(session), { details: factsOf(session) }));
      });
      return { sessionId: session.id, sessionToken, expiresAt: session.expiresAt };
    });
}

/** Whoever shows a proof here binds the session to its key. */
async function provenKey({ proofs }: CreateSessionDeps, { proof }: CallContext): Promise<string | null> {
  return proof === null ? null : proofs.verify({ presented: proof, credential: null });
}

/** An assertion that a workload has used for an agent is theirs: another who got hold of it gains nothing, whoever it may act as. */
async function bindDelegation(
  { runtime, clock }: CreateSessionDeps,
  delegation: Delegation,
  { identity }: VerifiedWorkload,
): Promise<void> {
  const { issuer, id, tenantId, agentId, expiresAt } = delegation;
  const key = JSON.stringify([issuer, id]);
  const holder = JSON.stringify([tenantId, agentId, identity.issuer, identity.subject]);
  if (!(await runtime.claim('delegation', key, holder, expiresAt, clock.now()))) {
    throw forbidden('delegation_not_yours', 'delegation_assertion: another agent has used it; ask for one of your own', {
      rule: 'delegation',
    });
  }
}

interface Proved {
  workload: VerifiedWorkload;
  delegation: Delegation | null;
  proofKeyThumbprint: string | null;
}

function openSession(deps: CreateSessionDeps, request: CreateSessionRequest, proved: Proved): ActiveSession {
  const { workload, delegation, proofKeyThumbprint } = proved;
  const now = deps.clock.now();
  const end = Math.min(
    now.getTime() + deps.sessionTtlSeconds * 1000,
    workload.expiresAt.getTime(),
    delegation?.expiresAt.getTime() ?? Infinity,
  );
  // A token's times are whole seconds (RFC 7519 section 2); the session must not outlive its token.
  const expiresAt = new Date(Math.floor(end / 1000) * 1000);
  if (expiresAt <= now) {
    throw unauthorized(
      delegation !== null && delegation.expiresAt < workload.expiresAt
        ? 'delegation_assertion: is about to expire; ask for a new one'
        : 'attestation: token is about to expire; read the projected token again',
    );
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
    delegation,
    proofKeyThumbprint,
    state: 'active',
    createdAt: now,
    expiresAt,
  };
}

function factsOf({ workload, toolContext, delegation, proofKeyThumbprint }: ActiveSession) {
  return {
    subject: workload.subject,
    tools: toolContext,
    ...(delegation === null ? {} : { delegation_id: delegation.id, delegated_by: delegation.subject }),
    ...(proofKeyThumbprint === null ? {} : { proof_key: proofKeyThumbprint }),
  };
}

import type { ConnectorResolver } from '../domain/connector.ts';
import type { Delivery, DeliveryAdapter } from '../domain/delivery.ts';
import { deliveryModeNotImplemented, forbidden } from '../domain/errors.ts';
import { type ApprovedGrant, type DeliveryMode, type GrantState, issueGrant } from '../domain/grant.ts';
import type { GrantAuthorizer } from '../domain/grant-authorizer.ts';
import type { GrantId } from '../domain/ids.ts';
import { parseResourceRef } from '../domain/resource.ts';
import type { ActiveSession } from '../domain/session.ts';
import { type AuditDeps, auditEvent, auditRefusals, grantSubject } from './audit-trail.ts';
import { authenticateSession, type AuthenticateSessionDeps } from './authenticate-session.ts';
import type { UseCase } from './use-case.ts';

export interface RequestGrantRequest {
  sessionToken: string | null;
  tool: string;
  capability: string;
  resourceRef: string;
  deliveryMode: DeliveryMode;
  /** Null asks for the policy's default. */
  ttlSeconds: number | null;
  reason: string;
}

export interface RequestGrantResponse {
  grantId: GrantId;
  state: GrantState;
  delivery: Delivery;
  expiresAt: Date;
}

export interface RequestGrantDeps extends AuditDeps, AuthenticateSessionDeps {
  repository: AuditDeps['repository'] & AuthenticateSessionDeps['repository'];
  grants: GrantAuthorizer;
  connectors: ConnectorResolver;
  deliveries: readonly DeliveryAdapter[];
  maxOpenGrantsPerSession: number;
}

/** Decides on one capability, on one resource, through one tool, and issues what was decided. */
export function requestGrant(deps: RequestGrantDeps): UseCase<RequestGrantRequest, RequestGrantResponse> {
  return (request, context) =>
    auditRefusals(deps, context, 'grant.refused', async (trail) => {
      const { tool, capability, resourceRef, deliveryMode } = request;
      trail.details = { tool, capability, resource_ref: resourceRef, delivery_mode: deliveryMode };
      const session = await authenticateSession(deps, request.sessionToken, trail);
      const resource = parseResourceRef(resourceRef);
      const connector = deps.connectors.resolve(capability, resource.kind);
      connector?.checkResource(resource);

      const now = deps.clock.now();
      const decision = deps.grants.decide({
        session,
        tool,
        capability,
        resource,
        deliveryMode,
        ttlSeconds: request.ttlSeconds,
        now,
      });
      if (!decision.allowed) throw forbidden(decision.reason, decision.message);
      if (decision.approvalMode !== 'none') {
        throw forbidden(
          'approval_not_available',
          `capability ${capability} needs a human's approval, which cannot be given here`,
        );
      }
      const adapter = deps.deliveries.find((candidate) => candidate.mode === deliveryMode);
      if (connector === null || adapter === undefined || !connector.deliveryModes.includes(deliveryMode)) {
        throw deliveryModeNotImplemented(`delivery_mode: nothing here delivers ${capability} as ${deliveryMode}`);
      }

      const approved = approvedGrant(deps, request, session, decision.expiresAt, now);
      const { artifact, delivery } = adapter.issue(approved, now);
      const issued = issueGrant(approved, artifact.id, now);
      const subject = grantSubject(approved);
      const details = { ...trail.details, expires_at: approved.expiresAt.toISOString(), reason: approved.reason };
      await deps.repository.transact((unit) => {
        unit.requireRoomForGrant({
          tenantId: session.tenantId,
          sessionId: session.id,
          maxOpen: deps.maxOpenGrantsPerSession,
        });
        unit.insertGrant(approved);
        unit.record(auditEvent(deps, context, 'grant.approved', subject, { details }));
        unit.insertArtifact(artifact);
        unit.record(auditEvent(deps, context, 'artifact.issued', { ...subject, artifactId: artifact.id }));
        unit.updateGrant({ expected: 'approved', next: issued });
        unit.record(auditEvent(deps, context, 'grant.issued', { ...subject, artifactId: artifact.id }));
      });
      return { grantId: issued.id, state: issued.state, delivery, expiresAt: issued.expiresAt };
    });
}

function approvedGrant(
  deps: RequestGrantDeps,
  request: RequestGrantRequest,
  session: ActiveSession,
  expiresAt: Date,
  now: Date,
): ApprovedGrant {
  return {
    id: deps.ids.grantId(),
    tenantId: session.tenantId,
    sessionId: session.id,
    agentId: session.agentId,
    runId: session.runId,
    tool: request.tool,
    capability: request.capability,
    resourceRef: request.resourceRef,
    deliveryMode: request.deliveryMode,
    reason: request.reason,
    state: 'approved',
    createdAt: now,
    expiresAt,
  };
}

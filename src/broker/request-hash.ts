import { hash } from 'node:crypto';
import type { DeliveryMode } from '../domain/grant.ts';
import type { RunId, SessionId, TenantId } from '../domain/ids.ts';

export interface CanonicalRequest {
  tenantId: TenantId;
  sessionId: SessionId;
  runId: RunId;
  tool: string;
  capability: string;
  resourceRef: string;
  deliveryMode: DeliveryMode;
  /** As it was asked for; null for the policy's default. */
  ttlSeconds: number | null;
  reason: string;
}

/**
 * SHA-256, hex, over the canonical JSON (RFC 8785) of everything an agent asks for. An approval is bound to it: what differs
 * in anything is another request.
 */
export function requestHash(request: CanonicalRequest): string {
  // Canonical as it is: strings and a number, in the order of their names.
  const canonical = {
    capability: request.capability,
    delivery_mode: request.deliveryMode,
    reason: request.reason,
    resource_ref: request.resourceRef,
    run_id: request.runId,
    session_id: request.sessionId,
    tenant_id: request.tenantId,
    tool: request.tool,
    ttl_seconds: request.ttlSeconds ?? 0,
  };
  const isWellFormed = Object.values(canonical).every((value) => typeof value === 'number' || value.isWellFormed());
  if (!isWellFormed) throw new Error('half a surrogate pair has no canonical form');
  return hash('sha256', JSON.stringify(canonical));
}

import { hash } from 'node:crypto';
import canonicalize from 'canonicalize';
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
  const canonical = canonicalize({
    tenant_id: request.tenantId,
    session_id: request.sessionId,
    run_id: request.runId,
    tool: request.tool,
    capability: request.capability,
    resource_ref: request.resourceRef,
    delivery_mode: request.deliveryMode,
    ttl_seconds: request.ttlSeconds ?? 0,
    reason: request.reason,
  });
  if (canonical === undefined) throw new Error('a request has no canonical form');
  return hash('sha256', canonical);
}

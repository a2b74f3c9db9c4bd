import type { DeliveryAdapter } from '../domain/delivery.ts';
import type { IdSource } from '../domain/id-source.ts';

/** Delivers an opaque handle: ASB makes the downstream calls itself, so the handle is all that leaves. */
export function makeProxyDelivery(ids: IdSource): DeliveryAdapter {
  return {
    mode: 'proxy',
    issue(grant, now) {
      const handle = ids.proxyHandle();
      const artifact = {
        id: ids.artifactId(),
        tenantId: grant.tenantId,
        sessionId: grant.sessionId,
        grantId: grant.id,
        kind: 'proxy_handle' as const,
        handleHash: ids.hashHandle(handle),
        state: 'issued' as const,
        createdAt: now,
        expiresAt: grant.expiresAt,
      };
      return { artifact, delivery: { kind: 'proxy_handle', handle, artifactId: artifact.id } };
    },
  };
}

import type { ProxyDelivery } from '../domain/delivery.ts';
import { conflict } from '../domain/errors.ts';
import type { IdSource } from '../domain/id-source.ts';

/** Delivers an opaque handle: ASB makes the downstream calls itself, so the handle is all that leaves. */
export function makeProxyDelivery(ids: IdSource): ProxyDelivery {
  return {
    issue(grant, now) {
      const id = ids.artifactId();
      const handle = ids.proxyHandle(id);
      const artifact = {
        id,
        tenantId: grant.tenantId,
        sessionId: grant.sessionId,
        grantId: grant.id,
        kind: 'proxy_handle' as const,
        handleHash: ids.hashHandle(handle),
        state: 'issued' as const,
        createdAt: now,
        expiresAt: grant.expiresAt,
      };
      return { artifact, delivery: { kind: 'proxy_handle', handle, artifactId: id } };
    },
    deliver({ id, handleHash }) {
      const handle = ids.proxyHandle(id);
      // Another key made it; this one's handle would open nothing.
      if (ids.hashHandle(handle) !== handleHash) {
        throw conflict('the handle was made with a signing key that is not in use any more; request a new grant');
      }
      return { kind: 'proxy_handle', handle, artifactId: id };
    },
  };
}

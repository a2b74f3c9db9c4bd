import { z } from 'zod';
import type { IssuedLease, IssueRequest, LeaseConnector, RevokeRequest } from '../../../src/domain/connector.ts';
import { forbidden, invalidRequest, upstreamError } from '../../../src/domain/errors.ts';
import type { ResourceRef } from '../../../src/domain/resource.ts';
import { Secret } from '../../../src/domain/secret.ts';

export interface CacheConnectorConfig {
  /** Of the cache's administration. */
  url: URL;
  adminToken: Secret;
}

const NAME = 'cache';
const user = z.object({ user: z.string().min(1), password: z.string().min(1) });

/** A sample (docs/connectors.md): users of a cache, `dbrole:cache-NAME`, one for each grant, made and removed over HTTP. */
export function makeCacheConnector({ url, adminToken }: CacheConnectorConfig): LeaseConnector {
  const ask = async (method: 'PUT' | 'DELETE', path: string, body: object | null, signal: AbortSignal) => {
    const headers = { authorization: `Bearer ${adminToken.reveal()}`, 'content-type': 'application/json' };
    const target = new URL(path, url);
    const response = await fetch(target, { method, headers, body: body && JSON.stringify(body), redirect: 'error', signal });
    // It was refused: nothing was made.
    if (response.status === 403) {
      throw forbidden('upstream_refused', 'the cache refuses this to ASB; tell the operator', { rule: 'upstream:cache' });
    }
    if (!response.ok && response.status !== 404) throw upstreamError(`the cache failed with status ${response.status}`);
    return response;
  };
  // Without the cause: it may quote the request.
  const orUnreachable = (error: unknown): never => {
    throw error instanceof Error && 'code' in error ? error : upstreamError('the cache could not be reached; retry later');
  };

  return {
    name: NAME,
    resourceKind: 'db_role',
    capabilities: ['cache.read'],
    deliveryModes: ['wrapped_secret'],

    checkResource: (resource) => void cacheOf(resource),

    async issue({ revocationId, resource, expiresAt, signal }: IssueRequest): Promise<IssuedLease> {
      const body = { cache: cacheOf(resource), rights: ['read'], expires_at: expiresAt.toISOString() };
      // Named by ASB's own id, so that it can be removed even when this answer is lost.
      const response = await ask('PUT', `users/${revocationId}`, body, signal).catch(orUnreachable);
      const made = user.safeParse(await response.json().catch(() => null));
      if (!made.success) throw upstreamError("the cache's answer makes no sense");
      const { user: name, password } = made.data;
      const fields = { username: name, password };
      return {
        leaseId: revocationId,
        expiresAt,
        fields: Object.entries(fields).map(([field, value]) => ({ name: field, value: new Secret(value) })),
      };
    },

    async revoke({ revocationId, signal }: RevokeRequest): Promise<void> {
      // One that is not there is gone: 404 is a yes.
      await ask('DELETE', `users/${revocationId}`, null, signal).catch(orUnreachable);
    },
  };
}

function cacheOf({ name }: ResourceRef): string {
  const [, cache] = /^cache-([a-z0-9]{1,40})$/.exec(name) ?? [];
  if (cache === undefined)
    throw invalidRequest('resource_ref: write dbrole:cache-NAME, with a name of small letters and digits');
  return cache;
}

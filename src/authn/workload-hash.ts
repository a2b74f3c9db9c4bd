import { hash } from 'node:crypto';
import canonicalize from 'canonicalize';
import type { WorkloadHash } from '../domain/ids.ts';
import type { WorkloadIdentity } from '../domain/workload.ts';

/**
 * SHA-256, hex, over the canonical JSON (RFC 8785) of everything an identity says. The member names are fixed here, apart
 * from the names in code, because sessions on record and in flight are compared by this value.
 */
export function workloadHash(identity: WorkloadIdentity): WorkloadHash {
  const canonical = canonicalize({
    type: identity.type,
    issuer: identity.issuer,
    subject: identity.subject,
    audience: identity.audience,
    namespace: identity.namespace,
    service_account: identity.serviceAccount,
    attributes: identity.attributes,
  });
  if (canonical === undefined) throw new Error('a workload identity has no canonical form');
  return hash('sha256', canonical) as WorkloadHash;
}

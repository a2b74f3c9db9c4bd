import { hash } from 'node:crypto';
import canonicalize from 'canonicalize';
import type { WorkloadHash } from '../domain/ids.ts';
import type { WorkloadIdentity } from '../domain/workload.ts';

/**
 * The attributes of an OIDC identity that tell who it is: the ids behind names that can be given away, and the client. The others,
 * such as `sha`, `run_id` or `ref`, tell how a run came about. They change while the workload stays, and whoever could
 * change them at will would slip from under the revocation of a workload.
 */
const OIDC_IDENTIFYING = new Set(['repository_id', 'repository_owner_id', 'azp', 'client_id']);

/**
 * SHA-256, hex, over the canonical JSON (RFC 8785) of what an identity says of who it is. For Kubernetes that is everything, down
 * to the pod. The member names are fixed here, apart from the names in code, because sessions on record and in flight are
 * compared by this value.
 */
export function workloadHash(identity: WorkloadIdentity): WorkloadHash {
  const canonical = canonicalize({
    type: identity.type,
    issuer: identity.issuer,
    subject: identity.subject,
    audience: identity.audience,
    namespace: identity.namespace,
    service_account: identity.serviceAccount,
    attributes: identifyingAttributes(identity),
  });
  if (canonical === undefined) throw new Error('a workload identity has no canonical form');
  return hash('sha256', canonical) as WorkloadHash;
}

function identifyingAttributes({ type, attributes }: WorkloadIdentity): WorkloadIdentity['attributes'] {
  if (type !== 'oidc') return attributes;
  return Object.fromEntries(Object.entries(attributes).filter(([name]) => OIDC_IDENTIFYING.has(name)));
}

import { hash } from 'node:crypto';
import canonicalize from 'canonicalize';
import { secondsOf } from './duration.ts';
import type { ConfigFile } from './schema.ts';

/**
 * Names what a file says: SHA-256, hex, over its canonical JSON (RFC 8785). Comments, the order of keys, defaults that are written
 * out and the unit of a duration make no difference. Secrets are in files of their own, of which only the names go into it.
 */
export function revisionOf(file: ConfigFile): string {
  const tenants = file.tenants.map((tenant) => ({ ...tenant, policies: tenant.policies.map(canonicalPolicy) }));
  const canonical = canonicalize({ ...file, tenants });
  if (canonical === undefined) throw new Error('a configuration file has no canonical form');
  return hash('sha256', canonical);
}

function canonicalPolicy(policy: ConfigFile['tenants'][number]['policies'][number]): object {
  const { approval } = policy;
  return {
    ...policy,
    default_ttl: secondsOf(policy.default_ttl),
    max_ttl: secondsOf(policy.max_ttl),
    approval: approval === 'none' ? null : { ...approval, ttl: secondsOf(approval.ttl) },
  };
}

import { randomUUID } from 'node:crypto';
import { type IssuerKey, makeIssuerKey } from './issuer-keys.ts';

type Members = Readonly<Record<string, unknown>>;

export interface DelegationOptions {
  now: Date;
  subject?: string;
  tenantId?: string;
  agentId?: string;
  allowedCapabilities?: readonly string[];
  /** `repo`, `db_role`, `origin` -> allowed names; absent for none. */
  resourceFilters?: Readonly<Record<string, readonly string[]>>;
  /** Replaces claims; undefined removes one. */
  claims?: Members;
  header?: Members;
}

/** Who delegates, with a key of its own. */
export interface Delegations extends IssuerKey {
  issuer: string;
  /** An assertion of one hour. */
  assertion(options: DelegationOptions): Promise<string>;
}

export function makeDelegations(issuer = 'https://people.example', alg: IssuerKey['alg'] = 'EdDSA'): Delegations {
  const key = makeIssuerKey(alg);
  return {
    ...key,
    issuer,
    assertion: ({ now, claims = {}, header = {}, ...options }) => {
      const iat = Math.floor(now.getTime() / 1000);
      const base = {
        iss: issuer,
        sub: options.subject ?? 'dora',
        tenant_id: options.tenantId ?? 't_dev',
        agent_id: options.agentId ?? 'reviewer',
        allowed_capabilities: options.allowedCapabilities ?? ['repo.read'],
        resource_filters: options.resourceFilters,
        iat,
        exp: iat + 3600,
        jti: randomUUID(),
      };
      return key.sign({ ...base, ...claims }, header);
    },
  };
}

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { AUDIENCE, ISSUER, rsaKey } from './attestations.ts';
import { type Delegations, makeDelegations } from './delegations.ts';
import { makeOperators, type Operators } from './operators.ts';

type Json = Readonly<Record<string, unknown>>;

/** Tenants that differ in one thing each; any pod of namespace `agents` may act in all of them. */
export const TENANTS = {
  /** Nobody is asked. */
  free: 't_free',
  /** One person must approve. */
  human: 't_human',
  two: 't_two',
  /** One approval answers the same request again. */
  reuse: 't_reuse',
  /** The session must be bound to a key. */
  proof: 't_proof',
  /** A condition, and an agent of its own name. */
  condition: 't_condition',
  /** Somebody else's: other operators. */
  other: 't_other',
} as const;

export const OURS = Object.values(TENANTS).filter((id) => id !== TENANTS.other);
export const WEBHOOK_SECRET = `whsec_${Buffer.from('CANARY-webhook-secret-0123456789').toString('base64')}`;

/** One tenant of a configuration file, to be changed in place. */
export function tenantOf({ config }: Pick<Configured, 'config'>, tenantId: string): Record<string, unknown> {
  const found = config.tenants.find(({ id }) => id === tenantId);
  if (found === undefined) throw new Error(`no tenant ${tenantId}`);
  return found;
}

/** A configuration file in a folder of its own, with the keys behind it. */
export interface Configured {
  /** What ASB_CONFIG_FILE names. */
  path: string;
  folder: string;
  operators: Operators;
  delegations: Delegations;
  /** Signs the callbacks of the receiver `pager`. */
  receiverKey: KeyObject;
  /** What is in the file; change it and `write`. */
  config: {
    tenants: Record<string, unknown>[];
    attestation: { kubernetes: Record<string, unknown>[]; oidc?: Record<string, unknown>[] };
  } & Record<string, unknown>;
  write(text?: string): void;
  remove(): void;
}

const TOOL = {
  name: 'github',
  manifest_hash: `sha256:${'0'.repeat(64)}`,
  runtime_class: 'hosted',
  delivery_modes: ['proxy'],
  capabilities: ['repo.*'],
  trust_tags: ['trusted'],
};

const POLICY = {
  capability: 'repo.read',
  resource_kind: 'github_repo',
  delivery_modes: ['proxy'],
  default_ttl: '10m',
  max_ttl: '10m',
  approval: 'none',
  required_tool_tags: ['trusted'],
};

/** The policies of a tenant: one, with changes. */
export const policies = (changes: Json = {}): Json[] => [{ ...POLICY, ...changes }];

const tenant = (id: string, policy: Json = {}) => ({
  id,
  workload_bindings: [{ type: 'k8s_sa', issuer: ISSUER, namespace: 'agents', service_account: '*', agents: ['*'] }],
  tools: [TOOL],
  policies: policies(policy),
});

export interface ConfiguredOptions {
  /** The one person whom the receiver reaches; null where that is not said. */
  approver?: string | null;
}

/** Writes a configuration file with all of `TENANTS`. A receiver of notifications is told of each that asks people. */
export function configured(receiverUrl: string | null = null, { approver = 'pia' }: ConfiguredOptions = {}): Configured {
  const folder = mkdtempSync(join(tmpdir(), 'asb-configured-'));
  const operators = makeOperators();
  const delegations = makeDelegations();
  const receiverKeys = generateKeyPairSync('ed25519');
  const put = (name: string, text: string, mode = 0o644): string => {
    const path = join(folder, name);
    writeFileSync(path, text, { mode });
    return path;
  };
  const roles = (value: string, role: string, tenants: readonly string[]) => ({ value, roles: [role], tenants });
  const config = {
    version: 1,
    tenants: [
      tenant(TENANTS.free),
      tenant(TENANTS.human, { approval: { required: 1, ttl: '5m' } }),
      tenant(TENANTS.two, { approval: { required: 2, ttl: '5m' } }),
      tenant(TENANTS.reuse, { approval: { required: 1, ttl: '5m', reuse: true } }),
      tenant(TENANTS.proof, { require_proof: true }),
      tenant(TENANTS.condition, { condition: 'workload.namespace == "agents" && request.repo.startsWith("acme/")' }),
      tenant(TENANTS.other, { approval: { required: 1, ttl: '5m' } }),
    ],
    attestation: {
      kubernetes: [{ issuer: ISSUER, audience: AUDIENCE, keys: { pem_file: put('cluster.pem', rsaKey.publicPem) } }],
    },
    operators: [
      {
        issuer: operators.issuer,
        audience: operators.audience,
        keys: { pem_file: put('operators.pem', operators.publicPem) },
        role_mappings: [
          ...['viewer', 'auditor', 'operator', 'approver'].map((role) => roles(role, role, OURS)),
          ...['viewer', 'auditor', 'operator', 'approver'].map((role) => roles(`other-${role}`, role, [TENANTS.other])),
        ],
      },
    ],
    delegations: [
      { issuer: delegations.issuer, keys: { pem_file: put('delegations.pem', delegations.publicPem) }, tenants: OURS },
    ],
    notifications: {
      receivers:
        receiverUrl === null
          ? []
          : [
              {
                name: 'pager',
                kind: 'webhook',
                url: receiverUrl,
                secret_file: put('webhook.secret', WEBHOOK_SECRET, 0o600),
                callback_key_file: put(
                  'pager.pem',
                  receiverKeys.publicKey.export({ format: 'pem', type: 'spki' }).toString(),
                ),
                links: true,
                ...(approver === null ? {} : { approver }),
                tenants: OURS,
              },
            ],
    },
  };
  const path = join(folder, 'asb.yaml');
  const made: Configured = {
    path,
    folder,
    operators,
    delegations,
    receiverKey: receiverKeys.privateKey,
    config,
    // JSON is YAML.
    write: (text = JSON.stringify(config, null, 2)) => writeFileSync(path, text),
    remove: () => rmSync(folder, { recursive: true }),
  };
  made.write();
  return made;
}

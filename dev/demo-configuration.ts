import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cluster } from './cluster.ts';
import { makeOperators, type Operators } from './operators.ts';

/** A configuration file for the demo, and the operators that it trusts. */
export interface DemoConfiguration {
  path: string;
  /** Whose grants nobody is asked about, and whose grants one person must approve. */
  tenants: { free: string; careful: string };
  operators: Operators;
}

const ROLES = ['viewer', 'auditor', 'operator', 'approver'];

/** Writes the file and its keys into a folder. */
export async function writeDemoConfiguration(folder: string, cluster: Cluster): Promise<DemoConfiguration> {
  const tenants = { free: 't_dev', careful: 't_careful' };
  const operators = makeOperators(folder);
  await writeFile(join(folder, 'cluster.pem'), cluster.publicKey);
  const path = join(folder, 'asb.yaml');
  const configuration = {
    version: 1,
    tenants: [tenant(tenants.free, cluster, 'none'), tenant(tenants.careful, cluster, { required: 1, ttl: '5m' })],
    attestation: {
      kubernetes: [{ issuer: cluster.issuer, audience: 'asb-control-plane', keys: { pem_file: 'cluster.pem' } }],
    },
    operators: [
      {
        issuer: operators.issuer,
        audience: operators.audience,
        keys: { pem_file: operators.publicKeyFile },
        role_mappings: ROLES.map((role) => ({ value: role, roles: [role], tenants: Object.values(tenants) })),
      },
    ],
  };
  // JSON is YAML.
  await writeFile(path, JSON.stringify(configuration, null, 2));
  return { path, tenants, operators };
}

function tenant(id: string, { issuer }: Cluster, approval: unknown) {
  return {
    id,
    workload_bindings: [{ type: 'k8s_sa', issuer, namespace: 'agents', service_account: 'reviewer', agents: ['reviewer'] }],
    tools: [
      {
        name: 'github',
        manifest_hash: `sha256:${'0'.repeat(64)}`,
        runtime_class: 'hosted',
        delivery_modes: ['proxy'],
        capabilities: ['repo.read'],
        trust_tags: ['trusted'],
      },
    ],
    policies: [
      {
        capability: 'repo.read',
        resource_kind: 'github_repo',
        delivery_modes: ['proxy'],
        default_ttl: '10m',
        max_ttl: '10m',
        approval,
        required_tool_tags: ['trusted'],
        condition: 'request.repo.startsWith("acme/")',
      },
    ],
  };
}

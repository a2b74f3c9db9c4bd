import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Setting } from '../setting.ts';

const tool = (name: string, deliveryMode: string, capability: string) => ({
  name,
  manifest_hash: `sha256:${'0'.repeat(64)}`,
  runtime_class: 'hosted',
  delivery_modes: [deliveryMode],
  capabilities: [capability],
  trust_tags: ['trusted'],
});

const policy = (deliveryMode: string, capability: string, resourceKind: string) => ({
  capability,
  resource_kind: resourceKind,
  delivery_modes: [deliveryMode],
  default_ttl: '10m',
  max_ttl: '10m',
  approval: 'none',
});

/** Writes a configuration with a tool that hands out handles, and one that hands out wrapped secrets. Answers its path. */
export async function twoTools({ folder, cluster: { issuer }, clusterKeyFile }: Setting): Promise<string> {
  const path = join(folder, 'asb.yaml');
  const pods = { type: 'k8s_sa', issuer, namespace: 'agents', service_account: '*', agents: ['*'] };
  const tenant = {
    id: 't_dev',
    workload_bindings: [pods],
    tools: [tool('github', 'proxy', 'repo.read'), tool('db', 'wrapped_secret', 'db.read')],
    policies: [policy('proxy', 'repo.read', 'github_repo'), policy('wrapped_secret', 'db.read', 'db_role')],
  };
  const attestation = {
    kubernetes: [{ issuer, audience: 'asb-control-plane', keys: { pem_file: clusterKeyFile } }],
  };
  await writeFile(path, JSON.stringify({ version: 1, tenants: [tenant], attestation }));
  return path;
}

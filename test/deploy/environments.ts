import type { IContainer } from 'kubernetes-models/v1/Container';
import { ConfigMap } from 'kubernetes-models/v1/ConfigMap';
import { isSecretName } from './pods.ts';
import type { Manifest } from './manifests.ts';

/** Values that stand in for what Secrets hold. */
const SECRETS: Readonly<Record<string, string>> = {
  ASB_POSTGRES_DSN: 'postgres://asb:secret@postgres:5432/asb?sslmode=verify-full',
  ASB_REDIS_PASSWORD: 'secret',
  ASB_GITHUB_TOKEN: 'github_pat_secret',
};

/** The data of a ConfigMap; empty when there is none of that name. */
export function configMapData(manifests: readonly Manifest[], name: string): Readonly<Record<string, string>> {
  const objects = manifests.map(({ object }) => object);
  return objects.filter((object) => ConfigMap.is(object)).find(({ metadata }) => metadata?.name === name)?.data ?? {};
}

/** The environment that a container starts with. What comes from a Secret has a value that stands in for it. */
export function environmentOf(
  { env = [], envFrom = [] }: IContainer,
  manifests: readonly Manifest[],
): Record<string, string> {
  const shared = envFrom.map(({ configMapRef }) => configMapData(manifests, configMapRef?.name ?? ''));
  const own = env.map(({ name, value, valueFrom }) => {
    const secret = valueFrom?.secretKeyRef === undefined ? undefined : SECRETS[name];
    return [name, value ?? secret ?? ''];
  });
  return Object.assign({}, ...shared, Object.fromEntries(own)) as Record<string, string>;
}

/** Names of variables that hold a secret in a ConfigMap. */
export const openSecrets = (data: Readonly<Record<string, string>>): string[] => Object.keys(data).filter(isSecretName);

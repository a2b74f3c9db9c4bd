import { z } from 'zod';
import type { Clock } from '../../domain/clock.ts';
import type { SecretField } from '../../domain/connector.ts';
import { upstreamError } from '../../domain/errors.ts';
import { Secret } from '../../domain/secret.ts';
import { errorFromVault, lateError } from '../vault/translate-error.ts';
import { segments, type VaultClient } from '../vault/vault-client.ts';
import type { VaultLogin } from '../vault/vault-login.ts';

/** Where the values of a form come from. */
export interface CredentialSource {
  /** One value for each input that the source is for. Rejects with `forbidden`, `not_found`, `rate_limited`, `upstream_error` or `unavailable`. */
  read(signal: AbortSignal): Promise<readonly SecretField[]>;
}

/** Values that the configuration holds. */
export const configuredCredential = (fields: readonly SecretField[]): CredentialSource => ({
  read: () => Promise.resolve(fields),
});

export interface VaultSecretConfig {
  client: VaultClient;
  login: VaultLogin;
  clock: Clock;
  /** Of the key/value engine, version 2. */
  mount: string;
  path: string;
  /** The key of the secret that holds each input's value. */
  keys: readonly { name: string; key: string }[];
}

/** https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#read-secret-version. */
const secretVersion = z.object({ data: z.object({ data: z.record(z.string(), z.unknown()) }) });

/** Values that Vault keeps, read anew for each grant. */
export function vaultCredential({ client, login, clock, mount, path, keys }: VaultSecretConfig): CredentialSource {
  const what = `the secret ${mount}/${path}`;
  const request = { method: 'GET', path: `${segments(mount)}/data/${segments(path)}` } as const;
  return {
    async read(signal) {
      const { data } = await login
        .withToken(clock.now(), ({ token }) => client.ask(secretVersion, { ...request, token, signal }))
        .catch((error: unknown) => {
          throw signal.aborted ? lateError(signal) : errorFromVault(error, { what, needs: `read on ${mount}/data/${path}` });
        });
      return keys.map(({ name, key }) => {
        const value = data.data[key];
        // Without what is there.
        if (typeof value !== 'string' || value === '') throw upstreamError(`${what} has no text by the key ${key}`);
        return { name, value: new Secret(value) };
      });
    },
  };
}

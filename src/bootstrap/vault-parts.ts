import { hash } from 'node:crypto';
import { guardedLookup } from '../connectors/guarded-lookup.ts';
import { makeVaultClient, type VaultClient } from '../connectors/vault/vault-client.ts';
import { VaultLogin, type VaultLoginMethod } from '../connectors/vault/vault-login.ts';
import type { Clock } from '../domain/clock.ts';
import { Secret } from '../domain/secret.ts';
import { readText } from './read-text.ts';
import type { VaultLoginSettings, VaultSettings } from './settings.ts';

/** A Vault, and ASB's own login there. */
export interface VaultParts {
  client: VaultClient;
  login: VaultLogin;
}

export interface VaultsConfig {
  clock: Clock;
  allowedAddresses: readonly string[];
  /** Told each time that ASB's token could not be renewed. */
  onFailure: (error: unknown) => void;
}

/**
 * Opens Vaults, and keeps each open while its settings stay what they are: a reload neither logs in anew nor forgets a token that is to be
 * renewed.
 */
export class Vaults {
  readonly #config: VaultsConfig;
  #opened = new Map<string, VaultParts>();
  #asked = new Map<string, VaultParts>();

  constructor(config: VaultsConfig) {
    this.#config = config;
  }

  /** Throws an Error that says which file cannot be used, or that the address would carry the token in the clear. */
  open(settings: VaultSettings): VaultParts {
    const name = nameOf(settings);
    const parts = this.#opened.get(name) ?? this.#asked.get(name) ?? this.#make(settings);
    this.#asked.set(name, parts);
    return parts;
  }

  /** The configuration that asked is in force: what only an earlier one asked for is renewed no more. */
  settle(): void {
    for (const [name, { login }] of this.#opened) if (!this.#asked.has(name)) login.close();
    this.#opened = this.#asked;
    this.#asked = new Map();
  }

  #make({ address, namespace, caFile, login, timeoutSeconds }: VaultSettings): VaultParts {
    const { clock, onFailure, allowedAddresses } = this.#config;
    const authorities = caFile === null ? null : readText(caFile);
    const client = makeVaultClient({ address, namespace, authorities, lookup: guardedLookup(allowedAddresses) });
    return { client, login: new VaultLogin({ client, method: methodOf(login), clock, timeoutSeconds, onFailure }) };
  }
}

/** The same settings have the same name; a token is in it by its hash alone. */
function nameOf({ address, ...settings }: VaultSettings): string {
  const { login } = settings;
  const token = login.method === 'token' ? hash('sha256', login.token.reveal()) : '';
  return JSON.stringify([address.href, settings, token]);
}

function methodOf(login: VaultLoginSettings): VaultLoginMethod {
  switch (login.method) {
    case 'token':
      return login;
    case 'kubernetes': {
      const { jwtFile, ...method } = login;
      return { ...method, readJwt: secretIn(jwtFile) };
    }
    case 'approle': {
      const { secretIdFile, ...method } = login;
      return { ...method, readSecretId: secretIn(secretIdFile) };
    }
  }
}

const secretIn = (path: string) => (): Secret => new Secret(readText(path).trim());

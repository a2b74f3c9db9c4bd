import { z } from 'zod';

/** Asks Vault as its operator does. Answers the body; null for none. Throws an Error with what Vault says. */
export type AskVault = (method: 'GET' | 'POST', path: string, body?: object) => Promise<unknown>;

export const vaultOperator =
  (url: string, token: string): AskVault =>
  async (method, path, body) => {
    const response = await fetch(`${url}/v1/${path}`, {
      method,
      headers: { 'x-vault-token': token, 'content-type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === '' ? null : (JSON.parse(text) as unknown);
  };

export interface DatabaseSetup {
  /** Where the database secrets engine is mounted. */
  mount: string;
  /** Of the database, as a role that may make roles. */
  dsn: string;
  role: string;
  defaultTtl: string;
  maxTtl: string;
}

/** A database whose users may read what is in the schema `public`, and nothing else. */
export async function setUpDatabase(ask: AskVault, { mount, dsn, role, defaultTtl, maxTtl }: DatabaseSetup): Promise<void> {
  const { username, password, host, pathname } = new URL(dsn);
  await ask('POST', `sys/mounts/${mount}`, { type: 'database' });
  await ask('POST', `${mount}/config/app`, {
    plugin_name: 'postgresql-database-plugin',
    connection_url: `postgresql://{{username}}:{{password}}@${host}${pathname}?sslmode=disable`,
    username: decodeURIComponent(username),
    password: decodeURIComponent(password),
    allowed_roles: [role],
  });
  await ask('POST', `${mount}/roles/${role}`, {
    db_name: 'app',
    creation_statements: [
      `CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' INHERIT`,
      `GRANT USAGE ON SCHEMA public TO "{{name}}"`,
      `GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{{name}}"`,
    ],
    default_ttl: defaultTtl,
    max_ttl: maxTtl,
  });
}

/** What ASB itself may do at Vault: have users made for a role, and see to their leases. */
export const brokerPolicy = (mount: string, role: string): string =>
  JSON.stringify({
    path: {
      [`${mount}/creds/${role}`]: { capabilities: ['read'] },
      'sys/leases/renew': { capabilities: ['update'] },
      'sys/leases/revoke': { capabilities: ['update'] },
    },
  });

const made = z.object({ auth: z.object({ client_token: z.string() }) });

/** A token with these rules; those that they do not name are the usual ones (https://developer.hashicorp.com/vault/api-docs/auth/token#create-token). */
export const makeToken = async (ask: AskVault, rules: object): Promise<string> =>
  made.parse(await ask('POST', 'auth/token/create-orphan', rules)).auth.client_token;

import { Client } from 'pg';
import { startVaultStandIn, type VaultStandIn } from '../../dev/vault/server.ts';
import { type AskVault, brokerPolicy, makeToken, setUpDatabase, vaultOperator } from '../../dev/vault/set-up.ts';
import type { Clock } from '../../src/domain/clock.ts';
import { openEmptyDatabase } from './postgres.ts';

export const ROLE = 'app_ro';
export const MOUNT = 'database';

/** A Vault that makes users of a database with one table, `notes`, of one row. */
export interface VaultWorld {
  vault: VaultStandIn;
  ask: AskVault;
  /** Where users log in, without one. */
  database: URL;
  /** A token for ASB, that ends after so many seconds unless it is renewed. */
  brokerToken(rules?: object): Promise<string>;
  /** Users that the database has and Vault made. */
  users(): Promise<string[]>;
  /** Does something in the database, as who may do everything. */
  asAdmin(statements: string): Promise<void>;
  close(): Promise<void>;
}

export async function openVaultWorld(
  clock: Clock,
  { defaultTtl = '10m', maxTtl = '1h' }: { defaultTtl?: string; maxTtl?: string } = {},
): Promise<VaultWorld> {
  const database = await openEmptyDatabase();
  const admin = new Client({ connectionString: database.dsn });
  await admin.connect();
  await admin.query(`CREATE TABLE notes (text text); INSERT INTO notes VALUES ('hello')`);
  const vault = await startVaultStandIn({ clock });
  const ask = vaultOperator(vault.url, vault.rootToken);
  await setUpDatabase(ask, { mount: MOUNT, dsn: database.dsn, role: ROLE, defaultTtl, maxTtl });
  await ask('POST', 'sys/policies/acl/asb', { policy: brokerPolicy(MOUNT, ROLE) });
  const bare = new URL(database.dsn);
  bare.username = '';
  bare.password = '';
  return {
    vault,
    ask,
    database: bare,
    brokerToken: (rules = {}) => makeToken(ask, { policies: ['asb'], ttl: '24h', ...rules }),
    async users() {
      const privileged = `SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%' AND has_schema_privilege(rolname, 'public', 'USAGE')`;
      const { rows } = await admin.query<{ rolname: string }>(
        `${privileged} AND has_table_privilege(rolname, 'notes', 'SELECT')`,
      );
      return rows.map(({ rolname }) => rolname);
    },
    async asAdmin(statements) {
      await admin.query(statements);
    },
    async close() {
      // What was left is dropped with the leases, as Vault would in time.
      await ask('POST', `sys/leases/revoke-prefix/${MOUNT}`, { sync: true });
      await vault.close();
      await admin.end();
      await database.close();
    },
  };
}

/** `postgres://{{username}}:{{password}}@HOST:PORT/DATABASE`. */
export const templateFor = ({ host, pathname }: URL): string => `postgres://{{username}}:{{password}}@${host}${pathname}`;

/** What a user can do there: read, write, or not even log in. */
export async function rightsOf(dsn: string): Promise<{ login: boolean; read: boolean; write: boolean }> {
  const client = new Client({ connectionString: dsn });
  const works = (text: string): Promise<boolean> =>
    client.query(text).then(
      () => true,
      () => false,
    );
  try {
    await client.connect();
  } catch {
    return { login: false, read: false, write: false };
  }
  try {
    return {
      login: true,
      read: await works('SELECT text FROM notes'),
      write: await works(`INSERT INTO notes VALUES ('mine')`),
    };
  } finally {
    await client.end();
  }
}

import { randomBytes, randomInt } from 'node:crypto';
import { Client, escapeIdentifier, Pool } from 'pg';
import { z } from 'zod';
import type { Clock } from '../../src/domain/clock.ts';
import { badRequest, envelope, failed, notFound } from './answers.ts';
import { duration, SYSTEM_TTL_SECONDS } from './durations.ts';
import type { Leases } from './leases.ts';
import { bodyOf, type Handler, ok, tokenOf, type VaultCall } from './request.ts';

const Config = z.object({
  plugin_name: z.literal('postgresql-database-plugin'),
  connection_url: z.string(),
  username: z.string().optional(),
  password: z.string().optional(),
  allowed_roles: z.union([z.string().transform((text) => text.split(',')), z.array(z.string())]).default([]),
});
const statements = z.union([z.string().transform((text) => [text]), z.array(z.string())]);
const Role = z.object({
  db_name: z.string(),
  creation_statements: statements,
  revocation_statements: statements.default([]),
  renew_statements: statements.default([]),
  default_ttl: duration.default(0),
  max_ttl: duration.default(0),
});
type Role = z.infer<typeof Role>;

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const word = (length: number): string => Array.from({ length }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
/** https://developer.hashicorp.com/vault/docs/concepts/username-templating: the template of the Postgres plugin, at most 63 characters. */
const userName = (token: string, role: string, now: Date): string =>
  `v-${token.slice(0, 8)}-${role.slice(0, 8)}-${word(20)}-${Math.floor(now.getTime() / 1000)}`.slice(0, 63);
/** https://developer.hashicorp.com/vault/docs/concepts/password-policies: the default policy, 20 characters. */
const newPassword = (): string => `${word(9)}-${word(9)}${randomBytes(1).readUInt8() % 10}`;

/** Makes users of real databases: https://developer.hashicorp.com/vault/api-docs/secret/databases. */
export class DatabaseEngine {
  readonly #mount: string;
  readonly #clock: Clock;
  readonly #leases: Leases;
  readonly #connections = new Map<string, z.infer<typeof Config>>();
  readonly #pools = new Map<string, Pool>();
  readonly #roles = new Map<string, Role>();

  constructor(mount: string, clock: Clock, leases: Leases) {
    this.#mount = mount;
    this.#clock = clock;
    this.#leases = leases;
  }

  handle: Handler = async (call) => {
    const [area = '', name = ''] = call.path.slice(this.#mount.length + 1).split('/');
    if (name === '') return null;
    if (area === 'config' && call.method === 'POST') return this.#configure(name, call);
    if (area === 'roles' && call.method === 'POST') return this.#setRole(name, call);
    if (area === 'roles' && call.method === 'GET') return this.#readRole(name);
    if (area === 'creds' && call.method === 'GET') return this.#makeUser(name, call);
    return null;
  };

  async close(): Promise<void> {
    await Promise.all([...this.#pools.values()].map((pool) => pool.end()));
  }

  async #configure(name: string, call: VaultCall) {
    const config = bodyOf(call, Config);
    const url = config.connection_url
      .replace('{{username}}', encodeURIComponent(config.username ?? ''))
      .replace('{{password}}', encodeURIComponent(config.password ?? ''));
    const client = new Client({ connectionString: url });
    try {
      await client.connect();
    } catch {
      throw badRequest('error creating database object: error verifying connection: failed to connect');
    } finally {
      await client.end().catch(() => undefined);
    }
    await this.#pools.get(name)?.end();
    // The plugin makes one user after the other too.
    const pool = new Pool({ connectionString: url, max: 1 });
    pool.on('error', () => undefined);
    this.#pools.set(name, pool);
    this.#connections.set(name, config);
    return 'no_content' as const;
  }

  async #setRole(name: string, call: VaultCall) {
    const role = bodyOf(call, Role);
    this.#roles.set(name, role);
    return Promise.resolve('no_content' as const);
  }

  async #readRole(name: string) {
    const role = this.#roles.get(name);
    if (role === undefined) throw notFound();
    return Promise.resolve(ok(envelope({ data: { ...role, credential_type: 'password' } })));
  }

  async #makeUser(name: string, call: VaultCall) {
    const role = this.#roles.get(name);
    if (role === undefined) throw badRequest(`unknown role: ${name}`);
    const config = this.#connections.get(role.db_name);
    const pool = this.#pools.get(role.db_name);
    if (config === undefined || pool === undefined) {
      throw failed(`failed to find entry for connection with name: "${role.db_name}"`);
    }
    if (!config.allowed_roles.some((allowed) => allowed === '*' || allowed === name)) {
      throw failed(`"${name}" is not an allowed role`);
    }
    const token = tokenOf(call);
    const now = this.#clock.now();
    const maxTtlSeconds = role.max_ttl > 0 ? role.max_ttl : SYSTEM_TTL_SECONDS;
    const ttlSeconds = Math.min(role.default_ttl > 0 ? role.default_ttl : SYSTEM_TTL_SECONDS, maxTtlSeconds);
    const username = userName(token.displayName, name, now);
    const password = newPassword();
    const expiresAt = new Date(now.getTime() + ttlSeconds * 1000);
    await runAll(pool, role.creation_statements, { name: username, username, password, expiration: timestamp(expiresAt) });
    const id = this.#leases.newId(`${this.#mount}/creds/${name}`);
    this.#leases.add({
      id,
      token: token.id,
      issuedAt: now,
      renewedAt: null,
      expiresAt,
      maxTtlSeconds,
      revoke: () => dropUser(pool, role, username),
      extend: (until) => extendUser(pool, role, username, until),
    });
    return ok(envelope({ lease_id: id, renewable: true, lease_duration: ttlSeconds, data: { username, password } }));
  }
}

/** As the plugin writes `{{expiration}}`. */
const timestamp = (at: Date): string => at.toISOString().replace('T', ' ').replace('Z', '+0000');

/** Statements of the operator's own, with what the plugin puts in; it quotes nothing either. */
async function runAll(pool: Pool, texts: readonly string[], values: Readonly<Record<string, string>>): Promise<void> {
  const client = await pool.connect().catch(() => {
    throw failed('error verifying connection: failed to connect');
  });
  try {
    await client.query('BEGIN');
    for (const text of texts)
      await client.query(text.replaceAll(/\{\{(\w+)\}\}/g, (_match, name: string) => values[name] ?? ''));
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw failed(`failed to execute query: ${error instanceof Error ? error.message : ''}`);
  } finally {
    client.release();
  }
}

/** The plugin's default: takes every privilege back and drops the role. Sessions that are open go on, without rights. */
async function dropUser(pool: Pool, { revocation_statements: own }: Role, username: string): Promise<void> {
  if (own.length > 0) return runAll(pool, own, { name: username, username });
  const { rowCount } = await pool.query('SELECT FROM pg_roles WHERE rolname = $1', [username]);
  if (rowCount === 0) return undefined;
  const role = escapeIdentifier(username);
  return runAll(pool, [`DROP OWNED BY ${role}`, `DROP ROLE IF EXISTS ${role}`], {});
}

async function extendUser(pool: Pool, { renew_statements: own }: Role, username: string, until: Date): Promise<void> {
  const statement = `ALTER ROLE "{{name}}" VALID UNTIL '{{expiration}}'`;
  await runAll(pool, own.length > 0 ? own : [statement], { name: username, username, expiration: timestamp(until) });
}

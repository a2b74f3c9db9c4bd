import { z } from 'zod';
import type { Clock } from '../../domain/clock.ts';
import type { IssuedLease, IssueRequest, LeaseConnector } from '../../domain/connector.ts';
import { invalidRequest, notFound, unavailable } from '../../domain/errors.ts';
import type { ResourceRef } from '../../domain/resource.ts';
import { Secret } from '../../domain/secret.ts';
import { errorFromVault, lateError } from '../vault/translate-error.ts';
import { segment, segments, type VaultClient } from '../vault/vault-client.ts';
import type { VaultLogin, VaultToken } from '../vault/vault-login.ts';
import type { DsnTemplate } from './dsn-template.ts';

/** A role of Vault's database secrets engine (https://developer.hashicorp.com/vault/docs/secrets/databases). */
export interface DatabaseRole {
  /** As resource refs name it: `dbrole:NAME`. */
  name: string;
  /** Path of the secrets engine, such as `database`. */
  mount: string;
  dsn: DsnTemplate;
}

export interface VaultDatabaseConfig {
  client: VaultClient;
  login: VaultLogin;
  clock: Clock;
  capabilities: readonly string[];
  roles: readonly DatabaseRole[];
  /** What a role's name must end in, one of these, so that nobody configures one that may write by mistake. */
  allowedSuffixes: readonly string[];
  /** The longest that Vault lets a credential of these roles live, in seconds: their `max_ttl`. */
  longestLeaseSeconds: number;
  /** How long a request that may have issued something is waited for, in seconds, so that what comes late can be revoked. */
  timeoutSeconds: number;
}

export const VAULT_DATABASE = 'vaultdb';
/** How Vault names roles: https://developer.hashicorp.com/vault/api-docs/secret/databases#create-role. */
const ROLE_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

const credential = z.object({
  lease_id: z.string().min(1).max(1000),
  lease_duration: z.int().min(1),
  renewable: z.boolean(),
  data: z.object({ username: z.string().min(1), password: z.string().min(1) }),
});
type Credential = z.infer<typeof credential>;
const renewed = z.object({ lease_duration: z.int().min(0) });
const nothing = z.unknown();

/**
 * Has Vault make database users, one for each grant, and revokes their leases. A lease belongs to the token that it was issued by and
 * ends with it, so no credential is promised for longer than that.
 *
 * Throws an Error for a role whose name Vault does not take or that ends in no allowed suffix.
 */
export function makeVaultDatabaseConnector(config: VaultDatabaseConfig): LeaseConnector {
  const roles = new Map(config.roles.map((role) => [role.name, role]));
  for (const { name } of config.roles) {
    const problem = nameProblem(name, config.allowedSuffixes);
    if (problem !== null) throw new Error(`database role ${name}: ${problem}`);
  }
  if (roles.size < config.roles.length) throw new Error('two database roles have one name');
  return new VaultDatabaseConnector(config, roles);
}

class VaultDatabaseConnector implements LeaseConnector {
  readonly name = VAULT_DATABASE;
  readonly resourceKind = 'db_role' as const;
  readonly deliveryModes = ['wrapped_secret'] as const;
  readonly capabilities: readonly string[];
  readonly longestLeaseSeconds: number;
  readonly #config: VaultDatabaseConfig;
  readonly #roles: ReadonlyMap<string, DatabaseRole>;

  constructor(config: VaultDatabaseConfig, roles: ReadonlyMap<string, DatabaseRole>) {
    this.#config = config;
    this.#roles = roles;
    this.capabilities = config.capabilities;
    this.longestLeaseSeconds = config.longestLeaseSeconds;
  }

  checkResource(resource: ResourceRef): void {
    this.#roleOf(resource);
  }

  #roleOf({ name }: ResourceRef): DatabaseRole {
    const problem = nameProblem(name, this.#config.allowedSuffixes);
    if (problem !== null) throw invalidRequest(`resource_ref: ${problem}`);
    const role = this.#roles.get(name);
    if (role === undefined) throw notFound('resource_ref: no such database role is configured');
    return role;
  }

  async issue({ resource, expiresAt, signal }: IssueRequest): Promise<IssuedLease> {
    const role = this.#roleOf(resource);
    const asked = {
      what: `the database role ${role.name}`,
      needs: `read on ${role.mount}/creds/${role.name} and update on sys/leases/renew and sys/leases/revoke`,
    };
    try {
      return await this.#config.login.withToken(expiresAt, (token) => this.#issueBy(token, role, expiresAt, signal));
    } catch (error) {
      throw signal.aborted ? lateError(signal) : errorFromVault(error, asked);
    }
  }

  async #issueBy(token: VaultToken, role: DatabaseRole, expiresAt: Date, signal: AbortSignal): Promise<IssuedLease> {
    const askedAt = this.#config.clock.now();
    const made = await this.#make(role, token, signal);
    const seconds = await this.#extend(made, token, expiresAt, signal);
    return leaseOf(role, made, new Date(earliest(askedAt.getTime() + seconds * 1000, token.endsAt)));
  }

  /** Asks for a credential. Whoever gives up on it meanwhile leaves somebody behind who revokes it, when it comes after all. */
  async #make({ mount, name }: DatabaseRole, { token }: VaultToken, signal: AbortSignal): Promise<Credential> {
    const path = `${segments(mount)}/creds/${segment(name)}`;
    const made = this.#withinTime((ended) =>
      this.#config.client.ask(credential, { method: 'GET', path, token, signal: ended }),
    );
    const { promise: left, reject: leave } = Promise.withResolvers<never>();
    const onAbort = (): void => leave(lateError(signal));
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      return await Promise.race([made, left]);
    } catch (error) {
      if (signal.aborted) made.then((late) => this.#revokeLease(late.lease_id, token)).catch(() => undefined);
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** For how long the credential is good, in seconds: until `expiresAt` where Vault lets it be renewed so far. */
  async #extend(made: Credential, { token }: VaultToken, expiresAt: Date, signal: AbortSignal): Promise<number> {
    const increment = Math.ceil((expiresAt.getTime() - this.#config.clock.now().getTime()) / 1000);
    if (made.lease_duration >= increment || !made.renewable) return made.lease_duration;
    const body = { lease_id: made.lease_id, increment };
    const answer = await this.#config.client
      .ask(renewed, { method: 'POST', path: 'sys/leases/renew', token, body, signal })
      // It is good for as long as it is; the artifact gets shorter.
      .catch(() => ({ lease_duration: 0 }));
    return Math.max(made.lease_duration, answer.lease_duration);
  }

  /**
   * A lease whose id is not known cannot be revoked: by Vault's own clock it ends after `longestLeaseSeconds`, and this rejects until then.
   * One that Vault does not know any more is over (https://developer.hashicorp.com/vault/api-docs/system/leases#revoke-lease).
   */
  async revoke({ leaseId }: { leaseId: string | null }): Promise<void> {
    if (leaseId === null) throw unavailable('the id of the lease never became known; it ends by itself');
    try {
      await this.#config.login.withToken(this.#config.clock.now(), ({ token }) => this.#revokeLease(leaseId, token));
    } catch (error) {
      throw errorFromVault(error, { what: 'the lease', needs: 'update on sys/leases/revoke' });
    }
  }

  /** Waits until the user is gone from the database: `sync`. */
  async #revokeLease(leaseId: string, token: Secret): Promise<void> {
    const body = { lease_id: leaseId, sync: true };
    await this.#withinTime((signal) =>
      this.#config.client.ask(nothing, { method: 'POST', path: 'sys/leases/revoke', token, body, signal }),
    );
  }

  async #withinTime<T>(ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { clock, timeoutSeconds } = this.#config;
    const timeout = new AbortController();
    const cancel = clock.schedule(timeoutSeconds * 1000, () => timeout.abort());
    try {
      return await ask(timeout.signal);
    } finally {
      cancel();
    }
  }
}

function nameProblem(name: string, suffixes: readonly string[]): string | null {
  if (!ROLE_NAME.test(name)) return 'a database role has letters, digits and _.- in its name, 128 at most';
  if (suffixes.some((suffix) => name.endsWith(suffix) && name !== suffix)) return null;
  return `a database role must end in ${suffixes.join(' or ')}`;
}

const earliest = (at: number, other: Date | null): number => Math.min(at, other?.getTime() ?? Infinity);

function leaseOf(role: DatabaseRole, made: Credential, expiresAt: Date): IssuedLease {
  const { username, password } = made.data;
  const fields = { username, password, dsn: role.dsn({ username, password }) };
  return {
    leaseId: made.lease_id,
    expiresAt,
    fields: Object.entries(fields).map(([name, value]) => ({ name, value: new Secret(value) })),
  };
}

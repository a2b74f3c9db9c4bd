import { z } from 'zod';
import { badRequest, envelope } from './answers.ts';
import { duration } from './durations.ts';
import type { Leases } from './leases.ts';
import { type Policy, parsePolicy } from './policies.ts';
import { type Answer, bodyOf, type Handler, ok, type VaultCall } from './request.ts';

const leaseId = z.object({ lease_id: z.string().default('') });
const revocation = z.object({ sync: z.boolean().default(false) });
const renewal = z.object({ lease_id: z.string().default(''), increment: duration.default(0) });

function idOf(call: VaultCall, prefix: string): string {
  const inPath = call.path.slice(prefix.length + 1);
  const id = inPath === '' ? bodyOf(call, leaseId).lease_id : inPath;
  if (id === '') throw badRequest('lease_id must be specified');
  return id;
}

/** https://developer.hashicorp.com/vault/api-docs/system/leases, and the older paths that mean the same. */
export function leaseCalls(leases: Leases): Handler {
  const lookUp = (call: VaultCall): Answer => {
    const lease = leases.find(bodyOf(call, leaseId).lease_id);
    const data = {
      id: lease.id,
      issue_time: lease.issuedAt.toISOString(),
      expire_time: lease.expiresAt.toISOString(),
      last_renewal: lease.renewedAt?.toISOString() ?? null,
      renewable: true,
      ttl: leases.ttlSeconds(lease),
    };
    return ok(envelope({ data }));
  };
  const renew = async (call: VaultCall, prefix: string): Promise<Answer> => {
    const { increment } = bodyOf(call, renewal);
    const { lease, ttlSeconds, warnings } = await leases.renew(idOf(call, prefix), increment);
    return ok(envelope({ lease_id: lease.id, renewable: true, lease_duration: ttlSeconds, warnings }));
  };
  /** 202 says that it is yet to be done, which is what happens unless `sync` says otherwise. */
  const revoke = async (call: VaultCall, ids: readonly string[]): Promise<Answer> => {
    if (bodyOf(call, revocation).sync) {
      for (const id of ids) await leases.revoke(id);
      return 'no_content';
    }
    for (const id of ids) leases.revokeLater(id);
    return { status: 202, body: null };
  };
  const below = (path: string, prefix: string): boolean => path === prefix || path.startsWith(`${prefix}/`);
  return async (call) => {
    const { method, path } = call;
    if (method === 'LIST' && below(path, 'sys/leases/lookup')) {
      const prefix = path.slice('sys/leases/lookup/'.length).replace(/\/?$/, '/');
      const keys = leases.ids.filter((id) => id.startsWith(prefix)).map((id) => id.slice(prefix.length));
      return ok(envelope({ data: { keys } }));
    }
    if (method !== 'POST') return null;
    if (path === 'sys/leases/lookup') return lookUp(call);
    for (const prefix of ['sys/leases/renew', 'sys/renew']) if (below(path, prefix)) return renew(call, prefix);
    for (const prefix of ['sys/leases/revoke-prefix', 'sys/revoke-prefix']) {
      if (!below(path, prefix)) continue;
      const start = path.slice(prefix.length + 1);
      const ids = leases.ids.filter((id) => id.startsWith(start));
      return revoke(call, ids);
    }
    for (const prefix of ['sys/leases/revoke', 'sys/revoke']) {
      if (below(path, prefix)) return revoke(call, [idOf(call, prefix)]);
    }
    return null;
  };
}

/** https://developer.hashicorp.com/vault/api-docs/system/policies */
export function policyCalls(policies: Map<string, Policy>): Handler {
  return (call) => {
    const name = /^sys\/polic(?:y|ies\/acl)\/([^/]+)$/.exec(call.path)?.[1];
    if (name === undefined || call.method !== 'POST') return Promise.resolve(null);
    policies.set(name, parsePolicy(bodyOf(call, z.object({ policy: z.string() })).policy));
    return Promise.resolve('no_content');
  };
}

export type Mounts = Map<string, Handler>;

/** https://developer.hashicorp.com/vault/api-docs/system/mounts and /system/auth: what is mounted where. */
export function mountCalls(mounts: Mounts, make: (type: string, path: string) => Handler | null): Handler {
  return (call) => {
    const [, area = '', path = ''] = /^sys\/(mounts|auth)\/(.+?)\/?$/.exec(call.path) ?? [];
    if (path === '' || call.method !== 'POST') return Promise.resolve(null);
    const { type } = bodyOf(call, z.object({ type: z.string() }));
    const mounted = area === 'auth' ? `auth/${path}` : path;
    if (mounts.has(mounted)) throw badRequest(`path is already in use at ${path}/`);
    const handler = make(`${area}:${type}`, path);
    if (handler === null) throw badRequest(`plugin not found in the catalog: ${type}`);
    mounts.set(mounted, handler);
    return Promise.resolve('no_content');
  };
}

export interface SealStatus {
  sealed: boolean;
  initialized: boolean;
  standby: boolean;
  performanceStandby: boolean;
  /** A secondary of disaster recovery. */
  drSecondary: boolean;
}

const VERSION = '1.20.0';
const CLUSTER = { cluster_name: 'vault-cluster-dev', cluster_id: '00000000-0000-4000-8000-000000000000' };

/** https://developer.hashicorp.com/vault/api-docs/system/seal-status */
export const sealStatus = ({ sealed, initialized }: SealStatus) => ({
  type: 'shamir',
  initialized,
  sealed,
  t: 1,
  n: 1,
  progress: 0,
  nonce: '',
  version: VERSION,
  build_date: '2026-01-01T00:00:00Z',
  migration: false,
  recovery_seal: false,
  storage_type: 'inmem',
  ...(!sealed && CLUSTER),
});

/** https://developer.hashicorp.com/vault/api-docs/system/seal: nothing is left but to unseal it. */
export function sealCalls(status: SealStatus): Handler {
  return ({ method, path }) => {
    if (path !== 'sys/seal' || method !== 'POST') return Promise.resolve(null);
    status.sealed = true;
    return Promise.resolve('no_content');
  };
}

const unsealing = z.object({ key: z.string().default(''), reset: z.boolean().default(false) });

/** https://developer.hashicorp.com/vault/api-docs/system/unseal, with one share of the key. Needs no token. */
export function unseal(status: SealStatus, unsealKey: string, asked: unknown): Answer {
  const { key, reset } = unsealing.catch({ key: '', reset: false }).parse(asked ?? {});
  if (!reset && key === '') throw badRequest("'key' must be specified in request body as JSON, or 'reset' set to true");
  if (!reset && key !== unsealKey) throw badRequest('Unseal failed, invalid key');
  if (!reset) status.sealed = false;
  return ok(sealStatus(status));
}

/** https://developer.hashicorp.com/vault/api-docs/system/health: the status says how it is, and the query may say it otherwise. */
export function health(status: SealStatus, query: Readonly<Record<string, unknown>>, now: Date): Answer {
  const code = (name: string, usual: number): number => Number(query[name] ?? usual);
  const isFine = (name: string): boolean => query[name] !== undefined && query[name] !== 'false';
  const at = (): number => {
    if (!status.initialized) return code('uninitcode', 501);
    if (status.sealed) return code('sealedcode', 503);
    if (status.drSecondary) return code('drsecondarycode', 472);
    if (status.performanceStandby && !isFine('perfstandbyok')) return code('performancestandbycode', 473);
    if (status.standby && !status.performanceStandby && !isFine('standbyok')) return code('standbycode', 429);
    return code('activecode', 200);
  };
  const body = {
    initialized: status.initialized,
    sealed: status.sealed,
    standby: status.standby,
    performance_standby: status.performanceStandby,
    replication_performance_mode: 'disabled',
    replication_dr_mode: status.drSecondary ? 'secondary' : 'disabled',
    server_time_utc: Math.floor(now.getTime() / 1000),
    version: VERSION,
    enterprise: false,
    ...(!status.sealed && CLUSTER),
  };
  return { status: at(), body };
}

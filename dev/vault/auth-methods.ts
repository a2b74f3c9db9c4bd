import { randomUUID } from 'node:crypto';
import { errors, importSPKI, jwtVerify } from 'jose';
import { z } from 'zod';
import type { Clock } from '../../src/domain/clock.ts';
import { badRequest, envelope, notFound, permissionDenied, VaultError } from './answers.ts';
import { duration, SYSTEM_TTL_SECONDS } from './durations.ts';
import { bodyOf, type Handler, ok, tokenOf, type VaultCall } from './request.ts';
import type { Token, Tokens } from './tokens.ts';

const names = z.union([z.string().transform((text) => text.split(',')), z.array(z.string())]);
const tokenRules = {
  token_policies: names.default([]),
  token_ttl: duration.default(0),
  token_max_ttl: duration.default(0),
  token_period: duration.default(0),
};
type TokenRules = { token_policies: string[]; token_ttl: number; token_max_ttl: number; token_period: number };

const AppRole = z.object({
  ...tokenRules,
  secret_id_num_uses: z.int().min(0).default(0),
  secret_id_ttl: duration.default(0),
});
interface SecretId {
  usesLeft: number;
  expiresAt: Date | null;
}

/** https://developer.hashicorp.com/vault/api-docs/auth/approle */
export function appRoleMethod(mount: string, tokens: Tokens, clock: Clock): Handler {
  const roles = new Map<string, z.infer<typeof AppRole> & { roleId: string; secretIds: Map<string, SecretId> }>();
  const login = (call: VaultCall) => {
    const asked = bodyOf(call, z.object({ role_id: z.string().default(''), secret_id: z.string().default('') }));
    if (asked.role_id === '') throw badRequest('missing role_id');
    const [name, role] = [...roles].find(([, { roleId }]) => roleId === asked.role_id) ?? [];
    const secret = role?.secretIds.get(asked.secret_id);
    const isOver = secret?.expiresAt != null && clock.now() >= secret.expiresAt;
    if (name === undefined || role === undefined || secret === undefined || isOver) {
      throw badRequest('invalid role or secret ID');
    }
    if (secret.usesLeft > 0 && (secret.usesLeft -= 1) === 0) role.secretIds.delete(asked.secret_id);
    return ok(envelope({ auth: tokens.authOf(loginToken(tokens, mount, role, { role_name: name })) }));
  };
  return (call) => {
    const path = call.path.slice(`auth/${mount}/`.length);
    const [area, name = '', detail] = path.split('/');
    if (path === 'login' && call.method === 'POST') return Promise.resolve(login(call));
    if (area !== 'role' || name === '') return Promise.resolve(null);
    if (detail === undefined && call.method === 'POST') {
      const before = roles.get(name);
      roles.set(name, {
        ...bodyOf(call, AppRole),
        roleId: before?.roleId ?? randomUUID(),
        secretIds: before?.secretIds ?? new Map<string, SecretId>(),
      });
      return Promise.resolve('no_content');
    }
    const role = roles.get(name);
    if (role === undefined) throw notFound();
    if (detail === 'role-id' && call.method === 'GET')
      return Promise.resolve(ok(envelope({ data: { role_id: role.roleId } })));
    if (detail !== 'secret-id' || call.method !== 'POST') return Promise.resolve(null);
    const id = randomUUID();
    const { secret_id_ttl: ttl, secret_id_num_uses: uses } = role;
    role.secretIds.set(id, { usesLeft: uses, expiresAt: ttl === 0 ? null : new Date(clock.now().getTime() + ttl * 1000) });
    const data = { secret_id: id, secret_id_accessor: randomUUID(), secret_id_num_uses: uses, secret_id_ttl: ttl };
    return Promise.resolve(ok(envelope({ data })));
  };
}

const KubernetesRole = z.object({
  ...tokenRules,
  bound_service_account_names: names,
  bound_service_account_namespaces: names,
  audience: z.string().optional(),
});
const claims = z.object({
  'kubernetes.io': z.object({
    namespace: z.string(),
    serviceaccount: z.object({ name: z.string(), uid: z.string() }),
  }),
});

/** https://developer.hashicorp.com/vault/api-docs/auth/kubernetes, with the keys of its `pem_keys` in the place of a TokenReview. */
export function kubernetesMethod(mount: string, tokens: Tokens, clock: Clock): Handler {
  const roles = new Map<string, z.infer<typeof KubernetesRole>>();
  let keys: string[] = [];
  const login = async (call: VaultCall) => {
    const { role: name, jwt } = bodyOf(call, z.object({ role: z.string().default(''), jwt: z.string().default('') }));
    if (name === '') throw badRequest('missing role');
    const role = roles.get(name);
    if (role === undefined) throw badRequest(`invalid role name "${name}"`);
    const account = await verified(jwt, keys, role.audience, clock.now());
    const allows = (bound: readonly string[], own: string): boolean => bound.includes('*') || bound.includes(own);
    if (!allows(role.bound_service_account_names, account.serviceaccount.name)) {
      throw new VaultError(403, 'service account name not authorized');
    }
    if (!allows(role.bound_service_account_namespaces, account.namespace)) {
      throw new VaultError(403, 'namespace not authorized');
    }
    const metadata = {
      role: name,
      service_account_name: account.serviceaccount.name,
      service_account_namespace: account.namespace,
      service_account_uid: account.serviceaccount.uid,
    };
    return ok(envelope({ auth: tokens.authOf(loginToken(tokens, mount, role, metadata)) }));
  };
  return (call) => {
    const path = call.path.slice(`auth/${mount}/`.length);
    const [area, name = ''] = path.split('/');
    if (call.method !== 'POST') return Promise.resolve(null);
    if (path === 'login') return login(call);
    if (path === 'config') {
      keys = bodyOf(call, z.object({ pem_keys: z.array(z.string()) })).pem_keys;
      return Promise.resolve('no_content');
    }
    if (area !== 'role' || name === '') return Promise.resolve(null);
    roles.set(name, bodyOf(call, KubernetesRole));
    return Promise.resolve('no_content');
  };
}

/** Clocks may differ by so much: https://pkg.go.dev/github.com/go-jose/go-jose/v4/jwt#DefaultLeeway, as Vault has it. */
const SKEW_SECONDS = 60;

async function verified(jwt: string, pems: readonly string[], audience: string | undefined, currentDate: Date) {
  for (const pem of pems) {
    try {
      const key = await importSPKI(pem, 'RS256');
      const options = { currentDate, clockTolerance: SKEW_SECONDS, ...(audience !== undefined && { audience }) };
      const { payload } = await jwtVerify(jwt, key, options);
      return claims.parse(payload)['kubernetes.io'];
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw permissionDenied();
    }
  }
  throw permissionDenied();
}

const loginToken = (tokens: Tokens, mount: string, role: TokenRules, metadata: Readonly<Record<string, string>>): Token =>
  tokens.make({
    policies: ['default', ...role.token_policies],
    metadata,
    path: `auth/${mount}/login`,
    displayName: mount,
    ttlSeconds: role.token_ttl > 0 ? role.token_ttl : SYSTEM_TTL_SECONDS,
    maxTtlSeconds: role.token_max_ttl,
    periodSeconds: role.token_period,
  });

const NewToken = z.object({
  policies: z.array(z.string()).optional(),
  meta: z.record(z.string(), z.string()).optional(),
  ttl: duration.optional(),
  explicit_max_ttl: duration.optional(),
  period: duration.optional(),
  num_uses: z.int().min(0).optional(),
  renewable: z.boolean().optional(),
  display_name: z.string().optional(),
  no_parent: z.boolean().optional(),
});
const named = z.object({ token: z.string().min(1) });
const accessed = z.object({ accessor: z.string().min(1) });
const increment = z.object({ increment: duration.default(0) });

/** https://developer.hashicorp.com/vault/api-docs/auth/token */
export function tokenMethod(tokens: Tokens): Handler {
  const create = (call: VaultCall, isOrphan: boolean) => {
    const asked = bodyOf(call, NewToken);
    const own = tokenOf(call);
    // Or it would escape its own number.
    if (own.usesLeft !== 0) throw badRequest('restricted use token cannot generate child tokens');
    const policies = asked.policies ?? own.policies;
    // Nobody makes a token that may more than their own.
    if (!own.policies.includes('root') && !policies.every((name) => name === 'default' || own.policies.includes(name))) {
      throw badRequest('child policies must be subset of parent');
    }
    const token = tokens.make({
      policies: policies.includes('root') ? ['root'] : [...new Set(['default', ...policies])],
      metadata: asked.meta ?? null,
      parent: isOrphan || asked.no_parent === true ? null : own.id,
      path: 'auth/token/create',
      displayName: asked.display_name === undefined ? 'token' : `token-${asked.display_name}`,
      ttlSeconds: asked.ttl ?? SYSTEM_TTL_SECONDS,
      explicitMaxTtlSeconds: asked.explicit_max_ttl ?? 0,
      periodSeconds: asked.period ?? 0,
      renewable: asked.renewable ?? true,
      uses: asked.num_uses ?? 0,
    });
    return ok(envelope({ auth: tokens.authOf(token) }));
  };
  const renewed = (token: Token, call: VaultCall) =>
    ok(envelope({ auth: tokens.authOf(tokens.renew(token, bodyOf(call, increment).increment)) }));
  const looked = (token: Token) => ok(envelope({ data: tokens.dataOf(token) }));
  return async (call) => {
    const area = call.path.slice('auth/token/'.length);
    switch (`${call.method} ${area}`) {
      case 'POST create':
        return create(call, false);
      case 'POST create-orphan':
        return create(call, true);
      case 'GET lookup-self':
        return looked(tokenOf(call));
      case 'POST lookup':
        return looked(tokens.find(bodyOf(call, named).token));
      case 'POST lookup-accessor': {
        const { id: _hidden, ...data } = tokens.dataOf(tokens.byAccessor(bodyOf(call, accessed).accessor));
        return ok(envelope({ data: { ...data, id: '' } }));
      }
      case 'POST renew-self':
        return renewed(tokenOf(call), call);
      case 'POST renew':
        if (!tokens.isThere(bodyOf(call, named).token)) throw badRequest('token not found');
        return renewed(tokens.find(bodyOf(call, named).token), call);
      case 'POST revoke-self':
        await tokens.revoke(tokenOf(call).id);
        return 'no_content';
      case 'POST revoke':
        // One that is not there is over, as it should be.
        await tokens.revoke(bodyOf(call, named).token);
        return 'no_content';
      case 'POST revoke-accessor':
        await tokens.revoke(tokens.byAccessor(bodyOf(call, accessed).accessor).id);
        return 'no_content';
      default:
        return null;
    }
  };
}

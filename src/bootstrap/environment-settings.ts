import { hash } from 'node:crypto';
import canonicalize from 'canonicalize';
import { compileCondition } from '../authz/condition.ts';
import type { TenantId } from '../domain/ids.ts';
import { OPERATOR_ROLES } from '../domain/operator.ts';
import type { Policy } from '../domain/policy.ts';
import { Secret } from '../domain/secret.ts';
import type { Tool } from '../domain/tool.ts';
import type { WorkloadBinding } from '../domain/workload-binding.ts';
import type { Environment } from './environment.ts';
import type {
  BrowserSettings,
  DatabaseSettings,
  GitHubAppSettings,
  K8sIssuerSettings,
  KeySettings,
  OidcIssuerSettings,
  Settings,
} from './settings.ts';

const TWO_MINUTES = 120;
const FIVE_MINUTES = 300;
const TEN_MINUTES = 600;
const THIRTY_MINUTES = 1800;
const AN_HOUR = 3600;
const VAULT_TIMEOUT_SECONDS = 10;

/** The issuers of workloads that the environment names; a configuration file may name more. */
export type AttestationSettings = Pick<Settings, 'k8sIssuers' | 'oidcIssuers'>;

/** The issuers of workloads that the environment names. */
export function attestationOf(environment: Environment): AttestationSettings {
  return { k8sIssuers: k8sIssuersOf(environment), oidcIssuers: oidcIssuersOf(environment) };
}

/** What the environment alone sets up: one tenant, in which any workload of its issuers may act, as any agent. */
export function environmentSettings(environment: Environment): Settings {
  const tenantId = environment.ASB_DEV_TENANT_ID as TenantId;
  const attestation = attestationOf(environment);
  const database = databaseOf(environment);
  const browser = browserOf(environment);
  const githubApp = gitHubAppOf(environment);
  // What no connector serves, no policy allows.
  const servesGitHub = environment.ASB_GITHUB_TOKEN !== undefined || githubApp !== null;
  const data = {
    tenants: [tenantId],
    bindings: bindingsOf(tenantId, attestation),
    tools: [
      ...(servesGitHub ? [gitHubTool(tenantId)] : []),
      ...(database === null ? [] : [databaseTool(tenantId)]),
      ...(browser === null ? [] : [browserTool(tenantId)]),
    ],
    policies: [
      ...(servesGitHub ? [repoRead(tenantId)] : []),
      ...(database === null ? [] : [databaseRead(tenantId)]),
      ...(browser === null ? [] : [browserLogin(tenantId, environment.ASB_BROWSER_ALLOW_PLAIN_VALUES)]),
    ],
    ...attestation,
    operatorIssuers: operatorIssuersOf(environment, tenantId),
    delegationIssuers: delegationIssuersOf(environment, tenantId),
    receivers: [],
    githubOperations: null,
    githubApp,
    limits: {},
    database,
    browser,
  };
  return { ...data, revision: revisionOf(data) };
}

function bindingsOf(tenantId: TenantId, { k8sIssuers, oidcIssuers }: AttestationSettings): WorkloadBinding[] {
  return [
    ...k8sIssuers.map(({ issuer }) => ({ tenantId, identityType: 'k8s_sa' as const, issuer, agents: ['*'] })),
    ...oidcIssuers.map(({ issuer }) => ({ tenantId, identityType: 'oidc' as const, issuer, agents: ['*'] })),
  ];
}

const gitHubTool = (tenantId: TenantId): Tool => ({
  tenantId,
  name: 'github',
  manifestHash: 'sha256:dev',
  runtimeClass: 'hosted',
  allowedDeliveryModes: ['proxy'],
  allowedCapabilities: ['repo.read'],
  trustTags: ['trusted', 'github'],
});

const repoRead = (tenantId: TenantId): Policy => ({
  tenantId,
  capability: 'repo.read',
  resourceKind: 'github_repo',
  allowedDeliveryModes: ['proxy'],
  defaultTtlSeconds: TEN_MINUTES,
  maxTtlSeconds: TEN_MINUTES,
  approval: null,
  requiresProof: false,
  requiredToolTags: ['trusted', 'github'],
  permissions: null,
  allowsPlainValues: false,
  condition: compileCondition('request.tool == "github"'),
});

const databaseTool = (tenantId: TenantId): Tool => ({
  tenantId,
  name: 'db',
  manifestHash: 'sha256:dev',
  runtimeClass: 'sidecar',
  allowedDeliveryModes: ['wrapped_secret'],
  allowedCapabilities: ['db.read'],
  trustTags: ['trusted', 'db'],
});

const databaseRead = (tenantId: TenantId): Policy => ({
  tenantId,
  capability: 'db.read',
  resourceKind: 'db_role',
  allowedDeliveryModes: ['wrapped_secret'],
  defaultTtlSeconds: TEN_MINUTES,
  maxTtlSeconds: THIRTY_MINUTES,
  approval: null,
  requiresProof: false,
  requiredToolTags: ['trusted', 'db'],
  permissions: null,
  allowsPlainValues: false,
  condition: compileCondition('request.tool == "db"'),
});

const browserTool = (tenantId: TenantId): Tool => ({
  tenantId,
  name: 'browser',
  manifestHash: 'sha256:dev',
  runtimeClass: 'browser',
  allowedDeliveryModes: ['wrapped_secret'],
  allowedCapabilities: ['browser.login'],
  trustTags: ['trusted', 'browser'],
});

const browserLogin = (tenantId: TenantId, allowsPlainValues: boolean): Policy => ({
  tenantId,
  capability: 'browser.login',
  resourceKind: 'browser_origin',
  allowedDeliveryModes: ['wrapped_secret'],
  defaultTtlSeconds: TWO_MINUTES,
  maxTtlSeconds: FIVE_MINUTES,
  approval: { requiredApprovers: 1, ttlSeconds: FIVE_MINUTES, reuse: false },
  requiresProof: false,
  requiredToolTags: ['trusted', 'browser'],
  permissions: null,
  allowsPlainValues,
  condition: compileCondition('request.tool == "browser"'),
});

function browserOf(environment: Environment): BrowserSettings | null {
  const { ASB_BROWSER_ORIGIN: origin, ASB_BROWSER_USERNAME: username, ASB_BROWSER_PASSWORD: password } = environment;
  if (origin === undefined || username === undefined || password === undefined) return null;
  const values = [
    { name: 'username', value: new Secret(username) },
    { name: 'password', value: new Secret(password) },
  ];
  const inputs = [
    { name: 'username', selector: environment.ASB_BROWSER_SELECTOR_USERNAME ?? null },
    { name: 'password', selector: environment.ASB_BROWSER_SELECTOR_PASSWORD ?? null },
  ];
  return {
    capabilities: ['browser.login'],
    allowInsecureLocalhost: environment.ASB_BROWSER_ALLOW_INSECURE_LOCALHOST,
    trustedRelayKeys: null,
    vault: null,
    forms: [{ origin, inputs, credential: { kind: 'configured', values } }],
  };
}

function databaseOf(environment: Environment): DatabaseSettings | null {
  const {
    ASB_VAULT_ADDR: address,
    ASB_VAULT_TOKEN: token,
    ASB_VAULT_ROLE: name,
    ASB_VAULT_DSN_TEMPLATE: dsnTemplate,
  } = environment;
  if (address === undefined || token === undefined || name === undefined || dsnTemplate === undefined) return null;
  return {
    vault: {
      address,
      namespace: environment.ASB_VAULT_NAMESPACE ?? '',
      caFile: environment.ASB_VAULT_CA_FILE ?? null,
      login: { method: 'token', token: new Secret(token) },
      timeoutSeconds: VAULT_TIMEOUT_SECONDS,
    },
    capabilities: ['db.read'],
    allowedSuffixes: environment.ASB_VAULT_ALLOWED_ROLE_SUFFIXES,
    longestLeaseSeconds: AN_HOUR,
    roles: [{ name, mount: 'database', dsnTemplate }],
  };
}

function k8sIssuersOf(environment: Environment): K8sIssuerSettings[] {
  const { ASB_K8S_ISSUER: issuer, ASB_K8S_AUDIENCE: audience } = environment;
  if (issuer === undefined) return [];
  const keys = keysOf(environment.ASB_K8S_PUBLIC_KEY_FILE, environment.ASB_K8S_JWKS_URL);
  return [{ issuer, audience, keys, tokenReview: null }];
}

function oidcIssuersOf(environment: Environment): OidcIssuerSettings[] {
  const { ASB_OIDC_ISSUER: issuer, ASB_OIDC_AUDIENCE: audience } = environment;
  if (issuer === undefined) return [];
  const keys = keysOf(environment.ASB_OIDC_PUBLIC_KEY_FILE, environment.ASB_OIDC_JWKS_URL);
  return [{ issuer, audience, keys, allowedSubjectPrefixes: environment.ASB_OIDC_ALLOWED_SUBJECT_PREFIXES ?? [] }];
}

function operatorIssuersOf(environment: Environment, tenantId: TenantId): Settings['operatorIssuers'] {
  const { ASB_OPERATOR_ISSUER: issuer, ASB_OPERATOR_AUDIENCE: audience } = environment;
  if (issuer === undefined || audience === undefined) return [];
  const keys = keysOf(environment.ASB_OPERATOR_PUBLIC_KEY_FILE, environment.ASB_OPERATOR_JWKS_URL);
  const roleMappings = OPERATOR_ROLES.map((role) => ({ claimValue: role, roles: [role], tenants: [tenantId] }));
  return [{ issuer, audience, keys, rolesClaim: 'roles', roleMappings }];
}

function delegationIssuersOf(environment: Environment, tenantId: TenantId): Settings['delegationIssuers'] {
  const { ASB_DELEGATION_ISSUER: issuer, ASB_DELEGATION_AUDIENCE: audience = null } = environment;
  if (issuer === undefined) return [];
  const keys = keysOf(environment.ASB_DELEGATION_PUBLIC_KEY_FILE, environment.ASB_DELEGATION_JWKS_URL);
  return [{ issuer, audience, keys, tenants: [tenantId] }];
}

/** The App that the environment names; null for none. */
export function gitHubAppOf(environment: Environment): GitHubAppSettings | null {
  const { ASB_GITHUB_APP_ID: appId, ASB_GITHUB_APP_PRIVATE_KEY_FILE: privateKeyFile } = environment;
  if (appId === undefined || privateKeyFile === undefined) return null;
  return { appId, privateKeyFile, readPermissions: environment.ASB_GITHUB_APP_PERMISSIONS_JSON ?? null };
}

// readEnvironment has made sure that there is exactly one.
function keysOf(path: string | undefined, url: URL | undefined): KeySettings {
  if (url !== undefined) return { kind: 'jwks_url', url };
  return { kind: 'pem_file', path: path ?? '' };
}

/** Names the settings of a file together with what the environment adds to them. */
export function revisionWith(fileRevision: string, environment: Environment): string {
  const { ASB_GITHUB_ALLOWED_OPERATIONS: operations, ASB_GITHUB_API_BASE_URL: api } = environment;
  return hashOf({ fileRevision, ...attestationOf(environment), operations, api, app: gitHubAppOf(environment) });
}

/** SHA-256, hex, over the canonical JSON (RFC 8785): the same data has the same name. */
function revisionOf(data: Omit<Settings, 'revision'>): string {
  const policies = data.policies.map((policy) => ({ ...policy, condition: policy.condition?.source ?? null }));
  return hashOf({ ...data, policies });
}

function hashOf(data: object): string {
  const canonical = canonicalize(JSON.parse(JSON.stringify(data)));
  if (canonical === undefined) throw new Error('the settings have no canonical form');
  return hash('sha256', canonical);
}

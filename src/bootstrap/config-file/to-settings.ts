import { compileCondition } from '../../authz/condition.ts';
import type { ConnectorLimits } from '../../connectors/call-limits.ts';
import type { TenantId } from '../../domain/ids.ts';
import type { Policy } from '../../domain/policy.ts';
import { Secret } from '../../domain/secret.ts';
import type { Tool } from '../../domain/tool.ts';
import type { WorkloadBinding } from '../../domain/workload-binding.ts';
import type {
  BrowserSettings,
  DatabaseSettings,
  FormCredentialSettings,
  GitHubAppSettings,
  K8sIssuerSettings,
  KeySettings,
  ReceiverSettings,
  Settings,
  VaultLoginSettings,
  VaultSettings,
} from '../settings.ts';
import { secondsOf } from './duration.ts';
import { parseSecretUrl, parseSigningSecret } from './file-content.ts';
import { revisionOf } from './revision.ts';
import type { ConfigFile } from './schema.ts';

type TenantEntry = ConfigFile['tenants'][number];
type BindingEntry = TenantEntry['workload_bindings'][number];
type PolicyEntry = TenantEntry['policies'][number];
type VaultEntry = NonNullable<ConfigFile['connectors']['vault']>;
type FormEntry = NonNullable<ConfigFile['connectors']['browser']>['forms'][number];
type ReceiverEntry = ConfigFile['notifications']['receivers'][number];

/** The files that a configuration file names. */
export interface NamedFiles {
  /** From where one is read. */
  resolve(name: string): string;
  /** What one holds; it has been checked before. */
  text(name: string): string;
}

/** What a file without mistakes says, in the terms of the domain. */
export function toSettings(file: ConfigFile, files: NamedFiles): Settings {
  const { attestation, connectors } = file;
  return {
    tenants: file.tenants.map(({ id }) => tenantId(id)),
    bindings: file.tenants.flatMap(({ id, workload_bindings: bindings }) => bindings.map((entry) => toBinding(id, entry))),
    tools: file.tenants.flatMap(({ id, tools }) => tools.map((entry) => toTool(id, entry))),
    policies: file.tenants.flatMap(({ id, policies }) => policies.map((entry) => toPolicy(id, entry))),
    k8sIssuers: attestation.kubernetes.map((entry) => toK8sIssuer(entry, files)),
    oidcIssuers: attestation.oidc.map(({ issuer, audience, keys, allowed_subject_prefixes: prefixes }) => {
      return { issuer, audience, keys: toKeys(keys, files), allowedSubjectPrefixes: prefixes };
    }),
    operatorIssuers: file.operators.map((entry) => toOperatorIssuer(entry, files)),
    delegationIssuers: file.delegations.map(({ issuer, audience = null, keys, tenants }) => {
      return { issuer, audience, keys: toKeys(keys, files), tenants: tenants.map(tenantId) };
    }),
    receivers: file.notifications.receivers.map((entry) => toReceiver(entry, files)),
    githubOperations: connectors.github.allowed_operations ?? null,
    githubApp: toGitHubApp(connectors.github.app, files),
    limits: {
      github: toLimits(connectors.github.limits),
      ...(connectors.vault?.database !== undefined && { vaultdb: toLimits(connectors.vault.database.limits) }),
      ...(connectors.browser !== undefined && { browser: toLimits(connectors.browser.limits) }),
    },
    database: toDatabase(connectors.vault, files),
    browser: toBrowser(connectors, files),
    revision: revisionOf(file),
  };
}

const toLimits = (entry: ConfigFile['connectors']['github']['limits']): ConnectorLimits => ({
  maxConcurrent: entry.max_concurrent,
  maxFailures: entry.failures_before_pause,
  pauseSeconds: secondsOf(entry.pause),
});

function toDatabase(entry: VaultEntry | undefined, files: NamedFiles): DatabaseSettings | null {
  if (entry?.database === undefined) return null;
  const { capabilities, allowed_role_suffixes: allowedSuffixes, longest_lease: longestLease, roles } = entry.database;
  return {
    vault: toVault(entry, files),
    capabilities,
    allowedSuffixes,
    longestLeaseSeconds: secondsOf(longestLease),
    roles: roles.map(({ name, mount, dsn_template: dsnTemplate }) => ({ name, mount, dsnTemplate })),
  };
}

function toBrowser({ browser, vault }: ConfigFile['connectors'], files: NamedFiles): BrowserSettings | null {
  if (browser === undefined) return null;
  const takesFromVault = browser.forms.some((form) => form.vault !== undefined);
  return {
    capabilities: browser.capabilities,
    allowInsecureLocalhost: browser.allow_insecure_localhost,
    trustedRelayKeys: browser.trusted_relay_keys ?? null,
    vault: vault === undefined || !takesFromVault ? null : toVault(vault, files),
    forms: browser.forms.map((form) => ({
      origin: form.origin,
      inputs: form.inputs.map(({ name, selector = null }) => ({ name, selector })),
      credential: toFormCredential(form, files),
    })),
  };
}

function toFormCredential({ vault, inputs }: FormEntry, files: NamedFiles): FormCredentialSettings {
  if (vault !== undefined) {
    return { kind: 'vault', ...vault, keys: inputs.map(({ name, vault_key: key = name }) => ({ name, key })) };
  }
  const values = inputs.map(({ name, value = '', value_file: file }) => {
    // A line break at its end is the editor's.
    return { name, value: new Secret(file === undefined ? value : files.text(file).replace(/\r?\n$/, '')) };
  });
  return { kind: 'configured', values };
}

const toVault = (entry: VaultEntry, files: NamedFiles): VaultSettings => ({
  address: new URL(entry.address),
  namespace: entry.namespace ?? '',
  caFile: entry.ca_file === undefined ? null : files.resolve(entry.ca_file),
  login: toVaultLogin(entry.login, files),
  timeoutSeconds: secondsOf(entry.request_timeout),
});

function toVaultLogin(login: VaultEntry['login'], files: NamedFiles): VaultLoginSettings {
  switch (login.method) {
    case 'token':
      return { method: 'token', token: new Secret(files.text(login.token_file).trim()) };
    case 'kubernetes':
      return { method: 'kubernetes', mount: login.mount, role: login.role, jwtFile: files.resolve(login.jwt_file) };
    case 'approle': {
      const { mount, role_id: roleId, secret_id_file: secretIdFile } = login;
      return { method: 'approle', mount, roleId, secretIdFile: files.resolve(secretIdFile) };
    }
  }
}

// The schema has checked its form.
const tenantId = (id: string): TenantId => id as TenantId;

function toBinding(tenant: string, entry: BindingEntry): WorkloadBinding {
  const { issuer, agents, attributes } = entry;
  const common = { tenantId: tenantId(tenant), issuer, agents, ...(attributes === undefined ? {} : { attributes }) };
  if (entry.type === 'oidc') return { ...common, identityType: 'oidc', subject: entry.subject };
  return { ...common, identityType: 'k8s_sa', namespace: entry.namespace, serviceAccount: entry.service_account };
}

function toTool(tenant: string, entry: TenantEntry['tools'][number]): Tool {
  return {
    tenantId: tenantId(tenant),
    name: entry.name,
    manifestHash: entry.manifest_hash,
    runtimeClass: entry.runtime_class,
    allowedDeliveryModes: entry.delivery_modes,
    allowedCapabilities: entry.capabilities,
    trustTags: entry.trust_tags,
  };
}

function toPolicy(tenant: string, entry: PolicyEntry): Policy {
  const { approval, condition } = entry;
  return {
    tenantId: tenantId(tenant),
    capability: entry.capability,
    resourceKind: entry.resource_kind,
    allowedDeliveryModes: entry.delivery_modes,
    defaultTtlSeconds: secondsOf(entry.default_ttl),
    maxTtlSeconds: secondsOf(entry.max_ttl),
    approval:
      approval === 'none'
        ? null
        : { requiredApprovers: approval.required, ttlSeconds: secondsOf(approval.ttl), reuse: approval.reuse },
    requiresProof: entry.require_proof,
    requiredToolTags: entry.required_tool_tags,
    permissions: entry.github_permissions ?? null,
    allowsPlainValues: entry.browser_plain_values,
    condition: condition === undefined ? null : compileCondition(condition),
  };
}

function toK8sIssuer(entry: ConfigFile['attestation']['kubernetes'][number], files: NamedFiles): K8sIssuerSettings {
  const { issuer, audience, keys, token_review: review } = entry;
  const tokenReview =
    review === undefined
      ? null
      : {
          apiServer: new URL(review.api_server),
          caFile: review.ca_file === undefined ? null : files.resolve(review.ca_file),
          tokenFile: files.resolve(review.token_file),
        };
  return { issuer, audience, keys: toKeys(keys, files), tokenReview };
}

function toOperatorIssuer(entry: ConfigFile['operators'][number], files: NamedFiles): Settings['operatorIssuers'][number] {
  const { issuer, audience, keys, roles_claim: rolesClaim, role_mappings: mappings } = entry;
  const roleMappings = mappings.map(({ value, roles, tenants }) => {
    return { claimValue: value, roles, tenants: tenants.map(tenantId) };
  });
  return { issuer, audience, keys: toKeys(keys, files), rolesClaim, roleMappings };
}

function toKeys(keys: ConfigFile['operators'][number]['keys'], files: NamedFiles): KeySettings {
  if (keys.pem_file !== undefined) return { kind: 'pem_file', path: files.resolve(keys.pem_file) };
  if (keys.jwks_file !== undefined) return { kind: 'jwks_file', path: files.resolve(keys.jwks_file) };
  if (keys.jwks_url !== undefined) return { kind: 'jwks_url', url: new URL(keys.jwks_url) };
  return { kind: 'discovery' };
}

function toGitHubApp(entry: ConfigFile['connectors']['github']['app'], files: NamedFiles): GitHubAppSettings | null {
  if (entry === undefined) return null;
  const { app_id: appId, private_key_file: file, read_permissions: readPermissions = null } = entry;
  return { appId, privateKeyFile: files.resolve(file), readPermissions };
}

function toReceiver(entry: ReceiverEntry, files: NamedFiles): ReceiverSettings {
  const { name, kind, links, url, url_file: urlFile } = entry;
  const isWebhook = entry.kind === 'webhook';
  const callbackKey = isWebhook ? entry.callback_key_file : undefined;
  return {
    name,
    tenants: entry.tenants.map(tenantId),
    kind,
    url: urlFile === undefined ? new URL(url ?? '') : parseSecretUrl(files.text(urlFile)),
    secret: isWebhook ? new Secret(parseSigningSecret(files.text(entry.secret_file))) : null,
    callbackKeyFile: callbackKey === undefined ? null : files.resolve(callbackKey),
    links,
    approver: entry.approver ?? null,
  };
}

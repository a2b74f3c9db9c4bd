import type { ConnectorLimits } from '../connectors/call-limits.ts';
import type { RoleMapping } from '../authn/operator-tokens.ts';
import type { Permissions } from '../connectors/github/permissions.ts';
import type { TenantId } from '../domain/ids.ts';
import type { Policy } from '../domain/policy.ts';
import type { Secret } from '../domain/secret.ts';
import type { Tool } from '../domain/tool.ts';
import type { WorkloadBinding } from '../domain/workload-binding.ts';

/** Where the public keys of an issuer come from. */
export type KeySettings =
  | { kind: 'pem_file'; path: string }
  | { kind: 'jwks_file'; path: string }
  | { kind: 'jwks_url'; url: URL }
  /** The issuer's own document (OpenID Connect Discovery 1.0 section 4). */
  | { kind: 'discovery' };

/** An issuer, and what verifies what it signs. */
export interface IssuerSettings {
  issuer: string;
  keys: KeySettings;
}

/** A Kubernetes API server that is asked whether a token's pod is still there. */
export interface TokenReviewSettings {
  apiServer: URL;
  /** PEM; null trusts the system's authorities. */
  caFile: string | null;
  /** The token that ASB itself shows; read again for every review, because it is rotated. */
  tokenFile: string;
}

export interface K8sIssuerSettings extends IssuerSettings {
  audience: string;
  tokenReview: TokenReviewSettings | null;
}

export interface OidcIssuerSettings extends IssuerSettings {
  audience: string;
  /** A subject must begin with one of these. */
  allowedSubjectPrefixes: readonly string[];
}

export interface OperatorIssuerSettings extends IssuerSettings {
  audience: string;
  /** Name of the claim that holds a value or a list of them. */
  rolesClaim: string;
  roleMappings: readonly RoleMapping[];
}

export interface DelegationIssuerSettings extends IssuerSettings {
  /** The `aud` that an assertion must carry; null asks for none. */
  audience: string | null;
  /** For which tenants this issuer may delegate. */
  tenants: readonly TenantId[];
}

/** Who is told of pending approvals, and may decide them by a signed callback. */
export interface ReceiverSettings {
  name: string;
  tenants: readonly TenantId[];
  /** `slack` sends the same URL a message that Slack's incoming webhooks take. */
  kind: 'webhook' | 'slack';
  url: URL;
  /** Signs webhooks (Standard Webhooks); null for Slack, whose URL is the secret. */
  secret: Secret | null;
  /** PEM (SPKI), Ed25519: verifies the callbacks that this receiver signs itself; null when it signs none. */
  callbackKeyFile: string | null;
  /** Whether messages carry one-time links that decide. */
  links: boolean;
  /** Subject of the one person that this receiver reaches, so that they do not count twice or decide for their own run; null for `callback:NAME`. */
  approver: string | null;
}

/** The GitHub App that ASB is. */
export interface GitHubAppSettings {
  appId: string;
  privateKeyFile: string;
  /** What tokens for reading are asked for with; null for what the reads need. */
  readPermissions: Permissions | null;
}

/** How ASB logs in to Vault. */
export type VaultLoginSettings =
  | { method: 'token'; token: Secret }
  | { method: 'kubernetes'; mount: string; role: string; jwtFile: string }
  | { method: 'approle'; mount: string; roleId: string; secretIdFile: string };

export interface VaultSettings {
  address: URL;
  /** Empty for the root namespace. */
  namespace: string;
  /** PEM; null trusts the system's authorities. */
  caFile: string | null;
  login: VaultLoginSettings;
  /** How long one request may take. */
  timeoutSeconds: number;
}

/** What Vault makes database users by. */
export interface DatabaseSettings {
  vault: VaultSettings;
  capabilities: readonly string[];
  allowedSuffixes: readonly string[];
  longestLeaseSeconds: number;
  roles: readonly { name: string; mount: string; dsnTemplate: string }[];
}

/** Where the values of a form come from: this configuration, or a secret of Vault's key/value engine. */
export type FormCredentialSettings =
  | { kind: 'configured'; values: readonly { name: string; value: Secret }[] }
  | { kind: 'vault'; mount: string; path: string; keys: readonly { name: string; key: string }[] };

/** What forms in browsers are filled with. */
export interface BrowserSettings {
  capabilities: readonly string[];
  allowInsecureLocalhost: boolean;
  /** Thumbprints (RFC 7638); null trusts whichever key a session registers. */
  trustedRelayKeys: readonly string[] | null;
  /** Of the forms whose values it keeps; null where there is none. */
  vault: VaultSettings | null;
  forms: readonly {
    origin: string;
    /** A selector of null is left to the relay. */
    inputs: readonly { name: string; selector: string | null }[];
    credential: FormCredentialSettings;
  }[];
}

/** What a deployment runs on besides its processes' own settings: from the configuration file, or from the environment alone. */
export interface Settings {
  tenants: readonly TenantId[];
  bindings: readonly WorkloadBinding[];
  tools: readonly Tool[];
  policies: readonly Policy[];
  k8sIssuers: readonly K8sIssuerSettings[];
  oidcIssuers: readonly OidcIssuerSettings[];
  operatorIssuers: readonly OperatorIssuerSettings[];
  delegationIssuers: readonly DelegationIssuerSettings[];
  receivers: readonly ReceiverSettings[];
  /** Names of GitHub operations that the proxy may run; null leaves that to the environment. */
  githubOperations: readonly string[] | null;
  /** Null leaves that to the environment. */
  githubApp: GitHubAppSettings | null;
  /** Null when Vault makes no database users. */
  database: DatabaseSettings | null;
  /** Null when no form is filled. */
  browser: BrowserSettings | null;
  /** What calls may take, by the connector's name; one that is not named has the usual limits. */
  limits: Readonly<Record<string, ConnectorLimits>>;
  /** Names all of this: SHA-256, hex. No secret goes into it. */
  revision: string;
}

import { type AttestationIssuer, makeAttestationVerifier } from '../authn/attestation.ts';
import { type DelegationIssuer, makeDelegationVerifier } from '../authn/delegation-assertions.ts';
import { makeK8sAttestation } from '../authn/k8s-attestation.ts';
import type { KeySource } from '../authn/key-source.ts';
import { makeOidcAttestation } from '../authn/oidc-attestation.ts';
import { makeOperatorTokens, type OperatorIssuer } from '../authn/operator-tokens.ts';
import { makePolicyEngine } from '../authz/policy-engine.ts';
import { makeToolRegistry } from '../authz/tool-registry.ts';
import { makeSessionAuthorizer } from '../authz/workload-bindings.ts';
import { makeBrowserConnector } from '../connectors/browser/browser-connector.ts';
import { configuredCredential, type CredentialSource, vaultCredential } from '../connectors/browser/credential-source.ts';
import { CallLimits, DEFAULT_LIMITS } from '../connectors/call-limits.ts';
import { makeGitHubAppConnector } from '../connectors/github/app-connector.ts';
import { makeGitHubConnector } from '../connectors/github/github-connector.ts';
import { READ_PERMISSIONS } from '../connectors/github/permissions.ts';
import { staticTokenSource } from '../connectors/github/token-source.ts';
import type { Upstream } from '../connectors/github/upstream.ts';
import { limitedConnector } from '../connectors/limited-connector.ts';
import { parseDsnTemplate } from '../connectors/vaultdb/dsn-template.ts';
import { makeVaultDatabaseConnector } from '../connectors/vaultdb/vault-database-connector.ts';
import { makeStaticResolver } from '../connectors/resolver.ts';
import { parseRsaPrivateKey } from '../crypto/rsa-pem.ts';
import type { AttestationVerifier } from '../domain/attestation-verifier.ts';
import type { Clock } from '../domain/clock.ts';
import type { Connector, ConnectorResolver } from '../domain/connector.ts';
import type { DelegationVerifier } from '../domain/delegation.ts';
import type { GrantAuthorizer } from '../domain/grant-authorizer.ts';
import type { OperatorVerifier } from '../domain/operator.ts';
import type { Policy } from '../domain/policy.ts';
import type { ResourceKind } from '../domain/resource.ts';
import type { RuntimeStore } from '../domain/runtime-store.ts';
import type { SecretSealer } from '../domain/sealing.ts';
import { Secret } from '../domain/secret.ts';
import type { SessionAuthorizer } from '../domain/session-authorizer.ts';
import { parseCallbackKey, type Receiver } from '../notify/receiver.ts';
import { requireWebhookSecret } from '../notify/webhook.ts';
import { ConfigurationError } from './configuration-error.ts';
import type { Environment } from './environment.ts';
import { readPrivateText } from './read-private-text.ts';
import { readText } from './read-text.ts';
import type { FormCredentialSettings, IssuerSettings, K8sIssuerSettings, ReceiverSettings, Settings } from './settings.ts';
import type { Vaults } from './vault-parts.ts';
import { openTokenReview } from './token-reviews.ts';

/** The parts that decide, all made from one configuration. */
export interface DecidingParts {
  attestation: AttestationVerifier;
  sessions: SessionAuthorizer;
  grants: GrantAuthorizer;
  operators: OperatorVerifier;
  delegations: DelegationVerifier;
  connectors: ConnectorResolver;
  receivers: readonly Receiver[];
}

export interface DecidingPartsDeps {
  environment: Environment;
  clock: Clock;
  /** Throws an Error that says what is wrong with a file or a URL. */
  openKeys: (issuer: IssuerSettings) => KeySource;
  upstream: Upstream;
  /** What processes share tokens through. */
  runtime: RuntimeStore;
  sealer: SecretSealer;
  processId: string;
  vaults: Vaults;
  /** Besides those that the settings name. */
  connectors: readonly Connector[];
  /** Whether each policy must have a connector: for a process that issues by them, and not for one that only revokes. */
  issues: boolean;
}

/** Opens the files that the settings name, and makes the parts. Throws ConfigurationError with every problem at once. */
export function makeDecidingParts(settings: Settings, deps: DecidingPartsDeps): DecidingParts {
  const opening = new Opening();
  const attestationIssuers = openAttestation(settings, deps, opening);
  const operatorIssuers = openOperators(settings, deps, opening);
  const delegationIssuers = openDelegations(settings, deps, opening);
  const receivers = settings.receivers.map((receiver) => openReceiver(receiver, opening));
  opening.finish();

  const { clock } = deps;
  const { tenants, bindings, policies, revision } = settings;
  const tools = makeToolRegistry(settings.tools);
  const made = {
    attestation: opening.run('attestation', () => makeAttestationVerifier(attestationIssuers.filter(isThere))),
    operators: opening.run('operators', () =>
      makeOperatorTokens({ issuers: operatorIssuers.filter(isThere), tenants, clock }),
    ),
    delegations: opening.run('delegations', () =>
      makeDelegationVerifier({ issuers: delegationIssuers.filter(isThere), clock }),
    ),
    sessions: opening.run('workload bindings', () => makeSessionAuthorizer({ bindings, tools })),
    grants: opening.run('policies', () => makePolicyEngine({ tools, policies, revision })),
    connectors: opening.run('connectors', () => makeStaticResolver(connectors(settings, deps))),
  };
  if (deps.issues && made.connectors !== null) reportUnserved(policies, made.connectors, opening);
  opening.finish();
  return { ...complete(made), receivers: receivers.filter(isThere) };
}

/** A policy that nothing can carry out is a slip: an agent would hear of it, instead of whoever made it. */
function reportUnserved(policies: readonly Policy[], connectors: ConnectorResolver, opening: Opening): void {
  for (const { tenantId, capability, resourceKind } of policies) {
    if (connectors.resolve(capability, resourceKind) !== null) continue;
    const what = `policies: ${capability} on ${resourceKind} in tenant ${tenantId}`;
    opening.report(`${what}: no connector serves it; ${HOW_TO_SERVE[resourceKind]}, or drop the policy`);
  }
}

const HOW_TO_SERVE: Readonly<Record<ResourceKind, string>> = {
  github_repo: 'set ASB_GITHUB_TOKEN or make ASB a GitHub App, and allow an operation of that capability',
  db_role: 'configure connectors.vault.database for that capability',
  browser_origin: 'configure connectors.browser for that capability',
};

/** Collects what goes wrong, so that all of it is told at once. */
class Opening {
  readonly #problems: string[] = [];

  /** Null when it failed. */
  run<T>(place: string, make: () => T): T | null {
    try {
      return make();
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.#problems.push(`${place}: ${error.message}`);
      return null;
    }
  }

  report(problem: string): void {
    this.#problems.push(problem);
  }

  finish(): void {
    if (this.#problems.length > 0) throw new ConfigurationError(this.#problems);
  }
}

type Complete<Parts> = { [Name in keyof Parts]: NonNullable<Parts[Name]> };

const isThere = <T>(value: T | null): value is T => value !== null;

function complete<Parts extends Record<string, unknown>>(parts: Parts): Complete<Parts> {
  const isComplete = (all: Parts): all is Parts & Complete<Parts> => Object.values(all).every(isThere);
  if (!isComplete(parts)) throw new Error('a part is missing without a problem');
  return parts;
}

function openAttestation(settings: Settings, deps: DecidingPartsDeps, opening: Opening): (AttestationIssuer | null)[] {
  const { clock } = deps;
  return [
    ...settings.k8sIssuers.map((issuer) =>
      opening.run(`attestation by ${issuer.issuer}`, () => {
        const { audience } = issuer;
        return makeK8sAttestation({
          ...issuer,
          keys: deps.openKeys(issuer),
          review: reviewOf(issuer, deps),
          audience,
          clock,
        });
      }),
    ),
    ...settings.oidcIssuers.map((issuer) =>
      opening.run(`attestation by ${issuer.issuer}`, () =>
        makeOidcAttestation({ ...issuer, keys: deps.openKeys(issuer), clock }),
      ),
    ),
  ];
}

const reviewOf = ({ tokenReview, audience }: K8sIssuerSettings, { clock }: DecidingPartsDeps) =>
  tokenReview === null ? null : openTokenReview(tokenReview, { audience, clock });

const openOperators = (settings: Settings, deps: DecidingPartsDeps, opening: Opening): (OperatorIssuer | null)[] =>
  settings.operatorIssuers.map((issuer) =>
    opening.run(`operators of ${issuer.issuer}`, () => ({ ...issuer, keys: deps.openKeys(issuer) })),
  );

const openDelegations = (settings: Settings, deps: DecidingPartsDeps, opening: Opening): (DelegationIssuer | null)[] =>
  settings.delegationIssuers.map((issuer) =>
    opening.run(`delegations of ${issuer.issuer}`, () => ({ ...issuer, keys: deps.openKeys(issuer) })),
  );

function openReceiver(settings: ReceiverSettings, opening: Opening): Receiver | null {
  return opening.run(`receiver ${settings.name}`, () => {
    const { name, tenants, url, links, approver, callbackKeyFile } = settings;
    const callbackKey = callbackKeyFile === null ? null : parseCallbackKey(readText(callbackKeyFile));
    const common = { name, tenants, url, links, approver, callbackKey };
    if (settings.kind === 'slack') return { ...common, kind: 'slack' as const };
    if (settings.secret === null) throw new Error('a webhook needs a secret');
    requireWebhookSecret(settings.secret);
    return { ...common, kind: 'webhook' as const, secret: settings.secret };
  });
}

function connectors(settings: Settings, deps: DecidingPartsDeps): readonly Connector[] {
  const configured = [gitHub(settings, deps), database(settings, deps), browser(settings, deps)]
    .filter(isThere)
    .map((connector) => {
      const limits = settings.limits[connector.name] ?? DEFAULT_LIMITS;
      return limitedConnector(connector, new CallLimits(connector.name, limits));
    });
  return [...deps.connectors, ...configured];
}

function gitHub({ githubOperations, githubApp }: Settings, deps: DecidingPartsDeps): Connector | null {
  const { environment, clock, upstream, runtime, sealer, processId } = deps;
  const { ASB_GITHUB_TOKEN: token, ASB_GITHUB_API_BASE_URL: baseUrl } = environment;
  const allowedOperations = githubOperations ?? environment.ASB_GITHUB_ALLOWED_OPERATIONS;
  const common = { baseUrl, allowedOperations, clock, upstream };
  if (githubApp === null) {
    return token === undefined ? null : makeGitHubConnector({ ...common, tokens: staticTokenSource(new Secret(token)) });
  }
  if (token !== undefined) throw new Error('ASB_GITHUB_TOKEN is set and a GitHub App is configured; drop one of them');
  const { appId, privateKeyFile, readPermissions } = githubApp;
  const privateKey = parseRsaPrivateKey(readPrivateText(privateKeyFile));
  const app = { appId, privateKey, readPermissions: readPermissions ?? READ_PERMISSIONS };
  return makeGitHubAppConnector({ ...common, ...app, runtime, sealer, processId });
}

function database({ database: settings }: Settings, { vaults, clock }: DecidingPartsDeps): Connector | null {
  if (settings === null) return null;
  const { vault, roles, ...rules } = settings;
  return makeVaultDatabaseConnector({
    ...vaults.open(vault),
    ...rules,
    clock,
    timeoutSeconds: vault.timeoutSeconds,
    roles: roles.map(({ name, mount, dsnTemplate }) => ({ name, mount, dsn: parseDsnTemplate(dsnTemplate) })),
  });
}

function browser({ browser: settings }: Settings, { vaults, clock }: DecidingPartsDeps): Connector | null {
  if (settings === null) return null;
  const { vault, forms, trustedRelayKeys, ...rules } = settings;
  const sourceOf = (credential: FormCredentialSettings): CredentialSource => {
    if (credential.kind === 'configured') return configuredCredential(credential.values);
    if (vault === null) throw new Error('a form takes its values from Vault, and none is configured');
    return vaultCredential({ ...vaults.open(vault), ...credential, clock });
  };
  return makeBrowserConnector({
    ...rules,
    trustedRelayKeys: trustedRelayKeys === null ? null : new Set(trustedRelayKeys),
    forms: forms.map(({ credential, ...form }) => ({ ...form, source: sourceOf(credential) })),
  });
}

import type { Clock } from '../../domain/clock.ts';
import type { LeaseConnector, ProxyConnector } from '../../domain/connector.ts';
import type { RuntimeStore } from '../../domain/runtime-store.ts';
import type { SecretSealer } from '../../domain/sealing.ts';
import type { Secret } from '../../domain/secret.ts';
import { guardedLookup } from '../guarded-lookup.ts';
import { makeGitHubAppApi } from './app-api.ts';
import { makeAppTokens } from './app-tokens.ts';
import { baseOf, gitHubHeaders, makeGitHubConnector, repositoryOf } from './github-connector.ts';
import { makeMintedTokens } from './minted-tokens.ts';
import { type Permissions, READ_PERMISSIONS } from './permissions.ts';
import { makeUpstream, type Upstream } from './upstream.ts';

export interface GitHubAppConnectorConfig {
  /** See `GitHubConnectorConfig`. */
  baseUrl: URL;
  allowedOperations: readonly string[];
  /** The App's id or client id. */
  appId: string;
  /** PKCS#8 PEM, RSA. */
  privateKey: Secret;
  /** What the reads need when left out. */
  readPermissions?: Permissions;
  runtime: Pick<RuntimeStore, 'claim' | 'keep' | 'kept'>;
  sealer: SecretSealer;
  clock: Clock;
  /** Names this process among those that share the runtime store. */
  processId: string;
  /** Makes the HTTP calls; one of the connector's own when left out. */
  upstream?: Upstream;
}

/**
 * The GitHub connector of a deployment that is a GitHub App: it calls with tokens for one repository each, and gives such tokens out
 * as well. Throws as `makeGitHubConnector` does.
 */
export function makeGitHubAppConnector(config: GitHubAppConnectorConfig): ProxyConnector & LeaseConnector {
  const { baseUrl, appId, sealer, clock, runtime, processId, allowedOperations } = config;
  const { upstream = makeUpstream(guardedLookup([])), readPermissions = READ_PERMISSIONS } = config;
  const base = baseOf(baseUrl);
  const api = makeGitHubAppApi({ base, appId, privateKey: config.privateKey, headers: gitHubHeaders(), upstream, clock });
  const tokens = makeAppTokens({ api, realm: [base, appId], runtime, sealer, clock, processId });
  return {
    ...makeGitHubConnector({ baseUrl, tokens, readPermissions, allowedOperations, clock, upstream }),
    deliveryModes: ['proxy', 'minted_token'],
    ...makeMintedTokens({ api, sealer, repositoryOf, defaultPermissions: readPermissions }),
  };
}

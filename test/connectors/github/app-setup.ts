import { randomBytes } from 'node:crypto';
import { afterEach, beforeAll, beforeEach } from 'vitest';
import type { StandInApp, StandInAppOptions } from '../../../dev/github/app.ts';
import { type GitHubStandIn, startGitHubStandIn } from '../../../dev/github/server.ts';
import { type GitHubAppConnectorConfig, makeGitHubAppConnector } from '../../../src/connectors/github/app-connector.ts';
import { GITHUB_OPERATIONS } from '../../../src/connectors/github/operations.ts';
import { makeLocalKeyManagement } from '../../../src/crypto/local-key-management.ts';
import { parseRsaPrivateKey } from '../../../src/crypto/rsa-pem.ts';
import { makeSecretSealer } from '../../../src/crypto/sealed-box.ts';
import type { ProxyAnswer } from '../../../src/domain/connector.ts';
import { parseResourceRef } from '../../../src/domain/resource.ts';
import { MemoryRuntimeStore } from '../../../src/store/memory/memory-runtime-store.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { APP_ID, type AppKeys, makeAppKeys } from '../../support/github-app.ts';
import { CANARY, unlimited } from './setup.ts';

type AppConnector = ReturnType<typeof makeGitHubAppConnector>;

export interface AppWorld {
  standIn: GitHubStandIn;
  app: StandInApp;
  clock: FakeClock;
  runtime: MemoryRuntimeStore;
  sealer: ReturnType<typeof makeSecretSealer>;
  keys: AppKeys;
  connector: AppConnector;
  /** Another process of the same deployment. */
  another(overrides?: Partial<GitHubAppConnectorConfig>): AppConnector;
  call(operation: string, params?: Record<string, unknown>, how?: CallChanges): Promise<ProxyAnswer>;
  /** What was asked of GitHub, as `METHOD /path`. */
  asked(): string[];
}

interface CallChanges {
  capability?: string;
  repository?: string;
  connector?: AppConnector;
}

/** Gives each test a stand-in that knows an App, and a connector that is that App. */
export function useApp(options: Partial<StandInAppOptions> & { basePath?: string } = {}): () => AppWorld {
  const { basePath, ...appOptions } = options;
  let keys: AppKeys;
  let world: AppWorld | undefined;
  // Making one takes a while.
  beforeAll(() => {
    keys = makeAppKeys();
  });
  beforeEach(async () => {
    const clock = new FakeClock();
    const standIn = await startGitHubStandIn({
      token: CANARY,
      app: { appId: APP_ID, publicKey: keys.publicPem, clock, ...appOptions },
      ...(basePath === undefined ? {} : { basePath }),
    });
    const { app } = standIn;
    if (app === null) throw new Error('the stand-in knows no App');
    const runtime = new MemoryRuntimeStore();
    const sealer = makeSecretSealer({ keys: makeLocalKeyManagement([randomBytes(32)]) });
    let processes = 0;
    const another: AppWorld['another'] = (overrides = {}) =>
      makeGitHubAppConnector({
        baseUrl: new URL(standIn.url),
        allowedOperations: [...GITHUB_OPERATIONS.keys()],
        appId: String(APP_ID),
        privateKey: parseRsaPrivateKey(keys.pkcs1),
        runtime,
        sealer,
        clock,
        processId: `process ${++processes}`,
        ...overrides,
      });
    const connector = another();
    world = {
      ...{ standIn, app, clock, runtime, sealer, keys, connector, another },
      call: async (operation, params = {}, how = {}) => {
        const { capability = 'repo.read', repository = 'acme/widgets' } = how;
        const resource = parseResourceRef(`github:repo:${repository}`);
        const call = (how.connector ?? connector).prepare({ capability, resource, operation, params });
        return call.send(unlimited());
      },
      asked: () => standIn.requests.map(({ method, url }) => `${method} ${url}`),
    };
  });
  afterEach(async () => world?.standIn.close());
  return () => {
    if (world === undefined) throw new Error('ask for the world inside a test');
    return world;
  };
}

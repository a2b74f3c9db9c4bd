import { inspect } from 'node:util';
import { afterEach, beforeEach } from 'vitest';
import { type GitHubStandIn, startGitHubStandIn } from '../../../dev/github/server.ts';
import { type GitHubConnectorConfig, makeGitHubConnector } from '../../../src/connectors/github/github-connector.ts';
import { GITHUB_OPERATIONS } from '../../../src/connectors/github/operations.ts';
import { staticTokenSource } from '../../../src/connectors/github/token-source.ts';
import type { ResponseBody } from '../../../src/connectors/github/response-body.ts';
import { AnswerHeaders, type Upstream } from '../../../src/connectors/github/upstream.ts';
import type { ProxyAnswer, ProxyConnector, SendOptions } from '../../../src/domain/connector.ts';
import { BrokerError } from '../../../src/domain/errors.ts';
import { parseResourceRef } from '../../../src/domain/resource.ts';
import { Secret } from '../../../src/domain/secret.ts';
import { FakeClock } from '../../support/fake-clock.ts';

/** If this shows up anywhere but in the request to GitHub, a credential has leaked. */
export const CANARY = 'ghp_canary7Q2vX9sLm4Rt6Wz8Kb1Nd3Fg5Hj0PqYc';

export const WIDGETS = parseResourceRef('github:repo:acme/widgets');

export function connectorFor(baseUrl: string, overrides: Partial<GitHubConnectorConfig> = {}): ProxyConnector {
  return makeGitHubConnector({
    baseUrl: new URL(baseUrl),
    tokens: staticTokenSource(new Secret(CANARY)),
    allowedOperations: [...GITHUB_OPERATIONS.keys()],
    clock: new FakeClock(),
    ...overrides,
  });
}

/** An upstream that notes where it was sent, and what, and answers with an empty object. */
export function recordingUpstream(sent: URL[], bodies: (string | null)[] = []): Upstream {
  return (url, { method, body }) => {
    sent.push(new URL(url));
    bodies.push(body);
    const headers = new AnswerHeaders({ 'content-type': 'application/json' });
    return Promise.resolve({ status: method === 'GET' ? 200 : 201, headers, body: bodyOf('{}') });
  };
}

/** A body that has arrived. */
function bodyOf(text: string): ResponseBody {
  const chunks = [Buffer.from(text)];
  return { next: () => Promise.resolve(chunks.shift() ?? null), destroy: () => undefined };
}

/** Options that set no limit and note what was spent. */
export function unlimited(signal: AbortSignal = new AbortController().signal): SendOptions & { spent: number[] } {
  const spent: number[] = [];
  return { signal, spent, spendBytes: (bytes) => Promise.resolve(void spent.push(bytes)) };
}

export interface World {
  standIn: GitHubStandIn;
  connector: ProxyConnector;
  call(operation: string, params?: Record<string, unknown>, options?: SendOptions): Promise<ProxyAnswer>;
}

/** Gives each test a stand-in of its own and a connector that talks to it; the function answers the present test's. */
export function useStandIn(options: { basePath?: string } = {}): () => World {
  let world: World | undefined;
  beforeEach(async () => {
    const standIn = await startGitHubStandIn({ token: CANARY, ...options });
    const connector = connectorFor(standIn.url);
    world = {
      standIn,
      connector,
      call: async (operation, params = {}, send = unlimited()) =>
        connector.prepare({ capability: 'repo.read', resource: WIDGETS, operation, params }).send(send),
    };
  });
  afterEach(async () => world?.standIn.close());
  return () => {
    if (world === undefined) throw new Error('ask for the world inside a test');
    return world;
  };
}

/** The broker's error that an attempt ends with; anything else fails the test. Sees to it that the canary is nowhere in it. */
export async function refusalOf(attempt: () => unknown): Promise<BrokerError> {
  try {
    await attempt();
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    expectNoCanary(error);
    return error;
  }
  throw new Error('the attempt went through');
}

export function expectNoCanary(value: unknown): void {
  const everything = [
    inspect(value, { depth: Infinity, showHidden: true, getters: true }),
    JSON.stringify(value),
    value instanceof Error ? `${value.message} ${value.stack} ${inspect(value.cause, { depth: Infinity })}` : '',
  ].join('\n');
  if (everything.includes(CANARY) || everything.includes(CANARY.slice(4, 24))) throw new Error('the token has leaked');
}

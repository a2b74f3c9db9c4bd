import { z } from 'zod';
import { startGitHubStandIn } from '../../dev/github/server.ts';
import { makeApi } from '../../src/bootstrap/api.ts';
import { readConfiguration } from '../../src/bootstrap/configuration.ts';
import { inProcessLeaseConnector } from '../../test/support/lease-connector.ts';
import { LeaseLedger } from '../../test/support/lease-ledger.ts';
import { post, say } from '../load.ts';
import { bearer, GRANT, proxyBody, sessionAnswer, sessionBody, type Setting, UPSTREAM_TOKEN } from '../setting.ts';
import { countRedisCommands, type RedisCommands } from './redis-commands.ts';
import type { DurableServers } from './servers.ts';
import { twoTools } from './two-tools.ts';
import { tapWire, type WireTap } from './wire-tap.ts';

const REQUEST_GRANT = 'RequestGrant';
const GOAL_OF_REQUEST_GRANT = 2;
const TOOLS = ['github', 'db'];
const SECRET = {
  ...GRANT,
  tool: 'db',
  capability: 'db.read',
  resource_ref: 'dbrole:reporting',
  delivery_mode: 'wrapped_secret',
};
const grantAnswer = z.object({
  grant_id: z.string(),
  delivery: z.object({ handle: z.string().optional(), artifact_id: z.string() }),
});

/** Makes what a call needs, and answers the call. */
type Trial = () => Call | Promise<Call>;
type Call = () => Promise<unknown>;

/** What each call asks of Postgres and of Redis, counted on the wire of an API in this process. */
export async function countRoundTrips(setting: Setting, servers: DurableServers): Promise<void> {
  const direct = new URL(await servers.makeDatabase('round_trips'));
  const tap = setting.keep(await tapWire(direct.hostname, Number(direct.port)));
  const dsn = new URL(direct);
  dsn.host = `127.0.0.1:${tap.port}`;
  const github = await startGitHubStandIn({ token: UPSTREAM_TOKEN });
  setting.keep({ stop: () => github.close() });
  const environment = setting.apiEnvironment({
    ...servers.environmentOf(dsn.href),
    ASB_GITHUB_API_BASE_URL: github.url,
    ASB_CONFIG_FILE: await twoTools(setting),
    // Both are in the file.
    ASB_K8S_ISSUER: '',
    ASB_K8S_PUBLIC_KEY_FILE: '',
  });
  const api = await makeApi(await readConfiguration(environment), {
    connectors: [inProcessLeaseConnector(new LeaseLedger())],
    logDestination: { write: () => undefined },
  });
  const [address] = await api.start();
  setting.keep(api);
  const redis = setting.keep(await countRedisCommands(servers.redis));

  say('round trips of one call to Postgres (what is asked side by side is one), commands to Redis');
  say('call                        Redis   Postgres');
  const trials = await trialsAt(`http://${address}`, await sessionBody(setting.cluster, { tools: TOOLS }));
  for (const [name, trial] of trials) sayTrips(name, await tripsOf(trial, tap, redis));
}

interface Trips {
  postgres: readonly string[];
  redis: number;
}

async function tripsOf(trial: Trial, tap: WireTap, redis: RedisCommands): Promise<Trips> {
  // What is asked only once in the life of a connection is not the call's.
  const first = await trial();
  await first();
  const call = await trial();
  tap.take();
  await redis.take();
  await call();
  return { postgres: tap.take(), redis: await redis.take() };
}

function sayTrips(name: string, { postgres, redis }: Trips): void {
  const goal = name === REQUEST_GRANT ? `   (goal: ${GOAL_OF_REQUEST_GRANT} at most)` : '';
  say(`${name.padEnd(28)}${String(redis).padEnd(8)}${postgres.length}: ${postgres.join(', ')}${goal}`);
}

async function trialsAt(url: string, session: string): Promise<[string, Trial][]> {
  const { session_token } = sessionAnswer.parse(await post(url, '/v1/sessions', session));
  const headers = bearer(session_token);
  const send = (path: string, body: unknown) => post(url, path, JSON.stringify(body), headers);
  const grant = async (body: unknown) => grantAnswer.parse(await send('/v1/grants', body));
  let made = 0;
  const withRequestId = () => ({ ...GRANT, request_id: `request-${(made += 1)}` });
  return [
    ['CreateSession', () => () => post(url, '/v1/sessions', session)],
    [REQUEST_GRANT, () => () => grant(GRANT)],
    [
      'with a request id',
      () => {
        const body = withRequestId();
        return () => grant(body);
      },
    ],
    [
      'asked again under it',
      async () => {
        const body = withRequestId();
        await grant(body);
        return () => grant(body);
      },
    ],
    ['of a wrapped secret', () => () => grant(SECRET)],
    [
      'UnwrapArtifact',
      async () => {
        const { delivery } = await grant(SECRET);
        return () => send(`/v1/artifacts/${delivery.artifact_id}:unwrap`, {});
      },
    ],
    [
      'ExecuteGitHubProxy',
      async () => {
        const { delivery } = await grant(GRANT);
        const body = proxyBody(delivery.handle ?? '');
        // The first call of a handle finds out what is left of its budget.
        await post(url, '/v1/proxy/github/rest', body);
        return () => post(url, '/v1/proxy/github/rest', body);
      },
    ],
    [
      'RevokeGrant',
      async () => {
        const { grant_id } = await grant(GRANT);
        return () => send(`/v1/grants/${grant_id}:revoke`, { reason: 'benchmark' });
      },
    ],
  ];
}

import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import autocannon from 'autocannon';
import { type RunningProcess, startApi, startProcess } from '../dev/api-process.ts';
import { compare, CONNECTIONS, JSON_HEADERS, type Load, type Pace, post, say, sayHead } from './load.ts';
import {
  bearer,
  grantAnswer,
  grantBody,
  here,
  proxyBody,
  residentMegabytes,
  sessionAnswer,
  sessionBody,
  type Setting,
  UPSTREAM_TOKEN,
} from './setting.ts';

/** Goals: share of the floor's throughput. */
const GOALS = { session: 0.6, 'new pod': null, grant: 0.6, proxy: 0.7 } as const;
const RSS_GOAL_MB = 200;

type Call = keyof typeof GOALS;

/** More than ASB remembers the signatures of (src/authn/remembered-jwts.ts). */
const PODS = 4096;

/** The loads, with a session and a handle that this server made. */
async function loadsFor({ cluster }: Setting, url: string, pods: readonly string[]): Promise<Record<Call, Load>> {
  const session = await sessionBody(cluster);
  const { session_token } = sessionAnswer.parse(await post(url, '/v1/sessions', session));
  const headers = bearer(session_token);
  const { delivery } = grantAnswer.parse(await post(url, '/v1/grants', grantBody, headers));
  return {
    session: [{ path: '/v1/sessions', headers: {}, body: session }],
    'new pod': pods.map((body) => ({ path: '/v1/sessions', headers: {}, body })),
    grant: [{ path: '/v1/grants', headers, body: grantBody }],
    proxy: [{ path: '/v1/proxy/github/rest', headers: {}, body: proxyBody(delivery.handle) }],
  };
}

/** The calls of the main job on the memory store, beside a server that keeps no state at all. */
export async function compareOnMemory(setting: Setting, pace: Pace): Promise<void> {
  const upstream = setting.keep(await startProcess([here('upstream.ts')], { FLOOR_TOKEN: UPSTREAM_TOKEN }));
  const floor = setting.keep(
    await startProcess([here('floor-server.ts')], {
      FLOOR_ISSUER: setting.cluster.issuer,
      FLOOR_PUBLIC_KEY_FILE: setting.clusterKeyFile,
      FLOOR_UPSTREAM: upstream.urls[0],
      FLOOR_TOKEN: UPSTREAM_TOKEN,
    }),
  );
  const environment = {
    ASB_AUDIT_FILE: join(setting.folder, 'audit.jsonl'),
    ASB_GITHUB_API_BASE_URL: upstream.urls[0],
  };
  const api = setting.keep(await startApi(setting.apiEnvironment(environment)));
  const pods = await Promise.all(Array.from({ length: PODS }, () => sessionBody(setting.cluster)));
  const loads = { floor: await loadsFor(setting, floor.urls[0], pods), asb: await loadsFor(setting, api.urls[0], pods) };
  say('on the memory store');
  sayHead(pace);
  for (const call of ['session', 'new pod', 'grant', 'proxy'] as const) {
    const contenders = [
      { url: floor.urls[0], load: loads.floor[call] },
      { url: api.urls[0], load: loads.asb[call] },
    ] as const;
    await compare(call, ...contenders, pace, GOALS[call]);
  }
}

/** Opens many short sessions, waits until the cleanup has forgotten all of them, and looks at the memory that is left. */
export async function memoryAfterSessions(setting: Setting, sessions: number): Promise<void> {
  const environment = {
    ASB_AUDIT_FILE: join(setting.folder, 'audit-memory.jsonl'),
    ASB_CLEANUP_INTERVAL_SECONDS: '1',
    ASB_RETENTION_SECONDS: '1',
  };
  const api = setting.keep(await startApi(setting.apiEnvironment(environment)));
  const before = await residentMegabytes(api);
  let peak = before;
  for (let made = 0; made < sessions; made += 1000) {
    const body = await sessionBody(setting.cluster, { ttlSeconds: 10 });
    const result = await autocannon({
      url: `${api.urls[0]}/v1/sessions`,
      method: 'POST',
      headers: JSON_HEADERS,
      body,
      connections: CONNECTIONS,
      amount: 1000,
    });
    if (result['2xx'] !== 1000) throw new Error(`${result['2xx']} of 1000 sessions were made`);
    peak = Math.max(peak, await residentMegabytes(api));
  }
  await untilForgotten(api, sessions);
  const after = await residentMegabytes(api);
  say(
    `memory: ${before.toFixed(0)} MB at start, ${peak.toFixed(0)} MB at most, ${after.toFixed(0)} MB after ${sessions} sessions have come and gone (goal: below ${RSS_GOAL_MB})`,
  );
}

async function untilForgotten(api: RunningProcess, sessions: number): Promise<void> {
  for (let tries = 0; tries < 120; tries += 1) {
    const metrics = await (await fetch(`${api.urls[0]}/metrics`)).text();
    if (Number(/^asb_cleanup_rows_total\{what="rows_forgotten"\} (\d+)$/m.exec(metrics)?.[1]) >= sessions) return;
    await wait(500);
  }
  throw new Error('the cleanup did not forget the sessions');
}

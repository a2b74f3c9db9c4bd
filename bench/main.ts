import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import autocannon from 'autocannon';
import { z } from 'zod';
import { type RunningProcess, startApi, startProcess } from '../dev/api-process.ts';
import { type Cluster, makeCluster } from '../dev/cluster.ts';

// Load on the running API beside the floor server, in turns within one run, so that a machine that slows down slows both.

const smoke = process.argv.includes('--smoke');
const ROUNDS = smoke ? 1 : 5;
const SECONDS = smoke ? 1 : 5;
const WARM_UP_SECONDS = smoke ? 1 : 3;
const CONNECTIONS = 16;
const SESSIONS = smoke ? 1000 : 50_000;
/** Goals: share of the floor's throughput. */
const GOALS = { session: 0.6, grant: 0.6, proxy: 0.7 } as const;
const RSS_GOAL_MB = 200;

const TOKEN = 'github_pat_bench';
const NO_LIMITS = {
  ASB_RATE_LIMIT_PER_MINUTE: '100000000',
  ASB_PROXY_MAX_REQUESTS: '1000000',
  ASB_PROXY_MAX_CONCURRENT: '1000',
  ASB_PROXY_MAX_BYTES: '2147483648',
  ASB_MAX_OPEN_GRANTS: '1000000',
};

type Call = keyof typeof GOALS;
interface Load {
  path: string;
  headers: Record<string, string>;
  body: string;
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const JSON_HEADERS = { 'content-type': 'application/json' };

const folder = await mkdtemp(join(tmpdir(), 'asb-bench-'));
const keyFile = join(folder, 'cluster.pem');
const cluster = await makeCluster();
await writeFile(keyFile, cluster.publicKey);
const started: RunningProcess[] = [];
const keep = (running: RunningProcess): RunningProcess => {
  started.push(running);
  return running;
};

const apiEnvironment = (extra: Record<string, string>): Record<string, string> => ({
  ASB_ADDR: '127.0.0.1:0',
  ASB_SHUTDOWN_NOTICE_SECONDS: '0',
  ASB_K8S_ISSUER: cluster.issuer,
  ASB_K8S_PUBLIC_KEY_FILE: keyFile,
  ASB_GITHUB_TOKEN: TOKEN,
  ASB_AUDIT_FILE: join(folder, 'audit.jsonl'),
  ...NO_LIMITS,
  ...extra,
});

const sessionBody = async (source: Cluster, ttlSeconds?: number): Promise<string> =>
  JSON.stringify({
    tenant_id: 't_dev',
    agent_id: 'reviewer',
    run_id: 'run-1',
    tool_context: ['github'],
    attestation: {
      kind: 'k8s_sa_jwt',
      token: await source.projectedToken({ namespace: 'agents', serviceAccount: 'reviewer', ttlSeconds }),
    },
  });

const grantBody = JSON.stringify({
  tool: 'github',
  capability: 'repo.read',
  resource_ref: 'github:repo:acme/widgets',
  delivery_mode: 'proxy',
  ttl_seconds: 600,
  reason: 'benchmark',
});

async function post(url: string, path: string, body: string, headers: Record<string, string> = {}): Promise<unknown> {
  const response = await fetch(`${url}${path}`, { method: 'POST', headers: { ...JSON_HEADERS, ...headers }, body });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

/** The three loads, with a session and a handle that this server made. */
async function loadsFor(url: string): Promise<Record<Call, Load>> {
  const session = await sessionBody(cluster);
  const { session_token } = z.object({ session_token: z.string() }).parse(await post(url, '/v1/sessions', session));
  const authorization = { authorization: `Bearer ${session_token}` };
  const grant = z
    .object({ delivery: z.object({ handle: z.string() }) })
    .parse(await post(url, '/v1/grants', grantBody, authorization));
  const proxy = { proxy_handle: grant.delivery.handle, operation: 'pull_request_metadata', params: { pull_number: 10 } };
  return {
    session: { path: '/v1/sessions', headers: {}, body: session },
    grant: { path: '/v1/grants', headers: authorization, body: grantBody },
    proxy: { path: '/v1/proxy/github/rest', headers: {}, body: JSON.stringify(proxy) },
  };
}

/** Requests a second over one stretch of load. Throws when any answer is not a 2xx. */
async function throughput(url: string, load: Load, seconds: number): Promise<number> {
  const result = await autocannon({
    url: `${url}${load.path}`,
    method: 'POST',
    headers: { ...JSON_HEADERS, ...load.headers },
    body: load.body,
    connections: CONNECTIONS,
    duration: seconds,
  });
  if (result.non2xx + result.errors > 0) throw new Error(`${load.path}: ${result.non2xx} refused, ${result.errors} failed`);
  return result['2xx'] / result.duration;
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

async function compare(): Promise<void> {
  const upstream = keep(await startProcess([here('upstream.ts')], { FLOOR_TOKEN: TOKEN }));
  const floor = keep(
    await startProcess([here('floor-server.ts')], {
      FLOOR_ISSUER: cluster.issuer,
      FLOOR_PUBLIC_KEY_FILE: keyFile,
      FLOOR_UPSTREAM: upstream.urls[0],
      FLOOR_TOKEN: TOKEN,
    }),
  );
  const api = keep(await startApi(apiEnvironment({ ASB_GITHUB_API_BASE_URL: upstream.urls[0] })));
  const loads = { floor: await loadsFor(floor.urls[0]), asb: await loadsFor(api.urls[0]) };

  say(`${ROUNDS} rounds of ${SECONDS} s, floor and ASB in turns, ${CONNECTIONS} connections; requests a second`);
  say('call       floor (median)   ASB (median)   share, pair by pair: least median most   goal');
  for (const call of ['session', 'grant', 'proxy'] as const) {
    await throughput(floor.urls[0], loads.floor[call], WARM_UP_SECONDS);
    await throughput(api.urls[0], loads.asb[call], WARM_UP_SECONDS);
    const pairs: { floor: number; asb: number; share: number }[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const base = await throughput(floor.urls[0], loads.floor[call], SECONDS);
      const ours = await throughput(api.urls[0], loads.asb[call], SECONDS);
      pairs.push({ floor: base, asb: ours, share: ours / base });
    }
    const shares = pairs.map(({ share }) => share);
    const figures = [Math.min(...shares), median(shares), Math.max(...shares)].map((share) => share.toFixed(2)).join('   ');
    const [base, ours] = [median(pairs.map((pair) => pair.floor)), median(pairs.map((pair) => pair.asb))];
    say(`${call.padEnd(11)}${base.toFixed(0).padEnd(17)}${ours.toFixed(0).padEnd(15)}${figures.padEnd(48)}${GOALS[call]}`);
  }
}

async function residentMegabytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
}

/** Opens many short sessions, waits until the cleanup has forgotten all of them, and looks at the memory that is left. */
async function memoryAfterSessions(): Promise<void> {
  const api = keep(
    await startApi(apiEnvironment({ ASB_CLEANUP_INTERVAL_SECONDS: '1', ASB_RETENTION_SECONDS: '1', ASB_LOG_LEVEL: 'info' })),
  );
  const pid = api.child.pid ?? 0;
  const before = await residentMegabytes(pid);
  let peak = before;
  for (let made = 0; made < SESSIONS; made += 1000) {
    const body = await sessionBody(cluster, 10);
    const result = await autocannon({
      url: `${api.urls[0]}/v1/sessions`,
      method: 'POST',
      headers: JSON_HEADERS,
      body,
      connections: CONNECTIONS,
      amount: 1000,
    });
    if (result['2xx'] !== 1000) throw new Error(`${result['2xx']} of 1000 sessions were made`);
    peak = Math.max(peak, await residentMegabytes(pid));
  }
  await untilForgotten(api);
  const after = await residentMegabytes(pid);
  say(
    `memory: ${before.toFixed(0)} MB at start, ${peak.toFixed(0)} MB at most, ${after.toFixed(0)} MB after ${SESSIONS} sessions have come and gone (goal: below ${RSS_GOAL_MB})`,
  );
}

async function stopAll(): Promise<void> {
  for (const running of started.splice(0)) await running.stop();
}

async function untilForgotten(api: RunningProcess): Promise<void> {
  for (let tries = 0; tries < 120; tries += 1) {
    const metrics = await (await fetch(`${api.urls[0]}/metrics`)).text();
    if (Number(/^asb_cleanup_rows_total\{what="rows_forgotten"\} (\d+)$/m.exec(metrics)?.[1]) >= SESSIONS) return;
    await wait(500);
  }
  throw new Error('the cleanup did not forget the sessions');
}

try {
  if (!process.argv.includes('--memory')) await compare();
  await stopAll();
  if (!process.argv.includes('--throughput')) await memoryAfterSessions();
} finally {
  await stopAll();
  await rm(folder, { recursive: true });
}

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { RunningProcess } from '../dev/api-process.ts';
import { type Cluster, makeCluster } from '../dev/cluster.ts';
import { CONNECTIONS, post } from './load.ts';

export const UPSTREAM_TOKEN = 'github_pat_bench';
const NO_LIMITS = {
  ASB_RATE_LIMIT_PER_MINUTE: '100000000',
  ASB_PROXY_MAX_REQUESTS: '1000000',
  ASB_PROXY_MAX_CONCURRENT: '1000',
  ASB_PROXY_MAX_BYTES: '2147483648',
  ASB_MAX_OPEN_GRANTS: '1000000',
};

export const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

/** What all measurements stand on: a cluster whose tokens are attested, a folder, and the processes that were started. */
export class Setting {
  readonly folder: string;
  readonly cluster: Cluster;
  /** With the cluster's public key. */
  readonly clusterKeyFile: string;
  readonly #running: { stop(): Promise<unknown> }[] = [];
  #stopped: Promise<void> = Promise.resolve();

  private constructor(folder: string, cluster: Cluster) {
    this.folder = folder;
    this.cluster = cluster;
    this.clusterKeyFile = join(folder, 'cluster.pem');
  }

  static async open(): Promise<Setting> {
    const setting = new Setting(await mkdtemp(join(tmpdir(), 'asb-bench-')), await makeCluster());
    await writeFile(setting.clusterKeyFile, setting.cluster.publicKey);
    return setting;
  }

  /** What the API is started with; nothing but the machine limits it. */
  apiEnvironment(extra: Readonly<Record<string, string>>): Record<string, string> {
    return {
      ASB_ADDR: '127.0.0.1:0',
      ASB_SHUTDOWN_NOTICE_SECONDS: '0',
      ASB_K8S_ISSUER: this.cluster.issuer,
      ASB_K8S_PUBLIC_KEY_FILE: this.clusterKeyFile,
      ASB_GITHUB_TOKEN: UPSTREAM_TOKEN,
      ...NO_LIMITS,
      ...extra,
    };
  }

  /** Has it stopped by `stopAll`. */
  keep<Running extends { stop(): Promise<unknown> }>(running: Running): Running {
    this.#running.push(running);
    return running;
  }

  /** Stops what was started, the last first. Resolves when all of it has stopped, whoever asked for that. */
  stopAll(): Promise<void> {
    const last = this.#running.splice(0).toReversed();
    this.#stopped = this.#stopped.then(async () => {
      for (const running of last) await running.stop();
    });
    return this.#stopped;
  }

  async close(): Promise<void> {
    await this.stopAll();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A request for a session; `ttlSeconds` is how long its pod's token lives. */
export const sessionBody = async (
  cluster: Cluster,
  { ttlSeconds, tools = ['github'] }: { ttlSeconds?: number; tools?: readonly string[] } = {},
): Promise<string> =>
  JSON.stringify({
    tenant_id: 't_dev',
    agent_id: 'reviewer',
    run_id: 'run-1',
    tool_context: tools,
    attestation: {
      kind: 'k8s_sa_jwt',
      token: await cluster.projectedToken({
        namespace: 'agents',
        serviceAccount: 'reviewer',
        ...(ttlSeconds && { ttlSeconds }),
      }),
    },
  });

export const GRANT = {
  tool: 'github',
  capability: 'repo.read',
  resource_ref: 'github:repo:acme/widgets',
  delivery_mode: 'proxy',
  ttl_seconds: 600,
  reason: 'benchmark',
};
export const grantBody = JSON.stringify(GRANT);

export const sessionAnswer = z.object({ session_token: z.string() });
export const grantAnswer = z.object({ delivery: z.object({ handle: z.string() }) });

export const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

export const proxyBody = (handle: string): string =>
  JSON.stringify({ proxy_handle: handle, operation: 'pull_request_metadata', params: { pull_number: 10 } });

/** The tokens of so many new sessions. */
export async function openSessions(url: string, body: string, count: number): Promise<string[]> {
  const tokens: string[] = [];
  const open = async (): Promise<void> => {
    for (let left = count / CONNECTIONS; left > 0; left -= 1) {
      tokens.push(sessionAnswer.parse(await post(url, '/v1/sessions', body)).session_token);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, open));
  return tokens;
}

export async function residentMegabytes({ child }: RunningProcess): Promise<number> {
  const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
}

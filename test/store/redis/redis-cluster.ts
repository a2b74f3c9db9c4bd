import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { RedisServer } from '../../support/redis.ts';
import { startLocalRedis } from '../../support/servers/local-redis.ts';
import { untilReady } from '../../support/servers/until-ready.ts';

const run = promisify(execFile);

export interface TestCluster {
  nodes: readonly RedisServer[];
  close(): Promise<void>;
}

/** A cluster of three masters without replicas. */
export async function startCluster(...args: string[]): Promise<TestCluster> {
  const nodes: RedisServer[] = [];
  const close = async (): Promise<void> => {
    for (const node of nodes) await node.close();
  };
  try {
    for (let node = 0; node < 3; node += 1) {
      nodes.push(await startLocalRedis(['--cluster-enabled', 'yes', '--cluster-node-timeout', '1000', ...args]));
    }
    const addresses = nodes.map(({ host, port }) => `${host}:${port}`);
    await run('redis-cli', ['--cluster', 'create', ...addresses, '--cluster-yes']);
    for (const { port } of nodes) await untilReady(() => servesAllSlots(port));
    return { nodes, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function servesAllSlots(port: number): Promise<boolean> {
  const { stdout } = await run('redis-cli', ['-p', String(port), 'cluster', 'info']);
  return stdout.includes('cluster_state:ok');
}

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Pool } from 'pg';
import { z } from 'zod';
import { type GitHubStandIn, startGitHubStandIn } from '../../dev/github/server.ts';
import { readConfiguration } from '../../src/bootstrap/configuration.ts';
import { makeWorker } from '../../src/bootstrap/run-worker.ts';
import type { CheckpointKeys } from '../../src/audit/checkpoints.ts';
import { keyRingFromPem } from '../../src/crypto/key-ring.ts';
import { openPool } from '../../src/store/postgres/pool.ts';
import { type Configured, configured, tenantOf, TENANTS } from '../support/configured.ts';
import { httpLeaseConnector, type LeaseStandIn, startLeaseStandIn } from '../support/lease-connector.ts';
import { startReceiver, type TestReceiver } from '../support/receiver.ts';
import { clockAhead } from './clock-ahead.ts';

/** What a deployment keeps its state in. */
export interface Stores {
  /** By which the processes reach Postgres; the test itself goes by `directDsn`. */
  dsn: string;
  directDsn: string;
  redis: { host: string; port: number; keyPrefix: string };
}

/** Everything around the processes of a deployment: what they are configured with, and the systems that they call. */
export interface World {
  /** What each process is started with. */
  environment: Readonly<Record<string, string>>;
  config: Configured;
  github: GitHubStandIn;
  leases: LeaseStandIn;
  receiver: TestReceiver;
  /** The test's own way to the database. */
  database: Pool;
  auditKeys: CheckpointKeys;
  countEvents(): Promise<number>;
  /** What a worker does that is ahead of time by so many seconds. Rejects when it did not finish. */
  work(secondsAhead: number): Promise<void>;
  close(): Promise<void>;
}

const UPSTREAM_TOKEN = 'ghp_CANARY0123456789abcdefghijklmnopqrstu';

export async function makeWorld(stores: Stores, environment: Readonly<Record<string, string>> = {}): Promise<World> {
  const github = await startGitHubStandIn({ token: UPSTREAM_TOKEN });
  const leases = await startLeaseStandIn();
  const receiver = await startReceiver();
  const config = configured(receiver.url.href);
  for (const tenant of [TENANTS.free, TENANTS.human, TENANTS.two]) addDatabaseTool(config, tenant);
  config.write();
  const all = { ...environmentOf(stores, config, github, leases), ...environment };
  const database = openPool({ dsn: stores.directDsn, maxConnections: 4, statementTimeoutMs: 30_000, lockTimeoutMs: 30_000 });
  const auditKeys = await keyRingFromPem(readFileSync(all.ASB_AUDIT_SIGNING_PRIVATE_KEY_FILE, 'utf8'));
  return {
    environment: all,
    config,
    github,
    leases,
    receiver,
    database,
    auditKeys,
    async countEvents() {
      const { rows } = await database.query('SELECT count(*) AS events FROM audit_events');
      return counted.parse(rows)[0].events;
    },
    async work(secondsAhead) {
      const flags = { intervalSeconds: 30, limit: 100, once: true };
      const parts = { clock: clockAhead(secondsAhead), connectors: [httpLeaseConnector(leases.url)] };
      const worker = await makeWorker(await readConfiguration(all), flags, parts);
      try {
        if (!(await worker.runOnce(new AbortController().signal))) throw new Error('the worker did not finish');
      } finally {
        await worker.stop();
      }
    },
    async close() {
      await database.end();
      await Promise.all([github.close(), leases.close(), receiver.close()]);
      config.remove();
    },
  };
}

const counted = z.tuple([z.object({ events: z.number() })]);

/** Lets agents have wrapped secrets and tokens, on the same terms as all else in the tenant. */
function addDatabaseTool(config: Configured, tenantId: string): void {
  const tenant = tenantOf(config, tenantId);
  const [tool] = tenant.tools as [Record<string, unknown>];
  const [policy] = tenant.policies as [Record<string, unknown>];
  const modes = { 'db.read': 'wrapped_secret', 'db.token': 'minted_token' };
  tenant.tools = [tool, { ...tool, delivery_modes: Object.values(modes), name: 'db', capabilities: Object.keys(modes) }];
  tenant.policies = [
    policy,
    ...Object.entries(modes).map(([capability, mode]) => {
      return { ...policy, delivery_modes: [mode], capability, resource_kind: 'db_role' };
    }),
  ];
}

function environmentOf(stores: Stores, { folder, path }: Configured, github: GitHubStandIn, leases: LeaseStandIn) {
  const put = (name: string, text: string): string => {
    const file = join(folder, name);
    writeFileSync(file, text, { mode: 0o600 });
    return file;
  };
  const { redis } = stores;
  return {
    ASB_ADDR: '127.0.0.1:0',
    ASB_WORKER_ADDR: '127.0.0.1:0',
    ASB_CONFIG_FILE: path,
    ASB_POSTGRES_DSN: stores.dsn,
    ASB_REDIS_ADDR: `${redis.host}:${redis.port}`,
    ASB_REDIS_KEY_PREFIX: redis.keyPrefix,
    ASB_KEK_FILE: put('kek', `${randomBytes(32).toString('base64')}\n`),
    ASB_SESSION_SIGNING_PRIVATE_KEY_FILE: put('session.pem', newKey()),
    ASB_AUDIT_SIGNING_PRIVATE_KEY_FILE: put('audit.pem', newKey()),
    ASB_GITHUB_TOKEN: UPSTREAM_TOKEN,
    ASB_GITHUB_API_BASE_URL: github.url,
    ASB_RATE_LIMIT_PER_MINUTE: '100000000',
    ASB_LOG_LEVEL: 'error',
    ASB_SHUTDOWN_NOTICE_SECONDS: '0',
    FAULTS_LEASES_URL: leases.url,
  };
}

const newKey = (): string => generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();

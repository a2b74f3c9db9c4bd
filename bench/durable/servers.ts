import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type RunningProcess, startWorker as startWorkerProcess } from '../../dev/api-process.ts';
import { startPostgresServer, startRedisServer } from '../../test/support/servers/start.ts';
import { asAdmin, dsnOf, migrate } from '../../test/support/servers/template.ts';
import type { Setting } from '../setting.ts';

/** What is committed is on disk, as Postgres is by default; and the memory that its manual advises, so that indexes of a million rows fit. */
const AS_IN_PRODUCTION = {
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  shared_buffers: '2GB',
  max_wal_size: '4GB',
};

/** A Postgres and a Redis on this machine. */
export interface DurableServers {
  /** The DSN of a new database with every migration. */
  makeDatabase(name: string): Promise<string>;
  redis: { host: string; port: number };
  /** What the processes of a deployment on them are configured with, besides what the API is anyway. */
  environmentOf(dsn: string): Record<string, string>;
  close(): Promise<void>;
}

export async function startDurableServers({ folder }: Setting): Promise<DurableServers> {
  const put = async (name: string, text: string): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, text, { mode: 0o600 });
    return path;
  };
  const keys = {
    ASB_KEK_FILE: await put('kek', `${randomBytes(32).toString('base64')}\n`),
    ASB_SESSION_SIGNING_PRIVATE_KEY_FILE: await put('session.pem', newKey()),
    ASB_AUDIT_SIGNING_PRIVATE_KEY_FILE: await put('audit.pem', newKey()),
  };
  const postgres = await startPostgresServer(AS_IN_PRODUCTION);
  const redis = await startRedisServer().catch(async (error: unknown) => {
    await postgres.close();
    throw error;
  });
  return {
    redis,
    async makeDatabase(name) {
      await asAdmin(postgres.dsn, `CREATE DATABASE ${name}`);
      const dsn = dsnOf(postgres.dsn, name);
      await migrate(dsn);
      return dsn;
    },
    environmentOf: (dsn) => ({ ...keys, ASB_POSTGRES_DSN: dsn, ASB_REDIS_ADDR: `${redis.host}:${redis.port}` }),
    async close() {
      await Promise.all([postgres.close(), redis.close()]);
    },
  };
}

/** A worker beside the API, with the same environment. */
export const startWorker = (environment: Readonly<Record<string, string>>): Promise<RunningProcess> =>
  startWorkerProcess({ ...environment, ASB_WORKER_ADDR: '127.0.0.1:0' }, ['--interval', '1s']);

const newKey = (): string => generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openDatabase } from './postgres.ts';
import { redisForTest } from './redis.ts';

/** What a deployment on Postgres and Redis is configured with. */
export interface DurableStores {
  environment: Readonly<Record<string, string>>;
  dsn: string;
  redis: ReturnType<typeof redisForTest>;
  close(): Promise<void>;
}

/** A database and a place in Redis of a test's own, with the keys that go with them in `folder`. */
export async function openDurableStores(folder: string): Promise<DurableStores> {
  const database = await openDatabase();
  const { dsn } = database;
  const redis = redisForTest();
  const put = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const environment = {
    ASB_POSTGRES_DSN: dsn,
    ASB_POSTGRES_MAX_CONNECTIONS: '10',
    ASB_REDIS_ADDR: `${redis.host}:${redis.port}`,
    ...(redis.password === null ? {} : { ASB_REDIS_PASSWORD: redis.password }),
    ASB_REDIS_KEY_PREFIX: redis.keyPrefix,
    ASB_KEK_FILE: put('kek', `${randomBytes(32).toString('base64')}\n`),
    ASB_SESSION_SIGNING_PRIVATE_KEY_FILE: put('session.pem', newKey()),
    ASB_AUDIT_SIGNING_PRIVATE_KEY_FILE: put('audit.pem', newKey()),
    ASB_WORKER_ADDR: '127.0.0.1:0',
  };
  return { environment, dsn, redis, close: () => database.close() };
}

const newKey = (): string => generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();

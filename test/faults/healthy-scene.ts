import { makeApi } from '../../src/bootstrap/api.ts';
import { readConfiguration } from '../../src/bootstrap/configuration.ts';
import { httpLeaseConnector } from '../support/lease-connector.ts';
import { openDatabase } from '../support/postgres.ts';
import { redisForTest } from '../support/redis.ts';
import { jsonClient } from '../support/transports.ts';
import { Calls } from './agents.ts';
import type { Scene } from './operations.ts';
import { makeWorld } from './world.ts';

export interface HealthyScene {
  scene: Scene;
  close(): Promise<void>;
}

/** A deployment on the stores that tests share, with an API in this process that nobody kills. */
export async function healthyScene(environment: Readonly<Record<string, string>> = {}): Promise<HealthyScene> {
  const database = await openDatabase();
  const { dsn } = database;
  const world = await makeWorld({ dsn, directDsn: dsn, redis: redisForTest() }, environment);
  const connectors = [httpLeaseConnector(world.leases.url)];
  const api = await makeApi(await readConfiguration(world.environment), { connectors });
  const [address = ''] = await api.start();
  const healthy = jsonClient(`http://${address}`);
  return {
    scene: { world, calls: new Calls(world.config.operators), healthy },
    async close() {
      healthy.close();
      await api.stop();
      await world.close();
      await database.close();
    },
  };
}

import { randomUUID } from 'node:crypto';
import { makeApi } from '../../src/bootstrap/api.ts';
import { readConfiguration } from '../../src/bootstrap/configuration.ts';
import type { SharedStores } from '../../src/bootstrap/stores.ts';
import { unavailable } from '../../src/domain/errors.ts';
import { TENANTS } from '../support/configured.ts';
import { httpLeaseConnector } from '../support/lease-connector.ts';
import { jsonClient, type TransportClient } from '../support/transports.ts';
import { bodyOf } from './agents.ts';
import { nextPage, type Scene } from './operations.ts';
import type { World } from './world.ts';

/** An API that puts on record that it calls downstream, calls, and never says what came of it: as one does that dies then. */
export interface Forgetful {
  client: TransportClient;
  /** Its next commit is its last. */
  forget(): void;
  close(): Promise<void>;
}

export async function forgetfulApi({ environment, leases }: World): Promise<Forgetful> {
  let left = Infinity;
  const aroundStores = (stores: SharedStores): SharedStores => {
    const { repository } = stores;
    const transact: typeof repository.transact = async (stage) => {
      left -= 1;
      if (left < 0) throw unavailable('gone');
      await repository.transact(stage);
    };
    const get = (target: typeof repository, name: string | symbol): unknown => {
      if (name === 'transact') return transact;
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? (member.bind(target) as unknown) : member;
    };
    return { ...stores, repository: new Proxy(repository, { get }) };
  };
  const connectors = [httpLeaseConnector(leases.url)];
  const api = await makeApi(await readConfiguration(environment), { connectors, aroundStores });
  const [address = ''] = await api.start();
  const client = jsonClient(`http://${address}`);
  return {
    client,
    forget: () => {
      left = 1;
    },
    async close() {
      client.close();
      await api.stop();
    },
  };
}

const SOON_SECONDS = 60;

/**
 * Makes work of every kind for a worker whose clock is two minutes ahead: a session and a grant that run out, leases of a
 * grant and of a session that were revoked, a message to send, and calls of a process that died.
 */
export async function makeDueWork({ calls, healthy }: Scene, forgetful: Forgetful): Promise<void> {
  const exp = Math.floor(Date.now() / 1000) + SOON_SECONDS;
  const brief = bodyOf(await calls.openSession(healthy, TENANTS.free, { claims: { exp } }));
  bodyOf(await calls.requestGrant(healthy, brief, 'wrapped_secret', randomUUID()));
  bodyOf(await calls.requestGrant(healthy, brief, 'proxy', randomUUID()));
  const unanswered = bodyOf(await calls.openSession(healthy, TENANTS.human, { claims: { exp } }));
  bodyOf(await calls.requestGrant(healthy, unanswered, 'wrapped_secret', randomUUID()));

  const lasting = bodyOf(await calls.openSession(healthy, TENANTS.free));
  bodyOf(await calls.requestGrant(healthy, lasting, 'wrapped_secret', randomUUID(), SOON_SECONDS));
  const revoked = bodyOf(await calls.requestGrant(healthy, lasting, 'wrapped_secret', randomUUID()));
  bodyOf(await calls.revokeGrant(healthy, lasting, revoked.grant_id));
  const stopped = bodyOf(await calls.openSession(healthy, TENANTS.free));
  bodyOf(await calls.requestGrant(healthy, stopped, 'wrapped_secret', randomUUID()));
  bodyOf(await calls.revokeSession(healthy, stopped));
  const waiting = bodyOf(await calls.openSession(healthy, TENANTS.human));
  bodyOf(await calls.requestGrant(healthy, waiting, 'wrapped_secret', randomUUID()));

  const { delivery } = bodyOf(await calls.requestGrant(healthy, lasting, 'proxy', randomUUID()));
  forgetful.forget();
  await calls.proxied(forgetful.client, delivery?.handle ?? '', nextPage());
  forgetful.forget();
  await calls.requestGrant(forgetful.client, lasting, 'wrapped_secret', randomUUID());
}

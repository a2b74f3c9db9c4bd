import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { Secret } from '../../../src/domain/secret.ts';
import type { RedisSettings, RedisTls } from '../../../src/store/redis/connect.ts';
import { freePort } from '../../support/servers/free-port.ts';
import { startLocalRedis } from '../../support/servers/local-redis.ts';
import { after } from '../../support/entities.ts';
import { type Authority, makeAuthority } from './certificates.ts';
import { startSentinel } from './redis-sentinel.ts';
import { openUnderTest, settingsFor } from './redis-under-test.ts';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

const PASSWORD = 'canary-password-4711';
const NAME = 'redis.example';

let authority: Authority;
let stranger: Authority;
let port: number;
let named: number;
const servers: { close(): Promise<void> }[] = [];

/** A server that speaks TLS on the port that it answers, with a certificate for `names`. */
async function start(names: readonly string[], ...args: string[]): Promise<number> {
  const { cert, key } = authority.issue(...names);
  const tlsPort = await freePort();
  const server = await startLocalRedis([
    ...['--tls-port', String(tlsPort), '--tls-cert-file', cert, '--tls-key-file', key],
    ...['--tls-auth-clients', 'no', '--requirepass', PASSWORD, ...args],
  ]);
  servers.push(server);
  return tlsPort;
}

beforeAll(async () => {
  authority = makeAuthority();
  stranger = makeAuthority();
  port = await start(['IP:127.0.0.1', 'DNS:localhost']);
  named = await start([`DNS:${NAME}`]);
});
afterAll(async () => {
  for (const server of servers) await server.close();
  authority.close();
  stranger.close();
});

async function open(at: { host: string; port: number }, tls: RedisTls | null, changes: Partial<RedisSettings> = {}) {
  const opened = await openUnderTest(settingsFor({ ...at, password: PASSWORD }, { tls, ...changes }));
  closers.push(() => opened.redis.close());
  return opened;
}

it.each([
  ['its address', '127.0.0.1', () => port, undefined],
  ['its name', 'localhost', () => port, undefined],
  ['another address, under its name', '127.0.0.1', () => named, NAME],
])('speaks to a server by %s', async (_, host, at, servername) => {
  const { store, errors } = await open({ host, port: at() }, { ca: authority.ca, ...(servername && { servername }) });
  expect(await store.claim('callback', host, 'value', after(60), after(0))).toBe(true);
  expect(errors).toEqual([]);
});

it.each<[string, () => number, () => RedisTls | null, RegExp]>([
  ['of an authority that it does not trust', () => port, () => ({ ca: stranger.ca }), /unable to verify|self-signed/],
  ['of an authority that the system does not know', () => port, () => ({ ca: null }), /unable to verify|self-signed/],
  ['for another name', () => named, () => ({ ca: authority.ca }), /does not match certificate's altnames/],
  ['for a name that is not asked for', () => port, () => ({ ca: authority.ca, servername: 'other.example' }), /altnames/],
  ['for nobody, as it speaks in clear', () => port, () => null, /./],
])('says nothing to a server with a certificate %s', async (_, at, tls, reason) => {
  const { store, errors } = await open({ host: '127.0.0.1', port: at() }, tls(), { commandTimeoutMs: 300 });
  await expect(store.ping()).rejects.toMatchObject({ code: 'unavailable' });
  expect(errors[0]?.message).toMatch(reason);
  for (const { message } of errors) expect(message).not.toContain(PASSWORD);
});

it('speaks to the nodes of a cluster by the names that they have there', async () => {
  const at = await start(
    ['DNS:localhost'],
    ...['--cluster-enabled', 'yes', '--cluster-announce-hostname', 'localhost'],
    ...['--tls-cluster', 'yes', '--tls-ca-cert-file', authority.caFile],
    ...['--cluster-preferred-endpoint-type', 'hostname'],
  );
  const operator = await open({ host: '127.0.0.1', port: at }, { ca: authority.ca, servername: 'localhost' });
  await operator.redis.client.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
  const { store } = await open({ host: 'localhost', port: at }, { ca: authority.ca }, { mode: 'cluster' });
  await expect
    .poll(() => store.claim('callback', 'key', 'value', after(60), after(0)).catch(() => 'away'), { timeout: 20_000 })
    .toBe(true);
});

it('speaks to a sentinel, and to the master that it names, in the same way', async () => {
  const { cert, key } = authority.issue('IP:127.0.0.1');
  const tlsPort = await freePort();
  const sentinel = await startSentinel(
    { host: '127.0.0.1', port, password: PASSWORD },
    {
      password: PASSWORD,
      more: [
        ...[`tls-port ${tlsPort}`, `tls-cert-file ${cert}`, `tls-key-file ${key}`, `tls-ca-cert-file ${authority.caFile}`],
        ...['tls-auth-clients no', 'tls-replication yes'],
      ],
    },
  );
  closers.push(() => sentinel.close());
  const changes = { mode: 'sentinel', sentinelName: 'runtime', sentinelPassword: new Secret(PASSWORD) } as const;
  const { store, errors } = await open({ host: '127.0.0.1', port: tlsPort }, { ca: authority.ca }, changes);
  expect(await store.claim('callback', 'sentinel', 'value', after(60), after(0))).toBe(true);
  expect(errors).toEqual([]);
  const distrusting = await open({ host: '127.0.0.1', port: tlsPort }, { ca: stranger.ca }, changes);
  await expect(distrusting.store.ping()).rejects.toMatchObject({ code: 'unavailable' });
});

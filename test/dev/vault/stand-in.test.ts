import { generateKeyPair, SignJWT } from 'jose';
import { Client } from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { makeCluster } from '../../../dev/cluster.ts';
import { startVaultStandIn, type VaultStandIn } from '../../../dev/vault/server.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MOUNT, openVaultWorld, rightsOf, ROLE, type VaultWorld } from '../../support/vault.ts';
import { type Call, callsTo, type Envelope, enveloped, errorsOf } from './target.ts';

// What the stand-in does as time goes by, and what tests make it do.

const CREDS = `${MOUNT}/creds/${ROLE}`;
const MINUTE = 60;
const user = z.object({ username: z.string(), password: z.string() });

let clock: FakeClock;
let world: VaultWorld;
let vault: VaultStandIn;
let call: Call;
beforeEach(async () => {
  // A user is good until a time of the database's own clock.
  clock = new FakeClock(new Date().toISOString());
  world = await openVaultWorld(clock);
  ({ vault } = world);
  call = callsTo(vault.url, vault.rootToken);
});
afterEach(() => world.close());

const creds = async (token?: string) => enveloped(await call('GET', CREDS, undefined, token));
function dsnOf({ data }: Envelope): string {
  const { username, password } = user.parse(data);
  return Object.assign(new URL(world.database), { username, password }).href;
}
/** When the database lets a user in no more. */
async function validUntil(dsn: string): Promise<number> {
  const client = new Client({ connectionString: dsn });
  await client.connect();
  const { rows } = await client.query<{ at: Date }>('SELECT valuntil AS at FROM pg_user WHERE usename = current_user');
  await client.end();
  return rows[0]?.at.getTime() ?? NaN;
}
const later = async (seconds: number): Promise<void> => {
  clock.advance(seconds);
  await vault.settled();
};

describe('a database user', () => {
  it('reads and does not write until its lease is over, which the database knows too', async () => {
    const answer = await creds();
    const dsn = dsnOf(answer);
    expect(await rightsOf(dsn)).toEqual({ login: true, read: true, write: false });
    expect(await validUntil(dsn)).toBe(clock.now().getTime() + 10 * MINUTE * 1000);
    await call('POST', 'sys/leases/renew', { lease_id: answer.lease_id, increment: 30 * MINUTE });
    expect(await validUntil(dsn)).toBe(clock.now().getTime() + 30 * MINUTE * 1000);
    await later(30 * MINUTE - 1);
    expect(await world.users()).toHaveLength(1);
    await later(1);
    expect([await world.users(), vault.leaseIds()]).toEqual([[], []]);
    expect(await rightsOf(dsn)).toEqual({ login: false, read: false, write: false });
  });

  it('is not renewed beyond what its role lets it live', async () => {
    const { lease_id: lease } = await creds();
    const renew = () => call('POST', 'sys/leases/renew', { lease_id: lease, increment: 2 * 3600 });
    clock.advance(9 * MINUTE);
    const first = enveloped(await renew());
    expect([first.lease_duration, first.warnings]).toEqual([
      51 * MINUTE,
      ['TTL of "2h0m0s" exceeded the effective max_ttl of "51m0s"; TTL value is capped accordingly'],
    ]);
    clock.advance(50 * MINUTE);
    expect(enveloped(await renew()).lease_duration).toBe(MINUTE);
  });

  it('goes with the token that it was made for, when that runs out', async () => {
    const token = await world.brokerToken({ ttl: '5m' });
    const dsn = dsnOf(await creds(token));
    await later(5 * MINUTE);
    expect([await rightsOf(dsn), vault.leaseIds()]).toEqual([{ login: false, read: false, write: false }, []]);
    expect((await call('GET', CREDS, undefined, token)).status).toBe(403);
  });

  it('is not left behind by a token’s last use', async () => {
    const token = await world.brokerToken({ num_uses: 1 });
    expect((await call('GET', CREDS, undefined, token)).status).toBe(400);
    expect([await world.users(), vault.leaseIds()]).toEqual([[], []]);
  });

  it('whose statements fail half way is not there', async () => {
    const statements = [`CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}'`, 'SELECT nothing'];
    await world.ask('POST', `${MOUNT}/roles/${ROLE}`, { db_name: 'app', creation_statements: statements });
    const answer = await call('GET', CREDS);
    expect([answer.status, errorsOf(answer)]).toEqual([500, expect.stringContaining('failed to execute query')]);
    expect(vault.leaseIds()).toEqual([]);
  });

  it('is named after its token in letters that end no quotes', async () => {
    const token = await world.brokerToken({ display_name: `a"'; DROP` });
    const { username } = user.parse((await creds(token)).data);
    expect(username).toMatch(/^v-token-a--app_ro-[A-Za-z0-9]{20}-\d+$/);
  });

  it('that cannot be dropped just now is dropped later', async () => {
    const revocation = [`SELECT 1 / (SELECT count(*) FROM notes)`, `DROP OWNED BY "{{name}}"`, `DROP ROLE "{{name}}"`];
    await world.ask('POST', `${MOUNT}/roles/${ROLE}`, {
      db_name: 'app',
      creation_statements: [`CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}'`, `GRANT SELECT ON notes TO "{{name}}"`],
      revocation_statements: revocation,
      default_ttl: '10m',
    });
    await creds();
    await world.asAdmin('CREATE TABLE kept AS TABLE notes; TRUNCATE notes');
    await later(10 * MINUTE);
    expect(vault.leaseIds()).toHaveLength(1);
    await world.asAdmin('INSERT INTO notes TABLE kept');
    await later(10);
    expect(vault.leaseIds()).toEqual([]);
  });
});

describe('a token', () => {
  it('runs out, or is renewed to no more than it was told', async () => {
    const token = await world.brokerToken({ ttl: '10m', explicit_max_ttl: '15m' });
    const renew = () => call('POST', 'auth/token/renew-self', { increment: '10m' }, token);
    clock.advance(8 * MINUTE);
    expect(enveloped(await renew()).auth).toMatchObject({ lease_duration: 7 * MINUTE });
    await later(7 * MINUTE);
    expect((await renew()).status).toBe(403);
  });

  it('that is periodic lives as long as it is renewed', async () => {
    const token = await world.brokerToken({ period: '10m' });
    for (let times = 0; times < 3; times++) {
      clock.advance(9 * MINUTE);
      expect((await call('POST', 'auth/token/renew-self', {}, token)).status).toBe(200);
    }
    await later(10 * MINUTE);
    expect((await call('POST', 'auth/token/renew-self', {}, token)).status).toBe(403);
  });

  it('makes no other when its uses are counted, and is used no more often by many at once', async () => {
    const all = JSON.stringify({ path: { '*': { capabilities: ['read', 'update'] } } });
    await world.ask('POST', 'sys/policies/acl/all', { policy: all });
    const token = await world.brokerToken({ policies: ['all'], num_uses: 3 });
    const child = await call('POST', 'auth/token/create', {}, token);
    expect([child.status, errorsOf(child)]).toEqual([400, 'restricted use token cannot generate child tokens']);
    const looks = Array.from({ length: 5 }, () => call('GET', 'auth/token/lookup-self', undefined, token));
    expect((await Promise.all(looks)).map(({ status }) => status).sort()).toEqual([200, 200, 403, 403, 403]);
  });
});

describe('a login by Kubernetes', () => {
  const bound = {
    bound_service_account_names: 'asb',
    bound_service_account_namespaces: 'broker',
    audience: 'asb-control-plane',
  };
  const pod = { namespace: 'broker', serviceAccount: 'asb' };
  let jwtOf: (other?: Partial<typeof pod>) => Promise<string>;
  beforeEach(async () => {
    const cluster = await makeCluster();
    await world.ask('POST', 'sys/auth/kubernetes', { type: 'kubernetes' });
    await world.ask('POST', 'auth/kubernetes/config', { pem_keys: [cluster.publicKey] });
    await world.ask('POST', 'auth/kubernetes/role/asb', { ...bound, token_policies: ['asb'], token_ttl: '1h' });
    jwtOf = (other) => cluster.projectedToken({ ...pod, ...other });
  });
  const login = (jwt: string, role = 'asb') => call('POST', 'auth/kubernetes/login', { role, jwt }, '');

  it('gives a token with the role’s policies', async () => {
    const { auth } = enveloped(await login(await jwtOf()));
    expect(auth).toMatchObject({
      lease_duration: 3600,
      policies: ['default', 'asb'],
      metadata: { role: 'asb', service_account_name: 'asb', service_account_namespace: 'broker' },
    });
    expect((await call('GET', CREDS, undefined, z.string().parse(auth?.client_token))).status).toBe(200);
  });

  it('is refused to others', async () => {
    const { privateKey } = await generateKeyPair('RS256');
    const forged = await new SignJWT({ 'kubernetes.io': { namespace: 'broker', serviceaccount: { name: 'asb', uid: '1' } } })
      .setProtectedHeader({ alg: 'RS256' })
      .setAudience(bound.audience)
      .setExpirationTime('1h')
      .sign(privateKey);
    const attempts: [attempt: string, jwt: string, role: string, status: number][] = [
      ['another service account', await jwtOf({ serviceAccount: 'other' }), 'asb', 403],
      ['another namespace', await jwtOf({ namespace: 'other' }), 'asb', 403],
      ['another key', forged, 'asb', 403],
      ['no JWT', 'nothing', 'asb', 403],
      ['no such role', await jwtOf(), 'other', 400],
    ];
    for (const [attempt, jwt, role, status] of attempts)
      expect([attempt, (await login(jwt, role)).status]).toEqual([attempt, status]);
    const old = await jwtOf();
    clock.advance(2 * 3600);
    expect((await login(old)).status).toBe(403);
  });
});

describe('sealed', () => {
  it('it does nothing but say so, and what ran out meanwhile ends once it is unsealed', async () => {
    await creds();
    expect((await call('PUT', 'sys/seal')).status).toBe(204);
    const answer = await call('GET', CREDS);
    expect([answer.status, answer.body]).toEqual([503, { errors: ['Vault is sealed'] }]);
    expect((await call('GET', 'sys/health')).status).toBe(503);
    expect((await call('GET', 'sys/health?sealedcode=200')).status).toBe(200);
    await later(11 * MINUTE);
    expect(await world.users()).toHaveLength(1);
    expect((await call('PUT', 'sys/unseal', { key: 'wrong' }, '')).status).toBe(400);
    expect(await call('PUT', 'sys/unseal', { key: vault.unsealKey }, '')).toMatchObject({
      status: 200,
      body: { sealed: false },
    });
    await later(10);
    expect(await world.users()).toEqual([]);
  });

  it('it may be by who has sudo alone', async () => {
    const update = JSON.stringify({ path: { 'sys/seal': { capabilities: ['update'] } } });
    await world.ask('POST', 'sys/policies/acl/update', { policy: update });
    expect((await call('PUT', 'sys/seal', {}, await world.brokerToken({ policies: ['update'] }))).status).toBe(403);
  });
});

describe('health', () => {
  it.each<[state: Partial<VaultStandIn['status']>, query: string, status: number]>([
    [{}, '', 200],
    [{}, '?activecode=201', 201],
    [{ standby: true }, '', 429],
    [{ standby: true }, '?standbyok=true', 200],
    [{ standby: true }, '?standbycode=202', 202],
    [{ standby: true, performanceStandby: true }, '', 473],
    [{ standby: true, performanceStandby: true }, '?perfstandbyok=true', 200],
    [{ standby: true, performanceStandby: true }, '?performancestandbycode=203', 203],
    [{ drSecondary: true }, '', 472],
    [{ drSecondary: true }, '?drsecondarycode=204', 204],
    [{ sealed: true }, '', 503],
    [{ sealed: true, initialized: false }, '', 501],
    [{ initialized: false }, '?uninitcode=205', 205],
  ])('of %j asked with %j is %i', async (state, query, status) => {
    Object.assign(vault.status, state);
    const response = await fetch(`${vault.url}/v1/sys/health${query}`);
    expect(response.status).toBe(status);
    expect((await fetch(`${vault.url}/v1/sys/health${query}`, { method: 'HEAD' })).status).toBe(status);
    Object.assign(vault.status, { sealed: false, initialized: true });
  });
});

describe('namespaces', () => {
  it('know nothing of each other', async () => {
    const other = await startVaultStandIn({ clock, namespaces: ['team-a'] });
    const root = callsTo(other.url, other.rootToken);
    const team = callsTo(other.url, other.rootToken, { 'x-vault-namespace': 'team-a/' });
    await team('POST', 'sys/mounts/secret', { type: 'kv' });
    await team('POST', 'secret/data/one', { data: { of: 'team' } });
    expect((await team('GET', 'secret/data/one')).status).toBe(200);
    expect((await root('GET', 'secret/data/one')).status).toBe(404);
    const { auth } = enveloped(await team('POST', 'auth/token/create', { policies: ['root'] }));
    const token = z.string().parse(auth?.client_token);
    expect((await team('GET', 'auth/token/lookup-self', undefined, token)).status).toBe(200);
    expect((await root('GET', 'auth/token/lookup-self', undefined, token)).status).toBe(403);
    const nobody = callsTo(other.url, other.rootToken, { 'x-vault-namespace': 'team-b' });
    expect((await nobody('GET', 'auth/token/lookup-self')).status).toBe(404);
    await other.close();
  });
});

describe('a script', () => {
  it('stands in for an answer, once, for the path that it names', async () => {
    vault.answerNext(/creds/, (_request, response) => void response.writeHead(429).end('{"errors":["slow down"]}'));
    expect((await call('GET', `${MOUNT}/roles/${ROLE}`)).status).toBe(200);
    expect((await call('GET', CREDS)).status).toBe(429);
    expect(vault.leaseIds()).toEqual([]);
    expect((await call('GET', CREDS)).status).toBe(200);
  });

  it('breaks off after the effect, when told so', async () => {
    vault.answerNext(/creds/, (request) => void request.socket.resetAndDestroy(), 'after');
    await expect(call('GET', CREDS)).rejects.toThrow('fetch failed');
    expect(vault.leaseIds()).toHaveLength(1);
  });

  it('leaves a record of what was asked, without the token', async () => {
    const from = vault.requests.length;
    await call('GET', CREDS);
    await call('GET', 'sys/health', undefined, '');
    expect(vault.requests.slice(from)).toEqual([
      { method: 'GET', path: CREDS, namespace: '', isAuthenticated: true },
      { method: 'GET', path: 'sys/health', namespace: '', isAuthenticated: false },
    ]);
  });
});

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { guardedLookup } from '../../../src/connectors/guarded-lookup.ts';
import { makeVaultClient } from '../../../src/connectors/vault/vault-client.ts';
import { VaultLogin, type VaultLoginMethod } from '../../../src/connectors/vault/vault-login.ts';
import { parseDsnTemplate } from '../../../src/connectors/vaultdb/dsn-template.ts';
import { makeVaultDatabaseConnector } from '../../../src/connectors/vaultdb/vault-database-connector.ts';
import { type IssuedLease, wasNotCalled } from '../../../src/domain/connector.ts';
import { deadlineExceeded } from '../../../src/domain/errors.ts';
import type { RevocationId } from '../../../src/domain/ids.ts';
import { parseResourceRef } from '../../../src/domain/resource.ts';
import { Secret } from '../../../src/domain/secret.ts';
import type { ScriptedAnswer } from '../../../dev/vault/server.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MOUNT, openVaultWorld, rightsOf, ROLE, templateFor, type VaultWorld } from '../../support/vault.ts';

const TEN_MINUTES = 600;
const revocationId = 'rev_1' as RevocationId;
const resource = parseResourceRef(`dbrole:${ROLE}`);

let clock: FakeClock;
let world: VaultWorld;
beforeEach(async () => {
  // A user is good until a time of the database's own clock.
  clock = new FakeClock(new Date().toISOString());
  world = await openVaultWorld(clock);
});
afterEach(() => world.close());

function connectorFor(
  method: VaultLoginMethod,
  { url = world.vault.url, mount = MOUNT }: { url?: string; mount?: string } = {},
) {
  const client = makeVaultClient({ address: new URL(url), namespace: '', authorities: null, lookup: guardedLookup([]) });
  const login = new VaultLogin({ client, method, clock, timeoutSeconds: 5, onFailure: () => undefined });
  return makeVaultDatabaseConnector({
    client,
    login,
    clock,
    capabilities: ['db.read'],
    roles: [{ name: ROLE, mount, dsn: parseDsnTemplate(templateFor(world.database)) }],
    allowedSuffixes: ['_ro'],
    longestLeaseSeconds: 3600,
    timeoutSeconds: 5,
  });
}
const byToken = async (rules?: object) =>
  connectorFor({ method: 'token', token: new Secret(await world.brokerToken(rules)) });

const request = (signal = new AbortController().signal, seconds = TEN_MINUTES, ref = resource) => ({
  revocationId,
  capability: 'db.read',
  resource: ref,
  expiresAt: new Date(clock.now().getTime() + seconds * 1000),
  signal,
});
const revocation = (leaseId: string | null) => ({ revocationId, leaseId, resource, signal: new AbortController().signal });
const fieldOf = ({ fields }: IssuedLease, name: string): string =>
  fields.find((field) => field.name === name)?.value.reveal() ?? '';
const secondsOf = ({ expiresAt }: IssuedLease): number => (expiresAt.getTime() - clock.now().getTime()) / 1000;
const answering =
  (status: number, body = ''): ScriptedAnswer =>
  (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(body);
  };
const reset: ScriptedAnswer = (incoming) => void incoming.socket.resetAndDestroy();
const failure = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => {
      throw new Error('it went well');
    },
    (error: unknown) => error,
  );

describe('a database user that Vault made', () => {
  it('can log in and read, and cannot write', async () => {
    const lease = await (await byToken()).issue(request());
    expect(lease.fields.map(({ name }) => name)).toEqual(['username', 'password', 'dsn']);
    expect(fieldOf(lease, 'username')).toMatch(/^v-/);
    expect(await rightsOf(fieldOf(lease, 'dsn'))).toEqual({ login: true, read: true, write: false });
    expect(world.vault.leaseIds()).toEqual([lease.leaseId]);
    expect(secondsOf(lease)).toBe(TEN_MINUTES);
  });

  it('is locked out once its lease is revoked, which may be asked for again', async () => {
    const connector = await byToken();
    const lease = await connector.issue(request());
    await connector.revoke(revocation(lease.leaseId));
    expect(await rightsOf(fieldOf(lease, 'dsn'))).toEqual({ login: false, read: false, write: false });
    expect([world.vault.leaseIds(), await world.users()]).toEqual([[], []]);
    await connector.revoke(revocation(lease.leaseId));
  });

  it('whose lease nobody learned cannot be revoked, and is looked for no longer than it may live', async () => {
    const connector = await byToken();
    expect(connector.longestLeaseSeconds).toBe(3600);
    await expect(connector.revoke(revocation(null))).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('lives as long as its grant where the role allows it', async () => {
    const lease = await (await byToken()).issue(request(undefined, 1800));
    expect(secondsOf(lease)).toBe(1800);
    expect(world.vault.requests.map(({ path }) => path)).toContain('sys/leases/renew');
  });

  it('lives no longer than the role allows, and says so', async () => {
    const lease = await (await byToken()).issue(request(undefined, 7200));
    expect(secondsOf(lease)).toBe(3600);
  });

  it('lives as long as Vault gave it when ASB may not renew leases', async () => {
    world.vault.answerNext(/^sys\/leases\/renew$/, answering(403, '{"errors":["permission denied"]}'));
    const lease = await (await byToken()).issue(request(undefined, 1800));
    expect(secondsOf(lease)).toBe(TEN_MINUTES);
  });

  it("lives no longer than ASB's own token, which its lease ends with", async () => {
    const connector = await byToken({ ttl: '5m', renewable: false });
    const lease = await connector.issue(request());
    expect(secondsOf(lease)).toBe(300);
    clock.advance(300);
    await world.vault.settled();
    await expect.poll(() => world.vault.leaseIds()).toEqual([]);
  });

  it("lives as long as its grant when ASB's token can be renewed", async () => {
    const connector = await byToken({ ttl: '12m' });
    expect(secondsOf(await connector.issue(request()))).toBe(TEN_MINUTES);
    clock.advance(300);
    expect(secondsOf(await connector.issue(request()))).toBe(TEN_MINUTES);
  });
});

describe('what is asked for', () => {
  it.each(['app', 'app_rw', '_ro', 'app_ro/../app_rw', 'app%5fro', '../x_ro', 'x\n_ro', ''])(
    'must be a role that ends in an allowed suffix: %j',
    async (name) => {
      const connector = await byToken();
      const ref = { kind: 'db_role' as const, name, ref: `dbrole:${name}` };
      expect(() => connector.checkResource(ref)).toThrow(/database role/);
      await expect(connector.issue(request(undefined, 60, ref))).rejects.toMatchObject({ code: 'invalid_request' });
      expect(world.vault.requests.filter(({ path }) => path.includes('creds'))).toEqual([]);
    },
  );

  it('must be a role that is configured', async () => {
    const connector = await byToken();
    const other = parseResourceRef('dbrole:other_ro');
    expect(() => connector.checkResource(other)).toThrow(/no such database role/);
    await expect(connector.issue(request(undefined, 60, other))).rejects.toMatchObject({ code: 'not_found' });
  });

  it.each([
    [['app_rw'], /app_rw: a database role must end in _ro/],
    [['a_ro', 'a_ro'], /one name/],
  ])('cannot be configured as %j', (names, message) => {
    const role = { mount: MOUNT, dsn: () => '' };
    const client = makeVaultClient({
      address: new URL(world.vault.url),
      namespace: '',
      authorities: null,
      lookup: guardedLookup([]),
    });
    const method = { method: 'token' as const, token: new Secret('x') };
    const login = new VaultLogin({ client, method, clock, timeoutSeconds: 5, onFailure: () => undefined });
    const common = { client, login, clock, capabilities: [], longestLeaseSeconds: 1, timeoutSeconds: 5 };
    const make = () =>
      makeVaultDatabaseConnector({ ...common, roles: names.map((name) => ({ ...role, name })), allowedSuffixes: ['_ro'] });
    expect(make).toThrow(message);
  });
});

describe('a Vault that fails', () => {
  const CREDS = /^database\/creds\//;

  it.each([
    ['is sealed', 503, '{"errors":["Vault is sealed"]}', 'upstream_error', true],
    ['refuses', 403, '{"errors":["permission denied"]}', 'forbidden', false],
    ['knows no such role', 400, '{"errors":["unknown role: app_ro"]}', 'invalid_request', false],
    ['has no such mount', 404, '{"errors":[]}', 'not_found', false],
    ['limits its rate', 429, '{"errors":["request path quota exceeded"]}', 'rate_limited', false],
    ['breaks', 500, '{"errors":["1 error occurred"]}', 'upstream_error', false],
    ['answers no JSON', 200, '<html>', 'upstream_error', false],
    [
      'answers without a lease',
      200,
      '{"data":{"username":"u","password":"p"},"lease_duration":60,"renewable":true}',
      'upstream_error',
      false,
    ],
    [
      'answers without a password',
      200,
      '{"lease_id":"l","lease_duration":60,"renewable":true,"data":{"username":"u"}}',
      'upstream_error',
      false,
    ],
    ['answers too much', 200, JSON.stringify('x'.repeat(2 ** 21)), 'upstream_error', false],
    ['redirects', 307, '', 'upstream_error', false],
  ])('because it %s is told so, and not what it said', async (_, status, body, code, isNotCalled) => {
    const connector = await byToken();
    world.vault.answerNext(CREDS, answering(status, body));
    const error = await failure(connector.issue(request()));
    expect(error).toMatchObject({ code });
    expect(wasNotCalled(error)).toBe(isNotCalled);
    expect(inspect(error, { depth: 9 })).not.toMatch(/hvs\.|1 error occurred|unknown role:|quota exceeded|<html>/);
  });

  it('with its answer after the user was made may have made one', async () => {
    const connector = await byToken();
    world.vault.answerNext(CREDS, reset, 'after');
    const error = await failure(connector.issue(request()));
    expect(error).toMatchObject({ code: 'upstream_error' });
    expect(wasNotCalled(error)).toBe(false);
    expect(await world.users()).toHaveLength(1);
  });

  it('because nobody listens has made nothing', async () => {
    const nobody = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => nobody.once('listening', resolve));
    const { port } = nobody.address() as AddressInfo;
    await new Promise((resolve) => nobody.close(resolve));
    const connector = connectorFor({ method: 'token', token: new Secret('hvs.x') }, { url: `http://127.0.0.1:${port}` });
    const error = await failure(connector.issue(request()));
    expect(error).toMatchObject({ code: 'upstream_error' });
    expect(wasNotCalled(error)).toBe(true);
  });

  it('to answer in time is left; a user that it makes after all is revoked', async () => {
    const connector = await byToken();
    let answer = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      world.vault.answerNext(CREDS, (_incoming, response) => {
        answer = () => {
          const data = { username: 'v-late', password: 'p' };
          response.end(
            JSON.stringify({ lease_id: 'database/creds/app_ro/late', lease_duration: 60, renewable: true, data }),
          );
        };
        resolve();
      });
    });
    const left = new AbortController();
    const issuing = failure(connector.issue(request(left.signal)));
    await held;
    left.abort(deadlineExceeded('vaultdb did not issue within 10 seconds'));
    expect(await issuing).toMatchObject({ code: 'deadline_exceeded' });
    answer();
    await expect.poll(() => world.vault.requests.at(-1)?.path).toBe('sys/leases/revoke');
  });

  it('to answer at all is given up', async () => {
    const connector = await byToken();
    const held = new Promise<void>((resolve) => world.vault.answerNext(CREDS, () => resolve()));
    const issuing = failure(connector.issue(request()));
    await held;
    clock.advance(5);
    expect(await issuing).toMatchObject({ code: 'upstream_error' });
  });

  it('and names another host gets no token sent there', async () => {
    const seen: unknown[] = [];
    const other = createServer((incoming, response) => {
      seen.push(incoming.headers);
      response.end('{}');
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const { port } = other.address() as AddressInfo;
    const connector = await byToken();
    world.vault.answerNext(CREDS, (_incoming, response) => {
      response.writeHead(307, { location: `http://127.0.0.1:${port}/v1/database/creds/app_ro` }).end();
    });
    await expect(connector.issue(request())).rejects.toMatchObject({ code: 'upstream_error' });
    expect(seen).toEqual([]);
    await new Promise((resolve) => other.close(resolve));
  });

  it('at a revocation is asked again later', async () => {
    const connector = await byToken();
    const { leaseId } = await connector.issue(request());
    world.vault.answerNext(/^sys\/leases\/revoke$/, answering(503, '{"errors":["Vault is sealed"]}'));
    await expect(connector.revoke(revocation(leaseId))).rejects.toMatchObject({ code: 'upstream_error' });
    await connector.revoke(revocation(leaseId));
    expect(await world.users()).toEqual([]);
  });
});

describe("ASB's own login", () => {
  async function appRole(rules: object = {}): Promise<VaultLoginMethod> {
    await world.ask('POST', 'sys/auth/approle', { type: 'approle' });
    await world.ask('POST', 'auth/approle/role/asb', { token_policies: ['asb'], token_ttl: '20m', ...rules });
    const { data } = (await world.ask('GET', 'auth/approle/role/asb/role-id')) as { data: { role_id: string } };
    const secret = (await world.ask('POST', 'auth/approle/role/asb/secret-id', {})) as { data: { secret_id: string } };
    return {
      method: 'approle',
      mount: 'approle',
      roleId: data.role_id,
      readSecretId: () => new Secret(secret.data.secret_id),
    };
  }
  const logins = (): number => world.vault.requests.filter(({ path }) => path === 'auth/approle/login').length;

  it('by AppRole is made once, however many ask at once', async () => {
    const connector = connectorFor(await appRole());
    const leases = await Promise.all(Array.from({ length: 20 }, () => connector.issue(request())));
    expect(new Set(leases.map(({ leaseId }) => leaseId)).size).toBe(20);
    expect(logins()).toBe(1);
  });

  it('by AppRole with an id that Vault does not take has asked for nothing', async () => {
    const method = await appRole();
    const connector = connectorFor({ ...method, readSecretId: () => new Secret('wrong') } as VaultLoginMethod);
    const error = await failure(connector.issue(request()));
    expect(error).toMatchObject({ code: 'upstream_error', message: 'ASB cannot log in to Vault; tell the operator' });
    expect(wasNotCalled(error)).toBe(true);
  });

  it('is renewed before it ends, and made anew when Vault renews it no more', async () => {
    const connector = connectorFor(await appRole({ token_max_ttl: '30m' }));
    await connector.issue(request());
    for (let minute = 0; minute < 60; minute += 5) {
      clock.advance(300);
      await expect.poll(async () => secondsOf(await connector.issue(request()))).toBe(TEN_MINUTES);
    }
    expect(world.vault.requests.map(({ path }) => path)).toContain('auth/token/renew-self');
    expect(logins()).toBeGreaterThan(1);
  });

  it('is made anew when its token was revoked', async () => {
    const connector = connectorFor(await appRole());
    const { leaseId } = await connector.issue(request());
    await world.ask('POST', 'sys/auth/other', { type: 'approle' });
    world.vault.answerNext(/creds/, answering(403, '{"errors":["permission denied"]}'));
    expect(secondsOf(await connector.issue(request()))).toBe(TEN_MINUTES);
    expect(logins()).toBe(2);
    world.vault.answerNext(/^sys\/leases\/revoke$/, answering(403, '{"errors":["permission denied"]}'));
    await connector.revoke(revocation(leaseId));
    expect(logins()).toBe(3);
  });

  it('where tokens live shorter than grants is not made anew for each of them', async () => {
    const connector = connectorFor(await appRole({ token_ttl: '2m', token_max_ttl: '2m' }));
    for (let count = 0; count < 5; count += 1) expect(secondsOf(await connector.issue(request()))).toBe(120);
    expect(logins()).toBe(1);
  });

  it('by a token that has ended is refused, and says whom to tell', async () => {
    const connector = await byToken({ ttl: '1m', renewable: false });
    await connector.issue(request());
    clock.advance(60);
    await expect(connector.issue(request())).rejects.toThrow('ASB cannot log in to Vault; tell the operator');
  });
});

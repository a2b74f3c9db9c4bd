import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { makeToken, setUpDatabase } from '../../../dev/vault/set-up.ts';
import { systemClock } from '../../../src/bootstrap/system-clock.ts';
import { vaultCredential } from '../../../src/connectors/browser/credential-source.ts';
import { guardedLookup } from '../../../src/connectors/guarded-lookup.ts';
import { makeVaultClient } from '../../../src/connectors/vault/vault-client.ts';
import { VaultLogin, type VaultLoginMethod } from '../../../src/connectors/vault/vault-login.ts';
import { parseDsnTemplate } from '../../../src/connectors/vaultdb/dsn-template.ts';
import { makeVaultDatabaseConnector } from '../../../src/connectors/vaultdb/vault-database-connector.ts';
import { type IssuedLease, wasNotCalled } from '../../../src/domain/connector.ts';
import type { RevocationId } from '../../../src/domain/ids.ts';
import { parseResourceRef } from '../../../src/domain/resource.ts';
import { Secret } from '../../../src/domain/secret.ts';
import { openTarget, type VaultTarget } from '../../dev/vault/target.ts';
import { openEmptyDatabase } from '../../support/postgres.ts';
import { rightsOf, templateFor } from '../../support/vault.ts';

// Before the Vault of ASB_TEST_VAULT_ADDR and ASB_TEST_VAULT_TOKEN, which makes users of the Postgres of ASB_TEST_VAULT_POSTGRES_DSN
// where it cannot reach the tests' own; or before the stand-in. Times are the real ones, so that they are compared with some slack.

const ROLE = 'app_ro';
const TEN_MINUTES = 600;
const SLACK_SECONDS = 20;
const LOCKED_OUT = { login: false, read: false, write: false };
const revocationId = 'rev_1' as RevocationId;

let target: VaultTarget;
let database: { dsn: string; close(): Promise<void> };
let mount: string;
let kv: string;
let policy: string;
let approle: string;
beforeAll(async () => {
  target = await openTarget();
  const { ASB_TEST_VAULT_POSTGRES_DSN: ownDsn = '' } = process.env;
  database = target.isReal && ownDsn !== '' ? { dsn: ownDsn, close: () => Promise.resolve() } : await openEmptyDatabase();
  await asAdmin(`CREATE TABLE IF NOT EXISTS notes (text text); INSERT INTO notes VALUES ('hello')`);
  [mount, kv, policy, approle] = [target.fresh('db'), target.fresh('kv'), target.fresh('policy'), target.fresh('approle')];
  await setUpDatabase(target.ask, { mount, dsn: database.dsn, role: ROLE, defaultTtl: '10m', maxTtl: '1h' });
  await target.ask('POST', `sys/mounts/${kv}`, { type: 'kv', options: { version: '2' } });
  // A real one takes a moment to set the engine up, and answers 400 meanwhile.
  const secret = { data: { username: 'robot', pin: '1234' } };
  await vi.waitUntil(async () => (await target.call('POST', `${kv}/data/forms/ledger`, secret)).status === 200, 10_000);
  const may = (...capabilities: string[]) => ({ capabilities });
  await target.ask('POST', `sys/policies/acl/${policy}`, {
    policy: JSON.stringify({
      path: {
        [`${mount}/creds/${ROLE}`]: may('read'),
        [`${mount}/creds/unknown_ro`]: may('read'),
        [`${kv}/data/forms/*`]: may('read'),
        'sys/leases/renew': may('update'),
        'sys/leases/revoke': may('update'),
      },
    }),
  });
  await target.ask('POST', `sys/auth/${approle}`, { type: 'approle' });
  await target.ask('POST', `auth/${approle}/role/asb`, { token_policies: [policy], token_ttl: '20m' });
});
afterAll(async () => {
  await target.call('POST', `sys/leases/revoke-prefix/${mount}`, { sync: true });
  for (const path of [`sys/mounts/${mount}`, `sys/mounts/${kv}`, `sys/auth/${approle}`, `sys/policies/acl/${policy}`]) {
    await target.call('DELETE', path);
  }
  await target.close();
  await asAdmin('DROP TABLE notes');
  await database.close();
});

async function asAdmin(statements: string): Promise<void> {
  const client = new Client({ connectionString: database.dsn });
  await client.connect();
  await client.query(statements).finally(() => client.end());
}

const brokerToken = (rules: object = {}) => makeToken(target.ask, { policies: [policy], ttl: '24h', ...rules });

const clientFor = (method: VaultLoginMethod) => {
  const client = makeVaultClient({
    address: new URL(target.url),
    namespace: '',
    authorities: null,
    lookup: guardedLookup([]),
  });
  const login = new VaultLogin({ client, method, clock: systemClock, timeoutSeconds: 10, onFailure: () => undefined });
  return { client, login, clock: systemClock };
};

function connectorFor(method: VaultLoginMethod) {
  const bare = new URL(database.dsn);
  bare.username = '';
  bare.password = '';
  const dsn = parseDsnTemplate(templateFor(bare));
  return makeVaultDatabaseConnector({
    ...clientFor(method),
    capabilities: ['db.read'],
    roles: [ROLE, 'unknown_ro', 'forbidden_ro'].map((name) => ({ name, mount, dsn })),
    allowedSuffixes: ['_ro'],
    longestLeaseSeconds: 3600,
    timeoutSeconds: 10,
  });
}
const byToken = async (rules?: object) => connectorFor({ method: 'token', token: new Secret(await brokerToken(rules)) });

const request = ({ seconds = TEN_MINUTES, role = ROLE } = {}) => ({
  revocationId,
  capability: 'db.read',
  resource: parseResourceRef(`dbrole:${role}`),
  expiresAt: new Date(Date.now() + seconds * 1000),
  signal: new AbortController().signal,
});
const revocation = (leaseId: string) => ({ ...request(), leaseId });
const dsnOf = ({ fields }: IssuedLease) => fields.find(({ name }) => name === 'dsn')?.value.reveal() ?? '';
const secondsOf = ({ expiresAt }: IssuedLease) => (expiresAt.getTime() - Date.now()) / 1000;
const expectAbout = (seconds: number, expected: number) => {
  expect(seconds).toBeGreaterThan(expected - SLACK_SECONDS);
  expect(seconds).toBeLessThan(expected + SLACK_SECONDS);
};

describe('a database user', () => {
  it('logs in, reads, cannot write, and is locked out once its lease is revoked, which may be asked for again', async () => {
    const connector = await byToken();
    const lease = await connector.issue(request());
    expect(lease.fields.map(({ name }) => name)).toEqual(['username', 'password', 'dsn']);
    expect(await rightsOf(dsnOf(lease))).toEqual({ login: true, read: true, write: false });
    await connector.revoke(revocation(lease.leaseId));
    expect(await rightsOf(dsnOf(lease))).toEqual(LOCKED_OUT);
    await connector.revoke(revocation(lease.leaseId));
  });

  it('lives as long as its grant where the role allows it, and no longer than that', async () => {
    const connector = await byToken();
    expectAbout(secondsOf(await connector.issue(request({ seconds: 1800 }))), 1800);
    expectAbout(secondsOf(await connector.issue(request({ seconds: 7200 }))), 3600);
  });

  it("lives no longer than ASB's own token", async () => {
    expectAbout(secondsOf(await (await byToken({ ttl: '5m', renewable: false })).issue(request())), 300);
  });

  it('of a role that Vault does not have, or not for ASB, is not made', async () => {
    const connector = await byToken();
    await expect(connector.issue(request({ role: 'unknown_ro' }))).rejects.toMatchObject({ code: 'invalid_request' });
    await expect(connector.issue(request({ role: 'forbidden_ro' }))).rejects.toMatchObject({
      code: 'forbidden',
      reason: 'upstream_refused',
    });
  });
});

describe('by AppRole', () => {
  async function appRole(secretId?: string): Promise<VaultLoginMethod> {
    const { data } = (await target.ask('GET', `auth/${approle}/role/asb/role-id`)) as { data: { role_id: string } };
    const made = (await target.ask('POST', `auth/${approle}/role/asb/secret-id`, {})) as { data: { secret_id: string } };
    const secret = new Secret(secretId ?? made.data.secret_id);
    return { method: 'approle', mount: approle, roleId: data.role_id, readSecretId: () => secret };
  }

  it('ASB logs in, and each grant has a user of its own', async () => {
    const connector = connectorFor(await appRole());
    const leases = await Promise.all(Array.from({ length: 5 }, () => connector.issue(request())));
    expect(new Set(leases.map(({ leaseId }) => leaseId)).size).toBe(5);
    await Promise.all(leases.map(({ leaseId }) => connector.revoke(revocation(leaseId))));
  });

  it('with an id that Vault does not take nothing was asked for', async () => {
    const failure = await connectorFor(await appRole('wrong'))
      .issue(request())
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'upstream_error' });
    expect(wasNotCalled(failure)).toBe(true);
  });
});

describe('a secret for a form', () => {
  const secretAt = async (path: string, keys = ['username', 'pin']) =>
    vaultCredential({
      ...clientFor({ method: 'token', token: new Secret(await brokerToken()) }),
      mount: kv,
      path,
      keys: keys.map((key) => ({ name: key, key })),
    });
  const { signal } = new AbortController();

  it('is read as it is now', async () => {
    const read = async () => (await (await secretAt('forms/ledger')).read(signal)).map(({ value }) => value.reveal());
    expect(await read()).toEqual(['robot', '1234']);
    await target.ask('POST', `${kv}/data/forms/ledger`, { data: { username: 'robot', pin: '5678' } });
    expect(await read()).toEqual(['robot', '5678']);
  });

  it.each([
    ['that is not there', 'forms/none', ['pin'], 'not_found'],
    ['that ASB may not read', 'other/ledger', ['pin'], 'forbidden'],
    ['without that key', 'forms/ledger', ['otp'], 'upstream_error'],
  ])('%s is an error that says so', async (_what, path, keys, code) => {
    await expect((await secretAt(path, keys)).read(signal)).rejects.toMatchObject({ code });
  });
});

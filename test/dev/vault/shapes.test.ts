import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { brokerPolicy, setUpDatabase } from '../../../dev/vault/set-up.ts';
import { openEmptyDatabase, type TestDatabase } from '../../support/postgres.ts';
import { enveloped, errorsOf, openTarget, type VaultTarget } from './target.ts';

// What clients rely on, asked of the stand-in, or of the Vault or OpenBao of ASB_TEST_VAULT_ADDR (with ASB_TEST_VAULT_TOKEN, a root token).

const ROLE = 'app_ro';
const withToken = z.object({
  client_token: z.string(),
  accessor: z.string(),
  lease_duration: z.int(),
  renewable: z.boolean(),
});

let vault: VaultTarget;
let database: TestDatabase;
let mount: string;
beforeAll(async () => {
  vault = await openTarget();
  database = await openEmptyDatabase();
  mount = vault.fresh('database');
  await setUpDatabase(vault.ask, { mount, dsn: database.dsn, role: ROLE, defaultTtl: '10m', maxTtl: '1h' });
});
afterAll(async () => {
  await vault.call('POST', `sys/leases/revoke-prefix/${mount}`, { sync: true });
  await vault.close();
  await database.close();
});

const made = async (rules: object, by?: string) =>
  withToken.parse(enveloped(await vault.call('POST', 'auth/token/create', rules, by)).auth);
const creds = async (token?: string) => enveloped(await vault.call('GET', `${mount}/creds/${ROLE}`, undefined, token));
/** A policy with a name that nothing has yet. */
const policy = async (text: string): Promise<string> => {
  const name = vault.fresh('policy');
  await vault.ask('POST', `sys/policies/acl/${name}`, { policy: text });
  return name;
};

describe('without a token', () => {
  it('health is answered, as is the status of the seal', async () => {
    const health = await vault.call('GET', 'sys/health', undefined, '');
    expect(health).toMatchObject({ status: 200, body: { initialized: true, sealed: false, standby: false } });
    const status = await vault.client('').status();
    expect(status).toMatchObject({ initialized: true, sealed: false });
    expect(await vault.call('GET', 'sys/health?activecode=299', undefined, '')).toMatchObject({ status: 299 });
  });

  it.each(['', 'hvs.nobody', 'not a token'])('anything else is refused: %j', async (token) => {
    const answer = await vault.call('GET', `${mount}/creds/${ROLE}`, undefined, token);
    expect(answer.status).toBe(403);
    expect(errorsOf(answer)).toContain('permission denied');
  });
});

describe('a token', () => {
  it('may be shown as a bearer too', async () => {
    const headers = { authorization: `Bearer ${vault.token}` };
    const response = await fetch(`${vault.url}/v1/auth/token/lookup-self`, { headers });
    expect(response.status).toBe(200);
  });

  it('is made, looked up, renewed and revoked', async () => {
    const { client_token: token, ...auth } = await made({ ttl: '10m', policies: ['default'], meta: { of: 'test' } });
    expect(auth).toMatchObject({ lease_duration: 600, renewable: true });
    const client = vault.client(token);
    expect(await client.tokenLookupSelf()).toMatchObject({
      data: { id: token, accessor: auth.accessor, creation_ttl: 600, num_uses: 0, orphan: false, meta: { of: 'test' } },
    });
    expect(await client.tokenRenewSelf({ increment: '5m' })).toMatchObject({ auth: { lease_duration: 300 } });
    await client.tokenRevokeSelf();
    await expect(client.tokenLookupSelf()).rejects.toMatchObject({ response: { statusCode: 403 } });
  });

  it('is known by its accessor, which does not tell it', async () => {
    const { client_token: token, accessor } = await made({ ttl: '10m' });
    const looked = enveloped(await vault.call('POST', 'auth/token/lookup-accessor', { accessor }));
    expect(looked.data).toMatchObject({ accessor, id: '' });
    expect((await vault.call('POST', 'auth/token/revoke-accessor', { accessor })).status).toBe(204);
    expect((await vault.call('POST', 'auth/token/lookup', { token })).status).toBe(403);
  });

  it('that nobody has is a bad one to look up, and over for whoever revokes it', async () => {
    const token = 'hvs.nobody';
    const looked = await vault.call('POST', 'auth/token/lookup', { token });
    expect([looked.status, errorsOf(looked)]).toEqual([403, expect.stringContaining('bad token')]);
    expect((await vault.call('POST', 'auth/token/revoke', { token })).status).toBe(204);
  });

  it('ends with its parent, unless it is an orphan', async () => {
    const name = await policy(
      JSON.stringify({
        path: {
          'auth/token/create': { capabilities: ['update'] },
          'auth/token/create-orphan': { capabilities: ['update', 'sudo'] },
        },
      }),
    );
    const { client_token: parent } = await made({ ttl: '10m', policies: [name] });
    const { client_token: child } = await made({ ttl: '10m', policies: ['default'] }, parent);
    const orphan = enveloped(
      await vault.call('POST', 'auth/token/create-orphan', { ttl: '10m', policies: ['default'] }, parent),
    );
    await vault.ask('POST', 'auth/token/revoke', { token: parent });
    await expect.poll(async () => (await vault.call('GET', 'auth/token/lookup-self', undefined, child)).status).toBe(403);
    const { client_token: left } = withToken.parse(orphan.auth);
    expect((await vault.call('GET', 'auth/token/lookup-self', undefined, left)).status).toBe(200);
  });

  it('may not make one that may more than itself, nor an orphan without sudo', async () => {
    const name = await policy(JSON.stringify({ path: { 'auth/token/*': { capabilities: ['create', 'update'] } } }));
    const { client_token: token } = await made({ ttl: '10m', policies: [name] });
    const more = await vault.call('POST', 'auth/token/create', { policies: ['root'] }, token);
    expect([400, 403]).toContain(more.status);
    expect((await vault.call('POST', 'auth/token/create-orphan', { policies: [name] }, token)).status).toBe(403);
  });

  it('with a number of uses ends after them', async () => {
    const { client_token: token } = await made({ ttl: '10m', policies: ['default'], num_uses: 2 });
    const look = async () => (await vault.call('GET', 'auth/token/lookup-self', undefined, token)).status;
    expect([await look(), await look(), await look()]).toEqual([200, 200, 403]);
  });

  it('that is periodic gets its period with each renewal', async () => {
    const { client_token: token, lease_duration: first } = await made({ period: '2m', policies: ['default'] });
    expect(first).toBe(120);
    expect(await vault.client(token).tokenRenewSelf({ increment: '1h' })).toMatchObject({ auth: { lease_duration: 120 } });
  });
});

describe('a policy', () => {
  it('lets do what it names, and nothing else', async () => {
    const { client_token: token } = await made({ ttl: '10m', policies: [await policy(brokerPolicy(mount, ROLE))] });
    const { lease_id: lease } = await creds(token);
    const statuses = [];
    for (const [method, path, body] of [
      ['POST', 'sys/leases/renew', { lease_id: lease }],
      ['POST', 'sys/leases/revoke', { lease_id: lease, sync: true }],
      ['GET', `${mount}/roles/${ROLE}`, undefined],
      ['POST', `sys/leases/revoke-prefix/${mount}`, {}],
      ['GET', 'secret/data/anything', undefined],
    ] as const) {
      statuses.push((await vault.call(method, path, body, token)).status);
    }
    expect(statuses).toEqual([200, 204, 403, 403, 403]);
  });
});

describe('a database role', () => {
  it('gives a user with a lease', async () => {
    const answer = await creds();
    expect(answer).toMatchObject({ renewable: true, lease_duration: 600, auth: null });
    expect(answer.lease_id).toMatch(new RegExp(`^${mount}/creds/${ROLE}/[A-Za-z0-9]+$`));
    const { username, password } = z.strictObject({ username: z.string(), password: z.string() }).parse(answer.data);
    expect(username).toMatch(/^v-[a-z-]+-app_ro-[A-Za-z0-9]{20}-\d{10}$/);
    expect(password).toHaveLength(20);
  });

  it('that is not there is a bad request', async () => {
    const answer = await vault.call('GET', `${mount}/creds/nobody_ro`);
    expect([answer.status, errorsOf(answer)]).toEqual([400, expect.stringContaining('unknown role: nobody_ro')]);
    expect((await vault.call('GET', `${mount}/roles/nobody_ro`)).status).toBe(404);
  });

  it('that its database does not allow gives nobody', async () => {
    await vault.ask('POST', `${mount}/roles/other_ro`, { db_name: 'app', creation_statements: ['SELECT 1'] });
    const answer = await vault.call('GET', `${mount}/creds/other_ro`);
    expect([answer.status, errorsOf(answer)]).toEqual([500, expect.stringContaining('is not an allowed role')]);
  });

  it('whose statements fail gives nobody', async () => {
    const name = vault.fresh('failing_ro');
    await vault.ask('POST', `${mount}/config/app2`, {
      plugin_name: 'postgresql-database-plugin',
      connection_url: database.dsn,
      allowed_roles: ['*'],
      verify_connection: true,
    });
    const statements = [`CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}'`, 'SELECT nothing'];
    await vault.ask('POST', `${mount}/roles/${name}`, { db_name: 'app2', creation_statements: statements });
    expect((await vault.call('GET', `${mount}/creds/${name}`)).status).toBe(500);
  });
});

describe('a lease', () => {
  it('is looked up, renewed, and capped by what it may live', async () => {
    const { lease_id: lease } = await creds();
    const looked = enveloped(await vault.call('POST', 'sys/leases/lookup', { lease_id: lease }));
    expect(looked.data).toMatchObject({ id: lease, renewable: true, last_renewal: null });
    const renewed = enveloped(await vault.call('PUT', 'sys/leases/renew', { lease_id: lease, increment: 1200 }));
    expect(renewed).toMatchObject({ lease_id: lease, lease_duration: 1200, renewable: true, warnings: null });
    const capped = enveloped(await vault.call('PUT', 'sys/leases/renew', { lease_id: lease, increment: 7200 }));
    expect(capped.lease_duration).toBeGreaterThan(3500);
    expect(capped.lease_duration).toBeLessThanOrEqual(3600);
    expect(capped.warnings).toEqual([
      expect.stringMatching(/^TTL of "2h0m0s" exceeded the effective max_ttl of .+; TTL value is capped accordingly$/),
    ]);
  });

  it.each(['POST', 'PUT'])('is revoked at once by %s when that is asked, and again', async (method) => {
    const { lease_id: lease } = await creds();
    for (let times = 0; times < 2; times++) {
      expect(await vault.call(method, 'sys/leases/revoke', { lease_id: lease, sync: true })).toEqual({
        status: 204,
        body: null,
      });
    }
    const looked = await vault.call('POST', 'sys/leases/lookup', { lease_id: lease });
    expect([looked.status, errorsOf(looked)]).toEqual([400, 'invalid lease']);
    const renewed = await vault.call('POST', 'sys/leases/renew', { lease_id: lease });
    expect([renewed.status, errorsOf(renewed)]).toEqual([400, 'lease not found']);
  });

  it('is otherwise only said to be revoked: 202, which node-vault takes for a failure', async () => {
    const { lease_id: lease } = await creds();
    expect((await vault.call('POST', 'sys/leases/revoke', { lease_id: lease })).status).toBe(202);
    await expect.poll(async () => (await vault.call('POST', 'sys/leases/lookup', { lease_id: lease })).status).toBe(400);
    const { lease_id: other } = await creds();
    await expect(vault.client(vault.token).revoke({ lease_id: other })).rejects.toMatchObject({
      response: { statusCode: 202 },
    });
  });

  it('without an id is a bad request', async () => {
    for (const path of ['sys/leases/revoke', 'sys/leases/renew'])
      expect((await vault.call('POST', path, {})).status).toBe(400);
  });

  it('is revoked with all under its prefix', async () => {
    const leases = [await creds(), await creds()].map(({ lease_id: id }) => id);
    expect((await vault.call('PUT', `sys/leases/revoke-prefix/${mount}/creds/${ROLE}`, { sync: true })).status).toBe(204);
    for (const id of leases) expect((await vault.call('POST', 'sys/leases/lookup', { lease_id: id })).status).toBe(400);
  });

  it('ends with the token that it was issued by', async () => {
    const { client_token: token } = await made({ ttl: '10m', policies: [await policy(brokerPolicy(mount, ROLE))] });
    const { lease_id: lease } = await creds(token);
    await vault.ask('POST', 'auth/token/revoke', { token });
    await expect.poll(async () => (await vault.call('POST', 'sys/leases/lookup', { lease_id: lease })).status).toBe(400);
  });

  it('of a token’s last use is not given out', async () => {
    const name = await policy(brokerPolicy(mount, ROLE));
    const { client_token: token } = await made({ ttl: '10m', policies: [name], num_uses: 1 });
    const answer = await vault.call('GET', `${mount}/creds/${ROLE}`, undefined, token);
    expect([answer.status, errorsOf(answer)]).toEqual([400, expect.stringContaining('token had one use left')]);
  });
});

describe('AppRole', () => {
  it('logs in with an id and a secret id, as often as that may be used', async () => {
    const approle = vault.fresh('approle');
    await vault.ask('POST', `sys/auth/${approle}`, { type: 'approle' });
    const role = { token_policies: ['default'], token_ttl: '1h', token_max_ttl: '30m', secret_id_num_uses: 1 };
    await vault.ask('POST', `auth/${approle}/role/asb`, { ...role, token_ttl: '20m' });
    const { data: named } = enveloped(await vault.call('GET', `auth/${approle}/role/asb/role-id`));
    const { data: given } = enveloped(await vault.call('POST', `auth/${approle}/role/asb/secret-id`, {}));
    const login = { role_id: String(named?.role_id), secret_id: String(given?.secret_id) };
    const client = vault.client('');
    expect(await client.approleLogin({ mount_point: approle, ...login })).toMatchObject({
      auth: { lease_duration: 1200, renewable: true, metadata: { role_name: 'asb' } },
    });
    // The client shows its token from now on.
    expect(await client.tokenRenewSelf({ increment: '1h' })).toMatchObject({ auth: { renewable: true } });
    const looked = z.object({ data: z.object({ ttl: z.int() }) }).parse(await client.tokenLookupSelf());
    expect(looked.data.ttl).toBeLessThanOrEqual(1800);
    const again = await vault.call('POST', `auth/${approle}/login`, login, '');
    expect([again.status, errorsOf(again)]).toEqual([400, expect.stringMatching(/invalid (role or )?secret id/i)]);
    for (const wrong of [{}, { ...login, role_id: 'nobody' }, { ...login, secret_id: 'nothing' }]) {
      expect((await vault.call('POST', `auth/${approle}/login`, wrong, '')).status).toBe(400);
    }
  });
});

describe('transit', () => {
  it('encrypts, rotates, rewraps and decrypts', async () => {
    const transit = vault.fresh('transit');
    await vault.ask('POST', `sys/mounts/${transit}`, { type: 'transit' });
    const use = async (action: string, body: object) =>
      enveloped(await vault.call('POST', `${transit}/${action}`, body)).data;
    await vault.call('POST', `${transit}/keys/asb`, {});
    const plaintext = Buffer.from('a secret').toString('base64');
    const first = await use('encrypt/asb', { plaintext });
    expect(first).toMatchObject({ ciphertext: expect.stringMatching(/^vault:v1:/), key_version: 1 });
    await vault.call('POST', `${transit}/keys/asb/rotate`);
    const second = await use('rewrap/asb', { ciphertext: first?.ciphertext });
    expect(second).toMatchObject({ ciphertext: expect.stringMatching(/^vault:v2:/), key_version: 2 });
    for (const { ciphertext } of [first!, second!])
      expect(await use('decrypt/asb', { ciphertext })).toMatchObject({ plaintext });
    expect(enveloped(await vault.call('GET', `${transit}/keys/asb`)).data).toMatchObject({
      type: 'aes256-gcm96',
      latest_version: 2,
    });

    const tied = await use('encrypt/asb', { plaintext, associated_data: plaintext });
    expect((await vault.call('POST', `${transit}/decrypt/asb`, { ciphertext: tied?.ciphertext })).status).toBe(400);
    await vault.call('POST', `${transit}/keys/asb/config`, { min_decryption_version: 2 });
    const old = await vault.call('POST', `${transit}/decrypt/asb`, { ciphertext: first?.ciphertext });
    expect([old.status, errorsOf(old)]).toEqual([400, expect.stringContaining('too old')]);
    for (const ciphertext of ['nothing', 'vault:v2:AAAA', `${String(second?.ciphertext).slice(0, -4)}AAAA`]) {
      expect((await vault.call('POST', `${transit}/decrypt/asb`, { ciphertext })).status).toBe(400);
    }
  });

  it('derives a key from the context, where a key says so', async () => {
    const transit = vault.fresh('transit');
    await vault.ask('POST', `sys/mounts/${transit}`, { type: 'transit' });
    await vault.call('POST', `${transit}/keys/derived`, { derived: true });
    const [mine, other] = ['mine', 'other'].map((text) => Buffer.from(text).toString('base64'));
    const plaintext = Buffer.from('a secret').toString('base64');
    const { data } = enveloped(await vault.call('POST', `${transit}/encrypt/derived`, { plaintext, context: mine }));
    const decrypt = async (context?: string) =>
      (await vault.call('POST', `${transit}/decrypt/derived`, { ciphertext: data?.ciphertext, context })).status;
    expect([await decrypt(mine), await decrypt(other), await decrypt()]).toEqual([200, 400, 400]);
  });

  it('takes many at once', async () => {
    const transit = vault.fresh('transit');
    await vault.ask('POST', `sys/mounts/${transit}`, { type: 'transit' });
    await vault.call('POST', `${transit}/keys/asb`, {});
    const texts = ['one', 'two'].map((text) => ({ plaintext: Buffer.from(text).toString('base64') }));
    const { data: sealed } = enveloped(await vault.call('POST', `${transit}/encrypt/asb`, { batch_input: texts }));
    const { data: opened } = enveloped(
      await vault.call('POST', `${transit}/decrypt/asb`, { batch_input: sealed?.batch_results }),
    );
    expect(opened?.batch_results).toMatchObject(texts);
  });
});

describe('KV version 2', () => {
  it('reads versions, and says of a deleted one that it was', async () => {
    const kv = vault.fresh('kv');
    await vault.ask('POST', `sys/mounts/${kv}`, { type: 'kv', options: { version: '2' } });
    const at = `${kv}/data/sites/one`;
    const write = (data: object, cas: number) => vault.call('POST', at, { data, options: { cas } });
    // A real Vault may need a moment to make the mount one of version 2.
    await expect.poll(async () => (await write({ password: 'first' }, 0)).status).toBe(200);
    expect((await write({ password: 'other' }, 0)).status).toBe(400);
    expect((await write({ password: 'second' }, 1)).status).toBe(200);
    const metadata = { version: 2, destroyed: false, deletion_time: '' };
    expect(enveloped(await vault.call('GET', at)).data).toMatchObject({ data: { password: 'second' }, metadata });
    const first = enveloped(await vault.call('GET', `${at}?version=1`)).data;
    expect(first).toMatchObject({ data: { password: 'first' }, metadata: { version: 1 } });
    await vault.call('DELETE', at);
    expect(await vault.call('GET', at)).toMatchObject({
      status: 404,
      body: { data: { data: null, metadata: { version: 2 } } },
    });
    expect(await vault.call('GET', `${kv}/data/nothing`)).toMatchObject({ status: 404, body: { errors: [] } });
  });
});

describe('a path', () => {
  it('that nothing serves is not found', async () => {
    const answer = await vault.call('GET', 'nowhere/at/all');
    expect([answer.status, errorsOf(answer)]).toEqual([404, expect.stringContaining('no handler for route')]);
  });

  it('with a body that is no JSON is a bad request', async () => {
    const headers = { 'x-vault-token': vault.token };
    const response = await fetch(`${vault.url}/v1/auth/token/create`, { method: 'POST', headers, body: '{"ttl":' });
    expect(response.status).toBe(400);
  });
});

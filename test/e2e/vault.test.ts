import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { type Asb, bodyOf, GRANT_REQUEST, startAsb } from '../support/asb.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { expectNoneIn, writtenDown } from '../support/dumps.ts';
import { openVaultWorld, rightsOf, ROLE, templateFor, type VaultWorld } from '../support/vault.ts';

const REQUEST = {
  tool: 'db',
  capability: 'db.read',
  resource_ref: `dbrole:${ROLE}`,
  delivery_mode: 'wrapped_secret',
  ttl_seconds: 600,
  reason: 'count the notes',
};
const listed = z.object({
  revocations: z.array(z.object({ state: z.string(), last_error: z.string().optional() })).default([]),
});
const LOCKED_OUT = { login: false, read: false, write: false };
const CREDS = /^database\/creds\//;

let asb: Asb;
let world: VaultWorld;
let vaultToken: string;
beforeAll(async () => {
  // Its users are good until a time of the database's own clock.
  world = await openVaultWorld(new FakeClock(new Date().toISOString()));
  vaultToken = await world.brokerToken();
  asb = await startAsb({
    ASB_VAULT_ADDR: world.vault.url,
    ASB_VAULT_TOKEN: vaultToken,
    ASB_VAULT_ROLE: ROLE,
    ASB_VAULT_DSN_TEMPLATE: templateFor(world.database),
  });
});
afterAll(async () => {
  await asb.close();
  await world.close();
});

const issued = z.object({ grant_id: z.string(), delivery: z.object({ artifact_id: z.string() }) });
const unwrapped = z.object({ fields: z.array(z.object({ name: z.string(), value: z.string() })) });

async function aSession() {
  const { session_id, session_token: bearer } = await asb.openSession({ tool_context: ['db', 'github'] });
  return { session_id, bearer };
}

async function aUser(bearer: string, client = asb.clients[0], ttlSeconds = 600) {
  const asked = { ...REQUEST, ttl_seconds: ttlSeconds };
  const { grant_id, delivery } = issued.parse(bodyOf(await client.call('requestGrant', asked, { bearer })));
  const request = { artifact_id: delivery.artifact_id };
  const { fields } = unwrapped.parse(bodyOf(await client.call('unwrapArtifact', request, { bearer })));
  const valueOf = (name: string) => fields.find((field) => field.name === name)?.value ?? '';
  return { grant_id, names: fields.map(({ name }) => name), dsn: valueOf('dsn'), password: valueOf('password'), ...request };
}

/** Lets the worker look, and waits for what it does. */
const eventually = <T>(what: () => Promise<T> | T) =>
  expect.poll(
    () => {
      asb.clock.advance(1);
      return what();
    },
    { timeout: 20_000, interval: 100 },
  );

describe('a database user for one grant', () => {
  test.each([0, 1, 2, 3, 4])('logs in, reads, and cannot write (transport %i)', async (index) => {
    const { bearer } = await aSession();
    const { names, dsn, artifact_id } = await aUser(bearer, asb.clients[index]);
    expect(names).toEqual(['username', 'password', 'dsn']);
    expect(await rightsOf(dsn)).toEqual({ login: true, read: true, write: false });
    expect(await asb.call('unwrapArtifact', { artifact_id }, { bearer })).toMatchObject({ code: 'conflict' });
  });

  test('is locked out when its grant is revoked', async () => {
    const { bearer } = await aSession();
    const { grant_id, dsn } = await aUser(bearer);
    bodyOf(await asb.call('revokeGrant', { grant_id }, { bearer }));
    await eventually(() => rightsOf(dsn)).toEqual(LOCKED_OUT);
  });

  test('is locked out when its session ends, by a queue that does not give up', async () => {
    const { session_id, bearer } = await aSession();
    const { dsn } = await aUser(bearer);
    const sealed = '{"errors":["Vault is sealed"]}';
    for (let time = 0; time < 2; time += 1) {
      world.vault.answerNext(/^sys\/leases\/revoke$/, (_request, response) => void response.writeHead(503).end(sealed));
    }
    bodyOf(await asb.call('revokeSession', { session_id }, { bearer }));
    await eventually(() => rightsOf(dsn)).toEqual(LOCKED_OUT);
    expect(asb.audit.types()).toContain('lease.revocation_failed');
  });

  test('is locked out when its grant runs out, which may be long before Vault would do so', async () => {
    const { bearer } = await aSession();
    const { dsn } = await aUser(bearer, asb.clients[0], 120);
    asb.clock.advance(120);
    await eventually(() => rightsOf(dsn)).toEqual(LOCKED_OUT);
  });
});

describe('a Vault that fails', () => {
  test('because it is sealed is told so, makes nothing, and works again afterwards', async () => {
    const { bearer } = await aSession();
    const before = world.vault.leaseIds().length;
    world.vault.status.sealed = true;
    const refused = await asb.call('requestGrant', REQUEST, { bearer });
    world.vault.status.sealed = false;
    expect(refused).toMatchObject({ ok: false, code: 'upstream_error', message: expect.stringMatching(/sealed/) });
    expect(world.vault.leaseIds()).toHaveLength(before);
    await aUser(bearer);
  });

  test('after it has made a user leaves that in the queue until it is over for sure', async () => {
    const { bearer } = await aSession();
    world.vault.answerNext(CREDS, (request) => void request.socket.resetAndDestroy(), 'after');
    expect(await asb.call('requestGrant', REQUEST, { bearer })).toMatchObject({ ok: false, code: 'upstream_error' });
    const due = async () => {
      const operator = { bearer: await asb.operatorToken(['viewer']) };
      return listed.parse(bodyOf(await asb.call('listRevocations', { tenant_id: 't_dev', state: 'due' }, operator)))
        .revocations;
    };
    expect(await due()).toHaveLength(1);
    asb.clock.advance(120);
    await eventually(async () => (await due())[0]?.last_error).toMatch(/unavailable|lease/);
    asb.clock.advance(3600);
    await eventually(async () => (await due()).length).toBe(0);
  });

  test('to answer holds up nobody who calls GitHub', async () => {
    const { bearer } = await aSession();
    const grant = await asb.requestGrant(bearer);
    let hung = 0;
    for (let count = 0; count < 15; count += 1) world.vault.answerNext(CREDS, () => void (hung += 1));
    const waiting = Array.from({ length: 15 }, () => asb.clients[0].call('requestGrant', REQUEST, { bearer }));
    await expect.poll(() => hung).toBe(15);
    for (let count = 0; count < 5; count += 1) {
      const proxied = { proxy_handle: grant.delivery.handle, operation: 'repository_metadata' };
      bodyOf(await asb.call('executeGitHubProxy', proxied));
    }
    asb.clock.advance(11);
    for (const answer of await Promise.all(waiting)) expect(answer).toMatchObject({ ok: false });
  });
});

test('its secrets occur in no log line, event or metric, nor in the stores, but in the one answer that is to carry them', async () => {
  const { bearer } = await aSession();
  const opened = await aUser(bearer);
  const { grant_id } = issued.parse(bodyOf(await asb.call('requestGrant', REQUEST, { bearer })));
  bodyOf(await asb.call('requestGrant', { ...GRANT_REQUEST }, { bearer }));
  world.vault.answerNext(/^sys\/leases\/revoke$/, (request) => void request.socket.resetAndDestroy());
  bodyOf(await asb.call('revokeGrant', { grant_id }, { bearer }));
  await eventually(() => asb.audit.types().at(-1)).toBe('lease.revoked');
  const grants = await asb.call('listGrants', { tenant_id: 't_dev' }, { bearer: await asb.operatorToken(['viewer']) });
  const everywhere = await writtenDown(asb, grants);
  expect(everywhere).toContain('lease.revoked');
  expectNoneIn(everywhere, [opened.password, opened.dsn, vaultToken]);
});

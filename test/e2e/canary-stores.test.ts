import { readFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import { Client, escapeIdentifier } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { bodyOf, CANARY_TOKEN, GRANT_REQUEST, sessionRequest } from '../support/asb.ts';
import { TENANTS } from '../support/configured.ts';
import type { DurableStores } from '../support/durable-stores.ts';
import { type AsbWithLeases, LEASE_REQUEST, startAsbWithLeases } from '../support/leases.ts';

let world: AsbWithLeases;
let stores: DurableStores;
beforeAll(async () => {
  world = await startAsbWithLeases({ isDurable: true });
  if (world.asb.durable === null) throw new Error('this test needs Postgres and Redis');
  stores = world.asb.durable;
});
afterAll(() => world.close());

/** Every row of every table, and what the server remembers of statements. */
async function dumpOfPostgres(): Promise<string> {
  const client = new Client({ connectionString: stores.dsn });
  await client.connect();
  try {
    const names = z.array(z.object({ name: z.string() }));
    const tables = names.parse(
      (await client.query(`SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1`)).rows,
    );
    const dumps: string[] = [];
    for (const { name } of tables) {
      const rows = await client.query(`SELECT to_jsonb(t)::text AS name FROM ${escapeIdentifier(name)} t`);
      dumps.push(
        `${name}\n${names
          .parse(rows.rows)
          .map((row) => row.name)
          .join('\n')}`,
      );
    }
    const activity = await client.query(`SELECT coalesce(query, '') AS name FROM pg_stat_activity`);
    dumps.push(...names.parse(activity.rows).map((row) => row.name));
    return dumps.join('\n');
  } finally {
    await client.end();
  }
}

/** Every key of the deployment with all that it holds, as Redis serialises it and as text. */
async function dumpOfRedis(): Promise<string> {
  const { host, port, password, keyPrefix } = stores.redis;
  const redis = new Redis({ host, port, ...(password === null ? {} : { password }) });
  try {
    const keys = await redis.keys(`${keyPrefix}*`);
    expect(keys.length).toBeGreaterThan(0);
    const values = await Promise.all(
      keys.map(async (key) => {
        const type = await redis.type(key);
        const value =
          type === 'hash'
            ? await redis.hgetall(key)
            : type === 'zset'
              ? await redis.zrange(key, '0', '-1')
              : await redis.get(key);
        return `${key} ${JSON.stringify(value)} ${(await redis.dumpBuffer(key)).toString('latin1')}`;
      }),
    );
    return values.join('\n');
  } finally {
    redis.disconnect();
  }
}

/** Every form in which a secret might lie there. */
function spellings(secret: string): string[] {
  const bytes = Buffer.from(secret);
  // Inside a longer text base64 depends on where the secret begins: three phases, without the characters at their ends.
  const phases = [0, 1, 2].map((pad) =>
    Buffer.concat([Buffer.alloc(pad), bytes])
      .toString('base64')
      .replace(/=+$/, '')
      .slice(4, -4),
  );
  return [secret, ...phases, bytes.toString('hex'), encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)].flatMap(
    (text) => [text, text.toUpperCase(), text.replaceAll('+', '-').replaceAll('/', '_')],
  );
}

test('no secret lies in Postgres or Redis in the middle of the story, whole or encoded', async () => {
  const { asb, ledger } = world;
  const attestation = await asb.attestation();
  const request = await sessionRequest(asb.attestation, {
    tenant_id: TENANTS.free,
    tool_context: ['db', 'github'],
    attestation,
  });
  const { session_token: bearer } = z
    .object({ session_token: z.string() })
    .parse(bodyOf(await asb.call('createSession', request)));
  // One wrapped and not opened, one opened, one that waits for people, and a handle that has been used.
  await asb.call('requestGrant', LEASE_REQUEST, { bearer });
  const second = z
    .object({ delivery: z.object({ artifact_id: z.string() }) })
    .parse(bodyOf(await asb.call('requestGrant', LEASE_REQUEST, { bearer })));
  bodyOf(await asb.call('unwrapArtifact', { artifact_id: second.delivery.artifact_id }, { bearer }));
  const proxied = z
    .object({ delivery: z.object({ handle: z.string() }) })
    .parse(bodyOf(await asb.call('requestGrant', GRANT_REQUEST, { bearer })));
  const { handle } = proxied.delivery;
  bodyOf(await asb.call('executeGitHubProxy', { proxy_handle: handle, operation: 'repository_metadata' }));
  const waiting = await world.openSession(TENANTS.human);
  const asked = z
    .object({ approval_id: z.string() })
    .parse(bodyOf(await asb.call('requestGrant', LEASE_REQUEST, { bearer: waiting })));
  // Whatever people and agents may write, with a secret in it by mistake.
  const words = `${bearer} ${handle}`;
  const approver = await asb.operatorToken(['approver']);
  const denial = { approval_id: asked.approval_id, comment: words };
  expect(bodyOf(await asb.call('denyGrant', denial, { bearer: approver }))).toEqual({ state: 'denied' });
  bodyOf(await asb.call('requestGrant', LEASE_REQUEST, { bearer: waiting }));
  const operator = await asb.operatorToken(['operator']);
  await asb.call('revokeRun', { tenant_id: TENANTS.free, run_id: 'run-none', reason: words }, { bearer: operator });
  await asb.call('requestGrant', { ...LEASE_REQUEST, reason: words }, { bearer });
  const doomed = z.object({ grant_id: z.string() }).parse(bodyOf(await asb.call('requestGrant', LEASE_REQUEST, { bearer })));
  bodyOf(await asb.call('revokeGrant', { grant_id: doomed.grant_id, reason: words }, { bearer }));
  const other = bodyOf(await asb.call('createSession', { ...request, run_id: 'run-2' }));
  const brief = z.object({ session_id: z.string(), session_token: z.string() }).parse(other);
  const { session_id } = brief;
  bodyOf(await asb.call('revokeSession', { session_id, reason: words }, { bearer: brief.session_token }));

  const dump = `${await dumpOfPostgres()}\n${await dumpOfRedis()}`;
  expect(dump).toContain('asb1.');
  const kek = readFileSync(stores.environment.ASB_KEK_FILE ?? '', 'utf8').trim();
  const signingKey =
    readFileSync(stores.environment.ASB_SESSION_SIGNING_PRIVATE_KEY_FILE ?? '', 'utf8').split('\n')[1] ?? '';
  const passwords = ledger.issued().map(({ password }) => password);
  expect(passwords).toHaveLength(4);
  const signatures = [bearer, waiting, operator, attestation.token].map((token) => token.split('.')[2] ?? '');
  for (const secret of [...passwords, CANARY_TOKEN, handle, handle.slice(3), kek, signingKey, ...signatures]) {
    expect(secret.length).toBeGreaterThan(20);
    for (const spelling of spellings(secret)) expect(dump).not.toContain(spelling);
  }
});

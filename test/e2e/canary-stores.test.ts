import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { bodyOf, CANARY_TOKEN, GRANT_REQUEST, sessionRequest } from '../support/asb.ts';
import { TENANTS } from '../support/configured.ts';
import { dumpOfPostgres, dumpOfRedis, spellings } from '../support/dumps.ts';
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

  const dump = `${await dumpOfPostgres(stores)}\n${await dumpOfRedis(stores)}`;
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

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { bodyOf } from '../support/asb.ts';
import { TENANTS } from '../support/configured.ts';
import { type AsbWithLeases, LEASE_REQUEST, startAsbWithLeases } from '../support/leases.ts';

let world: AsbWithLeases;
beforeAll(async () => {
  world = await startAsbWithLeases();
});
afterAll(() => world.close());

const issued = z.object({
  grant_id: z.string(),
  delivery: z.object({ kind: z.literal('wrapped_secret'), artifact_id: z.string() }),
});
const unwrapped = z.object({ fields: z.array(z.object({ name: z.string(), value: z.string() })) });

async function aWrappedSecret(bearer: string) {
  const answer = bodyOf(await world.asb.call('requestGrant', LEASE_REQUEST, { bearer }));
  const { grant_id, delivery } = issued.parse(answer);
  return { grant_id, artifact_id: delivery.artifact_id };
}

/** Lets the worker look, and waits for what it does. */
async function eventually(what: () => void): Promise<void> {
  await expect
    .poll(
      () => {
        world.asb.clock.advance(1);
        try {
          what();
          return true;
        } catch {
          return false;
        }
      },
      { timeout: 20_000, interval: 100 },
    )
    .toBe(true);
}

const leaseNumber = (password: string) => {
  const lease = world.ledger.issued().find((other) => other.password === password);
  if (lease === undefined) throw new Error('no such lease');
  return lease;
};

describe('a wrapped secret', () => {
  test.each([0, 1, 2, 3, 4])('is opened once over transport %i, and never again', async (index) => {
    const client = world.asb.clients[index];
    if (client === undefined) throw new Error('no such transport');
    const bearer = await world.openSession(TENANTS.free);
    const { delivery } = issued.parse(bodyOf(await client.call('requestGrant', LEASE_REQUEST, { bearer })));
    const request = { artifact_id: delivery.artifact_id };
    const { fields } = unwrapped.parse(bodyOf(await client.call('unwrapArtifact', request, { bearer })));
    expect(fields.map(({ name }) => name)).toEqual(['username', 'password']);
    expect(leaseNumber(fields[1]?.value ?? '')).toMatchObject({ resourceRef: 'dbrole:analytics_ro', isRevoked: false });
    for (const other of world.asb.clients) {
      expect(await other.call('unwrapArtifact', request, { bearer })).toMatchObject({ ok: false, code: 'conflict' });
    }
  });

  test('is opened by one of fifty who try at once', async () => {
    const bearer = await world.openSession(TENANTS.free);
    const { artifact_id } = await aWrappedSecret(bearer);
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, place) =>
        (world.asb.clients[place % 5] ?? world.asb.clients[0]).call('unwrapArtifact', { artifact_id }, { bearer }),
      ),
    );
    expect(answers.filter(({ ok }) => ok)).toHaveLength(1);
    for (const answer of answers) if (!answer.ok) expect(answer.code).toBe('conflict');
  });

  test("is nobody else's: not another session's, and not another tenant's", async () => {
    const { artifact_id } = await aWrappedSecret(await world.openSession(TENANTS.free));
    for (const tenant of [TENANTS.free, TENANTS.human]) {
      const bearer = await world.openSession(tenant);
      expect(await world.asb.call('unwrapArtifact', { artifact_id }, { bearer })).toMatchObject({ code: 'not_found' });
    }
  });

  test('is revoked downstream when its grant is revoked, opened or not', async () => {
    const bearer = await world.openSession(TENANTS.free);
    const [opened, sealed] = [await aWrappedSecret(bearer), await aWrappedSecret(bearer)];
    const before = world.ledger.alive().length;
    await world.asb.call('unwrapArtifact', { artifact_id: opened.artifact_id }, { bearer });
    for (const { grant_id } of [opened, sealed]) {
      expect(bodyOf(await world.asb.call('revokeGrant', { grant_id }, { bearer }))).toEqual({ state: 'revoked' });
    }
    await eventually(() => expect(world.ledger.alive()).toHaveLength(before - 2));
    const { artifact_id } = sealed;
    expect(await world.asb.call('unwrapArtifact', { artifact_id }, { bearer })).toMatchObject({ code: 'conflict' });
    expect(world.asb.audit.types().slice(-4)).toContain('unwrap.refused');
  });

  test('is revoked downstream when its session ends, however often the connector fails', async () => {
    const bearer = await world.openSession(TENANTS.free);
    await aWrappedSecret(bearer);
    const before = world.ledger.alive().length;
    world.ledger.failNext('revoke', 'fail_before', 'lose_answer');
    const { session_id } = z
      .object({ session_id: z.string() })
      .parse(
        JSON.parse(Buffer.from(bearer.split('.')[1] ?? '', 'base64url').toString(), (key, value: unknown) =>
          key === '' ? { session_id: z.object({ sid: z.string() }).parse(value).sid } : value,
        ),
      );
    await world.asb.call('revokeSession', { session_id }, { bearer });
    await eventually(() => expect(world.ledger.alive()).toHaveLength(before - 1));
    await eventually(() => expect(world.asb.audit.types().at(-1)).toBe('lease.revoked'));
    const outcomes = world.asb.audit.types().filter((type) => type === 'lease.revocation_failed');
    expect(outcomes.length).toBeGreaterThanOrEqual(2);
  });

  test('that could not be made says so, and leaves nothing behind', async () => {
    const bearer = await world.openSession(TENANTS.free);
    const before = world.ledger.alive().length;
    world.ledger.failNext('issue', 'fail_after');
    expect(await world.asb.call('requestGrant', LEASE_REQUEST, { bearer })).toMatchObject({ code: 'upstream_error' });
    expect(world.ledger.alive()).toHaveLength(before + 1);
    world.ledger.failNext('issue', 'refuse');
    expect(await world.asb.call('requestGrant', LEASE_REQUEST, { bearer })).toMatchObject({ code: 'forbidden' });
    await eventually(() => expect(world.ledger.alive()).toHaveLength(before));
  });

  test('that people must allow is made once, with the last yes, and collected by its session', async () => {
    const bearer = await world.openSession(TENANTS.human);
    const asked = z
      .object({ grant_id: z.string(), approval_id: z.string() })
      .parse(bodyOf(await world.asb.call('requestGrant', LEASE_REQUEST, { bearer })));
    const before = world.ledger.issued().length;
    const approver = await world.asb.operatorToken(['approver'], 'olga');
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        world.asb.call('approveGrant', { approval_id: asked.approval_id }, { bearer: approver }),
      ),
    );
    expect(answers.filter(({ ok }) => ok)).toHaveLength(1);
    expect(world.ledger.issued()).toHaveLength(before + 1);
    const collected = issued.parse(bodyOf(await world.asb.call('getGrant', { grant_id: asked.grant_id }, { bearer })));
    const { artifact_id } = collected.delivery;
    expect(bodyOf(await world.asb.call('unwrapArtifact', { artifact_id }, { bearer }))).toMatchObject({ artifact_id });
  });

  test('shows in what operators see, without the secret', async () => {
    const bearer = await world.openSession(TENANTS.free);
    const { grant_id } = await aWrappedSecret(bearer);
    const viewer = await world.asb.operatorToken(['viewer']);
    const listed = bodyOf(
      await world.asb.call('listRevocations', { tenant_id: TENANTS.free, grant_id }, { bearer: viewer }),
    );
    expect(listed).toMatchObject({ revocations: [{ grant_id, state: 'held', connector: 'test_leases' }] });
    expect(JSON.stringify(listed)).not.toContain('CANARY');
  });
});

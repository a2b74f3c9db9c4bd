import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exportEvents, FROM_THE_BEGINNING } from '../../../src/audit/export-events.ts';
import { JsonLinesAuditLog } from '../../../src/audit/json-lines-audit-log.ts';
import { makeAuditSealer } from '../../../src/audit/seal-events.ts';
import { verifyChain } from '../../../src/audit/verify-chain.ts';
import type { BatchStart, SealedBatch } from '../../../src/domain/audit-chain.ts';
import { openPool } from '../../../src/store/postgres/pool.ts';
import { PostgresRepository } from '../../../src/store/postgres/postgres-repository.ts';
import { PostgresAuditChain } from '../../../src/store/postgres/postgres-audit-chain.ts';
import { anEvent } from '../../support/entities.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { ScriptedDescriptor } from '../../support/scripted-descriptor.ts';
import { allOf, type ChainWorld, openChainWorld } from './audit-chain-world.ts';

let world: ChainWorld;
beforeAll(async () => void (world = await openChainWorld()));
afterAll(() => world.close());

const settings = { maxConnections: 2, statementTimeoutMs: 10_000, lockTimeoutMs: 10_000 };
const goOn = new AbortController().signal;

/** Events of a tenant, written by one statement. */
const FILL = `
  INSERT INTO audit_events (id, at, type, request_id, tenant_id, details)
  SELECT 'evt_' || $1 || '_filled_' || n, now(), 'session.created', 'req_' || n, $1, jsonb_build_object('bytes', n)
  FROM generate_series(1, $2) AS n`;

/** A promise, and what settles it. */
function gate() {
  let open: () => void = () => undefined;
  const passed = new Promise<void>((resolve) => void (open = resolve));
  return { passed, open };
}

describe('several sealers at once', () => {
  test('seal 2,000 events of 5 tenants, each of them once', async () => {
    const tenants = Array.from({ length: 5 }, () => world.aTenant());
    for (const tenant of tenants) await tenant.sql(FILL, 400);
    const pools = [0, 1, 2].map(() => openPool({ ...settings, dsn: world.dsn }));
    const sealers = pools.map((pool) =>
      makeAuditSealer({ chain: new PostgresAuditChain(pool), keys: world.keys, clock: new FakeClock(), batchSize: 20 }),
    );
    let sealed = 0;
    while (sealed < 2000) {
      const passes = await Promise.all(sealers.map((sealer) => sealer.seal(goOn)));
      expect(passes.flatMap(({ failures }) => failures)).toEqual([]);
      sealed += passes.reduce((sum, pass) => sum + pass.sealed, 0);
    }
    expect(sealed).toBe(2000);
    await Promise.all(pools.map((pool) => pool.end()));
    for (const tenant of tenants) {
      expect(await tenant.verify()).toMatchObject({ events: 400, provenUpTo: 400, unsealed: 0, findings: [] });
      const ids = (await tenant.sealedEvents()).map(({ event }) => event.id);
      expect(ids).toEqual(Array.from({ length: 400 }, (_, index) => `evt_${tenant.id}_filled_${index + 1}`));
    }
  });

  test('leave a tenant alone whose head somebody holds, and seal the others meanwhile', async () => {
    const [held, other] = [world.aTenant(), world.aTenant()];
    for (const tenant of [held, other]) await tenant.record(2);
    await held.seal();
    await held.record(1);
    const [holding, finish] = [gate(), gate()];
    const slow = world.chains.sealBatch(held.id, 10, async () => {
      holding.open();
      await finish.passed;
      throw new Error('given up');
    });
    await holding.passed;
    expect(await world.chains.sealBatch(held.id, 10, () => Promise.reject(new Error('not reached')))).toBeNull();
    await other.seal();
    expect(await other.verify()).toMatchObject({ events: 2, unsealed: 0 });
    finish.open();
    await expect(slow).rejects.toThrow('given up');
    await held.seal();
    expect(await held.verify()).toMatchObject({ events: 3, unsealed: 0, findings: [] });
  });
});

describe('a sealer that dies between two steps', () => {
  const seal = async (start: BatchStart): Promise<SealedBatch> => {
    // Fits nothing, so that it would show.
    const links = start.events.map(({ id }, index) => ({
      eventId: id,
      seq: start.head.seq + index + 1,
      hash: start.head.hash,
    }));
    const checkpoint = { ...links.at(-1)!, tenantId: world.aTenant().id, signedAt: '2026-01-01T00:00:00.000Z', jws: 'x' };
    return { links, checkpoint };
  };

  test.each<[name: string, dying: (start: BatchStart) => Promise<SealedBatch>, error: unknown]>([
    ['by an error of its own', () => Promise.reject(new Error('mine')), { message: 'mine' }],
    [
      'by the end of its connection',
      async (start) => {
        await world.pool.query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE state = 'idle in transaction' AND datname = current_database()`,
        );
        return seal(start);
      },
      { code: 'unavailable' },
    ],
    [
      'by naming an event that is not there',
      async (start) => {
        const batch = await seal(start);
        return { ...batch, links: [...batch.links, { ...batch.links[0]!, eventId: 'evt_none', seq: 99 }] };
      },
      { message: 'events that were being sealed are not there any more' },
    ],
    [
      'by naming an event that is sealed',
      async (start) => {
        const batch = await seal(start);
        const sealed = batch.links[0]!.eventId.replace(/3$/, '1');
        return { ...batch, links: batch.links.with(0, { ...batch.links[0]!, eventId: sealed }) };
      },
      { message: 'events that were being sealed are not there any more' },
    ],
    [
      'by a number that is taken, after events were sealed',
      async (start) => {
        const batch = await seal(start);
        return { ...batch, links: batch.links.map((link) => ({ ...link, seq: 2 })) };
      },
      { code: 'conflict' },
    ],
    [
      'by a moment that is none, after the head was moved',
      async (start) => {
        const batch = await seal(start);
        return { ...batch, checkpoint: { ...batch.checkpoint, signedAt: 'never' } };
      },
      { message: 'a statement was refused by the database' },
    ],
  ])('%s leaves the chain whole, and the next one goes on', async (_name, dying, error) => {
    const tenant = world.aTenant();
    await tenant.record(2);
    await tenant.seal();
    await tenant.record(3);
    const before = await tenant.chains.head(tenant.id);
    await expect(tenant.chains.sealBatch(tenant.id, 10, dying)).rejects.toMatchObject(error as object);
    expect(await tenant.chains.head(tenant.id)).toEqual(before);
    expect(await tenant.verify()).toMatchObject({ events: 2, unsealed: 3, checkpoints: 1, findings: [] });
    await tenant.seal();
    expect(await tenant.verify()).toMatchObject({ events: 5, unsealed: 0, checkpoints: 2, findings: [] });
  });
});

describe('an event that commits late', () => {
  test('comes later in the chain, whatever its position', async () => {
    const tenant = world.aTenant();
    const client = await world.pool.connect();
    await client.query('BEGIN');
    await client.query(FILL, [tenant.id, 1]);
    await tenant.record(2);
    await tenant.seal();
    await client.query('COMMIT');
    client.release();
    await tenant.seal();
    const ids = (await tenant.sealedEvents()).map(({ event, seq }) => [seq, event.id]);
    expect(ids).toEqual([
      [1, tenant.event(1)],
      [2, tenant.event(2)],
      [3, `evt_${tenant.id}_filled_1`],
    ]);
    expect((await tenant.sql(`SELECT chain_seq FROM audit_events WHERE tenant_id = $1 ORDER BY position`))[0]).toEqual({
      chain_seq: 3,
    });
    expect((await tenant.verify()).findings).toEqual([]);
  });
});

describe('an event that the broker recorded', () => {
  test('is exported as it stands in the audit log, and its chain holds', async () => {
    const tenant = world.aTenant();
    const repository = new PostgresRepository({ pool: world.pool });
    const subject = {
      tenantId: tenant.id,
      agentId: 'a',
      runId: 'r',
      workloadHash: 'w',
      sessionId: 'sess_1',
      grantId: 'gr_1',
    };
    const events = [
      anEvent({ subject: { tenantId: tenant.id } }),
      anEvent({
        subject: { ...subject, artifactId: 'art_1', approvalId: 'ap_1' },
        at: new Date('2026-01-02T03:04:05.678Z'),
        type: 'grant.refused',
        requestId: 'req "\u2028"',
        code: 'forbidden',
        reason: 'policy_missing',
        revision: 'rev',
        details: { zulu: 'ä🔑', tools: ['github', 'db'], bytes: 1e21, share: 0.1, few: 1e-7, first: false, empty: [] },
      }),
      anEvent({ subject: { tenantId: tenant.id }, details: {} }),
    ];
    await repository.transact((unit) => {
      for (const event of events) unit.record(event);
    });
    await tenant.seal();
    const descriptor = new ScriptedDescriptor();
    new JsonLinesAuditLog({ descriptor }).append(events);
    const lines: string[] = [];
    const options = { after: FROM_THE_BEGINNING, tenantId: tenant.id, limit: Infinity };
    await exportEvents(world.chains, options, async (line) => void lines.push(line));
    const exported = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    const inChain = { chain_hash: expect.stringMatching(/^[0-9a-f]{64}$/) };
    const logged = Buffer.from(descriptor.written, 'latin1').toString().trimEnd().split('\n');
    expect(exported).toEqual(
      logged.map((line, index) => ({ ...(JSON.parse(line) as object), ...inChain, chain_seq: index + 1 })),
    );
    expect((await tenant.verify()).findings).toEqual([]);
  });
});

describe('a chain that is longer than a page', () => {
  test('is walked to its end, and broken where it is', async () => {
    const tenant = world.aTenant();
    await tenant.sql(FILL, 2100);
    await makeAuditSealer({ chain: world.chains, keys: world.keys, clock: new FakeClock(), batchSize: 1500 }).seal(goOn);
    await tenant.sql(FILL.replace('_filled_', '_more_'), 1100);
    expect(await tenant.verify()).toMatchObject({ events: 2100, unsealed: 1100, checkpoints: 2, findings: [] });
    expect(await allOf(world.chains.unsealedEvents(tenant.id))).toHaveLength(1100);
    const after = await allOf(world.chains.events(tenant.id, 2000));
    expect(after.map(({ seq }) => seq)).toEqual(Array.from({ length: 100 }, (_, index) => 2001 + index));
    await tenant.sql(`DELETE FROM audit_events WHERE tenant_id = $1 AND chain_seq = 2050`);
    expect((await tenant.verify()).findings[0]).toMatchObject({ kind: 'removed', seq: 2050 });
  });
});

describe('whoever reads the chains', () => {
  test('sees them as they are at one moment, while others seal', async () => {
    const tenant = world.aTenant();
    await tenant.record(3);
    await tenant.seal();
    const verdict = await world.chains.atOneMoment(async (view) => {
      expect(await view.head(tenant.id)).toMatchObject({ seq: 3 });
      await tenant.record(4);
      await tenant.seal();
      return verifyChain(view, tenant.id, { keys: world.keys, saved: [] });
    });
    expect(verdict).toMatchObject({ events: 3, unsealed: 0, findings: [] });
    expect(await tenant.verify()).toMatchObject({ events: 7 });
  });

  test('finds every tenant, also one of which only a head or a checkpoint is left', async () => {
    const [whole, headless, eventless] = [world.aTenant(), world.aTenant(), world.aTenant()];
    for (const tenant of [whole, headless, eventless]) {
      await tenant.record(1);
      await tenant.seal();
    }
    await headless.sql(`DELETE FROM audit_chain_heads WHERE tenant_id = $1`);
    for (const table of ['audit_events', 'audit_chain_heads'])
      await eventless.sql(`DELETE FROM ${table} WHERE tenant_id = $1`);
    const tenants = await world.chains.tenants();
    expect(tenants).toEqual(expect.arrayContaining([whole.id, headless.id, eventless.id]));
    expect(tenants).toEqual(tenants.toSorted());
    expect(await world.chains.tenantsWithUnsealedEvents()).not.toContain(whole.id);
  });

  test('is told that the database is not available', async () => {
    const pool = openPool({ ...settings, dsn: 'postgres://asb@127.0.0.1:1/asb' });
    const chains = new PostgresAuditChain(pool);
    const unavailable = { code: 'unavailable' };
    const { id } = world.aTenant();
    await expect(chains.tenants()).rejects.toMatchObject(unavailable);
    await expect(chains.atOneMoment((view) => view.tenants())).rejects.toMatchObject(unavailable);
    await expect(allOf(chains.events(id))).rejects.toMatchObject(unavailable);
    await expect(chains.sealBatch(id, 1, () => Promise.reject(new Error('not reached')))).rejects.toMatchObject(unavailable);
    await pool.end();
  });
});

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { FindingKind } from '../../../src/audit/finding.ts';
import { START } from '../../support/entities.ts';
import {
  aSealedChain,
  type ChainWorld,
  expectFinding,
  GARBAGE,
  openChainWorld,
  removing,
  type TamperingCase,
  type TenantWorld,
  unsealing,
} from './audit-chain-world.ts';

let world: ChainWorld;
beforeAll(async () => void (world = await openChainWorld()));
afterAll(() => world.close());

test('a chain that nobody has touched is intact, and proven up to its last event', async () => {
  const tenant = await aSealedChain(world);
  await tenant.record(2);
  expect(await tenant.verify([await tenant.savedCheckpoint()])).toEqual({
    tenantId: tenant.id,
    events: 9,
    checkpoints: 3,
    lastSignedAt: START,
    provenUpTo: 9,
    unsealed: 2,
    findings: [],
  });
});

describe('an event that was altered is named', () => {
  const columns: [column: string, value: string][] = [
    ['at', `at + interval '1 millisecond'`],
    ['at, by a microsecond', `at + interval '1 microsecond'`],
    ['at, to no moment at all', `'infinity'`],
    ['at, to long before', `(at::text || ' BC')::timestamptz`],
    ['type', `'grant.issued'`],
    ['type, to one that there is not', `'x'`],
    ['request_id', `request_id || ' '`],
    ['agent_id', `'somebody'`],
    ['run_id', `'run'`],
    ['workload_hash', `'hash'`],
    ['session_id', `'sess_1'`],
    ['grant_id', `'gr_1'`],
    ['artifact_id', `'art_1'`],
    ['approval_id', `'ap_1'`],
    ['code', `'forbidden'`],
    ['reason', `'policy_missing'`],
    ['revision', `''`],
    ['details', `details || '{"bytes": 7000}'`],
    ['details, to a text', `details || '{"bytes": "5"}'`],
    ['details, to a number that is too large for one', `details || '{"bytes": 1e400}'`],
    ['details, one more', `details || '{"more": null}'`],
    ['details, to a list', `'[]'`],
    ['details, to nothing', `NULL`],
    ['chain_hash', `'\\x00'`],
  ];
  test.each(columns)('%s', async (column, value) => {
    const tenant = await aSealedChain(world);
    const [name = ''] = column.split(',');
    await tenant.sql(`UPDATE audit_events SET ${name} = ${value} WHERE tenant_id = $1 AND chain_seq = 5`);
    await expectFinding(tenant, ['altered', 5, 5]);
  });

  test.each([1, 3, 4, 9])('number %i', async (seq) => {
    const tenant = await aSealedChain(world);
    await tenant.sql(`UPDATE audit_events SET code = 'x' WHERE tenant_id = $1 AND chain_seq = $2`, seq);
    await expectFinding(tenant, ['altered', seq, seq]);
  });

  test('the first of several', async () => {
    const tenant = await aSealedChain(world);
    await tenant.sql(`UPDATE audit_events SET code = 'x' WHERE tenant_id = $1 AND chain_seq IN (2, 5, 8)`);
    const { findings, events, provenUpTo } = await tenant.verify();
    expect(findings).toEqual([
      {
        kind: 'altered',
        seq: 2,
        eventId: tenant.event(2),
        message: expect.stringContaining(`event 2 (${tenant.event(2)}) was altered: it is not what its hash was made of`),
      },
    ]);
    expect({ events, provenUpTo }).toEqual({ events: 1, provenUpTo: 0 });
  });

  test('with the id that it has now', async () => {
    const tenant = await aSealedChain(world);
    await tenant.sql(`UPDATE audit_events SET id = $2 WHERE tenant_id = $1 AND chain_seq = 5`, tenant.event(50));
    await expectFinding(tenant, ['altered', 5, 50]);
  });

  test('beyond doubt when all before it is signed for, and otherwise with the doubt told', async () => {
    const messages: string[] = [];
    for (const seq of [4, 5]) {
      const tenant = await aSealedChain(world);
      await tenant.sql(`UPDATE audit_events SET code = 'x' WHERE tenant_id = $1 AND chain_seq = $2`, seq);
      messages.push((await tenant.verify()).findings[0]?.message ?? '');
    }
    const doubt = '; what was signed for ends at 3, so it may be that an event after that was changed, and hashes made anew';
    expect(messages.map((message) => message.endsWith(doubt))).toEqual([false, true]);
  });
});

describe('an event that was removed is named by its number', () => {
  test.each<TamperingCase>([
    ['from the middle', (tenant) => tenant.sql(removing(5)), ['removed', 5, null]],
    ['from the beginning', (tenant) => tenant.sql(removing(1)), ['removed', 1, null]],
    ['with those after it', (tenant) => tenant.sql(removing(4, 5, 6)), ['removed', 4, null]],
    ['here and there', (tenant) => tenant.sql(removing(2, 7)), ['removed', 2, null]],
    ['from the end', (tenant) => tenant.sql(removing(9)), ['removed', 9, null]],
    ['with all others', (tenant) => tenant.sql(removing(1, 2, 3, 4, 5, 6, 7, 8, 9)), ['removed', 1, null]],
    [
      'from the end, with the head moved back',
      async (tenant) => {
        await tenant.moveHead(await tenant.linkAt(7));
        await tenant.sql(removing(8, 9));
      },
      ['removed', 8, null],
    ],
    [
      'from the end, with its checkpoint',
      async (tenant) => {
        await tenant.sql(removing(7, 8, 9));
        await tenant.sql(`DELETE FROM audit_checkpoints WHERE tenant_id = $1 AND chain_seq = 9`);
      },
      ['removed', 7, null],
    ],
    [
      'with the others moved up',
      async (tenant) => {
        await tenant.sql(removing(5));
        await tenant.shift(6, -1);
      },
      ['removed', 5, null],
    ],
    [
      'with several, and the others moved up',
      async (tenant) => {
        await tenant.sql(removing(2, 3, 4));
        await tenant.shift(5, -3);
      },
      ['removed', 2, null],
    ],
    [
      'before the last, which was moved up with the head',
      async (tenant) => {
        await tenant.sql(removing(8));
        await tenant.shift(9, -1);
        await tenant.moveHead(await tenant.linkAt(8));
      },
      ['removed', 8, null],
    ],
    [
      'by being given to another tenant',
      (tenant) =>
        tenant.sql(`UPDATE audit_events SET tenant_id = $2 WHERE tenant_id = $1 AND chain_seq = 5`, `${tenant.id}x`),
      ['removed', 5, null],
    ],
  ])('%s', async (_name, tamper, expected) => {
    const tenant = await aSealedChain(world);
    await tamper(tenant);
    await expectFinding(tenant, expected);
  });

  test('also in the chain of the tenant that it was given to, where it was inserted', async () => {
    const [tenant, other] = [await aSealedChain(world), world.aTenant()];
    await tenant.sql(`UPDATE audit_events SET tenant_id = $2 WHERE tenant_id = $1 AND chain_seq = 1`, other.id);
    const { findings } = await other.verify();
    expect(findings[0]).toMatchObject({ kind: 'inserted', seq: 1, eventId: tenant.event(1) });
  });
});

describe('an event that was inserted is named', () => {
  const cases: [name: string, tamper: (tenant: TenantWorld) => Promise<string>, seq: number, kind?: FindingKind][] = [
    ['behind the end', (tenant) => tenant.forge(10, GARBAGE), 10],
    ['behind the end, where it fits', (tenant) => tenant.forge(10), 10],
    ['far behind the end', (tenant) => tenant.forge(50), 50],
    ['before the beginning', (tenant) => tenant.forge(0), 0],
    ['far before the beginning', (tenant) => tenant.forge(-(2 ** 53)), -(2 ** 53)],
    [
      'behind the end, with the head moved on',
      async (tenant) => {
        const id = await tenant.forge(10);
        await tenant.moveHead(await tenant.linkAt(10));
        return id;
      },
      10,
      'not_covered',
    ],
    [
      'in the middle, with the others moved down',
      async (tenant) => {
        await tenant.shift(5, 1);
        return tenant.forge(5, GARBAGE);
      },
      5,
    ],
    [
      'in the middle, where it fits, with the others moved down',
      async (tenant) => {
        await tenant.shift(5, 1);
        return tenant.forge(5);
      },
      5,
    ],
    [
      'at the beginning, with the others moved down',
      async (tenant) => {
        await tenant.shift(1, 1);
        return tenant.forge(1, GARBAGE);
      },
      1,
    ],
    [
      'in the place of one that was unsealed',
      async (tenant) => {
        const { hash } = await tenant.linkAt(5);
        await tenant.sql(unsealing(5));
        return tenant.forge(5, hash);
      },
      5,
    ],
  ];
  test.each(cases)('%s', async (_name, tamper, seq, kind = 'inserted') => {
    const tenant = await aSealedChain(world);
    const eventId = await tamper(tenant);
    expect((await tenant.verify()).findings[0]).toMatchObject({ kind, seq, eventId });
  });

  test('also into an empty chain', async () => {
    const tenant = world.aTenant();
    const eventId = await tenant.forge(1, GARBAGE);
    expect((await tenant.verify()).findings[0]).toMatchObject({ kind: 'inserted', seq: 1, eventId });
  });

  test('with a number that is larger than a number can tell', async () => {
    const tenant = await aSealedChain(world);
    const eventId = await tenant.forge(50);
    await tenant.sql(`UPDATE audit_events SET chain_seq = 9223372036854775807 WHERE tenant_id = $1 AND id = $2`, eventId);
    expect((await tenant.verify()).findings[0]).toMatchObject({ kind: 'inserted', eventId });
  });
});

describe('an event that was reordered is named', () => {
  /** Puts the events that are named at the numbers 1 to 9; their hashes go with them. */
  const order = (tenant: TenantWorld, ...events: number[]) =>
    tenant.renumber(events.map((event, index) => [tenant.event(event), index + 1]));

  test.each<TamperingCase>([
    ['with its neighbour', (tenant) => order(tenant, 1, 2, 3, 4, 6, 5, 7, 8, 9), ['reordered', 5, 6]],
    ['with one far away', (tenant) => order(tenant, 1, 8, 3, 4, 5, 6, 7, 2, 9), ['reordered', 2, 8]],
    ['to the end', (tenant) => order(tenant, 1, 2, 3, 5, 6, 7, 8, 9, 4), ['reordered', 4, 5]],
    ['to the beginning', (tenant) => order(tenant, 9, 1, 2, 3, 4, 5, 6, 7, 8), ['reordered', 1, 9]],
    ['up the chain', (tenant) => order(tenant, 1, 2, 3, 8, 4, 5, 6, 7, 9), ['reordered', 4, 8]],
    ['down the chain', (tenant) => order(tenant, 1, 2, 3, 5, 6, 7, 4, 8, 9), ['reordered', 4, 5]],
    ['in a circle', (tenant) => order(tenant, 1, 4, 3, 7, 5, 6, 2, 8, 9), ['reordered', 2, 4]],
    [
      'while the hashes stayed',
      async (tenant) => {
        const [five, eight] = [await tenant.linkAt(5), await tenant.linkAt(8)];
        await tenant.renumber([
          [tenant.event(5), 8, eight.hash],
          [tenant.event(8), 5, five.hash],
        ]);
      },
      ['reordered', 5, 8],
    ],
    ['far behind the end', (tenant) => tenant.renumber([[tenant.event(5), 500]]), ['reordered', 5, 5]],
    ['behind the end, from there', (tenant) => tenant.renumber([[tenant.event(9), 10]]), ['reordered', 9, 9]],
    [
      'by being sealed once more',
      async (tenant) => {
        await tenant.sql(unsealing(5));
        await tenant.seal();
      },
      ['reordered', 5, 5],
    ],
    [
      'by being sealed once more, with its neighbour',
      async (tenant) => {
        await tenant.sql(unsealing(5, 6));
        await tenant.seal();
      },
      ['reordered', 5, 5],
    ],
  ])('%s', async (_name, tamper, expected) => {
    const tenant = await aSealedChain(world);
    await tamper(tenant);
    await expectFinding(tenant, expected);
  });
});

describe('an event whose number was taken away is named', () => {
  test.each<TamperingCase>([
    ['in the middle', (tenant) => tenant.sql(unsealing(5)), ['unsealed', 5, 5]],
    ['at the beginning', (tenant) => tenant.sql(unsealing(1)), ['unsealed', 1, 1]],
    ['with its neighbours', (tenant) => tenant.sql(unsealing(4, 5, 6)), ['unsealed', 4, 4]],
    ['at the end', (tenant) => tenant.sql(unsealing(8, 9)), ['unsealed', 8, 8]],
    [
      'while the others were moved up',
      async (tenant) => {
        await tenant.sql(unsealing(5));
        await tenant.shift(6, -1);
      },
      ['unsealed', 5, 5],
    ],
  ])('%s', async (_name, tamper, expected) => {
    const tenant = await aSealedChain(world);
    await tenant.record(4);
    await tamper(tenant);
    await expectFinding(tenant, expected);
  });
});

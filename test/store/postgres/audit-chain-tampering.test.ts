import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { signCheckpoint } from '../../../src/audit/checkpoints.ts';
import type { FindingKind } from '../../../src/audit/finding.ts';
import { ephemeralKeyRing } from '../../../src/crypto/key-ring.ts';
import type { ChainHash } from '../../../src/domain/audit-chain.ts';
import type { TenantId } from '../../../src/domain/ids.ts';
import { START } from '../../support/entities.ts';
import { allOf, type ChainWorld, openChainWorld, type TenantWorld } from './audit-chain-world.ts';

let world: ChainWorld;
beforeAll(async () => void (world = await openChainWorld()));
afterAll(() => world.close());

/** Nine events and the checkpoints at 3, 6 and 9. */
async function aChain(): Promise<TenantWorld> {
  const tenant = world.aTenant();
  await tenant.record(9);
  await tenant.seal();
  return tenant;
}

const GARBAGE = 'ab'.repeat(32) as ChainHash;
const remove = (...seqs: number[]) => `DELETE FROM audit_events WHERE tenant_id = $1 AND chain_seq IN (${seqs.join(', ')})`;
const unseal = (...seqs: number[]) =>
  `UPDATE audit_events SET chain_seq = NULL, chain_hash = NULL WHERE tenant_id = $1 AND chain_seq IN (${seqs.join(', ')})`;

/** What is found first: its kind, its number, and the nth event or an id. */
type Expected = [kind: FindingKind, seq: number, event: number | null];
type Case = [name: string, tamper: (tenant: TenantWorld) => Promise<unknown>, expected: Expected];

async function expectFinding(tenant: TenantWorld, [kind, seq, event]: Expected): Promise<void> {
  const { findings } = await tenant.verify();
  expect(findings[0]).toMatchObject({ kind, seq, eventId: event === null ? null : tenant.event(event) });
}

test('a chain that nobody has touched is intact, and proven up to its last event', async () => {
  const tenant = await aChain();
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
    const tenant = await aChain();
    const [name = ''] = column.split(',');
    await tenant.sql(`UPDATE audit_events SET ${name} = ${value} WHERE tenant_id = $1 AND chain_seq = 5`);
    await expectFinding(tenant, ['altered', 5, 5]);
  });

  test.each([1, 3, 4, 9])('number %i', async (seq) => {
    const tenant = await aChain();
    await tenant.sql(`UPDATE audit_events SET code = 'x' WHERE tenant_id = $1 AND chain_seq = $2`, seq);
    await expectFinding(tenant, ['altered', seq, seq]);
  });

  test('the first of several', async () => {
    const tenant = await aChain();
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
    const tenant = await aChain();
    await tenant.sql(`UPDATE audit_events SET id = $2 WHERE tenant_id = $1 AND chain_seq = 5`, tenant.event(50));
    await expectFinding(tenant, ['altered', 5, 50]);
  });

  test('beyond doubt when all before it is signed for, and otherwise with the doubt told', async () => {
    const messages: string[] = [];
    for (const seq of [4, 5]) {
      const tenant = await aChain();
      await tenant.sql(`UPDATE audit_events SET code = 'x' WHERE tenant_id = $1 AND chain_seq = $2`, seq);
      messages.push((await tenant.verify()).findings[0]?.message ?? '');
    }
    const doubt = '; what was signed for ends at 3, so it may be that an event after that was changed, and hashes made anew';
    expect(messages.map((message) => message.endsWith(doubt))).toEqual([false, true]);
  });
});

describe('an event that was removed is named by its number', () => {
  test.each<Case>([
    ['from the middle', (tenant) => tenant.sql(remove(5)), ['removed', 5, null]],
    ['from the beginning', (tenant) => tenant.sql(remove(1)), ['removed', 1, null]],
    ['with those after it', (tenant) => tenant.sql(remove(4, 5, 6)), ['removed', 4, null]],
    ['here and there', (tenant) => tenant.sql(remove(2, 7)), ['removed', 2, null]],
    ['from the end', (tenant) => tenant.sql(remove(9)), ['removed', 9, null]],
    ['with all others', (tenant) => tenant.sql(remove(1, 2, 3, 4, 5, 6, 7, 8, 9)), ['removed', 1, null]],
    [
      'from the end, with the head moved back',
      async (tenant) => {
        await tenant.moveHead(await tenant.linkAt(7));
        await tenant.sql(remove(8, 9));
      },
      ['removed', 8, null],
    ],
    [
      'from the end, with its checkpoint',
      async (tenant) => {
        await tenant.sql(remove(7, 8, 9));
        await tenant.sql(`DELETE FROM audit_checkpoints WHERE tenant_id = $1 AND chain_seq = 9`);
      },
      ['removed', 7, null],
    ],
    [
      'with the others moved up',
      async (tenant) => {
        await tenant.sql(remove(5));
        await tenant.shift(6, -1);
      },
      ['removed', 5, null],
    ],
    [
      'with several, and the others moved up',
      async (tenant) => {
        await tenant.sql(remove(2, 3, 4));
        await tenant.shift(5, -3);
      },
      ['removed', 2, null],
    ],
    [
      'before the last, which was moved up with the head',
      async (tenant) => {
        await tenant.sql(remove(8));
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
    const tenant = await aChain();
    await tamper(tenant);
    await expectFinding(tenant, expected);
  });

  test('also in the chain of the tenant that it was given to, where it was inserted', async () => {
    const [tenant, other] = [await aChain(), world.aTenant()];
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
        await tenant.sql(unseal(5));
        return tenant.forge(5, hash);
      },
      5,
    ],
  ];
  test.each(cases)('%s', async (_name, tamper, seq, kind = 'inserted') => {
    const tenant = await aChain();
    const eventId = await tamper(tenant);
    expect((await tenant.verify()).findings[0]).toMatchObject({ kind, seq, eventId });
  });

  test('also into an empty chain', async () => {
    const tenant = world.aTenant();
    const eventId = await tenant.forge(1, GARBAGE);
    expect((await tenant.verify()).findings[0]).toMatchObject({ kind: 'inserted', seq: 1, eventId });
  });

  test('with a number that is larger than a number can tell', async () => {
    const tenant = await aChain();
    const eventId = await tenant.forge(50);
    await tenant.sql(`UPDATE audit_events SET chain_seq = 9223372036854775807 WHERE tenant_id = $1 AND id = $2`, eventId);
    expect((await tenant.verify()).findings[0]).toMatchObject({ kind: 'inserted', eventId });
  });
});

describe('an event that was reordered is named', () => {
  /** Puts the events that are named at the numbers 1 to 9; their hashes go with them. */
  const order = (tenant: TenantWorld, ...events: number[]) =>
    tenant.renumber(events.map((event, index) => [tenant.event(event), index + 1]));

  test.each<Case>([
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
        await tenant.sql(unseal(5));
        await tenant.seal();
      },
      ['reordered', 5, 5],
    ],
    [
      'by being sealed once more, with its neighbour',
      async (tenant) => {
        await tenant.sql(unseal(5, 6));
        await tenant.seal();
      },
      ['reordered', 5, 5],
    ],
  ])('%s', async (_name, tamper, expected) => {
    const tenant = await aChain();
    await tamper(tenant);
    await expectFinding(tenant, expected);
  });
});

describe('an event whose number was taken away is named', () => {
  test.each<Case>([
    ['in the middle', (tenant) => tenant.sql(unseal(5)), ['unsealed', 5, 5]],
    ['at the beginning', (tenant) => tenant.sql(unseal(1)), ['unsealed', 1, 1]],
    ['with its neighbours', (tenant) => tenant.sql(unseal(4, 5, 6)), ['unsealed', 4, 4]],
    ['at the end', (tenant) => tenant.sql(unseal(8, 9)), ['unsealed', 8, 8]],
    [
      'while the others were moved up',
      async (tenant) => {
        await tenant.sql(unseal(5));
        await tenant.shift(6, -1);
      },
      ['unsealed', 5, 5],
    ],
  ])('%s', async (_name, tamper, expected) => {
    const tenant = await aChain();
    await tenant.record(4);
    await tamper(tenant);
    await expectFinding(tenant, expected);
  });
});

describe('a chain that was made anew does not match what was signed', () => {
  test.each<Case>([
    [
      'with an event altered',
      async (tenant) => {
        await tenant.sql(`UPDATE audit_events SET code = 'x' WHERE tenant_id = $1 AND chain_seq = 5`);
        await tenant.rehash(5);
      },
      ['rewritten', 4, 4],
    ],
    [
      'with an event removed',
      async (tenant) => {
        await tenant.sql(remove(5));
        await tenant.shift(6, -1);
        await tenant.rehash(5);
      },
      ['rewritten', 4, 4],
    ],
    [
      'with an event inserted',
      async (tenant) => {
        await tenant.shift(2, 1);
        await tenant.forge(2);
        await tenant.rehash(2);
      },
      ['rewritten', 1, 1],
    ],
    [
      'with events reordered',
      async (tenant) => {
        await tenant.renumber([
          [tenant.event(8), 9],
          [tenant.event(9), 8],
        ]);
        await tenant.rehash(8);
      },
      ['rewritten', 7, 7],
    ],
    [
      'with its later checkpoints removed',
      async (tenant) => {
        await tenant.sql(`UPDATE audit_events SET code = 'x' WHERE tenant_id = $1 AND chain_seq = 7`);
        await tenant.sql(`DELETE FROM audit_checkpoints WHERE tenant_id = $1 AND chain_seq = 9`);
        await tenant.rehash(7);
      },
      ['not_covered', 7, 7],
    ],
    [
      'and cannot be carried on, so that nobody gets our signature for it',
      async (tenant) => {
        await tenant.sql(`UPDATE audit_events SET code = 'x' WHERE tenant_id = $1 AND chain_seq = 7`);
        await tenant.sql(`DELETE FROM audit_checkpoints WHERE tenant_id = $1 AND chain_seq = 9`);
        await tenant.rehash(7);
        await tenant.record(1);
        await tenant.seal();
      },
      ['not_covered', 7, 7],
    ],
  ])('%s', async (_name, tamper, expected) => {
    const tenant = await aChain();
    await tamper(tenant);
    await expectFinding(tenant, expected);
  });

  test('and a hash that was made anew in the middle shows at the next event, with the doubt told', async () => {
    const tenant = await aChain();
    await tenant.sql(`UPDATE audit_events SET code = 'x' WHERE tenant_id = $1 AND chain_seq = 4`);
    const before = await tenant.linkAt(5);
    const head = await tenant.linkAt(9);
    await tenant.rehash(4);
    await tenant.renumber([[tenant.event(5), 5, before.hash]]);
    await tenant.moveHead(head);
    const { findings } = await tenant.verify();
    expect(findings[0]).toMatchObject({ kind: 'altered', seq: 5 });
    expect(findings[0]?.message).toContain(
      'what was signed for ends at 3, so it may be that an event after that was changed',
    );
  });
});

describe('a head that is not the end of the chain is found', () => {
  test.each<Case>([
    ['gone', (tenant) => tenant.sql(`DELETE FROM audit_chain_heads WHERE tenant_id = $1`), ['head_changed', 9, null]],
    ['behind', async (tenant) => tenant.moveHead(await tenant.linkAt(8)), ['head_changed', 9, null]],
    [
      'behind, with the hash of the end',
      async (tenant) => tenant.moveHead({ ...(await tenant.linkAt(9)), seq: 8 }),
      ['head_changed', 9, null],
    ],
    ['ahead', (tenant) => tenant.moveHead({ seq: 12, hash: GARBAGE }), ['removed', 10, null]],
    ['with another hash', (tenant) => tenant.moveHead({ seq: 9, hash: GARBAGE }), ['head_changed', 9, null]],
  ])('%s', async (_name, tamper, expected) => {
    const tenant = await aChain();
    await tamper(tenant);
    await expectFinding(tenant, expected);
  });
});

describe('a checkpoint that is not what was signed is found', () => {
  const set = (column: string, value: string, seq = 6) =>
    `UPDATE audit_checkpoints SET ${column} = ${value} WHERE tenant_id = $1 AND chain_seq = ${seq}`;
  const put = (tenant: TenantWorld, seq: number, jws: string) => tenant.sql(set('jws', '$2', seq), jws);
  const jwsAt = async (tenant: TenantWorld, seq: number) => {
    const found = (await allOf(tenant.chains.checkpoints(tenant.id))).find((one) => one.seq === seq);
    return found?.jws ?? '';
  };

  test.each<Case>([
    [
      'removed',
      (tenant) => tenant.sql(`DELETE FROM audit_checkpoints WHERE tenant_id = $1 AND chain_seq = 6`),
      ['checkpoint_removed', 9, null],
    ],
    [
      'removed, the first',
      (tenant) => tenant.sql(`DELETE FROM audit_checkpoints WHERE tenant_id = $1 AND chain_seq = 3`),
      ['checkpoint_removed', 6, null],
    ],
    [
      'removed, the last',
      (tenant) => tenant.sql(`DELETE FROM audit_checkpoints WHERE tenant_id = $1 AND chain_seq = 9`),
      ['not_covered', 7, 7],
    ],
    ['removed, all', (tenant) => tenant.sql(`DELETE FROM audit_checkpoints WHERE tenant_id = $1`), ['not_covered', 1, 1]],
    ['replaced by rubbish', (tenant) => put(tenant, 6, 'rubbish'), ['checkpoint_altered', 6, null]],
    ['replaced by rubbish, the last', (tenant) => put(tenant, 9, 'rubbish'), ['checkpoint_altered', 9, null]],
    ['with another hash beside it', (tenant) => tenant.sql(set('chain_hash', `'\\xab'`)), ['checkpoint_altered', 6, null]],
    ['with another time beside it', (tenant) => tenant.sql(set('signed_at', `'infinity'`)), ['checkpoint_altered', 6, null]],
    ['with another number beside it', (tenant) => tenant.sql(set('chain_seq', '5')), ['checkpoint_altered', 5, null]],
    [
      'of another place in the chain',
      async (tenant) => put(tenant, 6, await jwsAt(tenant, 3)),
      ['checkpoint_altered', 6, null],
    ],
    [
      'of another tenant',
      async (tenant) => {
        const link = await tenant.linkAt(6);
        const checkpoint = { ...link, tenantId: 't_other' as TenantId, previousSeq: 3, signedAt: START };
        await put(tenant, 6, await signCheckpoint(checkpoint, tenant.keys));
      },
      ['checkpoint_altered', 6, null],
    ],
    [
      'of a key that nobody knows',
      async (tenant) => {
        const checkpoint = { ...(await tenant.linkAt(6)), tenantId: tenant.id, previousSeq: 3, signedAt: START };
        await put(tenant, 6, await signCheckpoint(checkpoint, await ephemeralKeyRing()));
      },
      ['checkpoint_of_unknown_key', 6, null],
    ],
    [
      'of another key under the name of ours',
      async (tenant) => {
        const checkpoint = { ...(await tenant.linkAt(6)), tenantId: tenant.id, previousSeq: 3, signedAt: START };
        const hand = await ephemeralKeyRing();
        const signingKey = { ...hand.signingKey, kid: tenant.keys.signingKey.kid };
        await put(tenant, 6, await signCheckpoint(checkpoint, { ...hand, signingKey }));
      },
      ['checkpoint_altered', 6, null],
    ],
    [
      'signed by us for another chain of the same numbers',
      async (tenant) => {
        const checkpoint = { seq: 6, hash: GARBAGE, tenantId: tenant.id, previousSeq: 3, signedAt: START };
        await put(tenant, 6, await signCheckpoint(checkpoint, tenant.keys));
        await tenant.sql(set('chain_hash', `decode('${GARBAGE}', 'hex')`));
      },
      ['rewritten', 4, 4],
    ],
  ])('%s', async (_name, tamper, expected) => {
    const tenant = await aChain();
    await tamper(tenant);
    await expectFinding(tenant, expected);
  });

  test('beside an event that was altered after it', async () => {
    const tenant = await aChain();
    await put(tenant, 3, 'rubbish');
    await tenant.sql(`UPDATE audit_events SET code = 'x' WHERE tenant_id = $1 AND chain_seq = 5`);
    const { findings } = await tenant.verify();
    expect(findings.map(({ kind, seq }) => [kind, seq])).toEqual([
      ['altered', 5],
      ['checkpoint_altered', 3],
    ]);
  });
});

describe('a checkpoint that was kept elsewhere', () => {
  async function cutOff(tenant: TenantWorld): Promise<void> {
    await tenant.moveHead(await tenant.linkAt(6));
    await tenant.sql(remove(7, 8, 9));
    await tenant.sql(`DELETE FROM audit_checkpoints WHERE tenant_id = $1 AND chain_seq = 9`);
  }

  test('tells that the end was cut off with its checkpoints, which nothing else does', async () => {
    const tenant = await aChain();
    const saved = await tenant.savedCheckpoint();
    await cutOff(tenant);
    expect((await tenant.verify()).findings).toEqual([]);
    expect((await tenant.verify([saved])).findings).toEqual([
      { kind: 'removed', seq: 7, eventId: null, message: 'event 7 was removed: nothing is there, nor of the 2 after it' },
    ]);
  });

  test('tells that everything was removed', async () => {
    const tenant = await aChain();
    const saved = await tenant.savedCheckpoint();
    for (const table of ['audit_events', 'audit_chain_heads', 'audit_checkpoints']) {
      await tenant.sql(`DELETE FROM ${table} WHERE tenant_id = $1`);
    }
    expect((await tenant.verify([saved])).findings[0]).toMatchObject({ kind: 'removed', seq: 1 });
  });

  test('tells that other events were sealed in the place of those that were cut off', async () => {
    const tenant = await aChain();
    const saved = await tenant.savedCheckpoint();
    await cutOff(tenant);
    await tenant.record(5);
    await tenant.seal();
    expect((await tenant.verify()).findings).toEqual([]);
    expect((await tenant.verify([saved])).findings[0]).toMatchObject({
      kind: 'rewritten',
      seq: 7,
      eventId: tenant.event(10),
    });
  });

  test('has nothing to tell when the same events were sealed again', async () => {
    const tenant = await aChain();
    const saved = await tenant.savedCheckpoint();
    await tenant.moveHead(await tenant.linkAt(6));
    await tenant.sql(unseal(7, 8, 9));
    await tenant.sql(`DELETE FROM audit_checkpoints WHERE tenant_id = $1 AND chain_seq = 9`);
    await tenant.seal();
    expect((await tenant.verify([saved])).findings).toEqual([]);
  });

  test('of another tenant says nothing of this one', async () => {
    const [tenant, other] = [await aChain(), await aChain()];
    await tenant.record(3);
    await tenant.seal();
    expect((await other.verify([await tenant.savedCheckpoint()])).findings).toEqual([]);
  });
});

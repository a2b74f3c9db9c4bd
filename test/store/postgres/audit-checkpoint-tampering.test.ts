import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { signCheckpoint } from '../../../src/audit/checkpoints.ts';
import { ephemeralKeyRing } from '../../../src/crypto/key-ring.ts';
import type { TenantId } from '../../../src/domain/ids.ts';
import { START } from '../../support/entities.ts';
import {
  allOf,
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

describe('a chain that was made anew does not match what was signed', () => {
  test.each<TamperingCase>([
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
        await tenant.sql(removing(5));
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
    const tenant = await aSealedChain(world);
    await tamper(tenant);
    await expectFinding(tenant, expected);
  });

  test('and a hash that was made anew in the middle shows at the next event, with the doubt told', async () => {
    const tenant = await aSealedChain(world);
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
  test.each<TamperingCase>([
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
    const tenant = await aSealedChain(world);
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

  test.each<TamperingCase>([
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
    const tenant = await aSealedChain(world);
    await tamper(tenant);
    await expectFinding(tenant, expected);
  });

  test('beside an event that was altered after it', async () => {
    const tenant = await aSealedChain(world);
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
    await tenant.sql(removing(7, 8, 9));
    await tenant.sql(`DELETE FROM audit_checkpoints WHERE tenant_id = $1 AND chain_seq = 9`);
  }

  test('tells that the end was cut off with its checkpoints, which nothing else does', async () => {
    const tenant = await aSealedChain(world);
    const saved = await tenant.savedCheckpoint();
    await cutOff(tenant);
    expect((await tenant.verify()).findings).toEqual([]);
    expect((await tenant.verify([saved])).findings).toEqual([
      { kind: 'removed', seq: 7, eventId: null, message: 'event 7 was removed: nothing is there, nor of the 2 after it' },
    ]);
  });

  test('tells that everything was removed', async () => {
    const tenant = await aSealedChain(world);
    const saved = await tenant.savedCheckpoint();
    for (const table of ['audit_events', 'audit_chain_heads', 'audit_checkpoints']) {
      await tenant.sql(`DELETE FROM ${table} WHERE tenant_id = $1`);
    }
    expect((await tenant.verify([saved])).findings[0]).toMatchObject({ kind: 'removed', seq: 1 });
  });

  test('tells that other events were sealed in the place of those that were cut off', async () => {
    const tenant = await aSealedChain(world);
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
    const tenant = await aSealedChain(world);
    const saved = await tenant.savedCheckpoint();
    await tenant.moveHead(await tenant.linkAt(6));
    await tenant.sql(unsealing(7, 8, 9));
    await tenant.sql(`DELETE FROM audit_checkpoints WHERE tenant_id = $1 AND chain_seq = 9`);
    await tenant.seal();
    expect((await tenant.verify([saved])).findings).toEqual([]);
  });

  test('of another tenant says nothing of this one', async () => {
    const [tenant, other] = [await aSealedChain(world), await aSealedChain(world)];
    await tenant.record(3);
    await tenant.seal();
    expect((await other.verify([await tenant.savedCheckpoint()])).findings).toEqual([]);
  });
});

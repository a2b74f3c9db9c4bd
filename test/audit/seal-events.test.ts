import { describe, expect, test } from 'vitest';
import { nextLink } from '../../src/audit/chain.ts';
import { readCheckpoint, signCheckpoint } from '../../src/audit/checkpoints.ts';
import { makeAuditSealer } from '../../src/audit/seal-events.ts';
import { ephemeralKeyRing } from '../../src/crypto/key-ring.ts';
import { type ChainHash, GENESIS, type StoredCheckpoint } from '../../src/domain/audit-chain.ts';
import { conflict, unavailable } from '../../src/domain/errors.ts';
import type { TenantId } from '../../src/domain/ids.ts';
import type { KeyRing } from '../../src/domain/key-ring.ts';
import { after, anEvent, OTHER_TENANT, TENANT } from '../support/entities.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { MemoryChains } from './memory-chains.ts';

const keys = await ephemeralKeyRing();
const ZETA = 't_zeta' as TenantId;

function setUp({ ring = keys, batchSize = 3 }: { ring?: KeyRing; batchSize?: number } = {}) {
  const chains = new MemoryChains();
  const clock = new FakeClock();
  const sealer = makeAuditSealer({ chain: chains, keys: ring, clock, batchSize });
  const record = (tenantId: TenantId, count: number) =>
    chains.record(...Array.from({ length: count }, () => anEvent({ subject: { tenantId } })));
  return { chains, clock, record, seal: () => sealer.seal(new AbortController().signal), sealer };
}

const seqsOf = (chains: MemoryChains, tenantId: TenantId) => chains.rowsOf(tenantId).map(({ seq }) => seq);

describe('a pass of sealing', () => {
  test('numbers and hashes the events of each tenant in the order they were written', async () => {
    const { chains, record, seal } = setUp();
    record(TENANT, 2);
    record(OTHER_TENANT, 1);
    record(TENANT, 2);
    expect(await seal()).toEqual({ sealed: 5, failures: [] });
    expect(seqsOf(chains, TENANT)).toEqual([1, 2, 3, 4]);
    expect(seqsOf(chains, OTHER_TENANT)).toEqual([1]);
    let link = GENESIS;
    for (const { seq, hash, event } of chains.rowsOf(TENANT)) {
      link = nextLink(link, event);
      expect({ seq, hash }).toEqual(link);
    }
    expect(chains.heads.get(TENANT)).toEqual(link);
  });

  test('signs a checkpoint with every batch, each naming the one before', async () => {
    const { chains, clock, record, seal } = setUp();
    record(TENANT, 7);
    await seal();
    clock.advance(60);
    record(TENANT, 1);
    await seal();
    const checkpoints = await Promise.all(chains.signed.map(({ jws }) => readCheckpoint(jws, keys)));
    expect(checkpoints).toEqual(
      [
        [3, 0, 0],
        [6, 3, 0],
        [7, 6, 0],
        [8, 7, 60],
      ].map(([seq = 0, previousSeq, seconds = 0]) => ({
        outcome: 'valid',
        checkpoint: {
          tenantId: TENANT,
          seq,
          hash: chains.rowsOf(TENANT)[seq - 1]?.hash,
          previousSeq,
          signedAt: after(seconds),
        },
      })),
    );
    expect(chains.signed.map(({ signedAt }) => signedAt).at(-1)).toBe(after(60).toISOString());
  });

  test('of nothing does nothing', async () => {
    const { chains, record, seal } = setUp();
    expect(await seal()).toEqual({ sealed: 0, failures: [] });
    record(TENANT, 3);
    await seal();
    expect(await seal()).toEqual({ sealed: 0, failures: [] });
    expect(chains.signed).toHaveLength(1);
  });

  test('gives each tenant its turn', async () => {
    const { chains, record, seal } = setUp();
    record(TENANT, 9);
    record(OTHER_TENANT, 4);
    await seal();
    expect(chains.signed.map(({ tenantId, seq }) => `${tenantId} ${seq}`)).toEqual([
      't_acme 3',
      't_umbrella 3',
      't_acme 6',
      't_umbrella 4',
      't_acme 9',
    ]);
  });

  test('leaves a tenant to whoever has its head', async () => {
    const { chains, record, sealer } = setUp();
    record(TENANT, 4);
    record(OTHER_TENANT, 4);
    const sealBatch = chains.sealBatch.bind(chains);
    chains.sealBatch = (tenantId, ...rest) => (tenantId === TENANT ? Promise.resolve(null) : sealBatch(tenantId, ...rest));
    expect(await sealer.seal(new AbortController().signal)).toEqual({ sealed: 4, failures: [] });
    expect(seqsOf(chains, TENANT)).toEqual([null, null, null, null]);
  });

  test('goes on with other tenants when one cannot be sealed', async () => {
    const { chains, record, seal } = setUp();
    for (const tenantId of [TENANT, OTHER_TENANT, ZETA]) record(tenantId, 4);
    const error = conflict('it is there already');
    const sealBatch = chains.sealBatch.bind(chains);
    chains.sealBatch = (tenantId, ...rest) =>
      tenantId === OTHER_TENANT ? Promise.reject(error) : sealBatch(tenantId, ...rest);
    expect(await seal()).toEqual({ sealed: 8, failures: [{ tenantId: OTHER_TENANT, error }] });
  });

  test('ends when the store is away', async () => {
    const { chains, record, seal } = setUp();
    record(TENANT, 1);
    chains.sealBatch = () => Promise.reject(unavailable('the database is not available'));
    await expect(seal()).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('ends between two batches when it is told to', async () => {
    const { chains, record, sealer } = setUp();
    record(TENANT, 9);
    record(OTHER_TENANT, 9);
    const stop = new AbortController();
    const sealBatch = chains.sealBatch.bind(chains);
    chains.sealBatch = (...batch) => {
      stop.abort();
      return sealBatch(...batch);
    };
    expect(await sealer.seal(stop.signal)).toEqual({ sealed: 3, failures: [] });
    expect(await sealer.seal(stop.signal)).toEqual({ sealed: 0, failures: [] });
  });
});

describe('a chain is not carried on', () => {
  type Chains = ReturnType<typeof setUp>;

  const lastOf = ({ chains }: Chains): StoredCheckpoint => chains.signed.at(-1)!;
  const changeLast = (world: Chains, change: Partial<StoredCheckpoint>) => Object.assign(lastOf(world), change);
  const forged = (seq: number) => ({ seq, hash: 'ab'.repeat(32) as ChainHash });

  test.each<[name: string, tamper: (world: Chains) => unknown, why: RegExp]>([
    ['from a head with another hash', ({ chains }) => chains.heads.set(TENANT, forged(4)), /at 4, is not what the last/],
    ['from a head that was moved on', ({ chains }) => chains.heads.set(TENANT, forged(9)), /at 9, is not what the last/],
    [
      'from a head that was moved back',
      ({ chains }) => chains.heads.set(TENANT, { seq: 3, hash: chains.rowsOf(TENANT)[2]!.hash! }),
      /at 3, is not what the last/,
    ],
    ['from a head that was removed', ({ chains }) => chains.heads.delete(TENANT), /at 0, is not what the last/],
    ['without its last checkpoint', ({ chains }) => chains.signed.pop(), /at 4, is not what the last/],
    ['without any checkpoint', ({ chains }) => chains.signed.splice(0), /at 4 and no checkpoint is there/],
    [
      'from a head that somebody made up for a tenant of no checkpoints',
      ({ chains }) => {
        chains.signed.splice(0);
        chains.heads.set(TENANT, { ...forged(0), seq: 0 });
      },
      /at 0 and no checkpoint is there/,
    ],
    [
      'from a head that fits a checkpoint of another hand',
      async (world) => {
        world.chains.heads.set(TENANT, forged(4));
        const hand = await ephemeralKeyRing();
        const signing = { ...hand, signingKey: { ...hand.signingKey, kid: keys.signingKey.kid } };
        const checkpoint = { ...forged(4), tenantId: TENANT, previousSeq: 3, signedAt: after(0) };
        changeLast(world, { ...forged(4), jws: await signCheckpoint(checkpoint, signing) });
      },
      /is not what the last checkpoint says/,
    ],
    [
      'from a head that fits the columns beside what was signed',
      (world) => {
        world.chains.heads.set(TENANT, forged(4));
        changeLast(world, forged(4));
      },
      /is not what the last checkpoint says/,
    ],
    [
      "from another tenant's checkpoint",
      async (world) => {
        const checkpoint = { ...lastOf(world), tenantId: OTHER_TENANT, previousSeq: 3, signedAt: after(0) };
        changeLast(world, { jws: await signCheckpoint(checkpoint, keys) });
      },
      /is not what the last checkpoint says/,
    ],
  ])('%s', async (_name, tamper, why) => {
    const world = setUp();
    world.record(TENANT, 4);
    await world.seal();
    await tamper(world);
    world.record(TENANT, 1);
    world.record(OTHER_TENANT, 1);
    const { sealed, failures } = await world.seal();
    expect(sealed).toBe(1);
    expect(failures).toEqual([
      { tenantId: TENANT, error: expect.objectContaining({ message: expect.stringMatching(why) }) },
    ]);
    expect(seqsOf(world.chains, TENANT).at(-1)).toBeNull();
  });

  test('from a checkpoint of a key that is not on the ring, which is named', async () => {
    const world = setUp();
    world.record(TENANT, 1);
    await world.seal();
    world.record(TENANT, 1);
    const other = makeAuditSealer({ chain: world.chains, keys: await ephemeralKeyRing(), clock: world.clock });
    const { failures } = await other.seal(new AbortController().signal);
    const message = expect.stringContaining(`signed by the key ${keys.signingKey.kid}; add its public half`);
    expect(failures).toEqual([{ tenantId: TENANT, error: expect.objectContaining({ message }) }]);
  });

  test('but is by a new key that has the old one beside it', async () => {
    const world = setUp();
    world.record(TENANT, 1);
    await world.seal();
    world.record(TENANT, 1);
    const fresh = await ephemeralKeyRing();
    const rotated: KeyRing = {
      ...fresh,
      verificationKey: (kid) => fresh.verificationKey(kid) ?? keys.verificationKey(kid),
    };
    const other = makeAuditSealer({ chain: world.chains, keys: rotated, clock: world.clock });
    expect(await other.seal(new AbortController().signal)).toEqual({ sealed: 1, failures: [] });
    expect(await readCheckpoint(world.chains.signed.at(-1)!.jws, fresh)).toMatchObject({ outcome: 'valid' });
  });
});

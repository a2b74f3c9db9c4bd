import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { linkHash } from '../../src/audit/chain.ts';
import { makeAuditSealer } from '../../src/audit/seal-events.ts';
import { verifyChain } from '../../src/audit/verify-chain.ts';
import { ephemeralKeyRing } from '../../src/crypto/key-ring.ts';
import { type ChainLink, GENESIS, type SealedEvent } from '../../src/domain/audit-chain.ts';
import { anEvent, TENANT } from '../support/entities.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { MemoryChains } from './memory-chains.ts';

const keys = await ephemeralKeyRing();
const goOn = new AbortController().signal;

async function aChain(count: number, batchSize: number): Promise<MemoryChains> {
  const chains = new MemoryChains();
  chains.record(...Array.from({ length: count }, () => anEvent()));
  await makeAuditSealer({ chain: chains, keys, clock: new FakeClock(), batchSize }).seal(goOn);
  return chains;
}

const sealedRows = (chains: MemoryChains): SealedEvent[] =>
  chains.rows.filter((row): row is SealedEvent => row.seq !== null).sort((one, other) => one.seq - other.seq);
const shown = ({ event, seq, hash }: SealedEvent) => JSON.stringify([seq, hash, event]);

/** What somebody may do who can write to the database and knows how hashes are made, but has no key. */
type Step = { act: (typeof ACTS)[number]; one: number; other: number };
const ACTS = [
  'alter',
  'remove',
  'swap numbers',
  'swap hashes',
  'swap places',
  'unseal',
  'insert',
  'shift up',
  'shift down',
  'make hashes anew',
  'move the head',
  'remove the head',
  'remove a checkpoint',
  'move a checkpoint',
  'seal',
] as const;

async function tamper(chains: MemoryChains, { act, one, other }: Step): Promise<void> {
  const rows = sealedRows(chains);
  const row = rows[one % Math.max(rows.length, 1)];
  const second = rows[other % Math.max(rows.length, 1)];
  const move = (from: number, by: number) => {
    for (const later of rows) if (later.seq >= from) later.seq += by;
  };
  const checkpoint = one % Math.max(chains.signed.length, 1);
  if (act === 'seal') {
    chains.record(anEvent());
    await makeAuditSealer({ chain: chains, keys, clock: new FakeClock(), batchSize: 3 }).seal(goOn);
  }
  if (act === 'move the head') chains.heads.set(TENANT, linkOf(row));
  if (act === 'remove the head') chains.heads.delete(TENANT);
  if (act === 'remove a checkpoint') chains.signed.splice(checkpoint, 1);
  if (act === 'move a checkpoint' && chains.signed[checkpoint] !== undefined) {
    chains.signed[checkpoint] = { ...chains.signed[checkpoint], ...linkOf(row) };
  }
  if (act === 'make hashes anew') chains.heads.set(TENANT, rehash(rows, one));
  if (row === undefined || second === undefined) return;
  if (act === 'alter') row.event = { ...row.event, code: `code_${other}` };
  if (act === 'remove')
    chains.rows.splice(
      chains.rows.findIndex(({ event }) => event === row.event),
      1,
    );
  if (act === 'unseal') Object.assign(row, { seq: null, hash: null });
  if (act === 'swap numbers' || act === 'swap places') [row.seq, second.seq] = [second.seq, row.seq];
  if (act === 'swap hashes' || act === 'swap places') [row.hash, second.hash] = [second.hash, row.hash];
  if (act === 'shift up') move(row.seq, 1 + (other % 3));
  if (act === 'shift down') move(row.seq, -1);
  if (act === 'insert') {
    const { seq } = row;
    move(seq, 1);
    chains.rows.push({ event: { ...anEvent(), at: 'forged' }, seq, hash: row.hash });
  }
  removeDoubles(chains);
}

const linkOf = ({ seq, hash }: ChainLink = GENESIS): ChainLink => ({ seq, hash });

function rehash(rows: readonly SealedEvent[], from: number): ChainLink {
  let last: ChainLink = GENESIS;
  for (const [index, row] of rows.entries()) {
    if (index >= from % rows.length) row.hash = linkHash(last.hash, row.event, row.seq);
    last = linkOf(row);
  }
  return last;
}

/** A number is there once, as the database's index has it. */
function removeDoubles(chains: MemoryChains): void {
  const seen = new Set<number>();
  chains.rows = chains.rows.filter(({ seq }) => {
    if (seq === null) return true;
    const isDouble = seen.has(seq);
    seen.add(seq);
    return !isDouble;
  });
}

const steps = fc.array(fc.record({ act: fc.constantFrom(...ACTS), one: fc.nat(20), other: fc.nat(20) }), {
  minLength: 1,
  maxLength: 5,
});

describe('whatever is done to a chain without its key', () => {
  test('an intact one is what was sealed, or its beginning, and what is proven is as it was', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 12 }), fc.integer({ min: 1, max: 5 }), steps, async (count, size, acts) => {
        const chains = await aChain(count, size);
        const genuine = new Set<string>();
        const remember = () => sealedRows(chains).forEach((row) => genuine.add(shown(row)));
        remember();
        for (const step of acts) {
          const before = new Set(sealedRows(chains).map(shown));
          await tamper(chains, step);
          // What the sealer itself carries on is as genuine as what it carried on from.
          if (step.act === 'seal')
            for (const row of sealedRows(chains)) if (!before.has(shown(row))) genuine.add(shown(row));
        }
        const verdict = await verifyChain(chains, TENANT, { keys, saved: [] });
        const rows = sealedRows(chains);
        const proven = rows.filter(({ seq }) => seq >= 1 && seq <= verdict.provenUpTo);
        expect(proven.map(({ seq }) => seq)).toEqual(Array.from({ length: verdict.provenUpTo }, (_, index) => index + 1));
        for (const row of proven) expect(genuine.has(shown(row))).toBe(true);
        if (verdict.findings.length === 0) expect(rows).toHaveLength(verdict.provenUpTo);
        else for (const { message } of verdict.findings) expect(message).not.toBe('');
      }),
      { numRuns: 300 },
    );
  });

  test('everything is told when a checkpoint of the end was kept elsewhere', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 5 }), steps, async (count, size, acts) => {
        const chains = await aChain(count, size);
        const original = sealedRows(chains).map(shown);
        const end = { ...chains.heads.get(TENANT)!, tenantId: TENANT, previousSeq: 0, signedAt: new Date(0) };
        for (const step of acts) await tamper(chains, step);
        const { findings } = await verifyChain(chains, TENANT, { keys, saved: [end] });
        const isAsItWas = original.every((row, index) => row === sealedRows(chains).map(shown)[index]);
        if (!isAsItWas) expect(findings).not.toEqual([]);
      }),
      { numRuns: 300 },
    );
  });
});

describe('a finding of what happened', () => {
  test('is looked for in the whole chain, however far an event was moved', async () => {
    const chains = await aChain(3000, 1000);
    const row = chains.rows[1]!;
    row.seq = 100_000;
    const { findings } = await verifyChain(chains, TENANT, { keys, saved: [] });
    expect(findings[0]).toMatchObject({ kind: 'reordered', seq: 2, eventId: row.event.id });
  });

  test('ends with what is the first, and each kind of checkpoint trouble is told once', async () => {
    const chains = await aChain(9, 1);
    for (const checkpoint of chains.signed) checkpoint.jws = 'rubbish';
    const { findings, provenUpTo } = await verifyChain(chains, TENANT, { keys, saved: [] });
    expect(findings).toEqual([
      { kind: 'checkpoint_altered', seq: 1, eventId: null, message: 'the checkpoint at 1 is not what was signed' },
    ]);
    expect(provenUpTo).toBe(0);
  });

  test('of a tenant of which nothing is known is none', async () => {
    expect(await verifyChain(new MemoryChains(), TENANT, { keys, saved: [] })).toMatchObject({ events: 0, findings: [] });
  });
});

import { describe, expect, test } from 'vitest';
import {
  type ExportCursor,
  exportEvents,
  formatCursor,
  FROM_THE_BEGINNING,
  parseCursor,
} from '../../src/audit/export-events.ts';
import { linkHash } from '../../src/audit/chain.ts';
import { JsonLinesAuditLog } from '../../src/audit/json-lines-audit-log.ts';
import { makeAuditSealer } from '../../src/audit/seal-events.ts';
import { ephemeralKeyRing } from '../../src/crypto/key-ring.ts';
import { GENESIS } from '../../src/domain/audit-chain.ts';
import type { TenantId } from '../../src/domain/ids.ts';
import { anEvent, OTHER_TENANT, TENANT } from '../support/entities.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { ScriptedDescriptor } from '../support/scripted-descriptor.ts';
import { MemoryChains, recordedEvent } from './memory-chains.ts';

const keys = await ephemeralKeyRing();

function setUp() {
  const chains = new MemoryChains();
  const sealer = makeAuditSealer({ chain: chains, keys, clock: new FakeClock() });
  const record = (tenantId: TenantId, count: number) =>
    chains.record(...Array.from({ length: count }, () => anEvent({ subject: { tenantId } })));
  const exported = async (after: ExportCursor, limit = Infinity, tenantId: TenantId | null = null) => {
    const lines: string[] = [];
    const { count, next } = await exportEvents(chains, { after, tenantId, limit }, async (line) => void lines.push(line));
    expect(count).toBe(lines.length);
    const parsed = lines.map((line) => JSON.parse(line) as { tenant_id: string; chain_seq: number });
    return { lines, seqs: parsed.map((line) => `${line.tenant_id} ${line.chain_seq}`), next };
  };
  return { chains, record, exported, seal: () => sealer.seal(new AbortController().signal) };
}

describe('an export', () => {
  test('is the lines of the audit log, each with its place in the chain', async () => {
    const { chains, exported, seal } = setUp();
    const event = anEvent({ code: 'forbidden', reason: 'policy_missing', details: { tool: 'gh\u2028\u009b', bytes: 1 } });
    chains.record(event);
    await seal();
    const descriptor = new ScriptedDescriptor();
    new JsonLinesAuditLog({ descriptor }).append([event]);
    const place = `,"chain_seq":1,"chain_hash":"${linkHash(GENESIS.hash, recordedEvent(event), 1)}"}\n`;
    expect((await exported(FROM_THE_BEGINNING)).lines).toEqual([descriptor.written.replace(/}\n$/, place)]);
  });

  test('goes on where the last one ended, and misses and repeats nothing', async () => {
    const { record, exported, seal } = setUp();
    record(TENANT, 2);
    record(OTHER_TENANT, 1);
    await seal();
    const first = await exported(FROM_THE_BEGINNING);
    expect(first.seqs).toEqual(['t_acme 1', 't_acme 2', 't_umbrella 1']);
    expect((await exported(first.next)).seqs).toEqual([]);
    record('t_a_new_one' as TenantId, 1);
    record(TENANT, 1);
    expect((await exported(first.next)).seqs).toEqual([]);
    await seal();
    const second = await exported(parseCursor(formatCursor(first.next))!);
    expect(second.seqs.toSorted()).toEqual(['t_a_new_one 1', 't_acme 3']);
    expect((await exported(second.next)).seqs).toEqual([]);
  });

  test('has an event that committed late, whatever was written and sealed before it', async () => {
    const { chains, record, exported, seal } = setUp();
    record(TENANT, 2);
    const late = chains.rows.shift()!;
    await seal();
    const { next } = await exported(FROM_THE_BEGINNING);
    chains.rows.unshift(late);
    await seal();
    expect((await exported(next)).seqs).toEqual(['t_acme 2']);
    expect(late.seq).toBe(2);
  });

  test('may be of one tenant', async () => {
    const { record, exported, seal } = setUp();
    record(TENANT, 1);
    record(OTHER_TENANT, 2);
    await seal();
    const one = await exported(FROM_THE_BEGINNING, Infinity, OTHER_TENANT);
    expect(one.seqs).toEqual(['t_umbrella 1', 't_umbrella 2']);
    expect((await exported(one.next)).seqs).toEqual(['t_acme 1']);
  });

  test('of a few at a time comes to every tenant, however much one of them writes', async () => {
    const { record, exported, seal } = setUp();
    record(OTHER_TENANT, 3);
    let cursor = FROM_THE_BEGINNING;
    const seen: string[] = [];
    for (let round = 0; round < 4; round += 1) {
      record(TENANT, 5);
      await seal();
      const { seqs, next } = await exported(cursor, 2);
      seen.push(...seqs);
      cursor = next;
    }
    expect(seen).toEqual([
      't_acme 1',
      't_acme 2',
      't_umbrella 1',
      't_umbrella 2',
      't_acme 3',
      't_acme 4',
      't_umbrella 3',
      't_acme 5',
    ]);
  });
});

describe('a cursor', () => {
  test('is text without spaces that says how far each tenant got', () => {
    const cursor: ExportCursor = { seqs: new Map([['t_ä', 7]]), lastTenant: 't_ä' };
    expect(formatCursor(cursor)).toMatch(/^[\w-]+$/);
    expect(parseCursor(formatCursor(cursor))).toEqual(cursor);
    expect(parseCursor(`${formatCursor(FROM_THE_BEGINNING)}\n`)).toEqual(FROM_THE_BEGINNING);
  });

  const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  test.each([
    ['nothing', ''],
    ['a number', '12'],
    ['of another version', encoded({ v: 2, seqs: {}, last: null })],
    ['with a number that is none', encoded({ v: 1, seqs: { t: '1' }, last: null })],
    ['with a number below 1', encoded({ v: 1, seqs: { t: 0 }, last: null })],
    ['cut off', formatCursor({ seqs: new Map([['t', 1]]), lastTenant: null }).slice(0, -4)],
  ])('is not %s', (_name, text) => {
    expect(parseCursor(text)).toBeNull();
  });
});

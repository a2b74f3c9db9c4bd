import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { fits, linkHash, nextLink } from '../../src/audit/chain.ts';
import { eventJson } from '../../src/audit/event-json.ts';
import { type ChainHash, GENESIS, type RecordedEvent } from '../../src/domain/audit-chain.ts';
import type { AuditEvent } from '../../src/domain/audit-event.ts';
import type { EventId } from '../../src/domain/ids.ts';
import { anEvent, TENANT } from '../support/entities.ts';
import { recordedEvent } from './memory-chains.ts';

const EVENT: AuditEvent = anEvent({
  id: 'evt_1' as EventId,
  type: 'grant.refused',
  requestId: 'req_7',
  subject: {
    tenantId: TENANT,
    agentId: 'agent',
    runId: 'run',
    workloadHash: 'hash',
    sessionId: 'sess_1',
    grantId: 'gr_1',
    artifactId: 'art_1',
    approvalId: 'ap_1',
  },
  code: 'forbidden',
  reason: 'policy_missing',
  revision: 'rev',
  details: { tools: ['github', 'db'], bytes: 12, first: false, capability: 'repo.read' },
});
const RECORDED = recordedEvent(EVENT);
const PREVIOUS = 'ab'.repeat(32) as ChainHash;

/** Members sorted by name, as RFC 8785 has them, without a space. */
const CANONICAL =
  '{"agent_id":"agent","approval_id":"ap_1","artifact_id":"art_1","at":"2026-01-02T03:04:05.000Z","chain_seq":7,' +
  '"code":"forbidden","details":{"bytes":12,"capability":"repo.read","first":false,"tools":["github","db"]},' +
  '"grant_id":"gr_1","id":"evt_1","reason":"policy_missing","request_id":"req_7","revision":"rev","run_id":"run",' +
  '"session_id":"sess_1","tenant_id":"t_acme","type":"grant.refused","workload_hash":"hash"}';

describe('a link', () => {
  test('is SHA-256 over the domain, the hash before and the canonical JSON', () => {
    const bytes = Buffer.concat([Buffer.from('asb-audit-chain-v1\n'), Buffer.from(PREVIOUS, 'hex'), Buffer.from(CANONICAL)]);
    expect(linkHash(PREVIOUS, RECORDED, 7)).toBe(createHash('sha256').update(bytes).digest('hex'));
    expect(linkHash(PREVIOUS, RECORDED, 7)).toBe('488931a385b1ced132b5d41770d3a0d166fb3757bdce528c48de57e5c3d9da68');
  });

  test('begins with thirty-two zero bytes', () => {
    expect(nextLink(GENESIS, RECORDED)).toEqual({ seq: 1, hash: linkHash('0'.repeat(64) as ChainHash, RECORDED, 1) });
  });

  test('is another one for another number or another hash before', () => {
    const hashes = [
      linkHash(PREVIOUS, RECORDED, 7),
      linkHash(PREVIOUS, RECORDED, 8),
      linkHash('ac'.repeat(32) as ChainHash, RECORDED, 7),
      linkHash(GENESIS.hash, RECORDED, 7),
    ];
    expect(new Set(hashes).size).toBe(hashes.length);
  });

  const { subject } = RECORDED;
  const changes: [field: string, change: Partial<RecordedEvent>][] = [
    ['id', { id: 'evt_2' }],
    ['at', { at: '2026-01-02T03:04:05.001Z' }],
    ['at, to the microsecond', { at: '1767323045000.001 ms' }],
    ['type', { type: 'grant.issued' }],
    ['request id', { requestId: 'req_8' }],
    ['code', { code: undefined }],
    ['reason', { reason: 'policy_missing ' }],
    ['revision', { revision: '' }],
    ...Object.keys(subject).flatMap((name): [string, Partial<RecordedEvent>][] => [
      [name, { subject: { ...subject, [name]: 'other' } }],
      [`${name}, which is gone`, { subject: { ...subject, [name]: undefined } }],
    ]),
    ['details', { details: { ...EVENT.details, bytes: 13 } }],
    ['details, the kind of a value', { details: { ...EVENT.details, bytes: '12' } }],
    ['details, the order of a list', { details: { ...EVENT.details, tools: ['db', 'github'] } }],
    ['details, one more', { details: { ...EVENT.details, more: null } }],
    ['details, which are gone', { details: undefined }],
  ];
  test.each(changes)('is another one for another %s', (_field, change) => {
    expect(linkHash(PREVIOUS, { ...RECORDED, ...change }, 7)).not.toBe(linkHash(PREVIOUS, RECORDED, 7));
  });

  test('is the same whatever the order in which a database gives details back', () => {
    const turned = Object.fromEntries(Object.entries(EVENT.details ?? {}).reverse());
    expect(linkHash(PREVIOUS, { ...RECORDED, details: turned }, 7)).toBe(linkHash(PREVIOUS, RECORDED, 7));
  });

  test.each([
    ['half a surrogate pair', { name: '\ud800' }],
    ['a number that is none', { bytes: Infinity }],
  ])('of an event with %s in it is no link, and fits nowhere', (_name, details) => {
    const strange = { ...RECORDED, details };
    expect(() => linkHash(PREVIOUS, strange, 7)).toThrow();
    expect(fits(PREVIOUS, PREVIOUS, strange, 7)).toBe(false);
  });

  test('does not fit a hash that was taken away', () => {
    expect(fits('' as ChainHash, PREVIOUS, RECORDED, 7)).toBe(false);
    expect(fits(linkHash(PREVIOUS, RECORDED, 7), PREVIOUS, RECORDED, 7)).toBe(true);
  });
});

test('a link covers every name that an event has in the audit log', () => {
  expect(Object.keys(eventJson(RECORDED, RECORDED.at))).toHaveLength(
    Object.keys(JSON.parse(CANONICAL) as object).length - 1,
  );
});

import { hash } from 'node:crypto';
import canonicalize from 'canonicalize';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CanonicalRequest, requestHash } from '../../src/broker/request-hash.ts';
import type { RunId, SessionId, TenantId } from '../../src/domain/ids.ts';

const REQUEST: CanonicalRequest = {
  tenantId: 't_acme' as TenantId,
  sessionId: 'sess_1' as SessionId,
  runId: 'run_1' as RunId,
  tool: 'github',
  capability: 'repo.read',
  resourceRef: 'github:repo:acme/widgets',
  deliveryMode: 'proxy',
  ttlSeconds: 600,
  reason: 'review pull request 7',
};
const hashOf = (changes: Partial<CanonicalRequest> = {}) => requestHash({ ...REQUEST, ...changes });

test('is SHA-256, in hexadecimal, over the JSON with its names in order (RFC 8785)', () => {
  const canonical =
    '{"capability":"repo.read","delivery_mode":"proxy","reason":"review pull request 7",' +
    '"resource_ref":"github:repo:acme/widgets","run_id":"run_1","session_id":"sess_1","tenant_id":"t_acme",' +
    '"tool":"github","ttl_seconds":600}';
  expect(hashOf()).toBe(hash('sha256', canonical));
  expect(hashOf()).toMatch(/^[0-9a-f]{64}$/);
});

test('whatever is asked for, the JSON is canonical', () => {
  const text = fc.string({ unit: 'binary' }).filter((value) => value.isWellFormed());
  fc.assert(
    fc.property(text, text, fc.nat(), (reason, tool, ttlSeconds) => {
      const { tenantId: tenant_id, sessionId: session_id, runId: run_id, resourceRef: resource_ref } = REQUEST;
      const { deliveryMode: delivery_mode, capability } = REQUEST;
      const asked = { tenant_id, session_id, run_id, resource_ref, delivery_mode, capability, reason, tool };
      const canonical = canonicalize({ ...asked, ttl_seconds: ttlSeconds });
      expect(hashOf({ reason, tool, ttlSeconds })).toBe(hash('sha256', canonical ?? ''));
    }),
  );
});

test('is the same for the same request, in whatever order its fields come', () => {
  const backwards = Object.fromEntries(Object.entries(REQUEST).toReversed());
  expect(requestHash({ ...backwards, ...REQUEST })).toBe(hashOf());
  const { reason, ttlSeconds, tenantId, ...rest } = REQUEST;
  expect(requestHash({ reason, ttlSeconds, ...rest, tenantId })).toBe(hashOf());
});

/** A field that is missing here does not compile. */
const OTHERS: { [Name in keyof CanonicalRequest]-?: readonly [CanonicalRequest[Name], ...CanonicalRequest[Name][]] } = {
  tenantId: ['t_umbrella', 'T_ACME', 't_acme ', ''].map((id) => id as TenantId) as [TenantId, ...TenantId[]],
  sessionId: ['sess_2', 'sess_', 'run_1'].map((id) => id as SessionId) as [SessionId, ...SessionId[]],
  runId: ['run_2', 'run_10', 'sess_1'].map((id) => id as RunId) as [RunId, ...RunId[]],
  tool: ['db', 'Github', 'github\n', ''],
  capability: ['repo.write', 'repo.read.all', 'repo.*', ''],
  resourceRef: ['github:repo:acme/crown-jewels', 'github:repo:Acme/widgets', 'github:repo:acme/widgets/', ''],
  deliveryMode: ['wrapped_secret', 'minted_token'],
  ttlSeconds: [601, 6000, 0, null],
  reason: ['review pull request 8', 'review pull request 7 ', 'Review pull request 7', ''],
};

describe('a change of any one field is another request', () => {
  const changes = Object.entries(OTHERS).flatMap(([name, values]) => values.map((value) => [name, value] as const));
  test.each(changes)('%s becomes %j', (name, value) => {
    expect(hashOf({ [name]: value })).not.toBe(hashOf());
  });

  test('and every two of these differ, but for the TTL that is not there', () => {
    const hashes = changes.filter(([, value]) => value !== null).map(([name, value]) => hashOf({ [name]: value }));
    expect(new Set(hashes).size).toBe(hashes.length);
  });
});

test('a TTL of null and of 0 are both the default of the policy', () => {
  expect(hashOf({ ttlSeconds: null })).toBe(hashOf({ ttlSeconds: 0 }));
  expect(hashOf({ ttlSeconds: null })).not.toBe(hashOf({ ttlSeconds: 1 }));
});

describe('no value can pass as another field', () => {
  type Pair = readonly [name: string, one: Partial<CanonicalRequest>, other: Partial<CanonicalRequest>];
  const pairs: readonly Pair[] = [
    ['a value moved into the field beside it', { tool: 'a', reason: '' }, { tool: '', reason: 'a' }],
    ['two values swapped', { tool: 'a', capability: 'b' }, { tool: 'b', capability: 'a' }],
    ['a border moved between two fields', { tool: 'ab', capability: 'c' }, { tool: 'a', capability: 'bc' }],
    ['a quote and a comma', { tool: 'a","ttl_seconds":0,"x":"', ttlSeconds: 600 }, { tool: 'a', ttlSeconds: 0 }],
    [
      "the next field's JSON",
      { reason: 'x","resource_ref":"github:repo:acme/crown-jewels' },
      { reason: 'x', resourceRef: 'github:repo:acme/crown-jewels' },
    ],
    [
      'the whole JSON of another',
      { reason: JSON.stringify({ capability: 'repo.write', reason: '' }) },
      { reason: '', capability: 'repo.write' },
    ],
    ['an escape and what it stands for', { reason: 'a\\u0022b' }, { reason: 'a"b' }],
    ['a backslash before the end', { tool: 'a\\', reason: ',' }, { tool: 'a', reason: '\\,' }],
    ['a line end and its escape', { reason: 'a\nb' }, { reason: 'a\\nb' }],
    ['a zero byte and nothing', { reason: 'a\0b' }, { reason: 'ab' }],
    ['a letter and its parts', { reason: '\u00e9' }, { reason: 'e\u0301' }],
    ['a letter and its double', { reason: 'a' }, { reason: '\u0430' }],
    ['a number as text', { reason: '600', ttlSeconds: 0 }, { reason: '', ttlSeconds: 600 }],
  ];
  test.each(pairs)('%s', (_name, one, other) => {
    expect(hashOf(one)).not.toBe(hashOf(other));
  });

  test('half a character has no canonical form, and so no hash (RFC 8785 section 3.2.2.2)', () => {
    for (const half of ['\ud800', 'a\udc00b', '\ude00\ud83d']) expect(() => hashOf({ reason: half })).toThrow('surrogate');
  });

  test('whatever the values are', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc
        .array(fc.constantFrom('"', ',', ':', '{', '}', '\\', 'tool', 'reason'), { maxLength: 8 })
        .map((parts) => parts.join('')),
    );
    const request = fc.record({ tool: text, capability: text, resourceRef: text, reason: text });
    const same = (one: object, other: object) => JSON.stringify(one) === JSON.stringify(other);
    fc.assert(
      fc.property(request, request, (one, other) => {
        expect(hashOf(one) === hashOf(other)).toBe(same(one, other));
      }),
      { numRuns: 2000 },
    );
  });
});

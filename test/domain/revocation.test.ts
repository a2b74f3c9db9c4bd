import { describe, expect, it } from 'vitest';
import { dueRevocation, endRevocation, holdLease, postponeRevocation } from '../../src/domain/revocation.ts';
import { aRevocation, aSession, after } from '../support/entities.ts';

const LEASE = { leaseId: 'lease/1', expiresAt: after(300) };
const CONFLICT: unknown = expect.objectContaining({ code: 'conflict' });

const requested = aRevocation(aSession());
const { state: _, leaseExpiresAt, ...terms } = requested;
const held = holdLease(requested, LEASE);
const due = dueRevocation(held, after(20));
const done = endRevocation(due, { outcome: 'revoked', endedAt: after(30) });

describe('a revocation', () => {
  it('that is held knows its lease and when that ends', () => {
    expect(held).toEqual({ ...terms, state: 'held', leaseId: 'lease/1', leaseExpiresAt: after(300) });
  });

  it('that becomes due keeps what is known of its lease, and was never tried', () => {
    const untried = { attempts: 0, nextAttemptAt: after(20), lastError: null };
    expect(due).toEqual({ ...held, state: 'due', ...untried });
    expect(dueRevocation(requested, after(20))).toEqual({
      ...terms,
      state: 'due',
      leaseId: null,
      leaseExpiresAt,
      ...untried,
    });
  });

  it('that is put off says why, and counts no try by it', () => {
    const tried = { ...due, attempts: 3 };
    expect(postponeRevocation(tried, after(90), 'Vault answered 503')).toEqual({
      ...tried,
      nextAttemptAt: after(90),
      lastError: 'Vault answered 503',
    });
  });

  it('that is done says how, after how many tries and which lease it was', () => {
    const tried = { ...due, attempts: 2, lastError: 'Vault answered 503' };
    expect(endRevocation(tried, { outcome: 'expired', endedAt: after(300) })).toEqual({
      ...terms,
      state: 'done',
      leaseId: 'lease/1',
      outcome: 'expired',
      attempts: 2,
      lastError: 'Vault answered 503',
      endedAt: after(300),
    });
    expect(endRevocation(requested, { outcome: 'not_issued', endedAt: after(3) })).toEqual({
      ...terms,
      state: 'done',
      leaseId: null,
      outcome: 'not_issued',
      attempts: 0,
      lastError: null,
      endedAt: after(3),
    });
  });

  it.each([
    ['held twice', () => holdLease(held, LEASE)],
    ['held once it is due', () => holdLease(due, LEASE)],
    ['held once it is done', () => holdLease(done, LEASE)],
    ['made due twice', () => dueRevocation(due, after(40))],
    ['made due once it is done', () => dueRevocation(done, after(40))],
  ])('is never %s', (_name, attempt) => {
    expect(attempt).toThrow(CONFLICT);
  });
});

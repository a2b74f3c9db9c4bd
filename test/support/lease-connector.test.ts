import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { LeaseConnector } from '../../src/domain/connector.ts';
import { parseResourceRef } from '../../src/domain/resource.ts';
import { after, aRevocationId } from './entities.ts';
import { httpLeaseConnector, inProcessLeaseConnector, type LeaseStandIn, startLeaseStandIn } from './lease-connector.ts';
import { LEASE_FAULTS, type LeaseFault, LeaseLedger } from './lease-ledger.ts';

const resource = parseResourceRef('dbrole:reporting');

describe.each(['in process', 'over HTTP'])('the test connector %s', (where) => {
  let ledger: LeaseLedger;
  let connector: LeaseConnector;
  let standIn: LeaseStandIn | null = null;
  beforeEach(async () => {
    ledger = new LeaseLedger();
    standIn = where === 'over HTTP' ? await startLeaseStandIn(ledger) : null;
    connector = standIn === null ? inProcessLeaseConnector(ledger) : httpLeaseConnector(standIn.url);
  });
  afterEach(() => standIn?.close());

  const issue = (revocationId = aRevocationId(), signal = new AbortController().signal) =>
    connector.issue({ revocationId, capability: 'db.read', resource, expiresAt: after(600), signal });
  const revoke = (revocationId: ReturnType<typeof aRevocationId>, leaseId: string | null = null) =>
    connector.revoke({ revocationId, leaseId, resource, signal: new AbortController().signal });

  test('issues what is counted, and the same for the same order', async () => {
    const id = aRevocationId();
    const [one, again, other] = [await issue(id), await issue(id), await issue()];
    expect(one).toMatchObject({ leaseId: 'lease-1', expiresAt: after(600) });
    expect(one.fields.map(({ name, value }) => [name, value.reveal()])).toEqual([
      ['username', 'user-1'],
      ['password', 'CANARY-lease-password-1'],
    ]);
    expect(again.leaseId).toBe(one.leaseId);
    expect(other.leaseId).toBe('lease-2');
    expect(ledger.asked.issue).toBe(3);
    expect(ledger.alive().map(({ leaseId }) => leaseId)).toEqual(['lease-1', 'lease-2']);
  });

  test('revokes by the id of the order, with or without that of the lease, and again', async () => {
    const ids = [aRevocationId(), aRevocationId()] as const;
    const { leaseId } = await issue(ids[0]);
    await issue(ids[1]);
    await revoke(ids[0], leaseId);
    await revoke(ids[0], leaseId);
    await revoke(ids[1]);
    await revoke(aRevocationId());
    expect(ledger.alive()).toEqual([]);
    await expect(revoke(ids[1], leaseId), "another's lease").rejects.toThrow();
  });

  const outcomes: Record<LeaseFault, [code: string, issued: number]> = {
    refuse: ['forbidden', 0],
    fail_before: ['upstream_error', 0],
    fail_after: ['upstream_error', 1],
    hang_before: ['given up', 0],
    hang_after: ['given up', 1],
    lose_answer: ['unavailable', 1],
    late_effect: ['given up', 1],
  };
  test.each(LEASE_FAULTS)('can be told to fail: %s', async (fault) => {
    ledger.failNext('issue', fault);
    const caller = new AbortController();
    const failing = issue(aRevocationId(), caller.signal);
    const [code, issued] = outcomes[fault];
    if (code === 'given up') {
      while (ledger.asked.issue === 0) await new Promise(setImmediate);
      expect(ledger.issued()).toHaveLength(fault === 'hang_after' ? 1 : 0);
      const reason = new Error('given up');
      caller.abort(reason);
      await expect(failing).rejects.toBe(reason);
    } else {
      await expect(failing).rejects.toMatchObject({ code });
    }
    while (ledger.issued().length < issued) await new Promise(setImmediate);
    expect(ledger.issued()).toHaveLength(issued);
    expect(await issue(), 'the next one goes well').toMatchObject({ leaseId: `lease-${issued + 1}` });
  });

  test('can be told to go on failing', async () => {
    ledger.failAlways('revoke', 'fail_before');
    for (let count = 0; count < 3; count += 1) await expect(revoke(aRevocationId())).rejects.toThrow();
    ledger.failAlways('revoke', null);
    await revoke(aRevocationId());
  });

  test('takes roles of a database and nothing else', () => {
    expect(() => connector.checkResource(resource)).not.toThrow();
    expect(() => connector.checkResource(parseResourceRef('dbrole:Robert;--'))).toThrow();
  });
});

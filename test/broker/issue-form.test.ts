import { beforeEach, describe, expect, test } from 'vitest';
import type { FormConnector } from '../../src/domain/connector.ts';
import { upstreamError } from '../../src/domain/errors.ts';
import { Secret } from '../../src/domain/secret.ts';
import { TENANT } from '../support/entities.ts';
import { CONTEXT, GRANT_SECONDS, type LeaseWorld, makeLeaseWorld, OPERATOR, outcomeOf } from './lease-world.ts';

const REQUEST = { tool: 'browser', capability: 'browser.login', resourceRef: 'browser_origin:https://app.example' };

/** What reading meets; replaced by tests. */
let read: () => Promise<void>;
let world: LeaseWorld;
let token: string;
beforeEach(async () => {
  read = () => Promise.resolve();
  const forms: FormConnector = {
    name: 'forms',
    resourceKind: 'browser_origin',
    capabilities: ['browser.login'],
    deliveryModes: ['wrapped_secret'],
    checkResource: () => undefined,
    formOf: () => [{ name: 'password', selector: '#password' }],
    trustsRelayKey: () => true,
    readFields: () =>
      world.effects.around('read', async () => {
        await read();
        return [{ name: 'password', value: new Secret('CANARY-form') }];
      }),
  };
  world = await makeLeaseWorld([forms]);
  ({ token } = await world.openSession());
});

const grants = async () => (await world.stored.listGrants(TENANT, {}, { limit: 100, after: null })).rows;

describe('what fills a form', () => {
  test('is approved, read, and issued, in this order', async () => {
    const { grantId, delivery } = await world.request(token, REQUEST);
    expect(delivery).toMatchObject({ kind: 'wrapped_secret' });
    expect(world.effects.log).toEqual(['commit grant.approved', 'read', 'commit artifact.issued grant.issued']);
    expect(await world.stored.findGrant(TENANT, grantId)).toMatchObject({ state: 'issued' });
    expect(await world.revocation({ tenantId: TENANT, id: grantId })).toBeNull();
  });

  test('is read only when people have approved', async () => {
    world.policy.approval = { requiredApprovers: 1, ttlSeconds: 300, reuse: false };
    const { approvalId } = await world.request(token, REQUEST);
    expect(world.effects.log).not.toContain('read');
    await world.broker.approveGrant({ credential: OPERATOR, approvalId: approvalId!, approver: '', comment: '' }, CONTEXT);
    expect(world.effects.log).toContain('read');
  });

  test('that cannot be read leaves a grant that has ended', async () => {
    read = () => Promise.reject(upstreamError('Vault failed'));
    expect(await outcomeOf(world.request(token, REQUEST))).toBe('upstream_error');
    expect(await grants()).toMatchObject([{ state: 'expired', endReason: 'could not be issued' }]);
  });

  test('for a session that is revoked while it is read is given to nobody', async () => {
    const { session, token: bearer } = await world.openSession();
    read = async () => {
      await world.broker.revokeSession({ credential: bearer, sessionId: session.id, reason: '' }, CONTEXT);
    };
    expect(await outcomeOf(world.request(bearer, REQUEST))).toBe('conflict');
    expect(await grants()).toMatchObject([{ state: 'revoked' }]);
    expect(world.audit.types()).not.toContain('artifact.issued');
  });
});

test('a process that is killed at any moment leaves nothing that the worker does not end', async () => {
  const moments = 7;
  for (let moment = 0; moment < moments; moment += 1) {
    world.effects.killAt(moment);
    const outcome = await outcomeOf(world.request(token, REQUEST));
    expect(outcome === 'killed').toBe(moment < moments - 1);
    world.effects.revive();
    world.clock.advance(GRANT_SECONDS);
    await world.workOff();
    ({ token } = await world.openSession());
    const states = (await grants()).map(({ state }) => state);
    expect(new Set(states)).toEqual(moment === 0 ? new Set() : new Set(['expired']));
  }
});

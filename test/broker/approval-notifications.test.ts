import { expect, test } from 'vitest';
import { makeSessionTokens } from '../../src/authn/session-tokens.ts';
import { makeApprovalNotifications } from '../../src/broker/approval-notifications.ts';
import { requestGrant } from '../../src/broker/request-grant.ts';
import { sendNotifications } from '../../src/broker/send-notifications.ts';
import type { Notifiers } from '../../src/domain/notifier.ts';
import { OTHER_TENANT, TENANT } from '../support/entities.ts';
import { anAsked, aSlack, aWebhook, CONTEXT, ISSUER, makeWorld, type World } from '../notify/setup.ts';

/** Asks for a grant that needs people, through the real use case. */
async function askFor(world: World, notifiers: Notifiers = world.notifiers) {
  const { clock, keys, ids, repository } = world;
  const { session } = anAsked(clock.now());
  await repository.transact((unit) => unit.insertSession(session));
  const tokens = makeSessionTokens({ keys, issuer: ISSUER, clock });
  let woken = 0;
  const ask = requestGrant({
    ...world.deps,
    repository,
    tokens,
    proofs: { verify: () => Promise.reject(new Error('no proof is asked for')) },
    maxOpenGrantsPerSession: 10,
    notifications: makeApprovalNotifications({ ids, notifiers, wake: () => (woken += 1) }),
  });
  const answer = await ask(
    {
      sessionToken: await tokens.sign({ ...session, sessionId: session.id, issuedAt: clock.now() }),
      tool: 'github',
      capability: 'repo.read',
      resourceRef: 'github:repo:acme/widgets',
      deliveryMode: 'proxy',
      ttlSeconds: null,
      reason: 'look',
      requestId: null,
    },
    CONTEXT,
  );
  return { answer, woken };
}

test('a request that waits puts one message for each receiver of its tenant into the outbox', async () => {
  const world = await makeWorld(aWebhook(), aSlack(), aWebhook({ name: 'other', tenants: [OTHER_TENANT] }));
  const { answer, woken } = await askFor(world);
  const approval = await world.repository.findApproval(TENANT, answer.approvalId!);
  const waiting = await world.due(0);
  expect(waiting.map(({ receiver }) => receiver).sort()).toEqual(['hook', 'slack']);
  for (const each of waiting) {
    expect(each).toMatchObject({
      tenantId: TENANT,
      approvalId: answer.approvalId,
      attempts: 0,
      expiresAt: approval!.expiresAt,
    });
  }
  expect(woken).toBe(1);
});

test('a request of a tenant without receivers wakes nobody', async () => {
  const world = await makeWorld();
  const { answer, woken } = await askFor(world);
  expect(answer.state).toBe('pending');
  expect(woken).toBe(0);
});

test('a notifier that fails in every way does not fail the grant', async () => {
  const world = await makeWorld(aWebhook());
  const broken: Notifiers = {
    receiversOf: () => ['hook'],
    find() {
      throw new Error('broken');
    },
  };
  const { answer } = await askFor(world, broken);
  const pass = sendNotifications({ ...world.deps, notifiers: broken })(100, 'req_1', CONTEXT.signal);
  await expect(pass).rejects.toThrow('broken');
  expect(await world.repository.findGrant(TENANT, answer.grantId)).toMatchObject({ state: 'pending' });
});

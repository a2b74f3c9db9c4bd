import { Webhook } from 'standardwebhooks';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { Secret } from '../../src/domain/secret.ts';
import { requireWebhookSecret } from '../../src/notify/webhook.ts';
import { OTHER_TENANT } from '../support/entities.ts';
import { type ReceivedMessage, startReceiver, type TestReceiver } from '../support/receiver.ts';
import { aWebhook, makeWorld, SECRET, type World } from './setup.ts';

let hook: TestReceiver;
let world: World;

beforeEach(async () => {
  hook = await startReceiver();
  world = await makeWorld(aWebhook({ url: hook.url }));
  // The package's own check looks at the machine's time.
  vi.spyOn(Date, 'now').mockImplementation(() => world.clock.now().getTime());
});

afterEach(async () => {
  vi.restoreAllMocks();
  await hook.close();
});

const asHeaders = ({ headers }: ReceivedMessage) => headers as Record<string, string>;
const verify = (message: ReceivedMessage, secret = SECRET): unknown =>
  new Webhook(secret).verify(message.body, asHeaders(message));
const dataOf = (message: ReceivedMessage) =>
  z.object({ data: z.record(z.string(), z.unknown()) }).parse(verify(message)).data;

async function sent(): Promise<ReceivedMessage> {
  await world.send();
  return hook.received.at(-1)!;
}

test('a webhook says all that is decided about', async () => {
  const { session, grant, approval } = await world.ask({ approval: { requiredApprovers: 2 } });
  const message = await sent();
  expect(message).toMatchObject({ method: 'POST', path: '/hook', headers: { 'content-type': 'application/json' } });
  expect(verify(message)).toEqual({
    type: 'approval.requested',
    timestamp: '2026-01-02T03:04:05.000Z',
    data: {
      tenant_id: 't_acme',
      approval_id: approval.id,
      grant_id: grant.id,
      session_id: session.id,
      agent_id: 'agent_pr_reviewer',
      run_id: 'run_1',
      workload_subject: 'system:serviceaccount:agents:reviewer',
      tool: 'github',
      capability: 'repo.read',
      resource_ref: 'github:repo:acme/widgets',
      delivery_mode: 'proxy',
      ttl_seconds: 600,
      reason: 'review pull request 7',
      request_hash: approval.requestHash,
      required_approvers: 2,
      reuse: false,
      excluded: [{ issuer: 'https://kubernetes.default.svc', subject: 'system:serviceaccount:agents:reviewer' }],
      expires_at: '2026-01-02T03:09:05.000Z',
      links: {
        approve: expect.stringMatching(/^https:\/\/asb\.example\/broker\/approval#[\w-]+\.[\w-]+\.[\w-]+$/),
        deny: expect.stringMatching(/^https:\/\/asb\.example\/broker\/approval#[\w-]+\.[\w-]+\.[\w-]+$/),
      },
    },
  });
});

test('a webhook says when one yes answers again', async () => {
  await world.ask({ approval: { reuse: true } });
  expect(dataOf(await sent())).toMatchObject({ reuse: true });
});

test('there are no links where they are switched off', async () => {
  world.configured.receivers = [aWebhook({ url: hook.url, links: false })];
  await world.ask();
  expect(dataOf(await sent())).not.toHaveProperty('links');
});

test('its signature is of the moment of the try, and its id and body stay', async () => {
  await world.ask();
  hook.answer = () => ({ status: 500 });
  const first = await sent();
  world.clock.advance(2);
  const second = await sent();
  expect(verify(second)).toEqual(verify(first));
  expect(second.body).toBe(first.body);
  const [one, other] = [asHeaders(first), asHeaders(second)];
  expect(other['webhook-id']).toBe(one['webhook-id']);
  expect(Number(other['webhook-timestamp'])).toBe(Number(one['webhook-timestamp']) + 2);
  expect(other['webhook-signature']).not.toBe(one['webhook-signature']);
});

describe('a receiver that checks signatures refuses', () => {
  const wrong: readonly [name: string, change: (message: ReceivedMessage) => ReceivedMessage, secret?: string][] = [
    ['an altered body', (message) => ({ ...message, body: message.body.replace('repo.read', 'repo.write') })],
    ['another id', (message) => ({ ...message, headers: { ...message.headers, 'webhook-id': 'ntf_other' } })],
    ['another time', (message) => ({ ...message, headers: { ...message.headers, 'webhook-timestamp': '1767323046' } })],
    ['another secret', (message) => message, `whsec_${Buffer.alloc(32, 1).toString('base64')}`],
  ];
  test.each(wrong)('%s', async (_name, change, secret) => {
    await world.ask();
    const message = await sent();
    expect(() => verify(change(message), secret)).toThrow('No matching signature found');
  });

  test('what is replayed after five minutes', async () => {
    await world.ask();
    const message = await sent();
    world.clock.advance(301);
    expect(() => verify(message)).toThrow('too old');
  });
});

test("an agent's words are shown for what they are", async () => {
  await world.ask({
    grant: { reason: 'pay\u202Egnp.exe\u0000\nTool: none\u200B', resourceRef: 'github:repo:acme/\u2066widgets' },
  });
  const data = dataOf(await sent());
  expect(data.reason).toBe('pay\\u{202e}gnp.exe\\u{0} ↵ Tool: none\\u{200b}');
  expect(data.resource_ref).toBe('github:repo:acme/\\u{2066}widgets');
});

test('words that would become very long are cut', async () => {
  await world.ask({ grant: { reason: '\u202e'.repeat(1000) } });
  const { reason } = dataOf(await sent());
  expect(reason).toMatch(/^(\\u\{202e\}){240,}… \[cut\]$/);
});

test('another tenant is not told', async () => {
  world.configured.receivers = [aWebhook({ url: hook.url, tenants: [OTHER_TENANT] })];
  await world.ask();
  await world.send();
  expect(hook.received).toEqual([]);
});

describe('a secret', () => {
  test.each([
    SECRET,
    SECRET.slice('whsec_'.length),
    Buffer.alloc(24).toString('base64'),
    Buffer.alloc(64).toString('base64'),
  ])('passes when it is what Standard Webhooks wants: %#', (secret) => {
    expect(() => requireWebhookSecret(new Secret(secret))).not.toThrow();
  });

  test.each([
    ['empty', ''],
    ['a password', 'CANARY hunter2'],
    ['too short', Buffer.alloc(23).toString('base64')],
    ['too long', Buffer.alloc(65).toString('base64')],
    ['base64url', Buffer.alloc(32, 255).toString('base64url')],
    ['without its padding', Buffer.alloc(32).toString('base64').replace('=', '')],
  ])('is refused when it is %s, and not repeated', (_name, secret) => {
    expect(() => requireWebhookSecret(new Secret(secret))).toThrow(/^must be 24 to 64 random bytes in base64/);
  });
});

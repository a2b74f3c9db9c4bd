import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { base64Decode } from '@bufbuild/protobuf/wire';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { BrokerService } from '../../src/gen/asb/v1/broker_pb.ts';
import { type Asb, bodyOf, GRANT_REQUEST, sessionRequest, startAsb } from '../support/asb.ts';

let asb: Asb;
beforeAll(async () => {
  asb = await startAsb();
});
afterAll(() => asb.close());

const proxied = z.object({ payload: z.string(), content_type: z.string(), next_page: z.number().optional() });
const json = (answer: unknown): unknown => JSON.parse(new TextDecoder().decode(base64Decode(proxied.parse(answer).payload)));

describe('an attested agent run reads GitHub through the broker', () => {
  test.each([0, 1, 2, 3, 4])('over transport %i', async (index) => {
    const client = asb.clients[index]!;
    const opened = z
      .object({ session_id: z.string().startsWith('sess_'), session_token: z.string(), expires_at: z.iso.datetime() })
      .parse(bodyOf(await client.call('createSession', await sessionRequest(asb.attestation))));
    const bearer = opened.session_token;

    const grant = z
      .object({
        grant_id: z.string().startsWith('gr_'),
        state: z.literal('issued'),
        delivery: z.object({ kind: z.literal('proxy_handle'), handle: z.string().regex(/^ph_[\w-]{43}$/) }),
        expires_at: z.iso.datetime(),
      })
      .parse(bodyOf(await client.call('requestGrant', GRANT_REQUEST, { bearer })));
    expect(Date.parse(grant.expires_at)).toBe(asb.clock.now().getTime() + 300_000);

    const use = { proxy_handle: grant.delivery.handle };
    const read = async (operation: string, params: Record<string, number>) =>
      bodyOf(await client.call('executeGitHubProxy', { ...use, operation, params }));
    expect(json(await read('pull_request_metadata', { pull_number: 10 }))).toMatchObject({ number: 10 });
    expect(json(await read('pull_request_files', { pull_number: 10 }))).toHaveLength(3);
    expect(json(await read('repository_metadata', {}))).toMatchObject({ full_name: 'acme/widgets' });
    const issues = await read('repository_issues', { per_page: 5 });
    expect(json(issues)).toHaveLength(5);
    expect(issues).toMatchObject({ next_page: 2, content_type: 'application/json; charset=utf-8' });

    expect(bodyOf(await client.call('revokeGrant', { grant_id: grant.grant_id, reason: 'done' }, { bearer }))).toEqual({
      state: 'revoked',
    });
    const dead = await client.call('executeGitHubProxy', { ...use, operation: 'repository_metadata' });
    expect(dead).toMatchObject({ ok: false, code: 'unauthorized' });

    const ended = await client.call('revokeSession', { session_id: opened.session_id, reason: 'done' }, { bearer });
    expect(bodyOf(ended)).toEqual({ state: 'revoked' });
    expect(await client.call('requestGrant', GRANT_REQUEST, { bearer })).toMatchObject({ ok: false, code: 'unauthorized' });
  });

  test('with a generated client over gRPC', async () => {
    const client = createClient(BrokerService, createGrpcTransport({ baseUrl: asb.grpcUrl }));
    const { kind, token } = await asb.attestation();
    const session = await client.createSession({
      tenantId: 't_dev',
      agentId: 'reviewer',
      runId: 'run-2',
      toolContext: ['github'],
      attestation: { kind, token },
    });
    const grant = await client.requestGrant({
      sessionToken: session.sessionToken,
      tool: 'github',
      capability: 'repo.read',
      resourceRef: 'github:repo:acme/widgets',
      deliveryMode: 'proxy',
    });
    const answer = await client.executeGitHubProxy({
      proxyHandle: grant.delivery?.handle ?? '',
      operation: 'pull_request_metadata',
      params: { pull_number: 10 },
    });
    expect(JSON.parse(new TextDecoder().decode(answer.payload))).toMatchObject({ number: 10 });
  });

  test('with curl', async () => {
    const curl = async (path: string, body: unknown, token?: string): Promise<unknown> => {
      const authorization = token === undefined ? [] : ['-H', `authorization: Bearer ${token}`];
      const { stdout } = await promisify(execFile)('curl', [
        ...['-sS', '--fail-with-body', `${asb.url}${path}`, '-H', 'content-type: application/json'],
        ...[...authorization, '-d', JSON.stringify(body)],
      ]);
      return JSON.parse(stdout);
    };
    const session = z
      .object({ session_token: z.string() })
      .parse(await curl('/v1/sessions', await sessionRequest(asb.attestation)));
    const grant = z
      .object({ delivery: z.object({ handle: z.string() }) })
      .parse(await curl('/v1/grants', GRANT_REQUEST, session.session_token));
    const use = { proxy_handle: grant.delivery.handle, operation: 'pull_request_metadata', params: { pull_number: 10 } };
    expect(await curl('/v1/proxy/github/rest', use)).toMatchObject({ number: 10 });
  });
});

test('every step is on record, in order, with the request and the revision that made it', async () => {
  const seen = asb.audit.events.length;
  const session = await asb.openSession({ run_id: 'run-audit' });
  const grant = await asb.requestGrant(session.session_token);
  await asb.call('executeGitHubProxy', { proxy_handle: grant.delivery.handle, operation: 'repository_metadata' });
  await asb.call('revokeSession', { session_id: session.session_id, reason: 'done' }, { bearer: session.session_token });
  const events = asb.audit.events.slice(seen);
  expect(events.map(({ type }) => type)).toEqual([
    'session.created',
    'grant.approved',
    'artifact.issued',
    'grant.issued',
    'proxy.requested',
    'proxy.completed',
    'session.revoked',
    'grant.revoked',
    'artifact.revoked',
  ]);
  for (const event of events) {
    expect(event).toMatchObject({
      revision: expect.stringMatching(/^[0-9a-f]{64}$/),
      requestId: expect.stringMatching(/^req_/),
    });
    expect(event.subject).toMatchObject({
      tenantId: 't_dev',
      agentId: 'reviewer',
      runId: 'run-audit',
      sessionId: session.session_id,
    });
  }
});

test('a session never outlives its attestation, nor a grant its session', async () => {
  const exp = Math.floor(asb.clock.now().getTime() / 1000) + 90;
  const session = await asb.openSession({ attestation: await asb.attestation({ exp }) });
  expect(Date.parse(session.expires_at) / 1000).toBe(exp);
  const grant = await asb.requestGrant(session.session_token, { ttl_seconds: 86_400 });
  expect(Date.parse(grant.expires_at) / 1000).toBe(exp);
});

test('the keys that verify session tokens are public', async () => {
  const answer = await asb.raw.send({ method: 'GET', path: '/.well-known/jwks.json' });
  expect(JSON.parse(answer.body.toString())).toMatchObject({
    keys: [{ kty: 'OKP', crv: 'Ed25519', alg: 'EdDSA', use: 'sig' }],
  });
});

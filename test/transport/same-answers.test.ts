import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { BrokerError, type ErrorCode, type ErrorOptions, forbidden } from '../../src/domain/errors.ts';
import { BrokerService } from '../../src/gen/asb/v1/broker_pb.ts';
import { OperatorService } from '../../src/gen/asb/v1/operator_pb.ts';
import { CALLS } from '../../src/transport/calls.ts';
import { ERROR_CODES } from '../../src/transport/errors.ts';
import { CALL_CASES, caseOf } from '../support/call-cases.ts';
import { EveryTransport, TRANSPORT_NAMES, type TransportName } from '../support/every-transport.ts';
import type { CallResult } from '../support/transports.ts';

let transports: EveryTransport;

beforeAll(async () => {
  transports = await EveryTransport.open();
});
afterAll(() => transports.close());
afterEach(() => transports.reset());

const using = (name: TransportName) => transports.using(name);

function refusal(result: CallResult): Exclude<CallResult, { ok: true }> {
  if (result.ok) throw new Error('expected a refusal');
  return result;
}

it('every call of both services is described, once', () => {
  const methods = [...BrokerService.methods, ...OperatorService.methods];
  expect(CALLS.map((call) => call.name).sort()).toEqual(methods.map((method) => method.name).sort());
  expect(CALL_CASES.map((one) => one.call).sort()).toEqual(methods.map((method) => method.localName).sort());
});

describe.each(TRANSPORT_NAMES)('%s', (name) => {
  it.each(CALL_CASES)('carries $call', async ({ call, request, bearer, asked, answer }) => {
    const { client, listeners } = using(name);
    const result = await client.call(call, request, bearer === undefined ? {} : { bearer });
    // All of it: what the wire does not list, such as the id of a token, stays in.
    expect(result).toEqual({ ok: true, body: answer, headers: expect.anything() });
    expect(listeners.broker.received).toHaveLength(1);
    expect(listeners.broker.received[0]).toMatchObject({ call });
    expect(listeners.broker.received[0]?.request).toEqual(asked);
  });

  it.each(ERROR_CODES)('tells %s with the same words, code and detail', async (code: ErrorCode) => {
    const { client, listeners } = using(name);
    const options: ErrorOptions = code === 'rate_limited' ? { retryAfterSeconds: 2.2 } : {};
    listeners.broker.before(async () => {
      throw code === 'forbidden'
        ? forbidden('policy_missing', 'no policy', { rule: 'policy:repo.read' })
        : new BrokerError(code, `told: ${code}`, options);
    });
    const result = await client.call('requestGrant', caseOf('requestGrant').request, {
      headers: { 'x-request-id': 'mine-1' },
    });
    const message =
      code === 'forbidden'
        ? 'no policy'
        : code === 'internal'
          ? 'internal error; quote the request id to the operator'
          : `told: ${code}`;
    expect(result).toEqual({
      ok: false,
      code,
      message,
      reason: code === 'forbidden' ? 'policy_missing' : null,
      rule: code === 'forbidden' ? 'policy:repo.read' : null,
      retryAfterSeconds: code === 'rate_limited' ? 3 : null,
      requestId: 'mine-1',
      headers: {
        requestId: 'mine-1',
        cacheControl: 'no-store',
        retryAfter: code === 'rate_limited' ? '3' : null,
        challenge: code === 'unauthorized' ? 'Bearer' : null,
      },
    });
  });

  it('tells nothing of an error nobody foresaw', async () => {
    const { client, listeners } = using(name);
    listeners.broker.before(async () => {
      throw new Error('password=hunter2');
    });
    const result = await client.call('requestGrant', caseOf('requestGrant').request);
    expect(JSON.stringify(result)).not.toContain('hunter2');
    expect(refusal(result)).toMatchObject({
      code: 'internal',
      message: 'internal error; quote the request id to the operator',
    });
  });

  it('names every mistake of a request in one message', async () => {
    const { client, listeners } = using(name);
    const result = await client.call('createSession', {
      tenant_id: '',
      agent_id: 'a b',
      run_id: 'x'.repeat(201),
      tool_context: [],
      attestation: { kind: 'saml', token: '' },
    });
    expect(refusal(result).code).toBe('invalid_request');
    expect(refusal(result).message).toBe(
      'tenant_id: is required; ' +
        'agent_id: must start with a letter or digit, and hold only letters, digits and . _ : @ / -; ' +
        'run_id: must be 200 characters at most; tool_context: is required; ' +
        'attestation.kind: must be one of k8s_sa_jwt, oidc_jwt; attestation.token: is required',
    );
    expect(listeners.broker.received).toEqual([]);
  });

  it.each([
    ['a name with a NUL', { tool: 'git\u0000hub' }, /^tool: must be well-formed Unicode without U\+0000$/],
    ['a reason with a NUL', { reason: 'a\u0000b' }, /^reason: must be well-formed Unicode without U\+0000$/],
    ['a name of another script', { capability: 'rеpo.read' }, /^capability: must start/],
    ['a negative time to live', { ttl_seconds: '-1' }, /^ttl_seconds: must be a whole number from 0 to 86400$/],
    ['a time to live beyond a day', { ttl_seconds: '86401' }, /^ttl_seconds: must be a whole number from 0 to 86400$/],
    ['an absurd time to live', { ttl_seconds: '9223372036854775807' }, /^ttl_seconds: must be a whole number/],
    [
      'an unknown delivery mode',
      { delivery_mode: 'email' },
      /^delivery_mode: must be one of proxy, wrapped_secret, minted_token$/,
    ],
    ['a reason that is too long', { reason: 'x'.repeat(1001) }, /^reason: must be 1000 characters at most$/],
    ['a reason with a control character', { reason: 'a\u0007b' }, /^reason: must hold no control characters$/],
    ['a resource with a space', { resource_ref: 'dbrole: x' }, /^resource_ref: must hold only visible ASCII characters$/],
    [
      'a token that is too long',
      { session_token: 'x'.repeat(16 * 1024 + 1) },
      /^session_token: must be 16384 characters at most$/,
    ],
  ])('refuses %s', async (_what, change, message) => {
    const { client } = using(name);
    const result = refusal(await client.call('requestGrant', { ...caseOf('requestGrant').request, ...change }));
    expect(result.code).toBe('invalid_request');
    expect(result.message).toMatch(message);
  });

  it.each([
    ['in the body', 'in-body', undefined, 'in-body'],
    ['in the header', '', 'in-header', 'in-header'],
    ['in both, the same', 'same', 'same', 'same'],
    ['nowhere', '', undefined, null],
  ])('takes the session token %s', async (_where, session_token, bearer, expected) => {
    const { client, listeners } = using(name);
    const request = { ...caseOf('requestGrant').request, session_token };
    await client.call('requestGrant', request, bearer === undefined ? {} : { bearer });
    expect(listeners.broker.received[0]?.request).toMatchObject({ sessionToken: expected });
  });

  it.each(CALL_CASES.filter(({ asked }) => 'credential' in asked))(
    'reads the token of $call out of the header alone, whoever it speaks for',
    async ({ call, request }) => {
      const { client, listeners } = using(name);
      for (const scheme of ['Bearer', 'bearer', 'DPoP', 'dpop']) {
        await client.call(call, request, { headers: { authorization: `${scheme} any.one` } });
      }
      await client.call(call, request);
      const credentials = listeners.broker.received.map(
        (received) => (received.request as { credential: unknown }).credential,
      );
      expect(credentials).toEqual(['any.one', 'any.one', 'any.one', 'any.one', null]);
    },
  );

  it('refuses a page and a wait that are too long in the same words', async () => {
    const { client } = using(name);
    const page = refusal(await client.call('listGrants', { tenant_id: 't_acme', page_size: 201 }));
    expect(page.message).toBe('page_size: must be a whole number from 0 to 200');
    const wait = refusal(await client.call('getGrant', { grant_id: 'gr_1', wait_seconds: 31 }));
    expect(wait.message).toBe('wait_seconds: must be a whole number from 0 to 30');
  });

  it('takes no id of a request for none', async () => {
    const { client, listeners } = using(name);
    await client.call('requestGrant', { ...caseOf('requestGrant').request, request_id: '' });
    expect(listeners.broker.received[0]?.request).toMatchObject({ requestId: null });
  });

  it('refuses two session tokens that differ', async () => {
    const { client, listeners } = using(name);
    const result = await client.call('requestGrant', caseOf('requestGrant').request, { bearer: 'another' });
    expect(refusal(result)).toMatchObject({
      code: 'invalid_request',
      message: 'session_token: differs from the token in the Authorization header; send one of them',
    });
    expect(listeners.broker.received).toEqual([]);
  });

  it('reads no token out of another scheme', async () => {
    const { client, listeners } = using(name);
    const request = { ...caseOf('requestGrant').request, session_token: '' };
    await client.call('requestGrant', request, { headers: { authorization: 'Basic dXNlcjpwYXNz' } });
    expect(listeners.broker.received[0]?.request).toMatchObject({ sessionToken: null });
  });

  it('takes no time to live, and nought, for the default of the policy', async () => {
    const { client, listeners } = using(name);
    for (const ttl_seconds of ['0', '']) {
      const { ttl_seconds: _ttl, ...request } = caseOf('requestGrant').request;
      await client.call('requestGrant', ttl_seconds === '' ? request : { ...request, ttl_seconds });
    }
    expect(listeners.broker.received.map(({ request }) => request)).toMatchObject([
      { ttlSeconds: null },
      { ttlSeconds: null },
    ]);
  });

  it('refuses parameters that are nested too deep', async () => {
    const { client } = using(name);
    const params = JSON.parse('{"a":'.repeat(17) + '1' + '}'.repeat(17));
    const result = await client.call('executeGitHubProxy', { ...caseOf('executeGitHubProxy').request, params });
    expect(refusal(result)).toMatchObject({ code: 'invalid_request', message: 'params: must be nested 16 deep at most' });
  });
});

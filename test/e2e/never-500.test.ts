import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Asb, GRANT_REQUEST, sessionRequest, startAsb } from '../support/asb.ts';
import type { RawAnswer } from '../support/transports.ts';

let asb: Asb;
let valid: Record<string, Record<string, unknown>>;
let bearer: string;
beforeAll(async () => {
  asb = await startAsb({ ASB_PROXY_MAX_REQUESTS: '1000000' });
  const session = await asb.openSession();
  const grant = await asb.requestGrant(session.session_token);
  bearer = session.session_token;
  valid = {
    '/v1/sessions': await sessionRequest(asb.attestation),
    '/v1/grants': GRANT_REQUEST,
    '/v1/proxy/github/rest': {
      proxy_handle: grant.delivery.handle,
      operation: 'pull_request_metadata',
      params: { pull_number: 10 },
    },
    [`/v1/grants/${grant.grant_id}:revoke`]: { reason: 'x' },
    '/v1/approvals/ap_1:approve': { approver: 'x', comment: 'y' },
    '/v1/browser/relay-sessions': { key_id: 'k', public_key: 'p', origin: 'https://a.example', tab_id: '1', selectors: {} },
    '/v1/approvals/ap_1:callback': { assertion: 'a.b.c', comment: '' },
    '/v1/runs/run-1:revoke': { tenant_id: 't_dev', reason: 'x' },
    '/v1/decisions:explain': {
      tenant_id: 't_dev',
      session_id: session.session_id,
      ...GRANT_REQUEST,
    },
    '/v1/artifacts/art_1:unwrap': { key_id: 'k', origin: 'https://a.example', tab_id: '1' },
  };
});
afterAll(() => asb.close());

const RUNS = 400;

function expectDecent({ status, headers, body }: RawAnswer): void {
  expect(status, body.toString()).not.toBe(500);
  expect(status).toBeGreaterThanOrEqual(200);
  expect(headers['x-request-id']).toBeTypeOf('string');
  expect(headers['cache-control']).toBe('no-store');
  if (status >= 400) {
    expect(JSON.parse(body.toString())).toMatchObject({ error: expect.any(String), code: expect.any(String) });
  }
}

const paths = () => Object.keys(valid);
const anything = fc.jsonValue({ maxDepth: 4, noUnicodeString: false });

test('no body makes a 500', async () => {
  const body = fc.oneof(
    fc.string(),
    fc.json(),
    fc.constantFrom(
      '',
      '{',
      '[]',
      'null',
      '{"__proto__":{"a":1}}',
      '{"constructor":{"prototype":{}}}',
      '\u0000',
      '{"a":1,"a":2}',
      '['.repeat(10_000),
    ),
  );
  await fc.assert(
    fc.asyncProperty(fc.nat(), body, async (index, text) => {
      const path = paths()[index % paths().length]!;
      expectDecent(await asb.raw.postJson(path, text, { authorization: `Bearer ${bearer}` }));
    }),
    { numRuns: RUNS },
  );
});

test('no value in the place of a good one makes a 500', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(),
      fc.nat(),
      fc.oneof(anything, fc.string({ unit: 'binary' }), fc.double()),
      async (index, field, value) => {
        const path = paths()[index % paths().length]!;
        const body = valid[path]!;
        const key = Object.keys(body)[field % Object.keys(body).length]!;
        expectDecent(await asb.raw.postJson(path, { ...body, [key]: value }, { authorization: `Bearer ${bearer}` }));
      },
    ),
    { numRuns: RUNS },
  );
});

test('no resource reference makes a 500', async () => {
  const reference = fc.oneof(
    fc.string({ unit: 'binary' }).map((name) => `github:repo:${name}`),
    fc.tuple(fc.string(), fc.string()).map(([owner, repo]) => `github:repo:${owner}/${repo}`),
    fc.string({ unit: 'binary' }),
    fc.constantFrom('dbrole:', 'dbrole:x', 'browser_origin:https://a', 'github:repo:__proto__/constructor'),
  );
  await fc.assert(
    fc.asyncProperty(reference, async (resource_ref) => {
      const answer = await asb.raw.postJson(
        '/v1/grants',
        { ...GRANT_REQUEST, resource_ref },
        { authorization: `Bearer ${bearer}` },
      );
      expectDecent(answer);
    }),
    { numRuns: RUNS },
  );
});

test('no parameter makes a 500 or reaches GitHub outside the repository', async () => {
  const value = fc.oneof(anything, fc.string({ unit: 'binary' }), fc.constantFrom('../..', '%2e%2e', '10/../../user'));
  const params = fc.dictionary(
    fc.constantFrom('pull_number', 'owner', 'repo', 'page', 'per_page', 'state', 'labels', '__proto__', 'path'),
    value,
  );
  const operation = fc.constantFrom(
    'pull_request_metadata',
    'pull_request_files',
    'repository_metadata',
    'repository_issues',
  );
  await fc.assert(
    fc.asyncProperty(operation, params, async (name, given) => {
      const { proxy_handle } = valid['/v1/proxy/github/rest']!;
      expectDecent(await asb.raw.postJson('/v1/proxy/github/rest', { proxy_handle, operation: name, params: given }));
    }),
    { numRuns: RUNS },
  );
  for (const { url } of asb.github.requests)
    expect(url).toMatch(/^\/repos\/acme\/widgets(\/(pulls\/\d+(\/files)?|issues))?(\?|$)/);
});

test('no header makes a 500', async () => {
  const headerValue = fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)) });
  const name = fc.constantFrom(
    'authorization',
    'content-type',
    'x-request-id',
    'accept',
    'connect-protocol-version',
    'connect-timeout-ms',
    'content-encoding',
    'x-forwarded-for',
    'accept-encoding',
    'expect-ct',
  );
  const target = fc.constantFrom('/v1/grants', '/v1/sessions', '/asb.v1.BrokerService/RequestGrant', '/healthz');
  await fc.assert(
    fc.asyncProperty(target, fc.dictionary(name, headerValue), async (path, headers) => {
      const answer = await asb.raw.send({
        path,
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(GRANT_REQUEST),
      });
      expect(answer.status, answer.body.toString()).not.toBe(500);
      expect(answer.headers['x-request-id']).toBeTypeOf('string');
    }),
    { numRuns: RUNS },
  );
});

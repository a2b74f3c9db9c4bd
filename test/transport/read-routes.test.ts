import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { CALLS } from '../../src/transport/calls.ts';
import { type Listeners, startListeners } from '../support/listeners.ts';
import { type RawAnswer, RawClient } from '../support/transports.ts';

let listeners: Listeners;
let raw: RawClient;

beforeAll(async () => {
  listeners = await startListeners();
  raw = new RawClient(listeners.httpUrl);
});
afterAll(async () => {
  raw.close();
  await listeners.close();
});
afterEach(() => {
  listeners.broker.received.length = 0;
});

const get = (path: string): Promise<RawAnswer> => raw.send({ method: 'GET', path });
const parsed = (answer: RawAnswer) => z.record(z.string(), z.unknown()).parse(JSON.parse(answer.body.toString()));

interface Attempt {
  name: string;
  path: string;
  status?: number;
  message: RegExp;
}

const TENANT = 'tenant_id=t_acme';
const PAGE_SIZE = /^page_size: must be a whole number from 0 to 200$/;
const WAIT = /^wait_seconds: must be a whole number from 0 to 30$/;
const NAME = /^grant_id: must start with a letter or digit/;

const ATTEMPTS: readonly Attempt[] = [
  { name: 'no tenant', path: '/v1/grants', message: /^tenant_id: is required$/ },
  { name: 'a blank tenant', path: '/v1/grants?tenant_id=', message: /^tenant_id: is required$/ },
  {
    name: 'a tenant given twice',
    path: `/v1/grants?${TENANT}&tenant_id=t_other`,
    message: /^tenant_id: must be given once$/,
  },
  {
    name: 'a tenant given twice, the same',
    path: `/v1/grants?${TENANT}&${TENANT}`,
    message: /^tenant_id: must be given once$/,
  },
  {
    name: 'many parameters given twice',
    path: `/v1/grants?${Array.from({ length: 30 }, (_, i) => `f${i}=1&f${i}=2`).join('&')}`,
    message: /^f0: must be given once; .*; f19: must be given once; and 10 more$/,
  },
  {
    name: 'a list in brackets',
    path: '/v1/grants?tenant_id[]=t_acme',
    message: /^tenant_id: is required; tenant_id\[\]: unknown field$/,
  },
  {
    name: 'an object in brackets',
    path: `/v1/grants?${TENANT}&tenant_id[$ne]=x`,
    message: /^tenant_id\[\$ne\]: unknown field$/,
  },
  { name: 'an object in dots', path: `/v1/grants?${TENANT}&state.x=1`, message: /^state\.x: unknown field$/ },
  { name: 'a NUL in a value', path: '/v1/grants?tenant_id=t%00', message: /^tenant_id: must be well-formed/ },
  { name: 'an escape that is none', path: '/v1/grants?tenant_id=%zz', message: /^tenant_id: must start/ },
  { name: 'an escape that is no UTF-8', path: '/v1/grants?tenant_id=%E0%A4%A', message: /^tenant_id: must start/ },
  { name: 'an unknown parameter', path: `/v1/grants?${TENANT}&limit=5`, message: /^limit: unknown field$/ },
  { name: 'two unknown parameters', path: `/v1/grants?${TENANT}&a=1&b`, message: /^a: unknown field; b: unknown field$/ },
  {
    name: 'an unknown parameter that is no text',
    path: `/v1/grants?${TENANT}&%E2%80%AE%01=1`,
    message: /^\?\?: unknown field$/,
  },
  {
    name: 'an unknown parameter with a NUL',
    path: `/v1/grants?${TENANT}&a%00=1`,
    message: /^a\?: must be well-formed Unicode without U\+0000$/,
  },
  { name: '__proto__', path: `/v1/grants?${TENANT}&__proto__=x`, message: /^__proto__: unknown field$/ },
  { name: '__proto__ beside an id', path: '/v1/grants/gr_1?__proto__=x', message: /^__proto__: unknown field$/ },
  {
    name: '__proto__ in brackets',
    path: `/v1/grants?${TENANT}&__proto__[state]=issued`,
    message: /^__proto__\[state\]: unknown field$/,
  },
  { name: 'constructor', path: `/v1/grants?${TENANT}&constructor=x`, message: /^constructor: unknown field$/ },
  { name: 'hasOwnProperty', path: `/v1/grants?${TENANT}&hasOwnProperty=x`, message: /^hasOwnProperty: unknown field$/ },
  {
    name: 'another case',
    path: `/v1/grants?Tenant_ID=t_acme`,
    message: /^tenant_id: is required; Tenant_ID: unknown field$/,
  },
  { name: 'a token in the query', path: `/v1/grants?${TENANT}&session_token=x`, message: /^session_token: unknown field$/ },
  { name: 'a state that is none', path: `/v1/grants?${TENANT}&state=lost`, message: /^state: must be one of pending, / },
  {
    name: 'a state of something else',
    path: `/v1/sessions?${TENANT}&state=issued`,
    message: /^state: must be one of active, revoked, expired$/,
  },
  {
    name: 'a state of a grant for a lease',
    path: `/v1/revocations?${TENANT}&state=revoked`,
    message: /^state: must be one of requested, held, due, done$/,
  },
  {
    name: 'a connector that is no name',
    path: `/v1/revocations?${TENANT}&connector=vault%20db`,
    message: /^connector: must start with a letter or digit/,
  },
  {
    name: 'a lease to look for',
    path: `/v1/revocations?${TENANT}&lease_id=x`,
    message: /^lease_id: unknown field$/,
  },
  { name: 'no tenant of leases', path: '/v1/revocations', message: /^tenant_id: is required$/ },
  { name: 'a lease by its id', path: '/v1/revocations/rev_1', status: 404, message: /^no such route/ },
  {
    name: 'an event that is none',
    path: `/v1/audit-events?${TENANT}&type=grant.*`,
    message: /^type: must be one of session\.created, /,
  },
  {
    name: 'a hash in capitals',
    path: `/v1/sessions?${TENANT}&workload_hash=${'A'.repeat(64)}`,
    message: /^workload_hash: must be 64 hexadecimal digits/,
  },
  {
    name: 'a hash that is too short',
    path: `/v1/sessions?${TENANT}&workload_hash=${'a'.repeat(63)}`,
    message: /^workload_hash: must be 64 hexadecimal digits/,
  },
  {
    name: 'a page token with a space',
    path: `/v1/grants?${TENANT}&page_token=a+b`,
    message: /^page_token: must hold only visible ASCII characters$/,
  },
  {
    name: 'a page token that is too long',
    path: `/v1/grants?${TENANT}&page_token=${'x'.repeat(1001)}`,
    message: /^page_token: must be 1000 characters at most$/,
  },
  ...[
    '-1',
    '201',
    '1.0',
    '1e2',
    '0x10',
    '+5',
    '%205',
    '5%20',
    '99999',
    '100000',
    '9'.repeat(400),
    'NaN',
    'Infinity',
    'true',
    '%D9%A5',
    'null',
    '1,2',
  ].map((value) => ({
    name: `a page size of ${value.slice(0, 20)}`,
    path: `/v1/grants?${TENANT}&page_size=${value}`,
    message: PAGE_SIZE,
  })),
  ...['31', '-1', '30.5', '1e1', '030000', 'soon'].map((value) => ({
    name: `a wait of ${value}`,
    path: `/v1/grants/gr_1?wait_seconds=${value}`,
    message: WAIT,
  })),
  {
    name: 'a wait given twice',
    path: '/v1/grants/gr_1?wait_seconds=1&wait_seconds=2',
    message: /^wait_seconds: must be given once$/,
  },
  {
    name: 'another id in the query',
    path: '/v1/grants/gr_1?grant_id=gr_2',
    message: /^grant_id: differs from the one in the path; leave it out of the query$/,
  },
  { name: 'an id that is no id', path: '/v1/grants/%20', message: NAME },
  { name: 'an id of dots', path: '/v1/grants/..', message: NAME },
  { name: 'an id of encoded dots', path: '/v1/grants/%2e%2e', message: NAME },
  { name: 'a NUL in the id', path: '/v1/grants/a%00b', message: /^grant_id: must be well-formed/ },
  { name: 'half a surrogate pair in the id', path: '/v1/grants/a%ED%A0%80', message: /^path: is not a valid URL path$/ },
  {
    name: 'half a surrogate pair in a value',
    path: '/v1/grants?tenant_id=t%ED%A0%80',
    message: /^tenant_id: must start/,
  },
  { name: 'a very long id', path: `/v1/grants/${'a'.repeat(300)}`, message: /^grant_id: must be 200 characters at most$/ },
  { name: 'a broken escape in the path', path: '/v1/grants/%zz', message: /^path: is not a valid URL path$/ },
  { name: 'an encoded slash in an id', path: '/v1/grants/..%2f..%2fsessions', status: 404, message: /^no such route/ },
  { name: 'a colon in an id', path: '/v1/grants/gr_1:revoke', status: 404, message: /^no such route/ },
  { name: 'a trailing slash', path: `/v1/grants/?${TENANT}`, status: 404, message: /^no such route/ },
  { name: 'a doubled slash', path: `//v1/grants?${TENANT}`, status: 404, message: /^no such route/ },
  { name: 'parameters after a semicolon', path: `/v1/grants;${TENANT}`, status: 404, message: /^no such route/ },
  { name: 'a kill switch by GET', path: '/v1/runs/run_1:revoke', status: 404, message: /^no such route/ },
  { name: 'a decision by GET', path: '/v1/approvals/ap_1:callback?assertion=x', status: 404, message: /^no such route/ },
  { name: 'an approval by GET', path: '/v1/approvals/ap_1:approve', status: 404, message: /^no such route/ },
];

it.each(ATTEMPTS)('$name is refused', async ({ path, status = 400, message }) => {
  const answer = await get(path);
  expect({ status: answer.status, error: parsed(answer).error }).toEqual({ status, error: expect.stringMatching(message) });
  expect(parsed(answer).code).toBe(status === 404 ? 'not_found' : 'invalid_request');
  expect(listeners.broker.received).toEqual([]);
});

it.each(['/v1/grants', '/v1/sessions', '/v1/approvals', '/v1/revocations', '/v1/audit-events'])(
  '%s asks for fifty rows and no filter unless told',
  async (path) => {
    expect((await get(`${path}?${TENANT}`)).status).toBe(200);
    // Blank is not given, and so is nought rows.
    const filter = path === '/v1/sessions' || path === '/v1/revocations' ? 'state' : 'session_id';
    expect((await get(`${path}?${TENANT}&page_size=&page_token=&${filter}=`)).status).toBe(200);
    expect((await get(`${path}?${TENANT}&page_size=0`)).status).toBe(200);
    const asked = { credential: null, tenantId: 't_acme', filter: {}, page: { limit: 50, after: null } };
    expect(listeners.broker.received.map(({ request }) => request)).toStrictEqual([asked, asked, asked]);
  },
);

it.each([
  ['1', 1],
  ['200', 200],
  ['007', 7],
])('a page size of %s is %i', async (text, limit) => {
  await get(`/v1/grants?${TENANT}&page_size=${text}`);
  expect(listeners.broker.received[0]?.request).toMatchObject({ page: { limit } });
});

it('a value is decoded once', async () => {
  await get(`/v1/grants?${TENANT}&run_id=run%2F2026:a%40b&page_token=a%2Bb%2525`);
  expect(listeners.broker.received[0]?.request).toMatchObject({
    filter: { runId: 'run/2026:a@b' },
    page: { after: 'a+b%25' },
  });
});

it('an id may stand in the query when it agrees with the path', async () => {
  expect((await get('/v1/grants/gr_1?grant_id=gr_1')).status).toBe(200);
});

it('a body of a GET is nothing to us', async () => {
  const body = JSON.stringify({ tenant_id: 't_other', page_size: 1 });
  const headers = { 'content-type': 'application/json', 'content-length': body.length };
  const answer = await raw.send({ method: 'GET', path: `/v1/grants?${TENANT}`, headers, body });
  expect(answer.status).toBe(200);
  expect(listeners.broker.received[0]?.request).toMatchObject({ tenantId: 't_acme', page: { limit: 50 } });
});

it('a query on a POST is nothing to us, as ever', async () => {
  const answer = await raw.send({ path: '/v1/sessions/sess_1:revoke?reason=x&nonsense=1' });
  expect(answer.status).toBe(200);
  expect(listeners.broker.received[0]?.request).toMatchObject({ reason: '' });
});

describe('other methods', () => {
  const reads = CALLS.filter((call) => call.httpMethod === 'GET').map((call) => call.path.replace(/\{\w+\}/, 'id_1'));

  it.each(reads)('HEAD never makes the call behind %s', async (path) => {
    for (const method of ['HEAD', 'OPTIONS', 'PUT', 'DELETE', 'PATCH', 'TRACE']) {
      const answer = await raw.send({ method, path: `${path}?${TENANT}` });
      expect(answer.status, method).toBe(404);
    }
    expect(listeners.broker.received).toEqual([]);
  });
});

describe('ids in the path of a POST', () => {
  it.each([
    ['run%2F2026-01-02', 'run/2026-01-02'],
    ['ci:run@7', 'ci:run@7'],
    ['a%3Arevoke', 'a:revoke'],
    ['a:revoke', 'a:revoke'],
  ])('a run may be called %s', async (written, runId) => {
    const answer = await raw.postJson(`/v1/runs/${written}:revoke`, { tenant_id: 't_acme' });
    expect(answer.status).toBe(200);
    expect(listeners.broker.received[0]?.request).toMatchObject({ runId });
  });

  it.each([
    ['a bare slash in a run', '/v1/runs/run/1:revoke', 404],
    ['a run that is none', '/v1/runs/%00:revoke', 400],
    ['no run', '/v1/runs/:revoke', 404],
    ['a workload that is no hash', '/v1/workloads/everybody:revoke', 400],
    ['a callback for no approval', '/v1/approvals/:callback', 404],
    ['another verb', '/v1/decisions:make', 404],
    ['a decision with an id', '/v1/decisions/x:explain', 404],
  ])('%s is refused', async (_name, path, status) => {
    const answer = await raw.postJson(path, { tenant_id: 't_acme' });
    expect(answer.status).toBe(status);
    expect(listeners.broker.received).toEqual([]);
  });
});

describe('ExplainDecision', () => {
  const question = {
    tenant_id: 't_acme',
    tool: 'github',
    capability: 'repo.read',
    resource_ref: 'github:repo:acme/api',
    delivery_mode: 'proxy',
  };
  const imagined = {
    agent_id: 'agent-1',
    run_id: 'run-1',
    tool_context: ['github'],
    workload: { type: 'oidc', issuer: 'https://ci.example', subject: 'repo:acme/api' },
  };
  const filter = { resource_kind: 'github_repo', names: ['acme/api'] };

  it.each<[string, object, RegExp]>([
    ['nobody', {}, /^session_id: give either a session or a hypothetical one$/],
    [
      'a session and a hypothetical one',
      { session_id: 'sess_1', hypothetical: imagined },
      /^session_id: give either a session or a hypothetical one$/,
    ],
    ['text for a hypothetical session', { hypothetical: 'x' }, /^hypothetical: must be an object$/],
    [
      'an empty hypothetical session',
      { hypothetical: {} },
      /^hypothetical\.agent_id: is required; .*hypothetical\.workload: is required$/,
    ],
    [
      'an unknown field inside',
      { hypothetical: { ...imagined, tenant_id: 't_other' } },
      /^hypothetical\.tenant_id: unknown field$/,
    ],
    [
      'a workload that is none',
      { hypothetical: { ...imagined, workload: { type: 'spiffe' } } },
      /^hypothetical\.workload\.type: must be one of k8s_sa, oidc; hypothetical\.workload\.issuer: is required; /,
    ],
    [
      'a filter of an unknown kind',
      { hypothetical: { ...imagined, delegation: { resource_filters: [{ resource_kind: 'repo', names: [] }] } } },
      /^hypothetical\.delegation\.resource_filters\.0\.resource_kind: must be one of github_repo, db_role, browser_origin$/,
    ],
    [
      'two filters of one kind',
      { hypothetical: { ...imagined, delegation: { resource_filters: [filter, filter] } } },
      /^hypothetical\.delegation\.resource_filters: must not name a kind twice$/,
    ],
    [
      'a pattern with a star inside',
      { hypothetical: { ...imagined, delegation: { allowed_capabilities: ['repo.*.read'] } } },
      /^hypothetical\.delegation\.allowed_capabilities\.0: must be a name, or a prefix and \*$/,
    ],
  ])('refuses %s', async (_name, subject, message) => {
    const answer = await raw.postJson('/v1/decisions:explain', { ...question, ...subject });
    expect(answer.status).toBe(400);
    expect(parsed(answer).error).toMatch(message);
    expect(listeners.broker.received).toEqual([]);
  });

  it('asks about a session on record', async () => {
    const answer = await raw.postJson('/v1/decisions:explain', { ...question, session_id: 'sess_1' });
    expect(answer.status).toBe(200);
    expect(listeners.broker.received[0]?.request).toMatchObject({ subject: { kind: 'session', sessionId: 'sess_1' } });
  });

  it('tells a delegation of nothing from none', async () => {
    for (const delegation of [{}, null]) {
      await raw.postJson('/v1/decisions:explain', { ...question, hypothetical: { ...imagined, delegation } });
    }
    expect(listeners.broker.received.map(({ request }) => request)).toMatchObject([
      { subject: { delegation: { allowedCapabilities: [], resourceFilters: {} }, hasProofKey: false } },
      { subject: { delegation: null } },
    ]);
  });
});

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { BrokerError, forbidden, unavailable } from '../../src/domain/errors.ts';
import { errorChain, makeLogger } from '../../src/transport/logging.ts';
import { caseOf } from '../support/call-cases.ts';
import { type Listeners, startListeners } from '../support/listeners.ts';
import {
  connectClient,
  grpcClient,
  grpcWebClient,
  jsonClient,
  RawClient,
  type TransportClient,
} from '../support/transports.ts';

const CANARY = 'canary-7f3a9c';

/** An error of another library, with the canary in every place an error has. */
function foreignError(): Error {
  const error = new Error(`connect to postgres://u:${CANARY}@db failed\n    at ${CANARY} (/${CANARY}.js:1:1)`, {
    cause: Object.assign(new TypeError(`caused by ${CANARY}`), { code: `${CANARY} is no code`, detail: CANARY }),
  });
  return Object.assign(error, { code: 'ECONNREFUSED', config: { headers: { authorization: CANARY } } });
}

describe('a request', () => {
  let listeners: Listeners;
  let clients: TransportClient[];
  let raw: RawClient;

  beforeEach(async () => {
    listeners = await startListeners();
    raw = new RawClient(listeners.httpUrl);
    clients = [
      jsonClient(listeners.httpUrl),
      connectClient(listeners.httpUrl),
      grpcWebClient(listeners.httpUrl),
      grpcClient(listeners.grpcUrl),
    ];
  });
  afterEach(async () => {
    raw.close();
    for (const client of clients) client.close();
    await listeners.close();
  });

  it.each(['JSON', 'Connect', 'gRPC-Web', 'gRPC'])('over %s is one line that names it and its outcome', async (name) => {
    const client = clients[['JSON', 'Connect', 'gRPC-Web', 'gRPC'].indexOf(name)];
    await client?.call('createSession', caseOf('createSession').request, { headers: { 'x-request-id': 'mine-3' } });
    const lines = listeners.logged.map((line): unknown => JSON.parse(line));
    expect(lines).toMatchObject([
      {
        level: 'debug',
        message: 'request',
        request_id: 'mine-3',
        transport: name.toLowerCase(),
        call: 'CreateSession',
        method: 'POST',
        route: name === 'JSON' ? '/v1/sessions' : '/asb.v1.BrokerService/CreateSession',
        status: 200,
        code: 'ok',
        duration_ms: expect.any(Number),
        session_id: 'sess_01890a5d-ac96-774b-bcce-b302099a8057',
        client: '127.0.0.1',
      },
    ]);
  });

  it('that fails unexpectedly is an error with types and frames, and no words', async () => {
    listeners.broker.before(async () => {
      throw foreignError();
    });
    for (const client of clients) await client.call('requestGrant', caseOf('requestGrant').request);
    expect(listeners.logged).toHaveLength(4);
    for (const line of listeners.logged) {
      expect(JSON.parse(line)).toMatchObject({
        level: 'error',
        code: 'internal',
        error: [
          {
            type: 'Error',
            code: 'ECONNREFUSED',
            frames: expect.arrayContaining([expect.stringContaining('logging.test.ts')]),
          },
          { type: 'TypeError' },
        ],
      });
      expect(line).not.toContain(CANARY);
    }
  });

  it('that is refused names reason and rule, and one about an approval names that', async () => {
    await clients[0]?.call('approveGrant', caseOf('approveGrant').request);
    listeners.broker.before(async () => {
      throw forbidden('condition_not_met', `it was ${CANARY}`, { rule: 'policy:repo.read' });
    });
    for (const client of clients) await client.call('requestGrant', caseOf('requestGrant').request);
    const [approved, ...refused] = listeners.logged.map((line): unknown => JSON.parse(line));
    expect(approved).toMatchObject({ call: 'ApproveGrant', approval_id: 'ap_01890a5d-ac96-774b-bcce-b302099a8060' });
    expect(refused).toHaveLength(4);
    for (const line of refused) {
      expect(line).toMatchObject({
        level: 'info',
        code: 'forbidden',
        reason: 'condition_not_met',
        rule: 'policy:repo.read',
      });
    }
    expect(listeners.logged.join()).not.toContain(CANARY);
  });

  it('that fails because a dependency is away is a warning with our own words', async () => {
    listeners.broker.before(async () => {
      throw unavailable('the store is away', { cause: foreignError() });
    });
    await clients[0]?.call('requestGrant', caseOf('requestGrant').request);
    const line = listeners.logged[0] ?? '';
    expect(JSON.parse(line)).toMatchObject({
      level: 'warn',
      code: 'unavailable',
      error: [{ type: 'BrokerError', message: 'the store is away' }, { code: 'ECONNREFUSED' }, { type: 'TypeError' }],
    });
    expect(line).not.toContain(CANARY);
  });

  it('leaves no trace of what it carries', async () => {
    const body = {
      ...caseOf('requestGrant').request,
      session_token: CANARY,
      reason: CANARY,
      tool: CANARY,
      resource_ref: `dbrole:${CANARY}`,
    };
    const headers = { cookie: CANARY, 'x-api-key': CANARY, 'user-agent': CANARY, authorization: `Bearer ${CANARY}` };
    for (const client of clients) {
      await client.call('requestGrant', body, { headers });
      await client.call('requestGrant', { ...body, delivery_mode: CANARY }, { headers });
      await client.call('revokeGrant', { grant_id: CANARY, reason: CANARY }, { headers });
    }
    await raw.postJson(`/v1/grants?token=${CANARY}`, { [CANARY]: CANARY, ...body }, headers);
    await raw.postJson('/v1/grants', `{"a": ${CANARY}`, headers);
    await raw.postJson('/asb.v1.BrokerService/RequestGrant', `{"a": ${CANARY}`, headers);
    await raw.postJson('/asb.v1.BrokerService/RequestGrant', { [CANARY]: CANARY }, headers);
    await raw.send({ path: `/v1/grants/%zz${CANARY}:revoke`, headers });
    await raw.send({ method: 'GET', path: `/v1/grants/gr_1?wait_seconds=${CANARY}`, headers: { ...headers, dpop: CANARY } });
    await raw.send({ method: 'GET', path: `/v1/grants?tenant_id=${CANARY}&${CANARY}=x`, headers });
    await raw.send({ method: 'GET', path: `/v1/sessions?tenant_id=${CANARY}&run_id=${CANARY}`, headers });
    await raw.postJson(`/v1/runs/${CANARY}:revoke`, { tenant_id: CANARY, reason: CANARY }, headers);
    await raw.postJson('/v1/approvals/ap_1:callback', { assertion: CANARY, comment: CANARY }, headers);
    await raw.send({ path: `/${CANARY}`, headers });
    await raw.send({ path: '/v1/grants', headers: { ...headers, 'content-type': CANARY }, body: CANARY });
    await raw.send({ method: 'GET', path: `/healthz?${CANARY}`, headers });
    expect(listeners.logged.length).toBeGreaterThan(15);
    expect(listeners.logged.join('\n')).not.toContain(CANARY);
  });

  it('that probes is not logged, unless it fails for want of foresight', async () => {
    for (const path of ['/healthz', '/readyz', '/metrics']) await raw.send({ method: 'GET', path });
    expect(listeners.logged).toEqual([]);
  });
});

describe('the log', () => {
  const write = (fields: Record<string, unknown>): Record<string, unknown> => {
    const lines: string[] = [];
    makeLogger({ level: 'info', destination: { write: (line) => lines.push(line) } }).info(fields, 'constant');
    const { time: _time, ...rest } = z.looseObject({}).parse(JSON.parse(lines[0] ?? '{}'));
    return rest;
  };

  it.each<[string, Record<string, unknown>]>([
    ['a field nobody listed', { password: CANARY, headers: { a: CANARY }, err: new Error(CANARY) }],
    ['a token where an id belongs', { session_id: CANARY, grant_id: `gr_${CANARY}` }],
    ['an object where a word belongs', { code: { toString: () => CANARY }, call: [CANARY] }],
    ['a sentence where a word belongs', { reason: `it was ${CANARY}` }],
    ['a handle in the name of a rule', { rule: `tool:ph_${'x'.repeat(43)}` }],
    ['a token in the name of a rule', { rule: 'tool:eyJhbGciOiJFUzI1NiJ9.e30.AAAA' }],
    ['a sentence for a rule', { rule: `policy said ${CANARY}` }],
    ['a receiver that is no name', { receiver: `https://hooks.example/${CANARY}` }],
    ['a revision that is no hash', { revision: CANARY }],
    ['text where a number belongs', { status: CANARY, duration_ms: CANARY }],
    ['an address that is none', { client: CANARY }],
    ['a very long route', { route: CANARY.repeat(100) }],
    ['an inherited field', Object.create({ request_id: CANARY })],
    ['the names of an object', { constructor: CANARY, __proto__: { call: CANARY }, toString: CANARY }],
  ])('drops %s', (_name, fields) => {
    expect(write(fields)).toEqual({ level: 'info', message: 'constant' });
  });

  it('passes what is listed', () => {
    const fields = {
      request_id: 'r-1',
      status: 200,
      grant_id: 'gr_01890a5d-ac96-774b-bcce-b302099a8058',
      approval_id: 'ap_01890a5d-ac96-774b-bcce-b302099a8060',
      rule: 'policy:repo.read',
      receiver: 'on-call',
      revision: 'c'.repeat(64),
      client: '2001:db8::1',
      problems: ['ASB_ADDR: is not an address', 7],
    };
    expect(write(fields)).toEqual({
      level: 'info',
      message: 'constant',
      ...fields,
      problems: ['ASB_ADDR: is not an address'],
    });
  });

  it('tells an error by type, code and frames, and ours by their message too', () => {
    const chain = errorChain(new BrokerError('unavailable', 'the store is away', { cause: foreignError() }));
    expect(chain.map(({ type, code, message }) => ({ type, code, message }))).toEqual([
      { type: 'BrokerError', code: 'unavailable', message: 'the store is away' },
      { type: 'Error', code: 'ECONNREFUSED', message: undefined },
      { type: 'TypeError', code: undefined, message: undefined },
    ]);
    expect(JSON.stringify(chain)).not.toContain(CANARY);
    for (const { frames } of chain) expect(frames[0]).toContain('logging.test.ts');
  });

  it('bears with anything that is thrown', () => {
    const loop: Error & { cause?: unknown } = new Error('a');
    loop.cause = loop;
    for (const thrown of [undefined, null, CANARY, 7, { message: CANARY }, loop, Object.assign(new Error(), { stack: 7 })]) {
      expect(JSON.stringify(errorChain(thrown))).not.toContain(CANARY);
    }
  });
});

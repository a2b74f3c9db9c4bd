import { type IncomingMessage, request as httpRequest } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { makeProofVerifier } from '../../src/authn/dpop.ts';
import { requireProof } from '../../src/broker/authenticate-session.ts';
import type { CallContext } from '../../src/domain/call-context.ts';
import { BrokerError, unauthorized } from '../../src/domain/errors.ts';
import { type PresentedProof, PROOF_ALGORITHMS } from '../../src/domain/proof.ts';
import { ERROR_CODES } from '../../src/transport/errors.ts';
import { CALL_CASES, caseOf } from '../support/call-cases.ts';
import { aSession } from '../support/entities.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { type Listeners, selfSigned, startListeners } from '../support/listeners.ts';
import {
  connectClient,
  connectJsonClient,
  grpcClient,
  grpcWebClient,
  jsonClient,
  jsonRequest,
  RawClient,
  rpcPathOf,
  type TransportClient,
} from '../support/transports.ts';

const tls = selfSigned();
const PUBLIC = new URL('https://asb.example/broker/');
let clear: Listeners;
let secure: Listeners;
let behindProxy: Listeners;
let raw: RawClient;
const open: { close(): void }[] = [];

beforeAll(async () => {
  [clear, secure, behindProxy] = await Promise.all([
    startListeners(),
    startListeners({ tls }),
    startListeners({ publicBaseUrl: PUBLIC }),
  ]);
  raw = opened(new RawClient(clear.httpUrl));
});
afterAll(async () => {
  for (const client of open) client.close();
  await Promise.all([clear.close(), secure.close(), behindProxy.close()]);
});
afterEach(() => {
  for (const { broker } of [clear, secure, behindProxy]) {
    broker.before(null);
    broker.received.length = 0;
  }
});

function opened<T extends { close(): void }>(client: T): T {
  open.push(client);
  return client;
}

const proofOf = ({ broker }: Listeners): PresentedProof | null | undefined => broker.received[0]?.context.proof;
const { request: grant } = caseOf('requestGrant');
const { path: GRANTS, headers: JSON_HEADERS, body: GRANT } = jsonRequest('requestGrant', grant);

type Way = readonly [
  name: string,
  make: () => { client: TransportClient; listeners: Listeners },
  url: (listeners: Listeners) => string,
];
const RPC = rpcPathOf('requestGrant');
const WAYS: readonly Way[] = [
  ['JSON', () => ({ client: jsonClient(clear.httpUrl), listeners: clear }), ({ httpUrl }) => httpUrl + GRANTS],
  ['Connect JSON', () => ({ client: connectJsonClient(clear.httpUrl), listeners: clear }), ({ httpUrl }) => httpUrl + RPC],
  ['Connect', () => ({ client: connectClient(clear.httpUrl), listeners: clear }), ({ httpUrl }) => httpUrl + RPC],
  ['gRPC-Web', () => ({ client: grpcWebClient(clear.httpUrl), listeners: clear }), ({ httpUrl }) => httpUrl + RPC],
  ['gRPC over h2c', () => ({ client: grpcClient(clear.grpcUrl), listeners: clear }), ({ grpcUrl }) => grpcUrl + RPC],
  [
    'JSON with TLS',
    () => ({ client: jsonClient(secure.httpUrl, tls.cert), listeners: secure }),
    ({ httpUrl }) => httpUrl + GRANTS,
  ],
  [
    'gRPC over TLS',
    () => ({ client: grpcClient(secure.httpUrl, tls.cert), listeners: secure }),
    ({ httpUrl }) => httpUrl + RPC,
  ],
];

describe.each(WAYS)('over %s', (_name, make, url) => {
  it('a request without a DPoP header shows no proof', async () => {
    const { client, listeners } = make();
    opened(client);
    expect(await client.call('requestGrant', grant)).toMatchObject({ ok: true });
    expect(proofOf(listeners)).toBeNull();
  });

  it('the proof comes with the method and the URL of the call', async () => {
    const { client, listeners } = make();
    opened(client);
    await client.call('requestGrant', grant, { headers: { DPoP: 'a.b.c' } });
    expect(proofOf(listeners)).toEqual({ proofs: ['a.b.c'], method: 'POST', url: url(listeners) });
  });

  it('an empty proof is one that fails, not none', async () => {
    const { client, listeners } = make();
    opened(client);
    await client.call('requestGrant', grant, { headers: { dpop: '' } });
    expect(proofOf(listeners)).toMatchObject({ proofs: [''] });
  });

  it('the scheme DPoP carries a token as Bearer does', async () => {
    const { client, listeners } = make();
    opened(client);
    const headers = { authorization: 'DPoP header.payload.signature' };
    await client.call('requestGrant', { ...grant, session_token: '' }, { headers });
    expect(listeners.broker.received[0]?.request).toMatchObject({ sessionToken: 'header.payload.signature' });
  });
});

describe('two DPoP headers are seen as two', () => {
  it('over HTTP/1.1, whatever their case', async () => {
    const send = async (headers: string[]) => {
      const sent = httpRequest(clear.httpUrl, { method: 'GET', path: '/v1/grants/gr_1', headers });
      sent.end();
      const [response] = (await once(sent, 'response')) as [IncomingMessage];
      response.resume();
      await once(response, 'end');
    };
    const host = ['Host', 'asb.example'];
    await send([...host, 'DPoP', 'one', 'dpop', 'two', 'DPOP', 'one, two']);
    expect(proofOf(clear)?.proofs).toEqual(['one', 'two', 'one, two']);
  });

  it('over HTTP/2', async () => {
    const session = connectHttp2(secure.httpUrl, { ca: tls.cert });
    const stream = session.request({ ':path': '/v1/grants/gr_1?wait_seconds=1', dpop: ['one', 'two'] });
    stream.resume();
    await once(stream, 'end');
    session.close();
    expect(proofOf(secure)).toEqual({ proofs: ['one', 'two'], method: 'GET', url: `${secure.httpUrl}/v1/grants/gr_1` });
  });

  it('and a proof under another name is none', async () => {
    await raw.send({ path: GRANTS, headers: { ...JSON_HEADERS, 'dpop-bin': 'one', 'x-dpop': 'two' }, body: GRANT ?? '' });
    expect(proofOf(clear)).toBeNull();
  });
});

it.each(CALL_CASES)('$call is told of the proof that came with it, by either way', async ({ call, request, bearer }) => {
  for (const client of [jsonClient(clear.httpUrl), connectClient(clear.httpUrl)]) {
    opened(client);
    await client.call(call, request, { headers: { dpop: 'a.b.c' }, ...(bearer === undefined ? {} : { bearer }) });
  }
  const { method, path } = jsonRequest(call, request);
  expect(clear.broker.received.map(({ context }) => context.proof)).toEqual([
    { proofs: ['a.b.c'], method, url: clear.httpUrl + path.replace(/\?.*/, '') },
    { proofs: ['a.b.c'], method: 'POST', url: clear.httpUrl + rpcPathOf(call) },
  ]);
});

describe('the URL that a proof must be about', () => {
  const ask = async (path: string, headers: Record<string, string> = {}): Promise<string | undefined> => {
    clear.broker.received.length = 0;
    await raw.send({ method: 'GET', path, headers: { dpop: 'p', host: 'asb.example:8080', ...headers } });
    return proofOf(clear)?.url;
  };

  it.each([
    ['/v1/grants/gr_1?wait_seconds=5', 'http://asb.example:8080/v1/grants/gr_1'],
    ['/v1/grants/gr%5F1', 'http://asb.example:8080/v1/grants/gr%5F1'],
    ['/v1/sessions?tenant_id=t_acme', 'http://asb.example:8080/v1/sessions'],
  ])('of %s is %s', async (path, url) => {
    expect(await ask(path)).toBe(url);
  });

  it('believes no header about another scheme or host', async () => {
    const lies = {
      forwarded: 'host=evil.example;proto=https',
      'x-forwarded-host': 'evil.example',
      'x-forwarded-proto': 'https',
      'x-original-url': '/v1/other',
    };
    expect(await ask('/v1/grants/gr_1', lies)).toBe('http://asb.example:8080/v1/grants/gr_1');
  });

  it('takes the host of an absolute target, which stands above the header', async () => {
    const socket = connect({ host: '127.0.0.1', port: Number(new URL(clear.httpUrl).port) });
    socket.write('GET http://other.example/v1/grants/gr_1?wait_seconds=1 HTTP/1.1\r\nHost: asb.example\r\nDPoP: p\r\n');
    socket.end('Connection: close\r\n\r\n');
    socket.resume();
    await once(socket, 'close');
    expect(proofOf(clear)?.url).toBe('http://other.example/v1/grants/gr_1');
  });

  it.each(['asb.example/v1/other?', 'asb.example/v1/other#', 'user@asb.example', 'a b', 'asb.example:port', 'a\\b', '[::1'])(
    'is not made of the host %j',
    async (host) => {
      const answer = await raw.send({ method: 'GET', path: '/v1/grants/gr_1', headers: { dpop: 'p', host } });
      expect(answer.status).toBe(400);
      expect(JSON.parse(answer.body.toString())).toMatchObject({ error: 'host: is not a valid host' });
      expect(clear.broker.received).toEqual([]);
    },
  );

  it.each(['127.0.0.1:8080', '[::1]:8080', 'asb', 'asb_api.internal'])('may have the host %s', async (host) => {
    expect(await ask('/v1/grants/gr_1', { host })).toBe(`http://${host}/v1/grants/gr_1`);
  });

  it('lies below the public base URL where there is one, whatever the request says', async () => {
    const client = opened(new RawClient(behindProxy.httpUrl));
    const grpc = opened(grpcClient(behindProxy.grpcUrl));
    await client.send({
      method: 'GET',
      path: '/v1/grants/gr_1?wait_seconds=1',
      headers: { dpop: 'p', host: 'evil.example/?' },
    });
    await grpc.call('getGrant', { grant_id: 'gr_1' }, { headers: { dpop: 'p' } });
    expect(behindProxy.broker.received.map(({ context }) => context.proof?.url)).toEqual([
      'https://asb.example/broker/v1/grants/gr_1',
      'https://asb.example/broker/asb.v1.BrokerService/GetGrant',
    ]);
  });

  it('is no concern of a request that shows no proof', async () => {
    const answer = await raw.send({ method: 'GET', path: '/v1/grants/gr_1', headers: { host: 'asb.example/x?' } });
    expect(answer.status).toBe(200);
  });
});

describe('a 401', () => {
  const PROOF = `DPoP algs="${PROOF_ALGORITHMS.join(' ')}"`;
  const BAD_PROOF = `DPoP error="invalid_dpop_proof", algs="${PROOF_ALGORITHMS.join(' ')}"`;
  const refuse = (message: string): void => {
    for (const { broker } of [clear, secure]) {
      broker.before(async () => {
        throw unauthorized(message);
      });
    }
  };

  it.each(WAYS)('over %s says what is missing', async (_name, make) => {
    const { client } = make();
    opened(client);
    const challenge = async (headers: Record<string, string>) => {
      const result = await client.call('getGrant', { grant_id: 'gr_1' }, { headers });
      expect(result).toMatchObject({ ok: false, code: 'unauthorized' });
      return result.headers.challenge;
    };
    refuse('session_token: is required');
    expect(await challenge({})).toBe('Bearer');
    expect(await challenge({ authorization: 'Basic dXNlcjpwYXNz' })).toBe('Bearer');
    refuse('session_token: its session has ended');
    expect(await challenge({ authorization: 'Bearer hunter2' })).toBe('Bearer error="invalid_token"');
    refuse('DPoP: this session is bound to a key');
    expect(await challenge({ authorization: 'DPoP hunter2' })).toBe(PROOF);
    expect(await challenge({ authorization: 'DPoP hunter2', dpop: 'hunter2' })).toBe(BAD_PROOF);
  });

  it.each(CALL_CASES)('of $call challenges for a token where one opens it', async ({ call, request }) => {
    refuse('anything: is not valid');
    const answer = await raw.send(jsonRequest(call, request));
    expect(answer.status).toBe(401);
    const opensWithout = ['createSession', 'executeGitHubProxy', 'decideByCallback'].includes(call);
    expect(answer.headers['www-authenticate']).toBe(opensWithout ? undefined : 'Bearer');
  });

  it.each(ERROR_CODES.filter((code) => code !== 'unauthorized'))('has a challenge, and %s has none', async (code) => {
    clear.broker.before(async () => {
      throw new BrokerError(code, 'DPoP: anything');
    });
    const answer = await raw.send({ method: 'GET', path: '/v1/grants/gr_1', headers: { dpop: 'x' } });
    expect(answer.status).not.toBe(401);
    expect(answer.headers).not.toHaveProperty('www-authenticate');
  });

  it('is what every refusal of a proof becomes', async () => {
    const clock = new FakeClock();
    const proofs = makeProofVerifier({ clock, runtime: { claim: async () => true }, ids: { tokenId: () => 'token' } });
    const presented = { method: 'GET', url: 'http://asb.example/' };
    const proof = { ...presented, proofs: ['a.b.c'] };
    const session = aSession({ proofKeyThumbprint: 'one' });
    const context: CallContext = { requestId: 'r', proof: null, signal: new AbortController().signal };
    const otherKey = { verify: async () => 'another' };
    const refusals: (() => Promise<unknown>)[] = [
      () => requireProof({ proofs }, session, 'token', context),
      () => requireProof({ proofs }, session, 'token', { ...context, proof }),
      () => requireProof({ proofs: otherKey }, session, 'token', { ...context, proof }),
      () => proofs.verify({ presented: { ...presented, proofs: [] }, credential: null }),
      () => proofs.verify({ presented: { ...presented, proofs: ['a.b.c', 'd.e.f'] }, credential: null }),
      () => proofs.verify({ presented: proof, credential: null }),
    ];
    for (const refusal of refusals) {
      clear.broker.before(async () => {
        await refusal();
      });
      const answer = await raw.send({ path: GRANTS, headers: { ...JSON_HEADERS, dpop: 'x' }, body: GRANT ?? '' });
      expect(answer.status).toBe(401);
      expect(answer.headers['www-authenticate']).toBe(BAD_PROOF);
    }
  });

  it('names the algorithms that the verifier takes', async () => {
    const proofs = makeProofVerifier({
      clock: new FakeClock(),
      runtime: { claim: async () => true },
      ids: { tokenId: () => 'token' },
    });
    const header = Buffer.from('{"typ":"dpop+jwt","alg":"RS256"}').toString('base64url');
    const presented = { method: 'GET', url: 'http://asb.example/', proofs: [`${header}.e30.AAAA`] };
    const refusal: unknown = await proofs.verify({ presented, credential: null }).catch((error: unknown) => error);
    const named = /sign the proof with (.*)$/.exec(refusal instanceof Error ? refusal.message : '')?.[1]?.split(/, | or /);
    expect(named?.sort()).toEqual([...PROOF_ALGORITHMS].sort());
  });
});

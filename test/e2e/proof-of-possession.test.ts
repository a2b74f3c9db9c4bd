import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Asb, bodyOf, GRANT_REQUEST, sessionRequest, startAsb } from '../support/asb.ts';
import { openIn, USE } from '../support/approvals.ts';
import { type Configured, configured, TENANTS } from '../support/configured.ts';
import { makeProofKey, type ProofKey, type ProofOptions } from '../support/dpop.ts';
import { type MethodName, rpcPathOf } from '../support/transports.ts';

let file: Configured;
let asb: Asb;
let key: ProofKey;
beforeAll(async () => {
  file = configured();
  asb = await startAsb({}, { file });
});
afterAll(async () => {
  await asb.close();
  file.remove();
});
beforeEach(async () => {
  key = await makeProofKey();
});

const PATHS: Partial<Record<MethodName, string>> = {
  createSession: '/v1/sessions',
  requestGrant: '/v1/grants',
  executeGitHubProxy: '/v1/proxy/github/rest',
};
const urlOf = (method: MethodName): string => `${asb.url}${PATHS[method] ?? ''}`;
const proof = (method: MethodName, options: Partial<ProofOptions> = {}) =>
  key.proof({ method: 'POST', url: urlOf(method), at: asb.clock.now(), ...options });

async function openBound(tenant: string = TENANTS.proof): Promise<{ bearer: string; sessionId: string }> {
  const request = await sessionRequest(asb.attestation, { tenant_id: tenant });
  const opened = await asb.call('createSession', request, { headers: { dpop: await proof('createSession') } });
  const { session_token, session_id } = bodyOf(opened) as { session_token: string; session_id: string };
  return { bearer: session_token, sessionId: session_id };
}

async function aHandle(bearer: string): Promise<string> {
  const headers = { dpop: await proof('requestGrant', { credential: bearer }) };
  const granted = bodyOf(await asb.call('requestGrant', GRANT_REQUEST, { bearer, headers }));
  return (granted as { delivery: { handle: string } }).delivery.handle;
}

describe('a session that is bound to a key', () => {
  test('says so in its token, and works with a fresh proof at every step', async () => {
    const { bearer } = await openBound();
    const [, payload = ''] = bearer.split('.');
    expect(JSON.parse(Buffer.from(payload, 'base64url').toString())).toMatchObject({ cnf: { jkt: key.thumbprint } });
    const handle = await aHandle(bearer);
    const headers = { dpop: await proof('executeGitHubProxy', { credential: handle }) };
    expect(await asb.call('executeGitHubProxy', { proxy_handle: handle, ...USE }, { headers })).toMatchObject({ ok: true });
  });

  test('works over Connect and gRPC, where the URL is that of the call', async () => {
    const { bearer } = await openBound();
    for (const client of asb.clients.slice(1)) {
      const base = client.name.startsWith('gRPC over') ? asb.grpcUrl : asb.url;
      const url = `${base}${rpcPathOf('requestGrant')}`;
      const headers = { dpop: await key.proof({ method: 'POST', url, at: asb.clock.now(), credential: bearer }) };
      expect(await client.call('requestGrant', GRANT_REQUEST, { bearer, headers }), client.name).toMatchObject({ ok: true });
    }
  });

  test('is what the policy of a tenant may demand', async () => {
    const { bearer } = await openIn(asb, TENANTS.proof);
    expect(await asb.call('requestGrant', GRANT_REQUEST, { bearer })).toMatchObject({
      ok: false,
      code: 'forbidden',
      reason: 'proof_required',
    });
  });

  test('is refused without a proof, at its token and at its handle, and the challenge says what is missing', async () => {
    const { bearer, sessionId } = await openBound();
    const handle = await aHandle(bearer);
    const answers = [
      await asb.call('requestGrant', GRANT_REQUEST, { bearer }),
      await asb.call('executeGitHubProxy', { proxy_handle: handle, ...USE }),
      await asb.call('revokeSession', { session_id: sessionId }, { bearer }),
      await asb.call('getGrant', { grant_id: 'gr_x' }, { bearer }),
    ];
    for (const answer of answers) {
      expect(answer).toMatchObject({ ok: false, code: 'unauthorized', message: expect.stringMatching(/^DPoP: /) });
      expect(answer.headers.challenge).toMatch(/^DPoP/);
    }
  });
});

interface Attack {
  name: string;
  headers: (bearer: string) => Promise<Record<string, string>>;
  message: RegExp;
}

const stolen = (name: string, options: (bearer: string) => Partial<ProofOptions>, message: RegExp): Attack => ({
  name,
  headers: async (bearer) => ({ dpop: await proof('requestGrant', { credential: bearer, ...options(bearer) }) }),
  message,
});

const ATTACKS: readonly Attack[] = [
  stolen('for another URI', () => ({ url: urlOf('executeGitHubProxy') }), /htu/),
  stolen('for another host', () => ({ url: 'https://asb.example/v1/grants' }), /htu/),
  stolen('for another method', () => ({ method: 'GET' }), /htm/),
  stolen('that is stale', () => ({ at: new Date(asb.clock.now().getTime() - 120_000) }), /old|iat/),
  stolen('that is from the future', () => ({ at: new Date(asb.clock.now().getTime() + 120_000) }), /future|iat|clock/),
  stolen('for another token', () => ({ credential: 'another.token.here' }), /ath/),
  stolen('for no token', () => ({ claims: { ath: undefined } }), /ath/),
  stolen('without an id', () => ({ claims: { jti: undefined } }), /jti/),
  stolen('of another type', () => ({ header: { typ: 'JWT' } }), /DPoP/),
  {
    name: 'with another key',
    headers: async (bearer) => {
      const other = await makeProofKey();
      const options = { method: 'POST', url: urlOf('requestGrant'), at: asb.clock.now(), credential: bearer };
      return { dpop: await other.proof(options) };
    },
    message: /another key/,
  },
  {
    name: "that claims the key and is signed by another's",
    headers: async (bearer) => {
      const { privateKey: signer } = await makeProofKey();
      return { dpop: await proof('requestGrant', { credential: bearer, signer }) };
    },
    message: /DPoP/,
  },
  { name: 'that is rubbish', headers: () => Promise.resolve({ dpop: 'rubbish' }), message: /DPoP/ },
];

describe('whoever stole the token gets nowhere with a proof', () => {
  test.each(ATTACKS)('$name', async ({ headers, message }) => {
    const { bearer } = await openBound();
    const answer = await asb.call('requestGrant', GRANT_REQUEST, { bearer, headers: await headers(bearer) });
    expect(answer).toMatchObject({ ok: false, code: 'unauthorized', message: expect.stringMatching(message) });
  });

  test('that was seen before, also when both come at once', async () => {
    const { bearer } = await openBound();
    const headers = { dpop: await proof('requestGrant', { credential: bearer }) };
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => asb.call('requestGrant', GRANT_REQUEST, { bearer, headers })),
    );
    expect(answers.filter(({ ok }) => ok)).toHaveLength(1);
    for (const answer of answers) if (!answer.ok) expect(answer.code).toBe('unauthorized');
  });

  test('of the token, at the handle', async () => {
    const { bearer } = await openBound();
    const handle = await aHandle(bearer);
    const headers = { dpop: await proof('executeGitHubProxy', { credential: bearer }) };
    const answer = await asb.call('executeGitHubProxy', { proxy_handle: handle, ...USE }, { headers });
    expect(answer).toMatchObject({ ok: false, code: 'unauthorized', message: expect.stringMatching(/ath/) });
  });

  test('one of two', async () => {
    const { bearer } = await openBound();
    const dpop = [await proof('requestGrant', { credential: bearer }), await proof('requestGrant', { credential: bearer })];
    const answer = await asb.raw.send({
      path: '/v1/grants',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${bearer}`, dpop },
      body: JSON.stringify(GRANT_REQUEST),
    });
    expect(answer.status).toBe(401);
  });
});

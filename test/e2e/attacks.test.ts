import type { JsonValue } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { secondaryRateLimit, failure } from '../../dev/github/answers.ts';
import { encodePart, makeRsaKey, mintProjectedToken } from '../support/attestations.ts';
import { type Asb, GRANT_REQUEST, sessionRequest, startAsb } from '../support/asb.ts';
import type { CallOptions, CallResult, MethodName } from '../support/transports.ts';

let asb: Asb;
beforeAll(async () => {
  asb = await startAsb();
});
afterAll(() => asb.close());

interface Attempt {
  method: MethodName;
  request: JsonValue;
  options?: CallOptions;
  /** What GitHub will answer to each transport's call. */
  beforeEach?: () => void;
}

interface Attack {
  name: string;
  attempt: () => Promise<Attempt>;
  code: string;
  reason?: string;
  message?: RegExp;
}

const stranger = makeRsaKey();

/** CreateSession with a changed attestation. */
const attested = (name: string, token: () => Promise<string>, message: RegExp): Attack => ({
  name: `session: ${name}`,
  attempt: async () => ({
    method: 'createSession',
    request: await sessionRequest(asb.attestation, { attestation: { kind: 'k8s_sa_jwt', token: await token() } }),
  }),
  code: 'unauthorized',
  message,
});

const minted = (options: Partial<Parameters<typeof mintProjectedToken>[0]>) => () =>
  mintProjectedToken({ now: asb.clock.now(), ...options });

const swapHeader = async (header: object): Promise<string> => {
  const [, payload, signature] = (await minted({})()).split('.');
  return [encodePart(header), payload, signature].join('.');
};

const seconds = (offset: number): number => Math.floor(asb.clock.now().getTime() / 1000) + offset;

const FORGERIES: readonly Attack[] = [
  attested('forged by another key', minted({ key: stranger }), /not signed by a key of the cluster/),
  attested('expired', () => minted({ claims: { exp: seconds(-3600) } })(), /has expired/),
  attested('expired, within the skew', () => minted({ claims: { exp: seconds(-1) } })(), /about to expire/),
  attested('not valid yet', () => minted({ claims: { nbf: seconds(3600) } })(), /not valid yet/),
  attested('for another audience', minted({ claims: { aud: ['vault'] } }), /audience must be asb-control-plane/),
  attested('from another issuer', minted({ claims: { iss: 'https://evil.example' } }), /issuer must be/),
  attested('alg none', () => swapHeader({ alg: 'none', typ: 'JWT' }), /must be signed with RS256/),
  attested('alg swapped to HS256', () => swapHeader({ alg: 'HS256', typ: 'JWT' }), /must be signed with RS256/),
  attested('without an end', minted({ claims: { exp: undefined } }), /never expires/),
  attested(
    'a subject that contradicts the claims',
    minted({ claims: { sub: 'system:serviceaccount:kube-system:admin' } }),
    /contradict/,
  ),
  attested('not a service account', minted({ claims: { sub: 'system:node:worker-1' } }), /subject|service account/),
  attested('rubbish', () => Promise.resolve('rubbish'), /not a service account token/),
];

const session = (name: string, changes: Record<string, JsonValue>, code: string, reason?: string): Attack => ({
  name: `session: ${name}`,
  attempt: async () => ({ method: 'createSession', request: await sessionRequest(asb.attestation, changes) }),
  code,
  ...(reason === undefined ? {} : { reason }),
});

const grant = (name: string, changes: Record<string, JsonValue>, code: string, reason?: string): Attack => ({
  name: `grant: ${name}`,
  attempt: async () => ({
    method: 'requestGrant',
    request: { ...GRANT_REQUEST, ...changes },
    options: { bearer: (await asb.openSession()).session_token },
  }),
  code,
  ...(reason === undefined ? {} : { reason }),
});

const proxy = (
  name: string,
  changes: Record<string, JsonValue>,
  code: string,
  reason?: string,
  beforeEach?: () => void,
): Attack => ({
  name: `proxy: ${name}`,
  attempt: async () => {
    const { delivery } = await asb.requestGrant((await asb.openSession()).session_token);
    const request = {
      proxy_handle: delivery.handle,
      operation: 'pull_request_metadata',
      params: { pull_number: 10 },
      ...changes,
    };
    return { method: 'executeGitHubProxy', request, ...(beforeEach === undefined ? {} : { beforeEach }) };
  },
  code,
  ...(reason === undefined ? {} : { reason }),
});

const ref = (name: string): Record<string, JsonValue> => ({ resource_ref: `github:repo:${name}` });

const REQUESTS: readonly Attack[] = [
  session('another tenant', { tenant_id: 't_other' }, 'forbidden', 'workload_not_bound'),
  session('a tool that is not registered', { tool_context: ['github', 'shell'] }, 'forbidden', 'tool_not_registered'),
  session('a delegation nobody can check', { delegation_assertion: 'a.b.c' }, 'forbidden', 'delegation_not_accepted'),
  session('no tenant', { tenant_id: '' }, 'invalid_request'),
  session('a kind that is not accepted', { attestation: { kind: 'oidc_jwt', token: 'a.b.c' } }, 'unauthorized'),
  session('control characters in an id', { agent_id: 'a\u0000b' }, 'invalid_request'),

  grant('a capability without a policy', { capability: 'repo.write' }, 'forbidden', 'capability_not_allowed'),
  grant('a capability by wildcard', { capability: 'repo.*' }, 'invalid_request'),
  grant('a tool outside the tool context', { tool: 'db' }, 'forbidden', 'tool_not_registered'),
  grant('a wrapped secret', { delivery_mode: 'wrapped_secret' }, 'forbidden', 'delivery_mode_not_allowed'),
  grant('another kind of resource', { resource_ref: 'dbrole:analytics_ro' }, 'forbidden', 'resource_kind_mismatch'),
  grant('a negative time', { ttl_seconds: -1 }, 'invalid_request'),
  grant('a reference of no kind', { resource_ref: 'gitlab:acme/widgets' }, 'invalid_request'),
  ...[
    'acme',
    'acme/',
    '/widgets',
    'acme/widgets/pulls',
    'acme/..',
    '../acme',
    'acme/.',
    'acme%2fwidgets',
    'acme/wid%2e%2e',
    'acme\\widgets',
    'acme/widgets?x=1',
    'acme/widgets#x',
    'acme//widgets',
    'ac me/widgets',
    'acme/wid\nget',
    '%2e%2e/user',
    'acme/..%2f..%2fuser',
  ].map((name) => grant(`repository ${JSON.stringify(name)}`, ref(name), 'invalid_request')),

  proxy('a handle nobody gave', { proxy_handle: `ph_${'A'.repeat(43)}` }, 'unauthorized'),
  proxy('an operation that is none', { operation: 'delete_repository' }, 'forbidden', 'operation_not_allowed'),
  proxy('an operation named as a property of objects', { operation: 'constructor' }, 'forbidden', 'operation_not_allowed'),
  proxy('another repository', { params: { pull_number: 10, owner: 'umbrella' } }, 'forbidden', 'resource_outside_grant'),
  proxy('traversal in the number', { params: { pull_number: '10/../../../user' } }, 'invalid_request'),
  proxy(
    'encoded traversal in the owner',
    { params: { pull_number: 10, owner: '..%2f..%2fuser' } },
    'forbidden',
    'resource_outside_grant',
  ),
  proxy('a fraction of a pull request', { params: { pull_number: 1.5 } }, 'invalid_request'),
  proxy('a parameter that is none', { params: { pull_number: 10, path: '/user' } }, 'invalid_request'),
  proxy('a page too large', { operation: 'repository_issues', params: { per_page: 101 } }, 'invalid_request'),
  proxy('a pull request that is not there', { params: { pull_number: 999 } }, 'not_found'),
  proxy('GitHub asks to slow down', {}, 'rate_limited', undefined, () =>
    asb.github.answerNext(secondaryRateLimit(403, '30')),
  ),
  proxy('GitHub fails', {}, 'upstream_error', undefined, () => asb.github.answerNext(failure(500, 'oops'))),
  proxy('GitHub refuses', {}, 'forbidden', 'upstream_refused', () => asb.github.answerNext(failure(403, 'no access'))),
];

const TOKENS: readonly Attack[] = [
  {
    name: 'token: none',
    attempt: async () => ({ method: 'requestGrant', request: GRANT_REQUEST }),
    code: 'unauthorized',
    message: /session_token: is required/,
  },
  {
    name: 'token: an attestation in its place',
    attempt: async () => ({
      method: 'requestGrant',
      request: GRANT_REQUEST,
      options: { bearer: (await asb.attestation()).token },
    }),
    code: 'unauthorized',
  },
  {
    name: 'token: two that differ',
    attempt: async () => ({
      method: 'requestGrant',
      request: { ...GRANT_REQUEST, session_token: (await asb.openSession()).session_token },
      options: { bearer: (await asb.openSession()).session_token },
    }),
    code: 'invalid_request',
  },
  {
    name: 'token: of a session that was revoked',
    attempt: async () => {
      const { session_id, session_token } = await asb.openSession();
      await asb.call('revokeSession', { session_id }, { bearer: session_token });
      return { method: 'requestGrant', request: GRANT_REQUEST, options: { bearer: session_token } };
    },
    code: 'unauthorized',
    message: /has ended/,
  },
  {
    name: 'token: claims edited',
    attempt: async () => {
      const [header, payload = '', signature] = (await asb.openSession()).session_token.split('.');
      const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString());
      const edited = encodePart({ ...(claims as object), tenant_id: 't_other' });
      return { method: 'requestGrant', request: GRANT_REQUEST, options: { bearer: [header, edited, signature].join('.') } };
    },
    code: 'unauthorized',
  },
  {
    name: "revoke: another session's grant",
    attempt: async () => {
      const { grant_id } = await asb.requestGrant((await asb.openSession()).session_token);
      return { method: 'revokeGrant', request: { grant_id }, options: { bearer: (await asb.openSession()).session_token } };
    },
    code: 'not_found',
  },
  {
    name: 'revoke: another session',
    attempt: async () => {
      const { session_id } = await asb.openSession();
      return {
        method: 'revokeSession',
        request: { session_id },
        options: { bearer: (await asb.openSession()).session_token },
      };
    },
    code: 'not_found',
  },
  {
    name: 'revoke: a grant, without a token',
    attempt: async () => ({
      method: 'revokeGrant',
      request: { grant_id: (await asb.requestGrant((await asb.openSession()).session_token)).grant_id },
    }),
    code: 'unauthorized',
  },
  {
    name: 'revoke: a grant twice',
    attempt: async () => {
      const { session_token } = await asb.openSession();
      const { grant_id } = await asb.requestGrant(session_token);
      await asb.call('revokeGrant', { grant_id }, { bearer: session_token });
      return { method: 'revokeGrant', request: { grant_id }, options: { bearer: session_token } };
    },
    code: 'conflict',
  },
  {
    name: 'handle: after its session was revoked',
    attempt: async () => {
      const { session_id, session_token } = await asb.openSession();
      const { delivery } = await asb.requestGrant(session_token);
      await asb.call('revokeSession', { session_id }, { bearer: session_token });
      return { method: 'executeGitHubProxy', request: { proxy_handle: delivery.handle, operation: 'repository_metadata' } };
    },
    code: 'unauthorized',
  },
  {
    name: 'approve: an unknown approval',
    attempt: async () => ({
      method: 'approveGrant',
      request: { approval_id: 'ap_1' },
      options: { bearer: await asb.operatorToken() },
    }),
    code: 'not_found',
  },
  {
    name: 'deny: an unknown approval',
    attempt: async () => ({
      method: 'denyGrant',
      request: { approval_id: 'ap_1' },
      options: { bearer: await asb.operatorToken() },
    }),
    code: 'not_found',
  },
  {
    name: 'approve: without a token',
    attempt: async () => ({ method: 'approveGrant', request: { approval_id: 'ap_1', approver: 'me' } }),
    code: 'unauthorized',
  },
  {
    name: 'relay: without a token',
    attempt: async () => ({
      method: 'registerBrowserRelay',
      request: { key_id: 'k', public_key: 'p', origin: 'https://a.example', tab_id: '1' },
    }),
    code: 'unauthorized',
  },
  {
    name: 'relay: an origin nobody serves',
    attempt: async () => ({
      method: 'registerBrowserRelay',
      request: {
        key_id: 'k',
        public_key: 'p',
        origin: 'https://a.example',
        tab_id: '1',
        session_token: (await asb.openSession()).session_token,
      },
    }),
    code: 'not_found',
  },
  {
    name: 'unwrap: an unknown artifact',
    attempt: async () => ({
      method: 'unwrapArtifact',
      request: { artifact_id: 'art_1', session_token: (await asb.openSession()).session_token },
    }),
    code: 'not_found',
  },
  {
    name: 'unwrap: the artifact behind a proxy handle',
    attempt: async () => {
      const { session_token } = await asb.openSession();
      const { delivery } = await asb.requestGrant(session_token);
      return { method: 'unwrapArtifact', request: { artifact_id: delivery.artifact_id, session_token } };
    },
    code: 'not_found',
  },
];

/** What every transport must answer alike. */
function comparable(result: CallResult): object {
  if (result.ok) return { ok: true };
  const { code, message, reason, retryAfterSeconds } = result;
  return { ok: false, code, message, reason, retryAfterSeconds };
}

const AUDITED = new Set(['unauthorized', 'forbidden', 'not_found', 'conflict']);

describe('every attack is refused alike on every transport, and the refusal is on record', () => {
  test.each([...FORGERIES, ...REQUESTS, ...TOKENS])('$name', async ({ attempt, code, reason, message }) => {
    const { method, request, options, beforeEach } = await attempt();
    const answers: object[] = [];
    for (const client of asb.clients) {
      beforeEach?.();
      const result = await client.call(method, request, options);
      expect(result).toMatchObject({ ok: false, code, ...(reason === undefined ? {} : { reason }) });
      if (!result.ok && message !== undefined) expect(result.message).toMatch(message);
      answers.push(comparable(result));
      if (AUDITED.has(code)) {
        const last = asb.audit.events.at(-1);
        expect(last).toMatchObject({ type: expect.stringMatching(/\.(refused|failed)$/), code });
      }
    }
    for (const answer of answers) expect(answer).toEqual(answers[0]);
  });
});

test('a grant or a session that ran out is dead without anybody ending it', async () => {
  const { session_token } = await asb.openSession();
  const { delivery } = await asb.requestGrant(session_token, { ttl_seconds: 60 });
  const read = { proxy_handle: delivery.handle, operation: 'repository_metadata' };
  expect(await asb.call('executeGitHubProxy', read)).toMatchObject({ ok: true });
  asb.clock.advance(60);
  expect(await asb.call('executeGitHubProxy', read)).toMatchObject({ ok: false, code: 'unauthorized' });
  asb.clock.advance(900);
  expect(await asb.call('requestGrant', GRANT_REQUEST, { bearer: session_token })).toMatchObject({
    ok: false,
    code: 'unauthorized',
    message: 'session_token: has expired; create a new session',
  });
});

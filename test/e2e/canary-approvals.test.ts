import { inspect } from 'node:util';
import type { JsonValue } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { type Asb, bodyOf, GRANT_REQUEST, sessionRequest, startAsb } from '../support/asb.ts';
import { signedByReceiver, told, USE } from '../support/approvals.ts';
import { type Configured, configured, TENANTS, WEBHOOK_SECRET } from '../support/configured.ts';
import { makeProofKey, type ProofKey } from '../support/dpop.ts';
import { startReceiver, type TestReceiver } from '../support/receiver.ts';
import type { CallOptions, CallResult, MethodName } from '../support/transports.ts';

const PUBLIC_URL = 'https://asb.example';

let receiver: TestReceiver;
let file: Configured;
let asb: Asb;
let key: ProofKey;
beforeAll(async () => {
  receiver = await startReceiver();
  file = configured(receiver.url.href);
  asb = await startAsb({ ASB_PUBLIC_BASE_URL: PUBLIC_URL }, { file });
  key = await makeProofKey();
});
afterAll(async () => {
  await asb.close();
  await receiver.close();
  file.remove();
});

/** Everything that must not be found again, by what it is. */
const secrets = new Map<string, string[]>();
const keep = <Secret extends string>(kind: string, secret: Secret): Secret => {
  secrets.set(kind, [...(secrets.get(kind) ?? []), secret]);
  return secret;
};

/** Every answer, by the call that it is to. */
const answers: { to: string; answer: CallResult }[] = [];
async function call(to: string, method: MethodName, request: JsonValue, options?: CallOptions): Promise<CallResult> {
  const answer = await asb.call(method, request, options);
  answers.push({ to, answer });
  return answer;
}

const PATHS = { createSession: '/v1/sessions', requestGrant: '/v1/grants', executeGitHubProxy: '/v1/proxy/github/rest' };

/** The header with a proof; a path, for a call whose route has an id in it. */
async function proof(method: 'GET' | 'POST', path: string, credential?: string): Promise<Record<string, string>> {
  const options = { method, url: `${PUBLIC_URL}${path}`, at: asb.clock.now() };
  return { dpop: keep('DPoP proof', await key.proof(credential === undefined ? options : { ...options, credential })) };
}

const operator = async (...roles: string[]): Promise<{ bearer: string }> => ({
  bearer: keep('operator token', await asb.operatorToken(roles, `olga-${roles.join('-')}`)),
});

const opened = z.object({ session_id: z.string(), session_token: z.string() });
const waiting = z.object({ grant_id: z.string(), approval_id: z.string() });

/** Opens a session that is bound to a key and was delegated, and asks for a grant that waits for people. */
async function anAskingRun(label: string, tenant: string = TENANTS.human) {
  const { attestation, ...request } = await sessionRequest(asb.attestation, {
    tenant_id: tenant,
    delegation_assertion: keep(
      'delegation assertion',
      await file.delegations.assertion({ now: asb.clock.now(), tenantId: tenant, subject: 'dora' }),
    ),
  });
  keep('attestation', z.object({ token: z.string() }).parse(attestation).token);
  const headers = await proof('POST', PATHS.createSession);
  const session = bodyOf(
    await call(`${label}: createSession`, 'createSession', { ...request, attestation: attestation! }, { headers }),
  );
  const { session_id, session_token: bearer } = opened.parse(session);
  keep('session token', bearer);
  const asked = await call(`${label}: requestGrant`, 'requestGrant', GRANT_REQUEST, {
    bearer,
    headers: await proof('POST', PATHS.requestGrant, bearer),
  });
  const grant = waiting.parse(bodyOf(asked));
  const heard = await told(asb, receiver, grant);
  keep('link token', heard.approve);
  keep('link token', heard.deny);
  return { session_id, bearer, ...grant, ...heard };
}
type Run = Awaited<ReturnType<typeof anAskingRun>>;

const GRANT_AND_HANDLE = z.object({ delivery: z.object({ handle: z.string() }) });

async function collectAndUse(label: string, { grant_id, bearer }: Run): Promise<string> {
  const path = `/v1/grants/${grant_id}`;
  const collected = await call(
    `${label}: getGrant`,
    'getGrant',
    { grant_id },
    {
      bearer,
      headers: await proof('GET', path, bearer),
    },
  );
  const { handle } = GRANT_AND_HANDLE.parse(bodyOf(collected)).delivery;
  keep('handle', handle);
  const use = { proxy_handle: handle, ...USE };
  const headers = await proof('POST', PATHS.executeGitHubProxy, handle);
  expect(await call(`${label}: use`, 'executeGitHubProxy', use, { headers })).toMatchObject({ ok: true });
  // The same proof once more, no proof, and somebody else's.
  await call(`${label}: replay`, 'executeGitHubProxy', use, { headers });
  await call(`${label}: no proof`, 'executeGitHubProxy', use);
  await call(`${label}: wrong proof`, 'executeGitHubProxy', use, {
    headers: await proof('POST', PATHS.executeGitHubProxy, bearer),
  });
  return handle;
}

/** Operators look at everything there is. */
async function lookAround({ session_id, grant_id, approval_id }: Run): Promise<void> {
  const credential = await operator('viewer', 'auditor', 'operator', 'approver');
  const tenant_id = TENANTS.human;
  const reads: [MethodName, JsonValue][] = [
    ['getSession', { session_id }],
    ['getGrant', { grant_id }],
    ['getApproval', { approval_id }],
    ['listSessions', { tenant_id }],
    ['listGrants', { tenant_id }],
    ['listApprovals', { tenant_id }],
    ['listAuditEvents', { tenant_id, page_size: 200 }],
    [
      'explainDecision',
      {
        tenant_id,
        session_id,
        tool: GRANT_REQUEST.tool,
        capability: GRANT_REQUEST.capability,
        resource_ref: GRANT_REQUEST.resource_ref,
        delivery_mode: GRANT_REQUEST.delivery_mode,
      },
    ],
  ];
  for (const [method, request] of reads) {
    expect(await call(`operator: ${method}`, method, request, credential), method).toMatchObject({ ok: true });
  }
}

/** Puts every secret where it does not belong, for errors, log lines and events to repeat. */
async function misplaceAll(run: Run): Promise<void> {
  const credential = await operator('approver', 'operator');
  const { session_token: bearer } = await asb.openSession({ tenant_id: TENANTS.free });
  for (const [kind, [secret = '']] of secrets) {
    const to = `misplaced ${kind}`;
    await call(to, 'getGrant', { grant_id: secret }, credential);
    await call(to, 'getSession', { session_id: secret }, credential);
    await call(to, 'approveGrant', { approval_id: secret }, credential);
    await call(to, 'approveGrant', { approval_id: run.approval_id, approver: secret }, credential);
    await call(to, 'revokeRun', { tenant_id: secret, run_id: secret }, credential);
    await call(to, 'decideByCallback', { approval_id: run.approval_id, assertion: secret });
    await call(to, 'decideByCallback', { approval_id: run.approval_id, assertion: `${secret}x` });
    await call(to, 'requestGrant', GRANT_REQUEST, { bearer: secret });
    await call(to, 'requestGrant', GRANT_REQUEST, { bearer: `${secret}x` });
    for (const field of ['resource_ref', 'request_id']) {
      await call(to, 'requestGrant', { ...GRANT_REQUEST, [field]: secret }, { bearer });
    }
    await call(to, 'revokeGrant', { grant_id: secret }, { bearer });
    await call(to, 'listSessions', { tenant_id: TENANTS.human, page_token: secret }, credential);
    await call(to, 'executeGitHubProxy', { proxy_handle: secret, operation: secret });
    const claimed = { tenant_id: TENANTS.human, agent_id: secret.slice(0, 190) };
    await call(to, 'createSession', await sessionRequest(asb.attestation, { ...claimed, delegation_assertion: secret }));
    const attestation = { kind: 'k8s_sa_jwt', token: secret };
    await call(to, 'createSession', { ...(await sessionRequest(asb.attestation)), attestation });
    await call(to, 'createSession', await sessionRequest(asb.attestation), { headers: { dpop: secret } });
    const raw = await asb.raw.send({
      method: 'GET',
      path: `/${encodeURIComponent(secret)}?token=${encodeURIComponent(secret)}`,
    });
    expect(raw.status).toBe(404);
    elsewhere.push(raw.body.toString(), inspect(raw.headers));
  }
}

/** What else the broker said, to whomever. */
const elsewhere: string[] = [];

/** The parts of a secret that are its own: of a JWT not the header, of a handle and a key not the prefix. */
function partsOf(secret: string): string[] {
  if (secret.startsWith('ph_')) return [secret.slice('ph_'.length)];
  if (secret.startsWith('whsec_')) {
    const encoded = secret.slice('whsec_'.length);
    const bytes = Buffer.from(encoded, 'base64');
    return [encoded, bytes.toString(), bytes.toString('hex'), bytes.toString('base64url')];
  }
  return secret.split('.').slice(1);
}

const written = (value: unknown): string =>
  `${JSON.stringify(value)}\n${inspect(value, { depth: null, maxStringLength: null, maxArrayLength: null })}`;

test('what lets somebody in is told to whom it is for, and to nobody else', async () => {
  keep('webhook secret', WEBHOOK_SECRET);

  const linked = await anAskingRun('linked');
  const byLink = { approval_id: linked.approval_id, assertion: linked.approve, comment: 'fine' };
  expect(await call('link', 'decideByCallback', byLink)).toMatchObject({ ok: true });
  expect(await call('link again', 'decideByCallback', byLink)).toMatchObject({ ok: false, code: 'conflict' });
  const handle = await collectAndUse('linked', linked);

  const signing = await anAskingRun('signing');
  const assertion = keep('signed callback', await signedByReceiver(asb, file, signing));
  const bySignature = { approval_id: signing.approval_id, assertion };
  expect(await call('signed', 'decideByCallback', bySignature)).toMatchObject({ ok: true });
  await collectAndUse('signing', signing);

  const denied = await anAskingRun('denied');
  const no = { approval_id: denied.approval_id, comment: 'no' };
  expect(await call('operator: deny', 'denyGrant', no, await operator('approver'))).toMatchObject({ ok: true });

  await lookAround(linked);
  await misplaceAll(linked);
  for (const path of ['/healthz', '/readyz', '/metrics', '/openapi.json', '/.well-known/jwks.json', '/approval']) {
    const { headers, body } = await asb.raw.send({ method: 'GET', path });
    elsewhere.push(inspect(headers), body.toString());
  }
  const stop = { tenant_id: TENANTS.human, run_id: 'run-1', reason: 'over' };
  expect(await call('operator: stop', 'revokeRun', stop, await operator('operator'))).toMatchObject({ ok: true });
  await call('dead handle', 'executeGitHubProxy', { proxy_handle: handle, ...USE });
  // A receiver that is told nothing in return still was asked: the message went out signed.
  expect(receiver.received.length).toBeGreaterThanOrEqual(3);

  expect([...secrets.keys()].sort()).toEqual([
    'DPoP proof',
    'attestation',
    'delegation assertion',
    'handle',
    'link token',
    'operator token',
    'session token',
    'signed callback',
    'webhook secret',
  ]);
  const kept = [...asb.logged, written(asb.audit.events), ...elsewhere].join('\n');
  const sent = written(receiver.received);
  const toldOnce: Record<string, readonly string[]> = {
    'session token': ['linked: createSession', 'signing: createSession', 'denied: createSession'],
    handle: ['linked: getGrant', 'signing: getGrant'],
  };
  const replies = answers.map(({ to, answer }) => ({ to, text: written(answer) }));
  for (const [kind, all] of secrets) {
    const heardBy = new Set<string>();
    for (const part of all.flatMap(partsOf)) {
      expect(part.length, kind).toBeGreaterThan(20);
      expect(kept.includes(part), `${kind} in the log, an event, a metric or a page`).toBe(false);
      if (kind !== 'link token') expect(sent.includes(part), `${kind} in a message`).toBe(false);
      for (const { to, text } of replies) if (text.includes(part)) heardBy.add(to);
    }
    expect([...heardBy], `answers with a ${kind}`).toEqual(toldOnce[kind] ?? []);
  }
});

test.each<[field: string, ask: (handle: string, bearer: string) => Promise<CallResult>]>([
  ['tool', (handle, bearer) => asb.call('requestGrant', { ...GRANT_REQUEST, tool: handle }, { bearer })],
  ['capability', (handle, bearer) => asb.call('requestGrant', { ...GRANT_REQUEST, capability: handle }, { bearer })],
  [
    'tool_context',
    async (handle) => {
      const changes = { tenant_id: TENANTS.free, tool_context: [handle] };
      return asb.call('createSession', await sessionRequest(asb.attestation, changes));
    },
  ],
])('an error does not repeat a handle that stands in the place of a name: %s', async (_field, ask) => {
  const { session_token: bearer } = await asb.openSession({ tenant_id: TENANTS.free });
  const { handle } = (await asb.requestGrant(bearer)).delivery;
  const answer = await ask(handle, bearer);
  expect(answer).toMatchObject({ ok: false, code: 'forbidden' });
  expect(written([answer, asb.audit.events, asb.logged])).not.toContain(handle);
});

import type { JsonValue } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { type Asb, bodyOf, GRANT_REQUEST, startAsb } from '../support/asb.ts';
import { aWaitingGrant, collect, decide, openIn, signedByReceiver } from '../support/approvals.ts';
import { type Configured, configured, TENANTS } from '../support/configured.ts';
import { startReceiver, type TestReceiver } from '../support/receiver.ts';
import type { CallResult, MethodName } from '../support/transports.ts';

let receiver: TestReceiver;
let file: Configured;
let asb: Asb;
beforeAll(async () => {
  receiver = await startReceiver();
  file = configured(receiver.url.href);
  asb = await startAsb({}, { file });
});
afterAll(async () => {
  await asb.close();
  await receiver.close();
  file.remove();
});

/** What rows are called, somebody else's or nobody's. */
interface Ids {
  session_id: string;
  grant_id: string;
  approval_id: string;
  artifact_id: string;
}

const UNKNOWN: Ids = {
  session_id: 'sess_01890a5d-ac96-774b-bcce-b302099a8057',
  grant_id: 'gr_01890a5d-ac96-774b-bcce-b302099a8058',
  approval_id: 'ap_01890a5d-ac96-774b-bcce-b302099a8059',
  artifact_id: 'art_01890a5d-ac96-774b-bcce-b302099a8060',
};

interface Foreign {
  ids: Ids;
  /** Whether its grant waits still, or was issued, and its session lives. */
  stands: () => Promise<void>;
}

/** A grant of another tenant that waits; the artifact is that of an issued one beside it. */
async function aForeignGrant(): Promise<Foreign> {
  const waiting = await aWaitingGrant(asb, TENANTS.other);
  const issued = await aWaitingGrant(asb, TENANTS.other);
  expect(await decide(asb, 'approveGrant', issued, { roles: ['other-approver'] })).toMatchObject({ ok: true });
  const { delivery } = z
    .object({ delivery: z.object({ artifact_id: z.string() }) })
    .parse(bodyOf(await asb.call('getGrant', { grant_id: issued.grant_id }, { bearer: issued.bearer })));
  return {
    ids: {
      session_id: waiting.sessionId,
      grant_id: waiting.grant_id,
      approval_id: waiting.approval_id,
      artifact_id: delivery.artifact_id,
    },
    async stands() {
      expect(await collect(asb, waiting)).toMatchObject({ state: 'pending' });
      expect(await collect(asb, issued)).toMatchObject({ state: 'issued' });
    },
  };
}

/** An answer without what names the request. */
const told = (answer: CallResult): unknown => ({
  ...answer,
  requestId: '',
  headers: { ...answer.headers, requestId: '' },
});

interface Question {
  name: string;
  method: MethodName;
  /** Of an operator of ours; a list stands for the token of a session of ours. */
  roles: string[] | 'session' | 'nobody';
  request: (ids: Ids) => JsonValue | Promise<JsonValue>;
  /** The refusal, or `empty` for a list without rows. */
  answer: string;
}

const named = (method: MethodName, field: keyof Ids, roles: Question['roles']): Question => ({
  name: `${method}.${field} by ${roles === 'session' ? 'a session' : `operators (${String(roles)})`}`,
  method,
  roles,
  request: (ids) => ({ [field]: ids[field] }),
  answer: 'not_found',
});

const listed = (method: MethodName, field: keyof Ids, role = 'viewer'): Question => ({
  name: `${method}.${field} as a filter`,
  method,
  roles: [role],
  request: (ids) => ({ tenant_id: TENANTS.free, [field]: ids[field] }),
  answer: 'empty',
});

const { tool, capability, resource_ref, delivery_mode } = GRANT_REQUEST;

const QUESTIONS: readonly Question[] = [
  named('getGrant', 'grant_id', ['viewer', 'operator', 'approver', 'auditor']),
  named('getGrant', 'grant_id', 'session'),
  named('revokeGrant', 'grant_id', ['operator']),
  named('revokeGrant', 'grant_id', 'session'),
  named('getSession', 'session_id', ['viewer']),
  named('revokeSession', 'session_id', ['operator']),
  named('revokeSession', 'session_id', 'session'),
  named('getApproval', 'approval_id', ['viewer']),
  named('approveGrant', 'approval_id', ['approver']),
  named('denyGrant', 'approval_id', ['approver']),
  { ...named('unwrapArtifact', 'artifact_id', 'session'), request: ({ artifact_id }) => unwrap(artifact_id) },
  {
    name: 'explainDecision.session_id',
    method: 'explainDecision',
    roles: ['viewer'],
    request: ({ session_id }) => ({
      tenant_id: TENANTS.free,
      session_id,
      ...{ tool, capability, resource_ref, delivery_mode },
    }),
    answer: 'not_found',
  },
  {
    name: 'decideByCallback.approval_id, which a receiver of ours signed',
    method: 'decideByCallback',
    roles: 'nobody',
    request: async ({ approval_id }) => ({
      approval_id,
      assertion: await signedByReceiver(asb, file, { approval_id, requestHash: '0'.repeat(64) }),
    }),
    answer: 'not_found',
  },
  {
    name: 'decideByCallback.approval_id, with no valid assertion',
    method: 'decideByCallback',
    roles: 'nobody',
    request: ({ approval_id }) => ({ approval_id, assertion: 'a.b.c' }),
    answer: 'unauthorized',
  },
  listed('listGrants', 'session_id'),
  listed('listApprovals', 'session_id'),
  listed('listAuditEvents', 'session_id', 'auditor'),
  listed('listAuditEvents', 'grant_id', 'auditor'),
  listed('listAuditEvents', 'approval_id', 'auditor'),
];

const unwrap = (artifact_id: string): JsonValue => ({
  artifact_id,
  key_id: 'key-1',
  origin: 'https://app.example',
  tab_id: 'tab-1',
});

async function bearerOf(roles: Question['roles']): Promise<{ bearer?: string }> {
  if (roles === 'nobody') return {};
  if (roles === 'session') return { bearer: (await openIn(asb, TENANTS.free)).bearer };
  return { bearer: await asb.operatorToken(roles) };
}

describe("another tenant's id answers exactly as an unknown one", () => {
  test.each(QUESTIONS)('$name', async ({ method, roles, request, answer }) => {
    const { ids, stands } = await aForeignGrant();
    const credential = await bearerOf(roles);
    for (const client of asb.clients) {
      const foreign = await client.call(method, await request(ids), credential);
      const unknown = await client.call(method, await request(UNKNOWN), credential);
      expect(told(foreign), client.name).toEqual(told(unknown));
      if (answer === 'empty') expect(bodyOf(foreign)).toEqual({});
      else expect(foreign).toMatchObject({ ok: false, code: answer });
    }
    await stands();
  });

  test('where its own operators and sessions get more than that', async () => {
    // Or the answers above could all be of a broker that answers nobody.
    const { ids } = await aForeignGrant();
    const viewer = { bearer: await asb.operatorToken(['other-viewer']) };
    const { session_id, grant_id, approval_id } = ids;
    expect(await asb.call('getGrant', { grant_id }, viewer)).toMatchObject({ ok: true });
    expect(await asb.call('getSession', { session_id }, viewer)).toMatchObject({ ok: true });
    expect(await asb.call('getApproval', { approval_id }, viewer)).toMatchObject({ ok: true });
    const tenant_id = TENANTS.other;
    expect(bodyOf(await asb.call('listGrants', { tenant_id, session_id }, viewer))).toHaveProperty('grants');
    expect(bodyOf(await asb.call('listApprovals', { tenant_id, session_id }, viewer))).toHaveProperty('approvals');
    const question = { tenant_id, session_id, tool, capability, resource_ref, delivery_mode };
    expect(await asb.call('explainDecision', question, viewer)).toMatchObject({ ok: true });
  });

  test("and another session's of the same tenant, to a session", async () => {
    const other = await openIn(asb, TENANTS.free);
    const { grant_id, delivery } = await asb.requestGrant(other.bearer);
    const { bearer } = await openIn(asb, TENANTS.free);
    const pairs: [MethodName, JsonValue, JsonValue][] = [
      ['getGrant', { grant_id }, { grant_id: UNKNOWN.grant_id }],
      ['revokeGrant', { grant_id }, { grant_id: UNKNOWN.grant_id }],
      ['revokeSession', { session_id: other.sessionId }, { session_id: UNKNOWN.session_id }],
      ['unwrapArtifact', unwrap(delivery.artifact_id), unwrap(UNKNOWN.artifact_id)],
    ];
    for (const [method, theirs, unknown] of pairs) {
      const foreign = await asb.call(method, theirs, { bearer });
      expect(foreign, method).toMatchObject({ ok: false, code: 'not_found' });
      expect(told(foreign), method).toEqual(told(await asb.call(method, unknown, { bearer })));
    }
    expect(await collect(asb, { grant_id, bearer: other.bearer })).toMatchObject({ state: 'issued' });
  });

  test('and a tenant that is not ours as one that does not exist', async () => {
    const roles = ['viewer', 'auditor', 'operator'];
    const credential = { bearer: await asb.operatorToken(roles) };
    const { session_id } = (await aForeignGrant()).ids;
    const calls: [MethodName, Record<string, JsonValue>][] = [
      ['listSessions', {}],
      ['listGrants', {}],
      ['listApprovals', {}],
      ['listAuditEvents', {}],
      ['revokeRun', { run_id: 'run-1' }],
      ['revokeWorkload', { workload_hash: '0'.repeat(64) }],
      ['explainDecision', { session_id, tool, capability, resource_ref, delivery_mode }],
    ];
    for (const [method, request] of calls) {
      const foreign = await asb.call(method, { ...request, tenant_id: TENANTS.other }, credential);
      expect(foreign, method).toMatchObject({
        ok: false,
        code: 'forbidden',
        reason: 'role_missing',
        rule: 'operator_roles',
      });
      const unknown = await asb.call(method, { ...request, tenant_id: 't_nowhere' }, credential);
      expect(told(foreign), method).toEqual(told(unknown));
    }
    const ours = await asb.call('listAuditEvents', { tenant_id: TENANTS.free, page_size: 200 }, credential);
    expect(JSON.stringify(bodyOf(ours))).not.toContain(TENANTS.other);
  });
});

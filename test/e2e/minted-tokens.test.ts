import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonValue } from '@bufbuild/protobuf';
import { z } from 'zod';
import { JSON_TYPE, type ScriptedAnswer } from '../../dev/github/answers.ts';
import type { StandInApp } from '../../dev/github/app.ts';
import { type Asb, bodyOf, GRANT_REQUEST, startAsb } from '../support/asb.ts';
import { type Configured, configured, policies, TENANTS, tenantOf } from '../support/configured.ts';
import { expectNoneIn, writtenDown } from '../support/dumps.ts';
import { makeAppKeys } from '../support/github-app.ts';

const PERMISSIONS = { contents: 'read', issues: 'write' };
const MODES = ['proxy', 'minted_token'];
const REQUEST = { ...GRANT_REQUEST, delivery_mode: 'minted_token' };

let file: Configured;
let asb: Asb;
let app: StandInApp;
beforeAll(async () => {
  file = configured();
  for (const [tenantId, changes] of [
    [TENANTS.free, {}],
    [TENANTS.human, { approval: { required: 1, ttl: '5m' } }],
  ] as const) {
    const tenant = tenantOf(file, tenantId);
    tenant.tools = z
      .array(z.looseObject({}))
      .parse(tenant.tools)
      .map((tool) => ({ ...tool, delivery_modes: MODES }));
    tenant.policies = policies({ delivery_modes: MODES, github_permissions: PERMISSIONS, ...changes });
  }
  file.write();
  asb = await startAsb({}, { file, app: makeAppKeys() });
  if (asb.github.app === null) throw new Error('the stand-in knows no App');
  ({ app } = asb.github);
});
afterAll(async () => {
  await asb.close();
  file.remove();
});

const answered = z.object({
  grant_id: z.string(),
  state: z.string(),
  approval_id: z.string().optional(),
  delivery: z.object({ kind: z.literal('minted_token'), token: z.string(), artifact_id: z.string() }).optional(),
});
const open = (tenantId: string = TENANTS.free) => asb.openSession({ tenant_id: tenantId });

async function aToken(bearer: string, changes: Record<string, JsonValue> = {}, client = asb.clients[0]) {
  const { grant_id, state, delivery } = answered.parse(
    bodyOf(await client.call('requestGrant', { ...REQUEST, ...changes }, { bearer })),
  );
  return { grant_id, state, token: delivery?.token ?? '', artifact_id: delivery?.artifact_id ?? '' };
}

/** What GitHub says to a token: whether it lets it read the repository. */
const works = async (token: string): Promise<boolean> =>
  (await fetch(`${asb.github.url}/repos/acme/widgets`, { headers: { authorization: `Bearer ${token}` } })).ok;

const WAIT = { timeout: 20_000, interval: 100 };
const eventually = <T>(what: () => Promise<T> | T) =>
  expect.poll(() => {
    asb.clock.advance(1);
    return what();
  }, WAIT);

test.each([0, 1, 2, 3, 4])(
  'a token for one repository, with the permissions of the policy, is given out once (transport %i)',
  async (index) => {
    const client = asb.clients[index];
    const { session_token: bearer } = await open();
    const { grant_id, state, token, artifact_id } = await aToken(bearer, { request_id: `mint-${index}` }, client);
    expect(state).toBe('delivered');
    expect(app.mints.at(-1)).toMatchObject({ token, permissions: expect.objectContaining(PERMISSIONS) });
    expect(await works(token)).toBe(true);
    const mints = app.mints.length;
    // The same request again, the grant again, the artifact by itself: none gives it out a second time, and none mints anew.
    const again = await asb.call('requestGrant', { ...REQUEST, request_id: `mint-${index}` }, { bearer });
    expect(again).toMatchObject({ ok: false, code: 'conflict' });
    const read = answered.parse(bodyOf(await asb.call('getGrant', { grant_id }, { bearer })));
    expect([read.state, read.delivery]).toEqual(['delivered', undefined]);
    expect(await asb.call('unwrapArtifact', { artifact_id }, { bearer })).toMatchObject({ code: 'not_found' });
    expect(app.mints).toHaveLength(mints);
  },
);

test('is revoked at GitHub when its grant is revoked, when its session ends, and when its time is up', async () => {
  const { session_id, session_token: bearer } = await open();
  const [first, second] = [await aToken(bearer), await aToken(bearer)];
  bodyOf(await asb.call('revokeGrant', { grant_id: first.grant_id }, { bearer }));
  await eventually(() => works(first.token)).toBe(false);
  expect(await works(second.token)).toBe(true);
  bodyOf(await asb.call('revokeSession', { session_id }, { bearer }));
  await eventually(() => works(second.token)).toBe(false);
  const third = await aToken((await open()).session_token);
  asb.clock.advance(300);
  await eventually(() => works(third.token)).toBe(false);
});

test('that a person must allow is minted with the yes, and one of fifty who collect it gets it', async () => {
  const { session_token: bearer } = await open(TENANTS.human);
  const asked = answered.parse(bodyOf(await asb.call('requestGrant', REQUEST, { bearer })));
  const mints = app.mints.length;
  const approver = await asb.operatorToken(['approver'], 'olga');
  const yes = bodyOf(await asb.call('approveGrant', { approval_id: asked.approval_id ?? '' }, { bearer: approver }));
  expect(JSON.stringify(yes)).not.toContain(app.mints.at(-1)?.token);
  const { grant_id } = asked;
  const stranger = (await open(TENANTS.human)).session_token;
  expect(await asb.call('getGrant', { grant_id }, { bearer: stranger })).toMatchObject({ code: 'not_found' });
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, place) =>
      (asb.clients[place % 5] ?? asb.clients[0]).call('getGrant', { grant_id }, { bearer }),
    ),
  );
  const tokens = answers.flatMap((answer) => (answer.ok ? (answered.parse(answer.body).delivery?.token ?? []) : []));
  expect(tokens).toEqual([app.mints.at(-1)?.token]);
  expect(app.mints).toHaveLength(mints + 1);
});

const failing =
  (status: number): ScriptedAnswer =>
  (_request, response) => {
    response.writeHead(status, { 'content-type': JSON_TYPE }).end('{"message":"CANARY of GitHub"}');
  };
const reset: ScriptedAnswer = (request) => void request.socket.resetAndDestroy();

describe('a GitHub that fails', () => {
  test.each<[name: string, answer: ScriptedAnswer, code: string]>([
    ['with an error of its own', failing(500), 'upstream_error'],
    ['by refusing', failing(403), 'forbidden'],
    ['because it is asked too often', failing(429), 'rate_limited'],
    ['without an answer', reset, 'upstream_error'],
  ])('to mint, %s, leaves a grant that has ended and no token', async (_name, answer, code) => {
    const { session_token: bearer } = await open();
    await aToken(bearer);
    const mints = app.mints.length;
    asb.github.answerNext(answer);
    const asked = { ...REQUEST, request_id: 'failing' };
    const refused = await asb.call('requestGrant', asked, { bearer });
    expect(refused).toMatchObject({ ok: false, code });
    expect(JSON.stringify(refused)).not.toContain('CANARY');
    expect(answered.parse(bodyOf(await asb.call('requestGrant', asked, { bearer }))).state).toBe('expired');
    expect(app.mints).toHaveLength(mints);
    expect((await aToken(bearer)).state).toBe('delivered');
  });

  test.each<[name: string, answer: ScriptedAnswer]>([
    ['with an error of its own', failing(500)],
    ['without an answer', reset],
  ])('to revoke, %s, is asked again until the token is dead', async (_name, answer) => {
    const { session_token: bearer } = await open();
    const { grant_id, token } = await aToken(bearer);
    asb.github.answerNext(answer);
    bodyOf(await asb.call('revokeGrant', { grant_id }, { bearer }));
    await expect
      .poll(() => {
        asb.clock.advance(1);
        return asb.audit.types().slice(-4).includes('lease.revoked');
      }, WAIT)
      .toBe(true);
    expect(asb.audit.types()).toContain('lease.revocation_failed');
    expect(await works(token)).toBe(false);
  });
});

test('occurs nowhere but in the one answer that carries it', async () => {
  const { session_token: bearer } = await open();
  const { token, grant_id } = await aToken(bearer);
  const operator = { bearer: await asb.operatorToken(['viewer']) };
  const records = [
    await asb.call('getGrant', { grant_id }, operator),
    await asb.call('listGrants', { tenant_id: TENANTS.free }, operator),
    await asb.call('listRevocations', { tenant_id: TENANTS.free }, operator),
  ];
  const everywhere = await writtenDown(asb, records);
  expect(everywhere).toContain('grant.delivered');
  expectNoneIn(everywhere, [token]);
});

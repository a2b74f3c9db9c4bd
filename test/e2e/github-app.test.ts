import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonValue } from '@bufbuild/protobuf';
import { z } from 'zod';
import type { StandInApp } from '../../dev/github/app.ts';
import { JSON_TYPE, type ScriptedAnswer } from '../../dev/github/answers.ts';
import { type Asb, bodyOf, GRANT_REQUEST, startAsb } from '../support/asb.ts';
import { type Configured, configured, policies, TENANTS, tenantOf } from '../support/configured.ts';
import { dumpOfPostgres, dumpOfRedis, spellings } from '../support/dumps.ts';
import { type AppKeys, makeAppKeys } from '../support/github-app.ts';

let file: Configured;
let asb: Asb;
let app: StandInApp;
let keys: AppKeys;

const TENANT = TENANTS.free;
const OPERATIONS = ['repository_metadata', 'repository_issues', 'create_issue', 'create_pull_request_comment'];
const issueAnswer = z.object({ title: z.string() });
const ANSWERS = z.object({ payload: z.string() });

beforeAll(async () => {
  file = configured();
  const tenant = tenantOf(file, TENANT);
  tenant.policies = [...policies(), ...policies({ capability: 'repo.write' })];
  // More than the usual at once, so that all 500 calls go on to GitHub together.
  file.config.connectors = { github: { limits: { max_concurrent: 1000 } } };
  file.write();
  keys = makeAppKeys();
  const environment = {
    ASB_GITHUB_ALLOWED_OPERATIONS: OPERATIONS.join(','),
    ASB_PROXY_MAX_CONCURRENT: '1000',
    ASB_PROXY_MAX_REQUESTS: '1000',
  };
  asb = await startAsb(environment, { file, app: keys });
  if (asb.github.app === null) throw new Error('the stand-in knows no App');
  ({ app } = asb.github);
});
afterAll(async () => {
  await asb.close();
  file.remove();
});

const open = async (changes: Record<string, JsonValue> = {}): Promise<string> =>
  (await asb.openSession({ tenant_id: TENANT, ...changes })).session_token;

async function handleFor(bearer: string, capability = 'repo.read'): Promise<string> {
  return (await asb.requestGrant(bearer, { ...GRANT_REQUEST, capability })).delivery.handle;
}

const decoded = (answer: JsonValue): unknown => JSON.parse(Buffer.from(ANSWERS.parse(answer).payload, 'base64').toString());

describe.each([0, 1, 2, 3, 4])('over transport %i', (index) => {
  test('a run reads and writes as far as its grants go', async () => {
    const client = asb.clients[index]!;
    const bearer = await open();
    const [read, write] = [await handleFor(bearer), await handleFor(bearer, 'repo.write')];
    const call = (proxy_handle: string, operation: string, params: Record<string, JsonValue> = {}) =>
      client.call('executeGitHubProxy', { proxy_handle, operation, params });

    expect(decoded(bodyOf(await call(read, 'repository_metadata')))).toMatchObject({ full_name: 'acme/widgets' });
    const before = asb.github.written.length;
    const made = decoded(bodyOf(await call(write, 'create_issue', { title: `It squeaks (${index})` })));
    expect(issueAnswer.parse(made).title).toBe(`It squeaks (${index})`);
    expect(asb.github.written).toHaveLength(before + 1);

    for (const [handle, operation, params] of [
      [read, 'create_issue', { title: 'x' }],
      [read, 'create_pull_request_comment', { pull_number: 10, body: 'x' }],
      [write, 'repository_metadata', {}],
      [write, 'create_check_run', { name: 'x', head_sha: 'a'.repeat(40) }],
    ] as const) {
      expect(await call(handle, operation, params)).toMatchObject({ ok: false, code: 'forbidden' });
    }
    expect(asb.github.written).toHaveLength(before + 1);
    for (const { authorization, method, url } of asb.github.requests.filter((each) => each.url.startsWith('/repos/'))) {
      if (url.endsWith('/installation')) continue;
      const { permissions = {} } = app.mints.find(({ token }) => `Bearer ${token}` === authorization) ?? {};
      const writes = Object.values(permissions).includes('write');
      expect(writes, `${method} ${url}`).toBe(method === 'POST');
    }
  });
});

test('a policy for reading grants no writing', async () => {
  const bearer = await open({ tenant_id: TENANTS.reuse });
  const refused = await asb.call('requestGrant', { ...GRANT_REQUEST, capability: 'repo.write' }, { bearer });
  expect(refused).toMatchObject({ ok: false, code: 'forbidden' });
});

test('500 calls at once on one repository, of many grants and runs, mint one token', async () => {
  const bearers = await Promise.all(Array.from({ length: 10 }, (_, run) => open({ run_id: `run-${run}` })));
  const handles = await Promise.all(bearers.flatMap((bearer) => Array.from({ length: 5 }, () => handleFor(bearer))));
  // Whatever was made before is of no use.
  app.refuseAllTokens();
  const before = app.mints.length;
  const answers = await Promise.all(
    handles.flatMap((proxy_handle) =>
      Array.from({ length: 10 }, () => asb.call('executeGitHubProxy', { proxy_handle, operation: 'repository_metadata' })),
    ),
  );
  expect(answers).toHaveLength(500);
  expect(answers.filter(({ ok }) => !ok)).toEqual([]);
  expect(app.mints).toHaveLength(before + 1);
});

test('a credential that GitHub sends back reaches nobody, and that it did is on record', async () => {
  const bearer = await open();
  const proxy_handle = await handleFor(bearer);
  bodyOf(await asb.call('executeGitHubProxy', { proxy_handle, operation: 'repository_metadata' }));
  const token = app.mints.findLast(({ permissions }) => permissions.contents === 'read')?.token ?? '';
  const echo: ScriptedAnswer = (request, response) => {
    const sent = (request.headers.authorization ?? '').replace('Bearer ', '');
    const body = Buffer.from(JSON.stringify({ raw: sent, basic: Buffer.from(`x:${sent}`).toString('base64') }));
    response.writeHead(200, { 'content-type': JSON_TYPE });
    for (const byte of body) response.write(Buffer.of(byte));
    response.end();
  };
  for (const client of asb.clients) {
    asb.github.answerNext(echo);
    const answer = bodyOf(await client.call('executeGitHubProxy', { proxy_handle, operation: 'repository_metadata' }));
    const text = JSON.stringify(decoded(answer));
    for (const spelling of spellings(token)) expect(text).not.toContain(spelling);
    const event = asb.audit.events.at(-1);
    expect(event).toMatchObject({ type: 'proxy.completed', details: { redactions: 2 } });
  }
  expect(asb.audit.events.filter(({ details }) => details?.redactions !== undefined)).toHaveLength(asb.clients.length);
});

test.each<[name: string, change: () => void, undo: () => void, code: string, words: string]>([
  ['suspended', () => app.suspend(), () => app.resume(), 'forbidden', 'is suspended'],
  ['uninstalled', () => app.uninstall(), () => app.reinstall(), 'not_found', 'is not installed on this repository'],
])('an App that was %s is told apart from a fault', async (_name, change, undo, code, words) => {
  const bearer = await open();
  const proxy_handle = await handleFor(bearer, 'repo.write');
  app.refuseAllTokens();
  change();
  const attempt = { proxy_handle, operation: 'create_pull_request_comment', params: { pull_number: 10, body: 'Oil it' } };
  const refused = await asb.call('executeGitHubProxy', attempt);
  expect(refused).toMatchObject({ ok: false, code, message: expect.stringContaining(words) });
  undo();
  bodyOf(await asb.call('executeGitHubProxy', attempt));
});

/** What GitHub says, one request after the other: no to the token, no to the installation, and then a failure. */
test.each<[step: string, statuses: readonly number[]]>([
  ['when the call is made', [502]],
  ['when a token is minted', [401, 502]],
  ['when it is asked where the App is installed', [401, 404, 502]],
])('a GitHub that fails %s is told as one, and the next call works', async (_step, statuses) => {
  const proxy_handle = await handleFor(await open());
  const call = () => asb.call('executeGitHubProxy', { proxy_handle, operation: 'repository_metadata' });
  bodyOf(await call());
  const before = asb.github.requests.length;
  for (const status of statuses) {
    asb.github.answerNext((_request, response) => {
      response.writeHead(status, { 'content-type': JSON_TYPE }).end('{"message":"CANARY"}');
    });
  }
  const refused = await call();
  expect(refused).toMatchObject({ ok: false, code: 'upstream_error' });
  expect(JSON.stringify(refused)).not.toContain('CANARY');
  const asked = asb.github.requests.slice(before).map(({ url }) => url);
  expect(asked).toHaveLength(statuses.length);
  expect(asked.at(-1)).toMatch([/widgets$/, /access_tokens$/, /installation$/][statuses.length - 1]!);
  bodyOf(await call());
});

test('no token and no key of the App is anywhere but at GitHub', async () => {
  const bearer = await open();
  bodyOf(await asb.call('executeGitHubProxy', { proxy_handle: await handleFor(bearer), operation: 'repository_metadata' }));
  const metrics = await asb.raw.send({ method: 'GET', path: '/metrics' });
  const seen = [asb.logged.join('\n'), JSON.stringify(asb.audit.events), metrics.body.toString()];
  if (asb.durable !== null) {
    const redis = await dumpOfRedis(asb.durable);
    expect(redis).toContain('asb1.');
    seen.push(redis, await dumpOfPostgres(asb.durable));
  }
  const everything = seen.join('\n');
  const keyLines = [keys.pkcs1, keys.pkcs8].flatMap((pem) => pem.split('\n').slice(1, 4));
  const jwts = asb.github.requests
    .map(({ authorization }) => authorization?.replace('Bearer ', '').split('.')[2])
    .filter((signature) => signature !== undefined);
  expect(app.mints.length).toBeGreaterThan(3);
  expect(jwts.length).toBeGreaterThan(3);
  for (const secret of [...app.mints.map(({ token }) => token), ...keyLines, ...jwts]) {
    for (const spelling of spellings(secret)) expect(everything.includes(spelling)).toBe(false);
  }
});

import { createAppAuth } from '@octokit/auth-app';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { StandInApp } from '../../dev/github/app.ts';
import { type GitHubStandIn, startGitHubStandIn } from '../../dev/github/server.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { APP_ID, type AppKeys, makeAppKeys } from '../support/github-app.ts';
import { type GitHubDescription, loadGitHubDescription, type Method } from './github-description.ts';

let github: GitHubDescription;
let keys: AppKeys;
let standIn: GitHubStandIn;
let app: StandInApp;
let clock: FakeClock;

beforeAll(() => {
  github = loadGitHubDescription();
  keys = makeAppKeys();
});
beforeEach(async () => {
  clock = new FakeClock();
  standIn = await startGitHubStandIn({ token: 'a-token', app: { appId: APP_ID, publicKey: keys.publicPem, clock } });
  if (standIn.app === null) throw new Error('the stand-in knows no App');
  ({ app } = standIn);
});
afterEach(() => standIn.close());

const tokenAnswer = z.object({ token: z.string(), expires_at: z.string(), permissions: z.record(z.string(), z.string()) });

interface Answer {
  status: number;
  body: unknown;
}

/** Asks, and sees to it that question and answer are as GitHub describes them. */
async function ask(method: Method, path: string, credential: string, content?: Record<string, unknown>): Promise<Answer> {
  const response = await fetch(standIn.url + path, {
    method: method.toUpperCase(),
    headers: { authorization: `Bearer ${credential}`, ...(content && { 'content-type': 'application/json' }) },
    ...(content && { body: JSON.stringify(content) }),
    redirect: 'manual',
  });
  const text = await response.text();
  const body: unknown = text === '' ? null : JSON.parse(text);
  const route = github.routeOf(path, method);
  expect(route, path).not.toBeNull();
  if (content !== undefined) expect(route?.mistakesInBody(content)).toEqual([]);
  const mistakes = route?.mistakesInAnswer(response.status, body) ?? null;
  if (response.status >= 400) expect(github.mistakesBySchema('basic-error', body)).toEqual([]);
  else if (response.status !== 204) expect(mistakes).toEqual([]);
  return { status: response.status, body };
}

const jwt = async (privateKey = keys.pkcs8, appId = APP_ID): Promise<string> =>
  (await createAppAuth({ appId, privateKey })({ type: 'app' })).token;

const READ = { repositories: ['widgets'], permissions: { issues: 'read', pull_requests: 'read' } };
const mint = async (content: Record<string, unknown> = READ) =>
  ask('post', '/app/installations/4001/access_tokens', await jwt(), content);
const minted = async (content?: Record<string, unknown>): Promise<string> =>
  tokenAnswer.parse((await mint(content)).body).token;

describe('the App', () => {
  it('is told who it is and where it is installed, as GitHub describes it', async () => {
    expect(await ask('get', '/app', await jwt())).toMatchObject({ status: 200, body: { id: APP_ID } });
    expect(await ask('get', '/repos/acme/widgets/installation', await jwt())).toMatchObject({
      status: 200,
      body: { id: 4001, app_id: APP_ID, suspended_at: null },
    });
    app.suspend();
    expect(await ask('get', '/repos/acme/widgets/installation', await jwt())).toMatchObject({
      body: { suspended_at: '2026-01-02T03:04:05Z' },
    });
  });

  it.each([
    ['of another key', () => jwt(makeAppKeys().pkcs8)],
    ['of another App', () => jwt(keys.pkcs8, 72)],
    ['that is none', () => Promise.resolve('a.b.c')],
    ['of an installation', () => minted()],
    ['of its owner', () => Promise.resolve('a-token')],
  ])('is not whoever shows a token %s', async (_name, credential) => {
    const shown = await credential();
    expect(await ask('get', '/app', shown)).toMatchObject({ status: 401 });
    expect(await ask('get', '/repos/acme/widgets/installation', shown)).toMatchObject({ status: 401 });
    expect(await ask('post', '/app/installations/4001/access_tokens', shown, READ)).toMatchObject({ status: 401 });
  });

  it('gets tokens for an hour, by the clock that it was given', async () => {
    const { status, body } = await mint();
    expect(status).toBe(201);
    const { token, expires_at, permissions } = tokenAnswer.parse(body);
    expect(expires_at).toBe('2026-01-02T04:04:05Z');
    expect(permissions).toEqual({ issues: 'read', pull_requests: 'read', metadata: 'read' });
    expect((await ask('get', '/repos/acme/widgets', token)).status).toBe(200);
    clock.advance(3600);
    expect(await ask('get', '/repos/acme/widgets', token)).toMatchObject({ status: 401 });
  });

  it.each<[name: string, change: () => void, content: Record<string, unknown>, status: number, message: string]>([
    ['it is not installed', () => app.uninstall(), READ, 404, 'Not Found'],
    ['it is installed anew', () => app.reinstall(), READ, 404, 'Not Found'],
    ['it is suspended', () => app.suspend(), READ, 403, 'This installation has been suspended'],
    ['the repository was taken away', () => app.remove('acme/widgets'), READ, 422, 'There is at least one repository'],
    ['there is no such repository', () => undefined, { ...READ, repositories: ['nothing'] }, 422, 'There is at least one'],
    [
      'it may not do that much',
      () => undefined,
      { ...READ, permissions: { administration: 'read' } },
      422,
      'The permissions requested are not granted',
    ],
  ])('gets none when %s', async (_name, change, content, status, message) => {
    change();
    const answer = await mint(content);
    expect(answer).toMatchObject({ status, body: { message: expect.stringContaining(message) } });
    expect(app.mints).toEqual([]);
  });
});

describe('an installation token', () => {
  it('reads its own repository, and what it may read there', async () => {
    const token = await minted();
    expect((await ask('get', '/repos/acme/widgets/issues', token)).status).toBe(200);
    expect((await ask('get', '/repos/acme/widgets/pulls/10', token)).status).toBe(200);
    expect((await ask('get', '/repos/acme/vault', token)).status).toBe(404);
    const narrow = await minted({ ...READ, permissions: { issues: 'read' } });
    expect(await ask('get', '/repos/acme/widgets/pulls/10', narrow)).toMatchObject({
      status: 403,
      body: { message: 'Resource not accessible by integration' },
    });
  });

  it('writes nothing that it may only read', async () => {
    const token = await minted();
    for (const [path, content] of Object.entries(WRITES)) {
      expect(await ask('post', path, token, content), path).toMatchObject({ status: 403 });
    }
    expect(standIn.written).toEqual([]);
  });

  it.each([
    ['/repos/acme/widgets/issues', 'issues'],
    ['/repos/acme/widgets/issues/10/comments', 'pull_requests'],
    ['/repos/acme/widgets/check-runs', 'checks'],
  ])('writes at %s with %s: write, as GitHub describes it', async (path, permission) => {
    const token = await minted({ ...READ, permissions: { [permission]: 'write' } });
    expect((await ask('post', path, token, WRITES[path])).status).toBe(201);
    expect(standIn.written).toMatchObject([{ repository: 'acme/widgets', content: WRITES[path] }]);
  });

  it('comments on nothing that is not there', async () => {
    const token = await minted({ ...READ, permissions: { pull_requests: 'write' } });
    expect((await ask('post', '/repos/acme/widgets/issues/9999/comments', token, { body: 'x' })).status).toBe(404);
  });

  it('revokes itself and nothing else does', async () => {
    const [token, other] = [await minted(), await minted()];
    expect((await ask('delete', '/installation/token', 'a-token')).status).toBe(403);
    expect((await ask('delete', '/installation/token', token)).status).toBe(204);
    expect((await ask('delete', '/installation/token', token)).status).toBe(401);
    expect([app.isLive(token), app.isLive(other)]).toEqual([false, true]);
  });

  it('is dead when its App is gone, refused while it is suspended, and when all are refused', async () => {
    const first = await minted();
    app.suspend();
    expect((await ask('get', '/repos/acme/widgets', first)).status).toBe(403);
    app.resume();
    expect((await ask('get', '/repos/acme/widgets', first)).status).toBe(200);
    app.refuseAllTokens();
    expect((await ask('get', '/repos/acme/widgets', first)).status).toBe(401);
    const second = await minted();
    expect((await ask('get', '/repos/acme/widgets', second)).status).toBe(200);
    app.uninstall();
    expect((await ask('get', '/repos/acme/widgets', second)).status).toBe(401);
  });
});

const WRITES: Readonly<Record<string, Record<string, unknown>>> = {
  '/repos/acme/widgets/issues': { title: 'It squeaks', body: 'A lot', labels: ['bug'] },
  '/repos/acme/widgets/issues/10/comments': { body: 'Oil it' },
  '/repos/acme/widgets/check-runs': {
    name: 'squeak',
    head_sha: 'a'.repeat(40),
    status: 'completed',
    conclusion: 'failure',
    output: { title: 'Squeaks', summary: 'A part does' },
  },
};

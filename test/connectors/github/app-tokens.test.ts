import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { failure, hang, json, raw } from '../../../dev/github/answers.ts';
import { makeLocalKeyManagement } from '../../../src/crypto/local-key-management.ts';
import { parseRsaPrivateKey } from '../../../src/crypto/rsa-pem.ts';
import { makeSecretSealer } from '../../../src/crypto/sealed-box.ts';
import { unavailable } from '../../../src/domain/errors.ts';
import { makeAppKeys } from '../../support/github-app.ts';
import { useApp } from './app-setup.ts';
import { refusalOf } from './setup.ts';

const world = useApp();
const READS = { contents: 'read', issues: 'read', pull_requests: 'read' };

/** Lets a tenth of a second pass again and again until a call is over. */
async function whileTimePasses(call: Promise<unknown>): Promise<void> {
  const state = { isOver: false };
  const over = call.finally(() => (state.isOver = true));
  over.catch(() => undefined);
  for (let step = 0; step < 100 && !state.isOver; step += 1) {
    for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate);
    world().clock.advance(0.1);
  }
  await over;
}

describe('a token', () => {
  it('is made for the one repository and for reading alone', async () => {
    await world().call('repository_metadata');
    expect(world().app.mints).toEqual([
      expect.objectContaining({ repository: 'acme/widgets', permissions: { ...READS, metadata: 'read' } }),
    ]);
    expect(world().asked()).toEqual([
      'GET /repos/acme/widgets/installation',
      'POST /app/installations/4001/access_tokens',
      'GET /repos/acme/widgets',
    ]);
    expect(world().standIn.requests[2]?.authorization).toBe(`Bearer ${world().app.mints[0]?.token}`);
  });

  it('is made for what the operator wants reads to be made with', async () => {
    const connector = world().another({ readPermissions: { issues: 'read' } });
    await world().call('repository_issues', {}, { connector });
    expect(world().app.mints[0]?.permissions).toEqual({ issues: 'read', metadata: 'read' });
  });

  it('serves every call until shortly before it ends, and not after', async () => {
    await world().call('repository_metadata');
    world().clock.advance(54 * 60);
    await world().call('repository_issues');
    expect(world().app.mints).toHaveLength(1);
    world().clock.advance(2 * 60);
    await world().call('repository_metadata');
    expect(world().app.mints).toHaveLength(2);
    expect(
      world()
        .asked()
        .filter((request) => request.endsWith('/installation')),
    ).toHaveLength(1);
  });

  it('is one however many ask at once', async () => {
    await Promise.all(Array.from({ length: 500 }, () => world().call('repository_metadata')));
    expect(world().app.mints).toHaveLength(1);
    expect(
      world()
        .asked()
        .filter((request) => request.startsWith('POST')),
    ).toHaveLength(1);
  });

  it('is the same however the repository is spelled', async () => {
    await world().call('repository_metadata');
    await world().call('repository_metadata', {}, { repository: 'ACME/Widgets' });
    expect(world().app.mints).toHaveLength(1);
  });

  it('is another one for another repository and for each write', async () => {
    const write = { capability: 'repo.write' };
    await world().call('repository_metadata');
    await world().call('repository_metadata', {}, { repository: 'acme/vault' });
    await world().call('create_issue', { title: 'Squeaks' }, write);
    await world().call('create_pull_request_comment', { pull_number: 10, body: 'Oil it' }, write);
    await world().call('create_check_run', { name: 'squeak', head_sha: 'a'.repeat(40) }, write);
    expect(world().app.mints.map(({ repository, permissions }) => [repository, permissions])).toEqual([
      ['acme/widgets', { ...READS, metadata: 'read' }],
      ['acme/vault', { ...READS, metadata: 'read' }],
      ['acme/widgets', { issues: 'write', metadata: 'read' }],
      ['acme/widgets', { pull_requests: 'write', metadata: 'read' }],
      ['acme/widgets', { checks: 'write', metadata: 'read' }],
    ]);
  });

  it('is asked for with a JWT of ten minutes at most', async () => {
    await world().call('repository_metadata');
    const jwt = world().standIn.requests[1]?.authorization?.replace('Bearer ', '').split('.')[1] ?? '';
    const { iat, exp, iss } = JSON.parse(Buffer.from(jwt, 'base64url').toString()) as Record<string, number>;
    expect((exp ?? 0) - (iat ?? 0)).toBeLessThanOrEqual(600);
    expect(String(iss)).toBe('71');
  });
});

describe('a token that GitHub takes no more', () => {
  it('is replaced once, and the call made again', async () => {
    await world().call('repository_metadata');
    world().app.refuseAllTokens();
    expect((await world().call('repository_metadata')).contentType).toBe('application/json; charset=utf-8');
    expect(world().app.mints).toHaveLength(2);
  });

  it('is replaced once for all who were refused at once', async () => {
    await world().call('repository_metadata');
    world().app.refuseAllTokens();
    await Promise.all(Array.from({ length: 100 }, () => world().call('repository_metadata')));
    expect(world().app.mints).toHaveLength(2);
  });

  it('is replaced for a write too: what is answered 401 was not done', async () => {
    const write = { capability: 'repo.write' };
    await world().call('create_issue', { title: 'one' }, write);
    world().app.refuseAllTokens();
    await world().call('create_issue', { title: 'two' }, write);
    expect(world().standIn.written.map(({ content }) => content.title)).toEqual(['one', 'two']);
  });

  it('is replaced no second time', async () => {
    await world().call('repository_metadata');
    world().standIn.answerNext(failure(401, 'Bad credentials'));
    const refuseAfterMint = async () => {
      world().app.refuseAllTokens();
      // The call, then the mint, then the call again.
      const attempt = world().call('repository_metadata');
      await world().standIn.nextRequest();
      await world().standIn.nextRequest();
      world().standIn.answerNext(failure(401, 'Bad credentials'));
      return attempt;
    };
    const error = await refusalOf(refuseAfterMint);
    expect([error.code, error.message]).toEqual([
      'upstream_error',
      "GitHub did not accept ASB's own credential; tell the operator",
    ]);
    expect(world().app.mints).toHaveLength(2);
  });
});

describe('processes that share a runtime store', () => {
  it('share a token', async () => {
    await world().call('repository_metadata');
    await world().call('repository_metadata', {}, { connector: world().another() });
    expect(world().app.mints).toHaveLength(1);
  });

  it('make one when they ask at once: the others wait for it', async () => {
    const [one, two] = [world().another(), world().another()];
    const first = world().call('repository_metadata', {}, { connector: one });
    const second = world().call('repository_metadata', {}, { connector: two });
    await first;
    world().clock.advance(1);
    await second;
    expect(world().app.mints).toHaveLength(1);
  });

  it('do not wait for one that died over it', async () => {
    const dead = world().another();
    world().standIn.answerNext(hang());
    void world()
      .call('repository_metadata', {}, { connector: dead })
      .catch(() => undefined);
    await world().standIn.nextRequest();
    await whileTimePasses(world().call('repository_metadata', {}, { connector: world().another() }));
    expect(world().app.mints).toHaveLength(1);
  });

  it('take up the token that another one made in the place of one that was refused', async () => {
    const other = world().another();
    await world().call('repository_metadata');
    await world().call('repository_metadata', {}, { connector: other });
    world().app.refuseAllTokens();
    await world().call('repository_metadata');
    await world().call('repository_metadata', {}, { connector: other });
    expect(world().app.mints).toHaveLength(2);
  });

  it('find it sealed, under its own key alone', async () => {
    const values = new Map<string, string>();
    const runtime = {
      claim: () => Promise.resolve(true),
      keep: (_kind: string, key: string, value: string) => Promise.resolve(void values.set(key, value)),
      kept: (_kind: string, key: string) => Promise.resolve(values.get(key) ?? null),
    };
    await world().call('repository_metadata', {}, { connector: world().another({ runtime }) });
    await world().call('repository_metadata', {}, { connector: world().another({ runtime }), repository: 'acme/vault' });
    const [[one, ofOne] = ['', ''], [other, ofOther] = ['', '']] = [...values];
    for (const { token } of world().app.mints) {
      expect(JSON.stringify([...values])).not.toContain(token);
      expect(JSON.stringify([...values])).not.toContain(Buffer.from(token).toString('base64').slice(4, -4));
    }
    // One for another repository in its place is of no use to whoever put it there.
    values.set(one, ofOther);
    values.set(other, ofOne.slice(0, -2));
    await world().call('repository_metadata', {}, { connector: world().another({ runtime }) });
    await world().call('repository_metadata', {}, { connector: world().another({ runtime }), repository: 'acme/vault' });
    expect(world().app.mints.map(({ repository }) => repository)).toEqual([
      'acme/widgets',
      'acme/vault',
      'acme/widgets',
      'acme/vault',
    ]);
  });

  it('whose keys differ make tokens of their own', async () => {
    const sealer = makeSecretSealer({ keys: makeLocalKeyManagement([randomBytes(32)]) });
    await world().call('repository_metadata');
    await whileTimePasses(world().call('repository_metadata', {}, { connector: world().another({ sealer }) }));
    expect(world().app.mints).toHaveLength(2);
  });

  it('get no token while the store is away', async () => {
    const away = () => Promise.reject(unavailable('the runtime store is away'));
    const connector = world().another({ runtime: { claim: away, keep: away, kept: away } });
    expect((await refusalOf(() => world().call('repository_metadata', {}, { connector }))).code).toBe('unavailable');
  });
});

describe('GitHub gives no token', () => {
  it.each<[name: string, change: () => void, code: string, message: string]>([
    [
      'when the App is not installed',
      () => world().app.uninstall(),
      'not_found',
      "ASB's GitHub App is not installed on this repository, or GitHub has no such repository",
    ],
    [
      'when the installation is suspended',
      () => world().app.suspend(),
      'forbidden',
      "the installation of ASB's GitHub App is suspended; ask the repository's owner to resume it",
    ],
    [
      'for a repository that it was not given',
      () => world().app.remove('acme/widgets'),
      'not_found',
      "ASB's GitHub App is not installed on this repository, or GitHub has no such repository",
    ],
  ])('%s', async (_name, change, code, message) => {
    change();
    const error = await refusalOf(() => world().call('repository_metadata'));
    expect([error.code, error.message]).toEqual([code, message]);
    expect(world().app.mints).toEqual([]);
  });

  it('for a repository that was taken away since', async () => {
    await world().call('repository_metadata');
    world().app.remove('acme/widgets');
    world().clock.advance(56 * 60);
    const error = await refusalOf(() => world().call('repository_metadata'));
    expect([error.code, error.reason, error.message]).toEqual([
      'forbidden',
      'upstream_refused',
      "this repository is not among those that ASB's GitHub App was given; ask its owner to add it",
    ]);
  });

  it('for permissions that the installation was not given', async () => {
    const connector = world().another({ readPermissions: { administration: 'write' } });
    const error = await refusalOf(() => world().call('repository_metadata', {}, { connector }));
    expect([error.code, error.message]).toEqual([
      'forbidden',
      "the installation of ASB's GitHub App was not given the permissions that this needs; tell the operator",
    ]);
  });

  it('to an App with another key', async () => {
    const connector = world().another({ privateKey: parseRsaPrivateKey(makeAppKeys().pkcs8) });
    const error = await refusalOf(() => world().call('repository_metadata', {}, { connector }));
    expect([error.code, error.message]).toEqual([
      'upstream_error',
      "GitHub did not accept the id and key of ASB's App; tell the operator",
    ]);
  });

  it('to an App of another id', async () => {
    const connector = world().another({ appId: '72' });
    const error = await refusalOf(() => world().call('repository_metadata', {}, { connector }));
    expect(error.code).toBe('upstream_error');
  });

  it('for a repository that was renamed: the policy has not looked at its new name', async () => {
    const error = await refusalOf(() => world().call('repository_metadata', {}, { repository: 'acme/old-widgets' }));
    expect([error.code, error.reason]).toEqual(['forbidden', 'resource_outside_grant']);
    expect(world().app.mints).toEqual([]);
  });

  it('in time', async () => {
    world().standIn.answerNext(hang());
    const attempt = refusalOf(() => world().call('repository_metadata'));
    await world().standIn.nextRequest();
    world().clock.advance(10);
    expect((await attempt).code).toBe('deadline_exceeded');
    await world().call('repository_metadata');
  });

  it.each([
    ['is no JSON', raw(200, '<html>', { 'content-type': 'text/html' })],
    ['names no installation', json(200, { id: 'seven' })],
    ['is without end', json(200, { id: 1, filler: 'x'.repeat(300 * 1024) })],
  ])('that it understands when its answer %s', async (_name, answer) => {
    world().standIn.answerNext(answer);
    const error = await refusalOf(() => world().call('repository_metadata'));
    expect([error.code, error.message]).toEqual([
      'upstream_error',
      "GitHub's answer to ASB's App makes no sense; tell the operator to check the API base URL",
    ]);
  });

  it('when its rate limit is used up', async () => {
    world().standIn.answerNext(failure(403, 'API rate limit exceeded', { 'retry-after': '7' }));
    const error = await refusalOf(() => world().call('repository_metadata'));
    expect([error.code, error.retryAfterSeconds]).toEqual(['rate_limited', 7]);
  });

  it('for more than the one repository without that being noticed, and such a token is revoked', async () => {
    await world().call('repository_metadata', {}, { repository: 'acme/vault' });
    await world().call('repository_metadata');
    world().clock.advance(56 * 60);
    const attempt = refusalOf(() => world().call('repository_metadata'));
    const repositories = [{ name: 'widgets' }, { name: 'vault' }];
    world().standIn.answerNext(json(201, { token: 'ghs_wide', expires_at: '2027-01-01T00:00:00Z', repositories }));
    expect((await attempt).message).toBe('GitHub made a token for more than the one repository; tell the operator');
    expect(world().asked().at(-1)).toBe('DELETE /installation/token');
    expect(world().standIn.requests.at(-1)?.authorization).toBe('Bearer ghs_wide');
  });
});

it('an App that was installed anew is found under its new id', async () => {
  await world().call('repository_metadata');
  world().app.reinstall();
  await world().call('repository_metadata');
  expect(world().asked().slice(-5)).toEqual([
    'GET /repos/acme/widgets',
    'POST /app/installations/4001/access_tokens',
    'GET /repos/acme/widgets/installation',
    'POST /app/installations/4002/access_tokens',
    'GET /repos/acme/widgets',
  ]);
});

describe('a failure to make one', () => {
  it('is told to all who waited, and the next one tries again', async () => {
    world().standIn.answerNext(failure(500, 'Server Error'));
    const errors = await Promise.all(Array.from({ length: 20 }, () => refusalOf(() => world().call('repository_metadata'))));
    expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(['upstream_error']));
    expect(world().asked()).toHaveLength(1);
    await world().call('repository_metadata');
    expect(world().app.mints).toHaveLength(1);
  });
});

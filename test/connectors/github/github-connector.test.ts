import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { Upstream } from '../../../src/connectors/github/upstream.ts';
import { compressed, cutOff, hang, huge, json, raw, stall } from '../../../dev/github/answers.ts';
import { BIG_PULL, BIG_PULL_FILES } from '../../../dev/github/fixtures.ts';
import { startGitHubStandIn } from '../../../dev/github/server.ts';
import { staticTokenSource } from '../../../src/connectors/github/token-source.ts';
import { budgetExceeded, deadlineExceeded, unavailable } from '../../../src/domain/errors.ts';
import { Secret } from '../../../src/domain/secret.ts';
import { CANARY, connectorFor, expectNoCanary, refusalOf, unlimited, useStandIn, WIDGETS } from './setup.ts';

const world = useStandIn();
const textOf = (payload: Uint8Array): string => Buffer.from(payload).toString('utf8');
const numbersIn = (payload: Uint8Array): number[] =>
  z
    .array(z.object({ number: z.number() }))
    .parse(JSON.parse(textOf(payload)))
    .map(({ number }) => number);

describe('a call', () => {
  it('reaches GitHub with the token, the API version and a user agent', async () => {
    await world().call('repository_metadata');
    const { requests } = world().standIn;
    expect(requests).toMatchObject([
      {
        method: 'GET',
        url: '/repos/acme/widgets',
        authorization: `Bearer ${CANARY}`,
        accept: 'application/vnd.github+json',
        apiVersion: '2022-11-28',
      },
    ]);
    expect(requests[0]?.userAgent).toMatch(/^asb /);
  });

  it('brings back the bytes as they are', async () => {
    const odd = '{ "b" : 1.0, "a":12345678901234567890 ,\n"ü":"\\u0041" }';
    world().standIn.answerNext(raw(200, odd, { 'content-type': 'application/json; charset=utf-8' }));
    const answer = await world().call('repository_metadata');
    expect(textOf(answer.payload)).toBe(odd);
    expect(answer).toMatchObject({ contentType: 'application/json; charset=utf-8', nextPage: null });
    expectNoCanary(answer);
  });

  it.each([
    ['repository_metadata', {}, 'full_name', 'acme/widgets'],
    ['pull_request_metadata', { pull_number: BIG_PULL }, 'number', BIG_PULL],
  ])('%s answers the document', async (operation, params, field, value) => {
    const { payload } = await world().call(operation, params);
    expect(JSON.parse(textOf(payload))).toMatchObject({ [field]: value });
  });

  it('walks the pages of a list by nextPage', async () => {
    const numbers: number[] = [];
    for (let page: number | null = 1; page !== null;) {
      const answer = await world().call('repository_issues', { state: 'all', per_page: 50, page });
      numbers.push(...numbersIn(answer.payload));
      page = answer.nextPage;
    }
    expect(numbers).toEqual(Array.from({ length: 130 }, (_, index) => 130 - index));
    expect(world().standIn.requests).toHaveLength(3);
  });

  it('pages through the files of a pull request', async () => {
    const first = await world().call('pull_request_files', { pull_number: BIG_PULL });
    const second = await world().call('pull_request_files', { pull_number: BIG_PULL, page: first.nextPage });
    expect([first.nextPage, second.nextPage]).toEqual([2, null]);
    expect(JSON.parse(textOf(second.payload))).toHaveLength(BIG_PULL_FILES - 30);
  });

  it('works below a base path, as on GitHub Enterprise Server', async () => {
    const enterprise = await startGitHubStandIn({ token: CANARY, basePath: '/api/v3' });
    for (const base of [enterprise.url, `${enterprise.url}/`]) {
      const call = connectorFor(base).prepare({
        capability: 'repo.read',
        resource: WIDGETS,
        operation: 'repository_issues',
        params: {},
      });
      expect((await call.send(unlimited())).nextPage).toBe(2);
    }
    expect(enterprise.requests.map(({ url }) => url)).toEqual(Array(2).fill('/api/v3/repos/acme/widgets/issues'));
    await enterprise.close();
  });

  it('is refused when the answer is no JSON', async () => {
    world().standIn.answerNext(raw(200, '<html>', { 'content-type': 'text/html' }));
    expect((await refusalOf(() => world().call('repository_metadata'))).code).toBe('upstream_error');
  });
});

describe('bytes', () => {
  it('are all paid for', async () => {
    const options = unlimited();
    const { payload } = await world().call('repository_issues', { per_page: 100 }, options);
    expect(options.spent.reduce((sum, bytes) => sum + bytes, 0)).toBe(payload.byteLength);
  });

  it('are counted after decompression', async () => {
    const options = unlimited();
    world().standIn.answerNext(compressed(5_000_000));
    await world().call('repository_metadata', {}, options);
    expect(options.spent.reduce((sum, bytes) => sum + bytes, 0)).toBe(5_000_000);
  });

  it.each([
    ['of an answer', 200],
    ['of an error', 500],
  ])('%s over the budget are cut off on their way', async (_name, status) => {
    const over = budgetExceeded('used up');
    let kept = 0;
    const spendBytes = (bytes: number): Promise<void> => {
      kept += bytes;
      return kept > 10_000 ? Promise.reject(over) : Promise.resolve();
    };
    const total = 500_000_000;
    world().standIn.answerNext(huge(total, status));
    const { signal } = new AbortController();
    const error = await refusalOf(() => world().call('repository_metadata', {}, { signal, spendBytes }));
    expect(error).toBe(over);
    const { bytesSent, complete } = (await world().standIn.requests[0]?.ended) ?? { bytesSent: total, complete: true };
    expect(complete).toBe(false);
    expect(bytesSent).toBeLessThan(total / 10);
  });

  it('of an error are read only so far', async () => {
    const options = unlimited();
    world().standIn.answerNext(huge(500_000_000, 502));
    expect((await refusalOf(() => world().call('repository_metadata', {}, options))).code).toBe('upstream_error');
    expect(options.spent.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(1_000_000);
    expect(await world().standIn.requests[0]?.ended).toMatchObject({ complete: false });
  });

  it('that cannot be paid for end the call with that error, whatever it is', async () => {
    const broken = new Error('not one of ours');
    const { signal } = new AbortController();
    const call = world().call('repository_metadata', {}, { signal, spendBytes: () => Promise.reject(broken) });
    await expect(call).rejects.toBe(broken);
  });
});

describe('a call that is called off', () => {
  const reason = deadlineExceeded('GitHub did not finish within 10 seconds');

  it.each([
    ['before GitHub answers', hang()],
    ['in the middle of the answer', stall('{"half":')],
    ['in the middle of an error', stall('{"half":', 500)],
  ])('%s ends at once, with the reason', async (_name, answer) => {
    const abort = new AbortController();
    const arrived = world().standIn.nextRequest();
    world().standIn.answerNext(answer);
    const spendBytes = (): Promise<void> => {
      abort.abort(reason);
      return Promise.resolve();
    };
    const options = { signal: abort.signal, spendBytes };
    const call = refusalOf(() => world().call('repository_metadata', {}, options));
    const request = await arrived;
    if (answer.length === 0) abort.abort(reason);
    expect(await call).toBe(reason);
    expect((await request.ended).complete).toBe(false);
  });

  it('while its bytes are being paid for ends at once', async () => {
    const abort = new AbortController();
    const spendBytes = (): Promise<void> => {
      abort.abort(reason);
      return new Promise(() => undefined);
    };
    expect(await refusalOf(() => world().call('repository_metadata', {}, { signal: abort.signal, spendBytes }))).toBe(
      reason,
    );
  });

  it('while it waits for its token ends at once', async () => {
    const abort = new AbortController();
    const tokens = { tokenFor: () => (abort.abort(reason), new Promise<never>(() => undefined)) };
    const connector = connectorFor(world().standIn.url, { tokens });
    const call = connector.prepare({
      capability: 'repo.read',
      resource: WIDGETS,
      operation: 'repository_metadata',
      params: {},
    });
    expect(await refusalOf(() => call.send(unlimited(abort.signal)))).toBe(reason);
    expect(world().standIn.requests).toEqual([]);
  });

  it('beforehand is not made', async () => {
    const error = await refusalOf(() => world().call('repository_metadata', {}, unlimited(AbortSignal.abort())));
    expect(error.code).toBe('deadline_exceeded');
    expect(world().standIn.requests).toEqual([]);
  });
});

describe('failures of the connection', () => {
  it.each([
    ['an answer cut off', cutOff()],
    [
      'a body that is not what its encoding says',
      raw(200, 'plain', { 'content-type': 'application/json', 'content-encoding': 'gzip' }),
    ],
  ])('%s is an upstream_error', async (_name, answer) => {
    world().standIn.answerNext(answer);
    const error = await refusalOf(() => world().call('repository_metadata'));
    expect([error.code, error.message]).toEqual([
      'upstream_error',
      'GitHub could not be reached or broke off its answer; retry later',
    ]);
  });

  it('a closed port is an upstream_error whose cause names the code', async () => {
    await world().standIn.close();
    const error = await refusalOf(() => world().call('repository_metadata'));
    expect(error.code).toBe('upstream_error');
    expect(String(error.cause)).toContain('ECONNREFUSED');
  });

  it('an upstream that quotes the request in its error leaks nothing', async () => {
    const quoting: Upstream = (_url, request) =>
      Promise.reject(
        Object.assign(new TypeError(`bad header ${JSON.stringify(request.headers)}`), { code: CANARY, request }),
      );
    const connector = connectorFor(world().standIn.url, { upstream: quoting });
    const call = connector.prepare({
      capability: 'repo.read',
      resource: WIDGETS,
      operation: 'repository_metadata',
      params: {},
    });
    expect((await refusalOf(() => call.send(unlimited()))).code).toBe('upstream_error');
  });

  it('a token source that fails ends the call with its own error', async () => {
    const away = unavailable('no token to be had');
    const connector = connectorFor(world().standIn.url, { tokens: { tokenFor: () => Promise.reject(away) } });
    const call = connector.prepare({
      capability: 'repo.read',
      resource: WIDGETS,
      operation: 'repository_metadata',
      params: {},
    });
    expect(await refusalOf(() => call.send(unlimited()))).toBe(away);
  });
});

describe('what is refused at the start', () => {
  it.each([
    'ftp://api.github.com',
    'https://user:pass@api.github.com',
    'https://api.github.com?x=1',
    'https://api.github.com#x',
  ])('the base URL %s', (url) => expect(() => connectorFor(url)).toThrow(/base URL/));

  it.each(['', 'two words', 'line\nbreak', 'ümlaut'])('the token %j, without quoting it', (token) => {
    expect(() => staticTokenSource(new Secret(token))).toThrow(/^the GitHub token must be printable ASCII/);
  });
});

it('another JSON media type is passed on as it is', async () => {
  world().standIn.answerNext(json(200, {}, { 'content-type': 'application/vnd.github+json; charset=utf-8; x=y' }));
  expect((await world().call('repository_metadata')).contentType).toBe('application/json; charset=utf-8');
});

import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { JSON_TYPE, raw, type ScriptedAnswer } from '../../../dev/github/answers.ts';
import { CANARY, expectNoCanary, refusalOf, unlimited, useStandIn, WIDGETS } from './setup.ts';

const world = useStandIn();

const ENCODINGS: readonly [name: string, encode: (token: string) => string][] = [
  ['as it is', (token) => token],
  ['in base64', (token) => Buffer.from(`x-access-token:${token}`).toString('base64')],
  ['in base64url', (token) => Buffer.from(`ab${token}`).toString('base64url')],
  ['percent-encoded', (token) => [...Buffer.from(token)].map((byte) => `%${byte.toString(16)}`).join('')],
  ['in hex', (token) => Buffer.from(token).toString('hex')],
  ['escaped', (token) => [...Buffer.from(token)].map((byte) => `\\u00${byte.toString(16)}`).join('')],
];

/** Sends the credential back that it was asked with, the body in pieces of one byte. */
const echo =
  (encode: (token: string) => string, status = 200, compressed = false): ScriptedAnswer =>
  (request, response) => {
    const token = (request.headers.authorization ?? '').replace('Bearer ', '');
    const text = JSON.stringify({ you_sent: 'HERE' }).replace('HERE', encode(token));
    const body = compressed ? gzipSync(text) : Buffer.from(text);
    response.writeHead(status, { 'content-type': JSON_TYPE, ...(compressed ? { 'content-encoding': 'gzip' } : {}) });
    for (const byte of body) response.write(Buffer.of(byte));
    response.end();
  };

describe('an upstream that sends the credential back', () => {
  it.each(ENCODINGS)('%s in the body', async (_name, encode) => {
    world().standIn.answerNext(echo(encode));
    const answer = await world().call('repository_metadata');
    const text = Buffer.from(answer.payload).toString();
    expect(text).toMatch(/^\{"you_sent":".*\*{40,}.*"\}$/);
    expect(text).not.toContain(encode(CANARY).slice(24, 48));
    expect(answer.redactions).toBe(1);
    expectNoCanary(text);
  });

  it('compressed', async () => {
    world().standIn.answerNext(echo((token) => token, 200, true));
    const answer = await world().call('repository_metadata');
    expect(answer.redactions).toBe(1);
    expectNoCanary(Buffer.from(answer.payload).toString());
  });

  it.each(ENCODINGS)('%s in the answer to a write', async (_name, encode) => {
    world().standIn.answerNext(echo(encode, 201));
    const write = { capability: 'repo.write', resource: WIDGETS, operation: 'create_issue', params: { title: 'x' } };
    const answer = await world().connector.prepare(write).send(unlimited());
    expect(answer.redactions).toBe(1);
    expect(Buffer.from(answer.payload).toString()).not.toContain(encode(CANARY).slice(24, 48));
  });

  it.each(ENCODINGS)('%s in its headers', async (_name, encode) => {
    const token = encode(CANARY).replaceAll('\\', '');
    const headers = {
      'content-type': `application/json; charset=utf-8; token=${token}`,
      link: `<https://api.github.com/x?page=2&token=${token}>; rel="next"; title="${token}"`,
      'x-token': token,
      etag: `"${token}"`,
      'x-github-request-id': token.toUpperCase(),
    };
    world().standIn.answerNext(raw(200, '{}', headers));
    const answer = await world().call('repository_metadata');
    expect(answer).toEqual({ payload: expect.any(Uint8Array), contentType: 'application/json; charset=utf-8', nextPage: 2 });
  });

  it.each([
    ['a media type of its own', { 'content-type': `application/${CANARY.replace('_', '').toLowerCase()}+json` }],
    ['a page of its own', { 'content-type': JSON_TYPE, link: `<https://api.github.com/x?page=${CANARY}>; rel="next"` }],
  ])('as %s', async (_name, headers) => {
    world().standIn.answerNext(raw(200, '{}', headers));
    const answer = await world().call('repository_metadata');
    expect(answer).toMatchObject({ contentType: 'application/json; charset=utf-8', nextPage: null });
  });

  it.each([400, 401, 403, 404, 410, 418, 422, 429, 500, 502])(
    'in an error %i, its headers and its request id',
    async (status) => {
      for (const [, encode] of ENCODINGS) {
        const token = encode(CANARY).replaceAll('\\', '');
        const headers = {
          'content-type': JSON_TYPE,
          'x-github-request-id': Buffer.from(CANARY).toString('hex').toUpperCase().slice(0, 80),
          'retry-after': token,
          'x-ratelimit-reset': token,
        };
        world().standIn.answerNext(raw(status, JSON.stringify({ message: encode(CANARY) }), headers));
        const error = await refusalOf(() => world().call('repository_metadata'));
        const everything = `${error.message} ${error.stack} ${String(error.cause)}`;
        expect(everything).not.toContain(token.slice(8, 32));
        expect(everything).not.toContain(Buffer.from(CANARY).toString('hex').toUpperCase().slice(8, 32));
      }
    },
  );

  it.each([
    ['a path', `/repositories/${CANARY}`],
    ['a repository', `/repos/acme/${CANARY}`],
    ['a query', `/repositories/1296269?token=${CANARY}`],
    ['a host', `https://${CANARY.replaceAll('_', '-')}.example/repos/acme/widgets`],
    ['a user', `https://${CANARY}@127.0.0.1/repos/acme/widgets`],
  ])('in a redirect to %s', async (_name, location) => {
    world().standIn.answerNext(raw(302, CANARY, { location }));
    const outcome: unknown = await world()
      .call('repository_metadata')
      .then(
        ({ payload }) => Buffer.from(payload).toString(),
        (error: unknown) => error,
      );
    expectNoCanary(outcome);
    expect(
      world()
        .standIn.requests.map(({ url }) => url)
        .join(),
    ).not.toContain(CANARY);
  });
});

it('an answer without it is not touched', async () => {
  const answer = await world().call('repository_metadata');
  expect(answer).not.toHaveProperty('redactions');
  expect(Buffer.from(answer.payload).toString()).not.toContain('*');
});

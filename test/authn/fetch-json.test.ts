import type { ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import { makeFetchJson } from '../../src/authn/fetch-json.ts';
import { type HttpStandIn, startHttpStandIn } from '../support/http-stand-in.ts';

let standIn: HttpStandIn | null = null;
afterEach(async () => {
  await standIn?.close();
  standIn = null;
});

async function fetchFrom(answer: (response: ServerResponse) => void, signal = new AbortController().signal) {
  standIn = await startHttpStandIn((_request, response) => answer(response));
  return makeFetchJson()(new URL('jwks.json', standIn.url), signal);
}

const json = (value: unknown) => (response: ServerResponse) => response.end(JSON.stringify(value));
/** Quoted, it has exactly as many bytes. */
const documentOf = (bytes: number) => 'x'.repeat(bytes - 2);
const LIMIT = 256 * 1024;

describe('fetching JSON', () => {
  test('answers the document', async () => {
    expect(await fetchFrom(json({ keys: [1, 'é'] }))).toEqual({ keys: [1, 'é'] });
    expect(standIn?.requests).toEqual(['GET /jwks.json']);
  });

  test('takes up to 256 KiB', async () => {
    expect(await fetchFrom(json(documentOf(LIMIT)))).toHaveLength(LIMIT - 2);
  });

  test.each<[string, (response: ServerResponse) => void]>([
    ['one byte too long', json(documentOf(LIMIT + 1))],
    [
      'endless',
      (response) => {
        const more = () => {
          while (response.write(' '.repeat(64 * 1024)));
        };
        response.on('drain', more);
        more();
      },
    ],
    ['cut off', (response) => response.writeHead(200, { 'content-length': 100 }).write('{}', () => response.destroy())],
    ['not JSON', (response) => response.end('<html>')],
    ['empty', (response) => response.end()],
    ['compressed though nobody asked', (response) => response.setHeader('content-encoding', 'gzip').end(gzipSync('{}'))],
    ['a redirect', (response) => response.writeHead(302, { location: '/elsewhere' }).end('{}')],
    ['a permanent redirect', (response) => response.writeHead(308, { location: 'http://127.0.0.1:1/' }).end('{}')],
    ['a redirect with a long body', (response) => response.writeHead(302, { location: '/' }).end(documentOf(LIMIT * 2))],
    ['without content', (response) => response.writeHead(204).end()],
    ['not found', (response) => response.writeHead(404).end('{"keys":[]}')],
    ['a failure', (response) => response.writeHead(503).end('{"keys":[]}')],
    ['no answer at all', (response) => response.destroy()],
  ])('fails when the answer is %s, and asks only once', async (_name, answer) => {
    await expect(fetchFrom(answer)).rejects.toThrow();
    expect(standIn?.requests).toEqual(['GET /jwks.json']);
  });

  test.each<[string, (response: ServerResponse) => void]>([
    ['before the answer', () => undefined],
    ['in the middle of it', (response) => response.writeHead(200).write('{"keys":')],
  ])('is given up when its signal aborts %s', async (_name, answer) => {
    const abort = new AbortController();
    const fetching = fetchFrom((response) => {
      answer(response);
      setImmediate(() => abort.abort(new Error('too slow')));
    }, abort.signal);
    await expect(fetching).rejects.toThrow('too slow');
  });

  test('leaves the text of a broken answer out of the error', async () => {
    await expect(fetchFrom((response) => response.end('canary-5c1e'))).rejects.toThrow(
      expect.toSatisfy((error: unknown) => error instanceof Error && !String(error.stack).includes('canary')),
    );
  });
});

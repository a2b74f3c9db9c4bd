import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ResponseBody } from '../../../src/connectors/github/response-body.ts';
import { makeUpstream } from '../../../src/connectors/github/upstream.ts';
import { guardedLookup } from '../../../src/connectors/guarded-lookup.ts';

const upstream = makeUpstream(guardedLookup([]));

let server: Server;
let url: string;
let answer: (request: IncomingMessage, response: ServerResponse) => void;
beforeEach(async () => {
  server = createServer((request, response) => answer(request, response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/path?query=1`;
});
afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

const ask = (signal: AbortSignal = new AbortController().signal, body: string | null = null) =>
  upstream(url, { method: body === null ? 'GET' : 'POST', body, headers: { 'x-own': 'mine' }, signal });

async function read(body: ResponseBody): Promise<string> {
  const chunks: Uint8Array[] = [];
  for (let chunk = await body.next(); chunk !== null; chunk = await body.next()) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe('a request', () => {
  test('is sent as it was asked for, and its answer read to the end', async () => {
    const seen: unknown[] = [];
    answer = (request, response) => {
      seen.push(request.method, request.url, request.headers['x-own'], request.headers['accept-encoding']);
      request.setEncoding('utf8').on('data', (text: string) => seen.push(text));
      request.on('end', () => response.writeHead(201, { 'x-two': ['a', 'b'] }).end('whole'));
    };
    const { status, headers, body } = await ask(undefined, '{"a":1}');
    expect([status, headers.get('x-two'), headers.get('x-none')]).toEqual([201, 'a, b', null]);
    expect(await read(body)).toBe('whole');
    expect(await body.next()).toBeNull();
    expect(seen).toEqual(['POST', '/path?query=1', 'mine', 'gzip', '{"a":1}']);
  });

  test('waits for the answer behind an informational one', async () => {
    answer = (_request, response) => {
      response.writeEarlyHints({ link: '</style.css>; rel=preload' });
      response.end('after');
    };
    const { status, body } = await ask();
    expect([status, await read(body)]).toEqual([200, 'after']);
  });

  test('fails when nobody listens', async () => {
    server.close();
    await expect(ask()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  test('fails when the connection ends without an answer', async () => {
    answer = (request) => void request.socket.destroy();
    await expect(ask()).rejects.toThrow();
  });

  test('is not made for a caller who has gone', async () => {
    let requests = 0;
    answer = () => void (requests += 1);
    await expect(ask(AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
    expect(requests).toBe(0);
  });

  test('ends with its caller, before and within the answer', async () => {
    for (const begin of [false, true]) {
      const controller = new AbortController();
      const closed = Promise.withResolvers<undefined>();
      const arrived = Promise.withResolvers<undefined>();
      answer = (request, response) => {
        request.socket.once('close', () => closed.resolve(undefined));
        if (begin) response.writeHead(200).write('begun');
        arrived.resolve(undefined);
      };
      const asked = ask(controller.signal);
      if (begin) expect(Buffer.from((await (await asked).body.next()) ?? '').toString()).toBe('begun');
      else await arrived.promise;
      const waiting = begin ? (await asked).body.next() : asked;
      controller.abort(new Error('gone'));
      await expect(waiting).rejects.toThrow('gone');
      await closed.promise;
    }
  });
});

describe('a body', () => {
  const big = 'x'.repeat(3 * 1024 * 1024);

  test('that is read slowly is not taken from the connection faster', async () => {
    let sent = 0;
    answer = (_request, response) => {
      const more = (): void => {
        while (sent < 200) {
          sent += 1;
          if (!response.write(Buffer.alloc(256 * 1024))) return void response.once('drain', more);
        }
        response.end();
      };
      more();
    };
    const { body } = await ask();
    let bytes = (await body.next())?.byteLength ?? 0;
    // What both ends of the connection hold is far less than all of it.
    for (let turn = 0; turn < 200; turn += 1) await new Promise(setImmediate);
    expect(sent).toBeLessThan(100);
    for (let chunk = await body.next(); chunk !== null; chunk = await body.next()) bytes += chunk.byteLength;
    expect(bytes).toBe(200 * 256 * 1024);
  });

  test('that nobody wants any more ends its connection', async () => {
    const closed = Promise.withResolvers<undefined>();
    answer = (request, response) => {
      request.socket.once('close', () => closed.resolve(undefined));
      response.write(big);
    };
    const { body } = await ask();
    await body.next();
    body.destroy();
    await closed.promise;
  });

  test.each(['identity', 'gzip'])(
    'that breaks off fails where it is read, and is nobody else’s business (%s)',
    async (encoding) => {
      answer = (request, response) => {
        const bytes = encoding === 'gzip' ? gzipSync(Buffer.from(big)) : Buffer.from(big);
        response.writeHead(200, { 'content-length': bytes.length, 'content-encoding': encoding });
        response.write(bytes.subarray(0, 1000), () => request.socket.destroy());
      };
      const unread = await ask();
      await expect(read((await ask()).body)).rejects.toThrow();
      unread.body.destroy();
    },
  );

  test('in gzip is unpacked', async () => {
    answer = (_request, response) =>
      void response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.from(big)));
    expect(await read((await ask()).body)).toBe(big);
  });

  test('in gzip that is none fails', async () => {
    answer = (_request, response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end('plain');
    await expect(read((await ask()).body)).rejects.toThrow(/incorrect header check/);
  });

  test('in gzip can be left in the middle', async () => {
    const closed = Promise.withResolvers<undefined>();
    answer = (request, response) => {
      request.socket.once('close', () => closed.resolve(undefined));
      response.writeHead(200, { 'content-encoding': 'gzip' }).write(gzipSync(Buffer.from(big)).subarray(0, 2000));
    };
    const { body } = await ask();
    await body.next();
    body.destroy();
    await closed.promise;
  });

  test('in an encoding that was not asked for is not read', async () => {
    answer = (_request, response) => void response.writeHead(200, { 'content-encoding': 'br' }).end('?');
    await expect(ask()).rejects.toThrow('an encoding that was not asked for');
  });
});

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type CuttableProxy, cuttableProxy } from './cuttable-proxy.ts';

/** Answers each piece of text with the same in capitals. */
let server: Server;
let proxy: CuttableProxy;
let heard: string[];
const clients: Socket[] = [];

beforeEach(async () => {
  heard = [];
  server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      heard.push(bytes.toString());
      socket.write(bytes.toString().toUpperCase());
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  proxy = await cuttableProxy('127.0.0.1', (server.address() as AddressInfo).port);
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await proxy.close();
  server.close();
});

async function aClient(): Promise<Socket> {
  const client = connect(proxy.port, proxy.host);
  client.on('error', () => undefined);
  clients.push(client);
  await once(client, 'connect');
  return client;
}

const closed = (socket: Socket): Promise<boolean> => new Promise((resolve) => socket.once('close', resolve));

async function ask(client: Socket, text: string): Promise<string> {
  const answer = once(client, 'data');
  client.write(text);
  return String((await answer)[0]);
}

test('a proxy that nobody breaks passes everything', async () => {
  expect(await ask(await aClient(), 'hello')).toBe('HELLO');
  expect(proxy.connections).toBe(1);
});

test('a cut resets every connection, and the next one is as good as new', async () => {
  const client = await aClient();
  await ask(client, 'hello');
  const reset = closed(client);
  proxy.cut();
  expect(await reset).toBe(true);
  expect(await ask(await aClient(), 'again')).toBe('AGAIN');
});

test('a proxy that refuses keeps the connections it has', async () => {
  const before = await aClient();
  await ask(before, 'hello');
  proxy.refuse();
  const refused = connect(proxy.port, proxy.host).on('error', () => undefined);
  expect(await closed(refused)).toBe(true);
  expect(await ask(before, 'still here')).toBe('STILL HERE');
  proxy.restore();
  expect(await ask(await aClient(), 'welcome')).toBe('WELCOME');
});

test('what was held arrives when the proxy is restored', async () => {
  const held = await aClient();
  await ask(held, 'hello');
  proxy.hold();
  const answer = ask(held, 'wait');
  // A connection made later is silent as well, and tells that the bytes before it had their time.
  const later = await aClient();
  later.write('also');
  await expect.poll(() => proxy.connections).toBe(2);
  expect(heard).toEqual(['hello']);
  proxy.restore();
  expect(await answer).toBe('WAIT');
});

test('an answer can be lost although the server has heard the question', async () => {
  const client = await aClient();
  await ask(client, 'hello');
  proxy.holdAnswers();
  let answered = false;
  client.once('data', () => (answered = true));
  client.write('pay');
  await expect.poll(() => heard).toEqual(['hello', 'pay']);
  const reset = closed(client);
  proxy.cut();
  await reset;
  expect(answered).toBe(false);
});

import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

export interface ReceivedMessage {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
}

/** What to answer; null never does, and an unfinished body never ends. */
export type ReceiverAnswer = {
  status: number;
  headers?: Record<string, string>;
  body?: string;
  unfinished?: boolean;
} | null;

/** Somebody who receives notifications: a real HTTP server on this machine. */
export interface TestReceiver {
  url: URL;
  received: ReceivedMessage[];
  /** What it answers from now on. */
  answer: (message: ReceivedMessage) => ReceiverAnswer;
  /** Resolves when `count` messages have arrived in all. */
  arrived(count: number): Promise<void>;
  /** Stops listening and breaks off what is open. */
  close(): Promise<void>;
}

/** Starts one; on a free port, unless it is to come back on its old one. */
export async function startReceiver(path = '/hook', port = 0): Promise<TestReceiver> {
  const arrivals = new EventTarget();
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      const { method = '', url = '', headers } = request;
      const message = { method, path: url, headers, body };
      receiver.received.push(message);
      arrivals.dispatchEvent(new Event('message'));
      const answer = receiver.answer(message);
      if (answer === null) return;
      response.writeHead(answer.status, answer.headers);
      if (answer.unfinished === true) response.write(answer.body);
      else response.end(answer.body);
    });
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const { port: listening } = server.address() as AddressInfo;
  const receiver: TestReceiver = {
    url: new URL(path, `http://127.0.0.1:${listening}`),
    received: [],
    answer: () => ({ status: 204 }),
    async arrived(count) {
      while (receiver.received.length < count) await once(arrivals, 'message');
    },
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
  return receiver;
}

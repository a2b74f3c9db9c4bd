import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface HttpStandIn {
  url: URL;
  /** Method and path of every request so far. */
  requests: string[];
  close(): Promise<void>;
}

/** An HTTP server on this machine that answers as the test says. */
export async function startHttpStandIn(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<HttpStandIn> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method ?? ''} ${request.url ?? ''}`);
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: new URL(`http://127.0.0.1:${port}/`),
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A TCP proxy before a server, which a test can break in the ways that networks break. */
export interface CuttableProxy {
  readonly host: string;
  readonly port: number;
  /** Connections that are open now. */
  readonly connections: number;
  /** Ends every connection with a reset, on both sides. New ones are still accepted. */
  cut(): void;
  /** Resets whoever connects from now on, as a server that is away does. Connections that are open stay. */
  refuse(): void;
  /** Passes no byte in either direction from now on, and keeps what arrives: the other side is silent, but there. */
  hold(): void;
  /** Passes what the server answers no longer, while what clients send still arrives: an answer is lost, its effect is not. */
  holdAnswers(): void;
  /** Ends `refuse`, `hold` and `holdAnswers`; what was held arrives. */
  restore(): void;
  close(): Promise<void>;
}

interface Pair {
  client: Socket;
  server: Socket;
}

export async function cuttableProxy(targetHost: string, targetPort: number): Promise<CuttableProxy> {
  const pairs = new Set<Pair>();
  const flow = { refused: false, held: false, answersHeld: false };

  const listener = createServer((client) => {
    if (flow.refused) {
      client.resetAndDestroy();
      return;
    }
    const pair: Pair = { client, server: connect(targetPort, targetHost) };
    pairs.add(pair);
    join(pair.client, pair.server, () => pairs.delete(pair));
    join(pair.server, pair.client, () => pairs.delete(pair));
    direct(pair);
  }).listen(0, '127.0.0.1');
  await once(listener, 'listening');

  const direct = ({ client, server }: Pair): void => {
    pass(client, server, !flow.held);
    pass(server, client, !flow.held && !flow.answersHeld);
  };
  const change = (changes: Partial<typeof flow>): void => {
    Object.assign(flow, changes);
    for (const pair of pairs) direct(pair);
  };
  const cut = (): void => {
    for (const pair of pairs) drop(pair);
    pairs.clear();
  };
  return {
    host: '127.0.0.1',
    port: (listener.address() as AddressInfo).port,
    get connections() {
      return pairs.size;
    },
    cut,
    refuse: () => change({ refused: true }),
    hold: () => change({ held: true }),
    holdAnswers: () => change({ answersHeld: true }),
    restore: () => change({ refused: false, held: false, answersHeld: false }),
    async close() {
      const closed = once(listener, 'close');
      listener.close();
      cut();
      await closed;
    },
  };
}

/** What ends one side ends the other the same way. */
function join(socket: Socket, other: Socket, left: () => void): void {
  socket.setNoDelay(true);
  socket.on('error', () => undefined);
  socket.on('close', (failed) => {
    left();
    if (failed) other.resetAndDestroy();
    else other.destroySoon();
  });
}

function pass(from: Socket, to: Socket, open: boolean): void {
  from.unpipe(to);
  if (open) from.pipe(to);
  else from.pause();
}

function drop({ client, server }: Pair): void {
  for (const socket of [client, server]) if (!socket.destroyed) socket.resetAndDestroy();
}

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { Messages } from './messages.ts';

/** A TCP proxy before Postgres that notes what clients wait for. */
export interface WireTap {
  port: number;
  /** Each wait since it was last asked, by what was waited for; what was asked for side by side is one wait. */
  take(): string[];
  stop(): Promise<void>;
}

const WORDS = 4;
const wordsOf = (statement: string): string => statement.trim().split(/\s+/).slice(0, WORDS).join(' ');

export async function tapWire(host: string, port: number): Promise<WireTap> {
  const waits: string[] = [];
  let waiting = 0;
  const onAsked = (statements: string): void => {
    const beside = waiting === 0 ? undefined : waits.pop();
    waits.push(beside === undefined ? statements : `${beside} | ${statements}`);
    waiting += 1;
  };
  const server = createServer((client) => {
    const upstream = connect(port, host);
    client.on('data', asking(onAsked));
    const answers = new Messages(true, (type) => {
      // ReadyForQuery
      if (type === 'Z' && waiting > 0) waiting -= 1;
    });
    upstream.on('data', (chunk: Buffer) => answers.read(chunk));
    join(client, upstream);
    join(upstream, client);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    take: () => waits.splice(0),
    async stop() {
      server.close();
      await once(server, 'close');
    },
  };
}

function join(from: Socket, to: Socket): void {
  from.setNoDelay(true);
  from.pipe(to);
  from.on('error', () => to.destroy());
}

/** Reads what a client sends on one connection, and tells of each wait by the names of its statements, or by their first words. */
function asking(onAsked: (statements: string) => void): (chunk: Buffer) => void {
  let unnamed = '';
  const statements: string[] = [];
  const messages = new Messages(false, (type, body) => {
    const [first = '', second = ''] = body.toString('utf8').split('\0', 2);
    // Parse: name, text. Bind: portal, name. Query: text. Sync.
    if (type === 'P' && first === '') unnamed = wordsOf(second);
    if (type === 'B') statements.push(second === '' ? unnamed : second);
    if (type === 'Q') onAsked(wordsOf(first));
    if (type === 'S') onAsked(statements.splice(0).join(' + '));
  });
  return (chunk) => messages.read(chunk);
}

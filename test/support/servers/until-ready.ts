import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { Client } from 'pg';

const START_MS = 60_000;
const BETWEEN_MS = 20;

/** Resolves when the server answers. Rejects when it has not within a minute, or when `gone` tells that it ended. */
export async function untilReady(
  answers: () => Promise<boolean>,
  gone: Promise<string> = new Promise(() => undefined),
): Promise<void> {
  const deadline = performance.now() + START_MS;
  const ended = gone.then((reason) => {
    throw new Error(`the server ended: ${reason}`);
  });
  ended.catch(() => undefined);
  while (!(await answers())) {
    if (performance.now() > deadline) throw new Error('the server does not answer');
    await Promise.race([ended, wait(BETWEEN_MS)]);
  }
}

export async function postgresAnswers(dsn: string): Promise<boolean> {
  const client = new Client({ connectionString: dsn, connectionTimeoutMillis: 5_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('SELECT 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Whether a Redis answers a ping, be it that it asks for the password first. */
export async function redisAnswers(host: string, port: number): Promise<boolean> {
  const socket = connect(port, host);
  socket.setTimeout(5_000, () => socket.destroy(new Error('no answer')));
  try {
    socket.write('PING\r\n');
    const [answer] = await once(socket, 'data');
    return /^(\+PONG|-NOAUTH)/.test(String(answer));
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

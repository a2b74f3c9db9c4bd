import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { order } from './orders.ts';

// A process of its own between a test and a server program. When the test's process is gone, however it ended, it stops the server and
// removes its folder: a test that is killed leaves nothing behind. Arguments: the folder, and the signal that stops the server.
const [, , folder = '', stopSignal = 'SIGTERM'] = process.argv;
const LAST_CHANCE_MS = 5_000;

let server: ChildProcess | null = null;

process.on('message', (message) => {
  const told = order.parse(message);
  if (told.order === 'signal') server?.kill(told.signal);
  else start(told.command, told.args, told.account);
});
process.on('disconnect', () => void leave());

function start(
  command: string,
  args: readonly string[],
  account: { uid?: number | undefined; gid?: number | undefined },
): void {
  const started = spawn(command, args, { ...account, cwd: folder, stdio: ['ignore', 'inherit', 'inherit'] });
  server = started;
  const ended = (code: number | null, reason: string): void => {
    if (server === started) server = null;
    if (process.connected) process.send?.({ event: 'ended', code, reason });
  };
  started.on('exit', (code, signal) => ended(code, `ended with ${code ?? signal ?? 'nothing'}`));
  started.on('error', (error) => ended(null, error.message));
}

async function leave(): Promise<void> {
  if (server !== null) {
    const exited = once(server, 'exit');
    server.kill(stopSignal === 'SIGINT' ? 'SIGINT' : 'SIGTERM');
    const stopped = await Promise.race([exited.then(() => true), wait(LAST_CHANCE_MS, false)]);
    if (!stopped) {
      server.kill('SIGKILL');
      await exited;
    }
  }
  await rm(folder, { recursive: true, force: true, maxRetries: 10 });
  process.exit(0);
}

import { freePort } from './free-port.ts';
import { GuardedProgram } from './guarded-program.ts';
import type { RedisServer } from './server.ts';
import { redisAnswers, untilReady } from './until-ready.ts';

const START_ATTEMPTS = 5;

/** A Redis that runs as a process of this machine and keeps nothing on disk unless `args` say so. Rejects when it is not installed. */
export async function startLocalRedis(args: readonly string[] = []): Promise<RedisServer> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startOn(await freePort(), args);
    } catch (error) {
      if (attempt === START_ATTEMPTS || !/in use/.test(String(error))) throw error;
    }
  }
}

async function startOn(port: number, args: readonly string[]): Promise<RedisServer> {
  const program = await GuardedProgram.open('redis', 'SIGTERM');
  const settings = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
    '--dir',
    program.folder,
  ];
  const start = async (): Promise<void> => {
    program.start('redis-server', [...settings, ...args]);
    const gone = program.ended.then(({ reason }) =>
      reason.includes('ENOENT')
        ? 'redis-server is not installed: run .ci/tools as root, set ASB_TEST_REDIS_ADDR or start Docker'
        : `${reason}: ${program.output}`,
    );
    await untilReady(() => redisAnswers('127.0.0.1', port), gone);
  };
  try {
    await start();
  } catch (error) {
    await program.close();
    throw error;
  }
  return {
    host: '127.0.0.1',
    port,
    password: passwordIn(args),
    start,
    stop: () => program.end(),
    kill: () => program.end('SIGKILL'),
    close: () => program.close(),
  };
}

/** What `--requirepass` says. */
export function passwordIn(args: readonly string[]): string | null {
  const at = args.lastIndexOf('--requirepass');
  return at === -1 ? null : (args[at + 1] ?? null) || null;
}

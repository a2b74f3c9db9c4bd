import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../../support/servers/free-port.ts';
import { GuardedProgram } from '../../support/servers/guarded-program.ts';
import { redisAnswers, untilReady } from '../../support/servers/until-ready.ts';
import type { Address } from './redis-under-test.ts';

export const LOCAL = '127.0.0.1';

export interface TestSentinel {
  port: number;
  close(): Promise<void>;
}

/** A sentinel that knows `master` as `runtime`, and needs nobody's agreement. `more` are lines of its configuration. */
export async function startSentinel(
  master: Address,
  { password, port: wanted, more = [] }: { password: string; port?: number; more?: readonly string[] },
): Promise<TestSentinel> {
  const program = await GuardedProgram.open('sentinel', 'SIGTERM');
  const port = wanted ?? (await freePort());
  const file = join(program.folder, 'sentinel.conf');
  const lines = [
    ...[`port ${port}`, `bind ${LOCAL}`, `dir ${program.folder}`, `requirepass ${password}`, ...more],
    `sentinel monitor runtime ${LOCAL} ${master.port} 1`,
    `sentinel auth-pass runtime ${master.password ?? ''}`,
    'sentinel down-after-milliseconds runtime 500',
    'sentinel failover-timeout runtime 3000',
  ];
  await writeFile(file, lines.join('\n'));
  program.start('redis-server', [file, '--sentinel']);
  const gone = program.ended.then(({ reason }) => `${reason}: ${program.output}`);
  await untilReady(() => redisAnswers(LOCAL, port), gone);
  return { port, close: () => program.close() };
}

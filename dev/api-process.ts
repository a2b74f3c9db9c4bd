import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import packageJson from '../package.json' with { type: 'json' };

/** A process of ASB, or of something else that prints `{"message":"listening","address":"HOST:PORT"}` lines. */
export interface RunningProcess {
  /** `http://HOST:PORT` of each listener, in the order they came up. */
  urls: readonly [string, ...string[]];
  child: ChildProcess;
  /** Everything it wrote to standard error and standard output so far. */
  output(): string;
  /** Asks it to stop and answers its exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

const listening = z.object({ message: z.literal('listening'), address: z.string() });
const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** What a script of package.json starts Node with. */
function scriptOf(name: 'api' | 'worker') {
  const words = packageJson.scripts[name].split(' ');
  const node = words.indexOf('node');
  return {
    arguments: words.slice(node + 1),
    /** What it sets for the process itself. */
    environment: Object.fromEntries(words.slice(0, node).map((word) => word.split('=') as [string, string])),
  };
}

/**
 * Starts the API as `npm run api` does, with nothing of ours in its environment but `env`. Rejects with its output when it exits before it
 * listens.
 */
export const startApi = (env: Readonly<Record<string, string>>, listeners = 1): Promise<RunningProcess> =>
  startScript('api', [], env, listeners);

/** Starts a worker as `npm run worker` does, otherwise like `startApi`. */
export const startWorker = (env: Readonly<Record<string, string>>, flags: readonly string[]): Promise<RunningProcess> =>
  startScript('worker', flags, env, 1);

function startScript(
  name: 'api' | 'worker',
  flags: readonly string[],
  env: Readonly<Record<string, string>>,
  listeners: number,
): Promise<RunningProcess> {
  const script = scriptOf(name);
  return startProcess([...script.arguments, ...flags], { ...script.environment, ...env }, listeners);
}

/** Starts Node with these arguments and waits until it listens on as many addresses as told. */
export async function startProcess(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  listeners = 1,
): Promise<RunningProcess> {
  const child = spawn(process.execPath, args, { cwd: ROOT, env: { ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const urls: string[] = [];
  const exited = once(child, 'exit');
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ready = new Promise<void>((resolve) => {
    createInterface(child.stderr).on('line', (line) => {
      output += `${line}\n`;
      const started = listening.safeParse(parseJson(line));
      if (started.success) urls.push(`http://${started.data.address}`);
      if (urls.length === listeners) resolve();
    });
  });
  await Promise.race([
    ready,
    exited.then(() => {
      throw new Error(`${args.join(' ')} ended before it listened:\n${output}`);
    }),
  ]);
  const [first, ...rest] = urls;
  if (first === undefined) throw new Error('no listener');
  return {
    urls: [first, ...rest],
    child,
    output: () => output,
    async stop(signal = 'SIGTERM') {
      if (child.exitCode === null) {
        child.kill(signal);
        await exited;
      }
      return child.exitCode;
    },
  };
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

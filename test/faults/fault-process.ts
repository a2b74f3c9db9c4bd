import { type ChildProcess, fork } from 'node:child_process';
import { on, once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type Order, type Point, type Reply, reply } from './orders.ts';
import { within } from './within.ts';

const PROGRAM = fileURLToPath(new URL('process.ts', import.meta.url));
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const COMPILED = fileURLToPath(new URL('../../node_modules/.cache/asb', import.meta.url));
const START_SECONDS = 90;
const ANSWER_SECONDS = 60;
const OUTPUT_KEPT = 16_384;

/** An API or a worker in a process of its own, which can be killed at any step. */
export class FaultProcess {
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #replies: AsyncIterator<Reply>;
  /** Settles when the process is gone, with the signal that ended it. */
  readonly ended: Promise<string | null>;
  readonly #output: () => string;

  private constructor(child: ChildProcess, replies: AsyncIterator<Reply>, address: string, output: () => string) {
    this.#child = child;
    this.#replies = replies;
    this.url = `http://${address}`;
    this.#output = output;
    this.ended = endOf(child);
  }

  static api = (env: Readonly<Record<string, string>>): Promise<FaultProcess> => FaultProcess.#start(['api'], env);

  /** One that works when it is told to, on a clock that is ahead. With flags it goes on by itself from then on. */
  static worker(env: Readonly<Record<string, string>>, secondsAhead: number, ...flags: string[]): Promise<FaultProcess> {
    return FaultProcess.#start(['worker', String(secondsAhead), ...flags], env);
  }

  static async #start(args: readonly string[], env: Readonly<Record<string, string>>): Promise<FaultProcess> {
    const child = fork(PROGRAM, args, {
      cwd: ROOT,
      env: { ...env, NODE_COMPILE_CACHE: COMPILED },
      execArgv: [],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => (output = (output + chunk.toString()).slice(-OUTPUT_KEPT)));
    }
    const replies = repliesOf(child);
    const first = await within(START_SECONDS, 'a process starts', replies.next());
    if (first.done === true || first.value.reply !== 'listening') throw new Error(`did not start: ${output}`);
    return new FaultProcess(child, replies, first.value.address, () => output);
  }

  /** The last that it wrote. */
  get output(): string {
    return this.#output();
  }

  /** Counts its steps from now on. */
  async count(): Promise<void> {
    await this.#expect({ order: 'count', at: null, then: 'hold' }, 'counting');
  }

  /** It kills itself at a point from now. */
  async dieAt(at: Point): Promise<void> {
    await this.#expect({ order: 'count', at, then: 'die' }, 'counting');
  }

  /** What it does next goes no further than a point. Then `held` is to be awaited. */
  async holdAt(at: Point): Promise<void> {
    await this.#expect({ order: 'count', at, then: 'hold' }, 'counting');
  }

  async held(): Promise<void> {
    if ((await this.#hear('held')) === null) throw new Error(`died: ${this.output}`);
  }

  /** The steps since then, by name. */
  async steps(): Promise<readonly string[]> {
    return (await this.#expect({ order: 'steps' }, 'steps')).names;
  }

  /** Has a worker do what is due, or begin. Answers whether it did so to the end; null when it died meanwhile. */
  async work(): Promise<boolean | null> {
    return (await this.#ask({ order: 'work' }, 'worked'))?.isFinished ?? null;
  }

  /** As `kill -9` does. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }

  async #expect<Kind extends Reply['reply']>(told: Order, kind: Kind): Promise<Extract<Reply, { reply: Kind }>> {
    const answer = await this.#ask(told, kind);
    if (answer === null) throw new Error(`died: ${this.output}`);
    return answer;
  }

  /** Null when it died before it answered. */
  #ask<Kind extends Reply['reply']>(told: Order, kind: Kind): Promise<Extract<Reply, { reply: Kind }> | null> {
    this.#child.send(told);
    return this.#hear(kind);
  }

  async #hear<Kind extends Reply['reply']>(kind: Kind): Promise<Extract<Reply, { reply: Kind }> | null> {
    const answer = await within(ANSWER_SECONDS, `a process says: ${kind}`, this.#replies.next());
    if (answer.done === true) return null;
    if (!isOf(answer.value, kind)) throw new Error(`a process said: ${answer.value.reply}, and not: ${kind}`);
    return answer.value;
  }
}

const isOf = <Kind extends Reply['reply']>(answer: Reply, kind: Kind): answer is Extract<Reply, { reply: Kind }> =>
  answer.reply === kind;

async function endOf(child: ChildProcess): Promise<string | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.signalCode;
}

/** What the process says, one after the other; it ends with the process. */
async function* repliesOf(child: ChildProcess): AsyncGenerator<Reply> {
  for await (const [message] of on(child, 'message', { close: ['exit'] })) yield reply.parse(message);
}

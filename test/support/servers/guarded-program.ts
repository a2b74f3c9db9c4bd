import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Account, type Ended, ended, type Order } from './orders.ts';

type Signal = 'SIGTERM' | 'SIGINT' | 'SIGKILL';

const GUARD = fileURLToPath(new URL('guard.ts', import.meta.url));
const OUTPUT_KEPT = 8_192;

/**
 * A folder under the temporary folder with one program at a time that works in it. Both are gone after `close`, and also when this process
 * ends in whatever way before it.
 */
export class GuardedProgram {
  readonly folder: string;
  readonly #guard: ChildProcess;
  readonly #stopSignal: Signal;
  #running: Promise<Ended> | null = null;
  #output = '';

  private constructor(folder: string, stopSignal: Signal) {
    this.folder = folder;
    this.#stopSignal = stopSignal;
    // A group of its own: what a terminal sends to the tests must not stop servers that the tests still use.
    this.#guard = fork(GUARD, [folder, stopSignal], {
      execArgv: [],
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    for (const stream of [this.#guard.stdout, this.#guard.stderr]) {
      stream?.on('data', (chunk: Buffer) => (this.#output = (this.#output + chunk.toString()).slice(-OUTPUT_KEPT)));
    }
  }

  /** `stopSignal` is what stops the program in an orderly way. */
  static async open(name: string, stopSignal: Signal): Promise<GuardedProgram> {
    return new GuardedProgram(await mkdtemp(join(tmpdir(), `asb-test-${name}-`)), stopSignal);
  }

  /** The last that the program wrote. */
  get output(): string {
    return this.#output;
  }

  /** Settles when the program that runs has ended; at once when none does. */
  get ended(): Promise<Ended> {
    return this.#running ?? Promise.resolve({ event: 'ended', code: null, reason: 'does not run' });
  }

  get isRunning(): boolean {
    return this.#running !== null;
  }

  start(command: string, args: readonly string[], account: Account = {}): void {
    if (this.#running !== null) throw new Error(`${command} runs already`);
    this.#output = '';
    this.#running = once(this.#guard, 'message').then(([message]) => {
      this.#running = null;
      return ended.parse(message);
    });
    this.#send({ order: 'start', command, args: [...args], account });
  }

  /** Runs a program to its end. Rejects with its output unless it succeeds. */
  async run(command: string, args: readonly string[], account: Account = {}): Promise<void> {
    this.start(command, args, account);
    const { code, reason } = await this.ended;
    if (code !== 0) throw new Error(`${command} ${reason}: ${this.#output}`);
  }

  /** Ends the program that runs, in order or with SIGKILL, and waits until it is gone. */
  async end(signal: Signal = this.#stopSignal): Promise<void> {
    if (this.#running === null) return;
    this.#send({ order: 'signal', signal });
    await this.#running;
  }

  async close(): Promise<void> {
    if (this.#guard.exitCode !== null) return;
    const exited = once(this.#guard, 'exit');
    this.#guard.disconnect();
    await exited;
  }

  #send(order: Order): void {
    this.#guard.send(order);
  }
}

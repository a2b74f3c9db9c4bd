import { Redis } from 'ioredis';
import { Client } from 'pg';
import { z } from 'zod';
import type { LeaseConnector } from '../../src/domain/connector.ts';
import type { Point } from './orders.ts';

/** Counts everything that this process has an effect with. At one of these steps the process dies, or what takes it goes no further. */
export class Steps {
  #names: string[] = [];
  #at: Point | null = null;
  #stop: () => void = () => undefined;

  /** Begins to count anew, up to `at`; then calls `stop`. What was held before stays so. */
  count(at: Point | null, stop: () => void): void {
    this.#names = [];
    this.#at = at;
    this.#stop = stop;
  }

  get names(): readonly string[] {
    return this.#names;
  }

  around(name: string, take: () => unknown): unknown {
    const step = this.#names.push(name);
    const moment = this.#at?.step === step ? this.#at.moment : null;
    if (moment === 'before') return this.#held();
    const answer = take();
    return moment === 'after' ? Promise.resolve(answer).then(() => this.#held()) : answer;
  }

  /** Settles never: whoever waits for it goes no further. */
  #held(): Promise<never> {
    this.#stop();
    return new Promise(() => undefined);
  }
}

/** At once: nothing of this process runs any more. */
export function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

/** Counts every statement that goes to Postgres and every command that goes to Redis. */
export function watchStores(steps: Steps): void {
  wrap(Client.prototype, 'query', ([config], call) => steps.around(statementName(config), call));
  wrap(Redis.prototype, 'sendCommand', ([command], call) => steps.around(`redis ${named.parse(command).name}`, call));
}

/** Puts something around a method of an object, or of every object of a class. */
function wrap(owner: object, name: string, around: (args: unknown[], call: () => unknown) => unknown): void {
  const method: unknown = Reflect.get(owner, name);
  if (typeof method !== 'function') throw new Error(`no method ${name}`);
  Reflect.set(owner, name, function (this: unknown, ...args: unknown[]): unknown {
    return around(args, () => Reflect.apply(method, this, args) as unknown);
  });
}

/** Counts the calls of a connector as well. */
export function watchConnector(connector: LeaseConnector, steps: Steps): LeaseConnector {
  const watched = { ...connector };
  wrap(watched, 'issue', (_request, call) => steps.around('issue lease', call));
  wrap(watched, 'revoke', (_request, call) => steps.around('revoke lease', call));
  return watched;
}

const named = z.object({ name: z.string() });
const statement = z.object({ name: z.string().optional(), text: z.string(), values: z.array(z.unknown()).optional() });
const EVENT_TYPE = /type[\\"]*:[\\"]*([a-z_]+\.[a-z_]+)/g;

/** A unit of work is named by the events that it records. */
function statementName(config: unknown): string {
  const parsed = statement.safeParse(config);
  if (!parsed.success) return 'statement';
  const { name, text, values = [] } = parsed.data;
  if (name !== 'commit_unit') return name ?? text.trim().replace(/\s+/g, ' ').slice(0, 40);
  const written = values.filter((value) => typeof value === 'string').join();
  return ['commit', ...[...written.matchAll(EVENT_TYPE)].map(([, type]) => type)].join(' ');
}

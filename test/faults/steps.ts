import { AsyncLocalStorage } from 'node:async_hooks';
import { IncomingMessage, Server } from 'node:http';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { z } from 'zod';
import type { LeaseConnector } from '../../src/domain/connector.ts';
import type { Point } from './orders.ts';

/** The steps of one request, or of all that a worker does. */
interface Count {
  names: string[];
  /** Where it goes no further, and what happens then. */
  at: Point | null;
  stop: () => void;
}

/** Counts everything that this process has an effect with. At one of these steps the process dies, or what takes it goes no further. */
export class Steps {
  #latest: Count = { names: [], at: null, stop: () => undefined };
  readonly #ofRequest = new AsyncLocalStorage<Count>();

  /** Counts the steps of the next request, or of what is done without one, up to `at`; then calls `stop`. */
  count(at: Point | null, stop: () => void): void {
    this.#latest = { names: [], at, stop };
  }

  get names(): readonly string[] {
    return this.#latest.names;
  }

  around(name: string, take: () => unknown): unknown {
    const count = this.#ofRequest.getStore() ?? this.#latest;
    const step = count.names.push(name);
    const moment = count.at?.step === step ? count.at.moment : null;
    if (moment === 'before') return held(count);
    const answer = take();
    return moment === 'after' ? Promise.resolve(answer).then(() => held(count)) : answer;
  }

  /** What comes of a request counts as its own, also when another one has been counted since. */
  inRequest<T>(request: IncomingMessage, handle: () => T): T {
    // Its body comes by way of the connection.
    wrap(request, 'on', (args, call) => {
      args[1] = AsyncLocalStorage.bind(listener.parse(args[1]));
      return call();
    });
    return this.#ofRequest.run(this.#latest, handle);
  }
}

const listener = z.custom<(...args: unknown[]) => unknown>((value) => typeof value === 'function');

/** Settles never: whoever waits for it goes no further. */
function held({ stop }: Count): Promise<never> {
  stop();
  return new Promise(() => undefined);
}

/** At once: nothing of this process runs any more. */
export function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

/** Counts every statement that goes to Postgres and every command that goes to Redis, by the request that they come of. */
export function watchStores(steps: Steps): void {
  wrap(Client.prototype, 'query', ([config], call) => steps.around(statementName(config), call));
  wrap(Server.prototype, 'emit', ([event, request], call) =>
    event === 'request' && request instanceof IncomingMessage ? steps.inRequest(request, call) : call(),
  );
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

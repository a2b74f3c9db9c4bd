import { Redis } from 'ioredis';
import { Client } from 'pg';
import { z } from 'zod';
import type { LeaseConnector } from '../../src/domain/connector.ts';
import type { KillPoint } from './orders.ts';

/** Counts everything that this process has an effect with, and kills the process at one of these steps. */
export class Steps {
  #names: string[] = [];
  #killAt: KillPoint | null = null;

  /** Begins to count anew. */
  count(killAt: KillPoint | null): void {
    this.#names = [];
    this.#killAt = killAt;
  }

  get names(): readonly string[] {
    return this.#names;
  }

  around<Answer>(name: string, step: () => Answer): Answer {
    const number = this.#names.push(name);
    const moment = this.#killAt?.step === number ? this.#killAt.moment : null;
    if (moment === 'before') die();
    const answer = step();
    // By then what was written has left the process.
    if (moment === 'sent') setImmediate(die);
    if (moment === 'after') void Promise.resolve(answer).then(die, die);
    return answer;
  }
}

/** At once: nothing of this process runs any more, not even a write that was begun. */
function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

/** Counts every statement that goes to Postgres and every command that goes to Redis. */
export function watchStores(steps: Steps): void {
  const { query } = Client.prototype;
  Client.prototype.query = function (this: Client, ...args: unknown[]): unknown {
    return steps.around(statementName(args[0]), () => Reflect.apply(query, this, args) as unknown);
  } as typeof query;
  const { sendCommand } = Redis.prototype;
  Redis.prototype.sendCommand = function (this: Redis, ...args): unknown {
    return steps.around(`redis ${args[0].name}`, () => Reflect.apply(sendCommand, this, args));
  };
}

/** Counts the calls of a connector as well. */
export const watchConnector = (connector: LeaseConnector, steps: Steps): LeaseConnector => ({
  ...connector,
  issue: (request) => steps.around('issue lease', () => connector.issue(request)),
  revoke: (request) => steps.around('revoke lease', () => connector.revoke(request)),
});

const statement = z.object({ name: z.string().optional(), text: z.string(), values: z.array(z.unknown()).optional() });
const staged = z.object({ events: z.array(z.object({ type: z.string() })) });

/** A unit of work is named by the events that it records. */
function statementName(config: unknown): string {
  const parsed = statement.safeParse(config);
  if (!parsed.success) return 'statement';
  const { name, text, values: [value] = [] } = parsed.data;
  if (name !== 'commit_unit') return name ?? text.trim().replace(/\s+/g, ' ').slice(0, 40);
  const unit = staged.safeParse(typeof value === 'string' ? JSON.parse(value) : null);
  return ['commit', ...(unit.success ? unit.data.events.map(({ type }) => type) : [])].join(' ');
}

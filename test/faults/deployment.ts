import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { TENANTS } from '../support/configured.ts';
import { jsonClient } from '../support/transports.ts';
import { bodyOf, type Calls } from './agents.ts';
import { FaultProcess } from './fault-process.ts';
import { type Findings, noFindings } from './invariants.ts';
import { Load } from './load.ts';
import { nextPage } from './operations.ts';
import { settle } from './settle.ts';
import { Victims } from './victims.ts';
import { until } from './within.ts';
import type { World } from './world.ts';

const RECOVERY_SECONDS = 30;
const WORKER_FLAGS = ['--interval', '1s'];

/** Two APIs and a worker, each a process of its own, and others that can take their places. */
export class Deployment {
  readonly #world: World;
  readonly #calls: Calls;
  readonly #readyApis: Victims;
  readonly #readyWorkers: Victims;
  readonly #apis: FaultProcess[] = [];
  #worker: FaultProcess | null = null;

  private constructor(world: World, calls: Calls) {
    const { environment } = world;
    this.#world = world;
    this.#calls = calls;
    this.#readyApis = new Victims(1, () => FaultProcess.api(environment));
    this.#readyWorkers = new Victims(1, () => FaultProcess.worker(environment, 0, ...WORKER_FLAGS));
  }

  static async start(world: World, calls: Calls): Promise<Deployment> {
    const deployment = new Deployment(world, calls);
    await Promise.all([deployment.#addApi(), deployment.#addApi(), deployment.#addWorker()]);
    return deployment;
  }

  async #addApi(): Promise<void> {
    this.#apis.push(await this.#readyApis.take());
  }

  async #addWorker(): Promise<void> {
    this.#worker = await this.#readyWorkers.take();
    if ((await this.#worker.work()) !== true) throw new Error(`a worker did not start: ${this.#worker.output}`);
  }

  get urls(): readonly string[] {
    return this.#apis.map(({ url }) => url);
  }

  /** Agents that call both APIs in turn. */
  load = (): Load => new Load(this.#calls, () => this.urls);

  /** Kills the API that has been there longest, and puts another in its place. */
  async killApi(): Promise<void> {
    await this.#apis[0]?.kill();
    await this.#addApi();
    this.#apis.shift();
  }

  async killWorker(): Promise<void> {
    await this.#worker?.kill();
    await this.#addWorker();
  }

  /** Everything that Redis knows is gone. */
  async flush({ host, port }: { host: string; port: number }): Promise<void> {
    const redis = new Redis({ host, port });
    await redis.flushall();
    redis.disconnect();
  }

  /** Waits until each API does all that agents ask for, and the worker what is due. Answers how long that took, in milliseconds. */
  async untilEverythingWorks(): Promise<number> {
    const started = performance.now();
    await Promise.all(this.urls.map((url) => until(RECOVERY_SECONDS, `everything works at ${url}`, () => this.#works(url))));
    return performance.now() - started;
  }

  /** Throws when something does not work. */
  async #works(url: string): Promise<boolean> {
    const calls = this.#calls;
    const client = jsonClient(url);
    try {
      const agent = bodyOf(await calls.openSession(client, TENANTS.free));
      const handle = bodyOf(await calls.requestGrant(client, agent, 'proxy', randomUUID()));
      bodyOf(await calls.proxied(client, handle.delivery?.handle ?? '', nextPage()));
      const secret = bodyOf(await calls.requestGrant(client, agent, 'wrapped_secret', randomUUID()));
      const password = bodyOf(await calls.unwrap(client, agent, secret.delivery?.artifact_id ?? ''));
      bodyOf(await calls.revokeSession(client, agent));
      const isDead = () =>
        this.#world.leases.ledger.issued().some((lease) => lease.password === password && lease.isRevoked);
      await until(RECOVERY_SECONDS, 'a lease is revoked', isDead);
      return true;
    } finally {
      client.close();
    }
  }

  /** When all is quiet: adds to what agents have found themselves what is not as it must be. */
  async compare({ kept }: Load): Promise<Findings> {
    const { database, leases, github } = this.#world;
    const arrivals = new Map<number, number>();
    for (const { url } of github.requests) {
      const page = Number(new URL(url, github.url).searchParams.get('page'));
      arrivals.set(page, (arrivals.get(page) ?? 0) + 1);
    }
    await kept.compare(database, leases.ledger, arrivals);
    await this.#compareDead(kept);
    const settled = await this.#settled();
    const { lost, doubled, leaked } = kept.findings;
    return {
      lost: [...lost, ...settled.lost],
      doubled: [...doubled, ...settled.doubled],
      leaked: [...leaked, ...settled.leaked],
    };
  }

  /** What was revoked is dead at every API. */
  async #compareDead({ sessions, handles, findings }: Load['kept']): Promise<void> {
    for (const url of this.urls) {
      const client = jsonClient(url);
      for (const session of sessions.filter(({ revoked }) => revoked === 'acknowledged').slice(-SAMPLE)) {
        const answer = await this.#calls.requestGrant(client, session, 'proxy', randomUUID());
        if (answer.kind !== 'refused')
          findings.leaked.push(`session ${session.sessionId} was revoked and is ${answer.kind}`);
      }
      for (const { handle, grantId } of handles.filter(({ revoked }) => revoked === 'acknowledged').slice(-SAMPLE)) {
        const answer = await this.#calls.proxied(client, handle, nextPage());
        if (answer.kind !== 'refused') findings.leaked.push(`grant ${grantId} was revoked and is ${answer.kind}`);
      }
      client.close();
    }
  }

  /** The worker of the deployment may be in the middle of something; what it has not done in a while it never will. */
  async #settled(): Promise<Findings> {
    let findings = noFindings();
    const isClean = async (): Promise<boolean> => {
      findings = noFindings();
      await settle(this.#world, findings);
      return Object.values(findings).flat().length === 0;
    };
    await until(SETTLE_SECONDS, 'all is in order', isClean).catch(() => undefined);
    return findings;
  }

  async stop(): Promise<void> {
    const processes = [...this.#apis, ...(this.#worker === null ? [] : [this.#worker])];
    await Promise.all([...processes.map((process) => process.kill()), this.#readyApis.close(), this.#readyWorkers.close()]);
  }
}

const SETTLE_SECONDS = 10;
/** How many of those that were revoked are tried. */
const SAMPLE = 50;

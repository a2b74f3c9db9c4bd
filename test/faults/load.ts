import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { TENANTS } from '../support/configured.ts';
import { jsonClient, type TransportClient } from '../support/transports.ts';
import { type Agent, type Answer, type Calls, type GrantBody } from './agents.ts';
import { BUDGET, Kept, type KeptHandle } from './kept.ts';
import { nextPage } from './operations.ts';
import { until } from './within.ts';

/** What a caller does who is told that something is not available: it tries again a little later. */
const RETRY_MS = 25;
const PATIENCE_SECONDS = 60;
/** Of each handle: more than its budget. */
const CALLS_OF_HANDLE = BUDGET + 2;
const LANES = 3;

/** While a system that the processes depend on is away, nothing that needs it may be acknowledged. */
export interface Outage {
  needs(operation: Operation): boolean;
}
export type Operation = 'openSession' | 'requestGrant' | 'approve' | 'getGrant' | 'unwrap' | 'proxied' | 'revoke';

/** Agents that work at the same time, each on one run after the other, and do not give up when something fails. */
export class Load {
  readonly kept = new Kept();
  /** Requests that wait for their answers. */
  inFlight = 0;
  /** Answers, and those of them that acknowledged or said that something is not available. */
  answered = 0;
  acknowledged = 0;
  unavailable = 0;
  /** Connections that broke before the answer came. */
  broken = 0;
  outage: Outage | null = null;
  /** Codes that say: not now. */
  readonly notNow: readonly string[] = ['unavailable'];
  readonly #calls: Calls;
  readonly #urls: () => readonly string[];
  readonly #clients = new Map<string, TransportClient>();
  readonly #runs: Promise<void>[] = [];
  #isOver = false;
  #turn = 0;

  constructor(calls: Calls, urls: () => readonly string[]) {
    this.#calls = calls;
    this.#urls = urls;
  }

  start(agents: number): void {
    for (let number = 0; number < agents; number += 1) this.#runs.push(this.#work());
  }

  /** Waits until so many more calls were acknowledged. */
  goOn(count: number): Promise<void> {
    const enough = this.acknowledged + count;
    return until(PATIENCE_SECONDS, `${count} calls are acknowledged`, () => this.acknowledged >= enough);
  }

  /** Waits until so many more calls were refused for want of something, or broken off. */
  fail(count: number): Promise<void> {
    const failed = () => this.unavailable + this.broken;
    const enough = failed() + count;
    return until(PATIENCE_SECONDS, `${count} calls fail`, () => failed() >= enough);
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#runs);
    for (const client of this.#clients.values()) client.close();
  }

  async #work(): Promise<void> {
    while (!this.#isOver) await this.#run();
  }

  /** One run of an agent, from its session to the end of it. */
  async #run(): Promise<void> {
    const turn = (this.#turn += 1);
    const tenant = turn % 4 === 0 ? TENANTS.human : TENANTS.free;
    const agent = await this.#persist('openSession', [], (client) => this.#calls.openSession(client, tenant));
    if (agent === null) return;
    const session = this.kept.addSession(agent);
    const handle = await this.#handleOf(agent);
    if (handle !== null) await this.#useUp(handle);
    await this.#openSecret(agent);
    if (handle !== null && turn % 2 === 0) {
      handle.revoked = 'asked';
      const revoke = (client: TransportClient) => this.#calls.revokeGrant(client, agent, handle.grantId);
      if ((await this.#persist('revoke', ['conflict'], revoke)) !== null) handle.revoked = 'acknowledged';
      await this.#call(handle);
    }
    if (turn % 3 === 0) {
      session.revoked = 'asked';
      const revoke = (client: TransportClient) => this.#calls.revokeSession(client, agent);
      if ((await this.#persist('revoke', ['conflict'], revoke)) !== null) session.revoked = 'acknowledged';
    }
  }

  async #handleOf(agent: Agent): Promise<KeptHandle | null> {
    const grant = await this.#grantOf(agent, 'proxy');
    const { handle } = grant?.delivery ?? {};
    return grant === null || handle === undefined ? null : this.kept.addHandle(grant.grant_id, handle);
  }

  /** Makes more calls than the budget allows, some at a time. */
  async #useUp(handle: KeptHandle): Promise<void> {
    let left = CALLS_OF_HANDLE;
    const lane = async (): Promise<void> => {
      while (left > 0 && !this.#isOver) {
        left -= 1;
        await this.#call(handle);
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
  }

  /** One call, which is not made again whatever becomes of it. */
  async #call(handle: KeptHandle): Promise<void> {
    const page = nextPage();
    handle.pages.push(page);
    const { revoked } = handle;
    const answer = await this.#ask('proxied', (client) => this.#calls.proxied(client, handle.handle, page));
    if (answer.kind === 'done') {
      handle.acknowledged.push(page);
      if (revoked === 'acknowledged') this.kept.findings.leaked.push(`a handle that was revoked was used: ${page}`);
    } else if (answer.kind === 'refused') {
      const mayBe = [...this.notNow, 'resource_budget_exceeded', ...(revoked === 'no' ? [] : ['unauthorized'])];
      if (!mayBe.includes(answer.code)) this.kept.findings.lost.push(`a proxied call was refused: ${answer.code}`);
    }
  }

  async #openSecret(agent: Agent): Promise<void> {
    const grant = await this.#grantOf(agent, 'wrapped_secret');
    // One whose issue was cut off ends by itself.
    if (grant?.delivery === undefined) return;
    const secret = this.kept.addSecret(grant.grant_id, grant.delivery.artifact_id);
    const open = async (client: TransportClient) => {
      const answer = await this.#calls.unwrap(client, agent, secret.artifactId);
      if (answer.kind === 'done') secret.passwords.push(answer.body);
      return answer;
    };
    await this.#persist('unwrap', ['conflict'], open);
    // Whoever comes second gets nothing.
    if (secret.passwords.length > 0) await this.#ask('unwrap', open);
  }

  /** A grant that delivers, or that came to nothing; people are asked where they must be. */
  async #grantOf(agent: Agent, kind: 'proxy' | 'wrapped_secret'): Promise<GrantBody | null> {
    const requestId = randomUUID();
    const ask = (client: TransportClient) => this.#calls.requestGrant(client, agent, kind, requestId);
    const grant = await this.#persist('requestGrant', [], ask);
    const { approval_id: approvalId } = grant ?? {};
    if (grant === null || approvalId === undefined || grant.state !== 'pending') return grant;
    const approval = this.kept.addApproval(approvalId);
    const approve = async (client: TransportClient) => {
      const answer = await this.#calls.approve(client, approvalId, 'olga');
      if (answer.kind === 'done') approval.acknowledged += 1;
      return answer;
    };
    await this.#persist('approve', ['conflict'], approve);
    return this.#persist('getGrant', [], (client) => this.#calls.getGrant(client, agent, grant.grant_id));
  }

  /**
   * Asks until there is an answer that stands. `again` are refusals that say that an earlier try, of which nothing was heard, was
   * done. Null when there is no answer, or when it is one of these.
   */
  async #persist<Body>(
    operation: Operation,
    again: readonly string[],
    call: (client: TransportClient) => Promise<Answer<Body>>,
  ): Promise<Body | null> {
    for (let isFirst = true; !this.#isOver; isFirst = false) {
      const answer = await this.#ask(operation, call);
      if (answer.kind === 'done') return answer.body;
      if (answer.kind === 'refused' && !this.notNow.includes(answer.code)) {
        if (isFirst || !again.includes(answer.code))
          this.kept.findings.lost.push(`${operation} was refused: ${answer.code}`);
        return null;
      }
      await pause(RETRY_MS);
    }
    return null;
  }

  async #ask<Body>(operation: Operation, call: (client: TransportClient) => Promise<Answer<Body>>): Promise<Answer<Body>> {
    const { outage } = this;
    this.inFlight += 1;
    try {
      const answer = await call(this.#anyClient());
      if (answer.kind === 'broken') this.broken += 1;
      else this.answered += 1;
      if (answer.kind === 'refused' && this.notNow.includes(answer.code)) this.unavailable += 1;
      if (answer.kind === 'done') {
        this.acknowledged += 1;
        if (outage !== null && outage === this.outage && outage.needs(operation)) {
          this.kept.findings.lost.push(`${operation} was acknowledged while what it needs was away`);
        }
      }
      return answer;
    } finally {
      this.inFlight -= 1;
    }
  }

  /** Processes take turns. */
  #anyClient(): TransportClient {
    const urls = this.#urls();
    const url = urls[(this.#turn + this.answered + this.broken) % urls.length] ?? '';
    const client = this.#clients.get(url) ?? jsonClient(url);
    this.#clients.set(url, client);
    return client;
  }
}

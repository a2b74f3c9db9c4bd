import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { TENANTS } from '../support/configured.ts';
import type { LeaseFault } from '../support/lease-ledger.ts';
import type { TransportClient } from '../support/transports.ts';
import { type Agent, type Answer, bodyOf, type Calls, type GrantBody } from './agents.ts';
import type { Findings } from './invariants.ts';
import { until } from './within.ts';
import type { World } from './world.ts';

/** What an operation is tried in. */
export interface Scene {
  world: World;
  calls: Calls;
  /** The way to a process that nobody kills. */
  healthy: TransportClient;
}

/** One request that a process may die in. */
export interface Trial {
  run: (client: TransportClient) => Promise<Answer<unknown>>;
  /** What a caller that got no answer does next, at another process. */
  again(): Promise<void>;
  /** Adds what is not as it must be, once a worker has cleared up. */
  check(findings: Findings): Promise<void>;
}

/** A moment at which a system downstream is asked, and does this. */
export interface DownstreamMoment {
  name: string;
  /** Before the request. Resolves with what resolves when the system has been asked. */
  arrange(world: World): Promise<void>;
}

export interface Operation {
  name: string;
  prepare(scene: Scene): Promise<Trial>;
  downstream: readonly DownstreamMoment[];
}

const PATIENCE_SECONDS = 30;

/** The stand-in for leases is asked, and fails so. */
const leaseAsked = (name: string, fault: LeaseFault): DownstreamMoment => ({
  name,
  arrange({ leases: { ledger } }) {
    const before = ledger.asked.issue;
    ledger.failNext('issue', fault);
    return until(PATIENCE_SECONDS, 'a lease is asked for', () => ledger.asked.issue > before);
  },
});

const LEASE_MOMENTS = [
  leaseAsked('while a lease is asked for', 'hang_before'),
  leaseAsked('when a lease was issued, before its answer', 'hang_after'),
  leaseAsked('while a lease is asked for, which is issued all the same', 'late_effect'),
];

const UPSTREAM_MOMENTS: readonly DownstreamMoment[] = [
  { name: 'while GitHub is asked', arrange: (world) => upstreamAsked(world, '') },
  { name: 'in the middle of GitHub’s answer', arrange: (world) => upstreamAsked(world, '[{"number":') },
];

function upstreamAsked({ github }: World, beginning: string): Promise<void> {
  return new Promise((resolve) => {
    github.answerNext((_request, response) => {
      if (beginning === '') {
        resolve();
        return;
      }
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write(beginning, () => resolve());
    });
  });
}

export const OPERATIONS: readonly Operation[] = [
  { name: 'issue', prepare: issueTrial, downstream: LEASE_MOMENTS },
  { name: 'mint', prepare: mintTrial, downstream: LEASE_MOMENTS },
  { name: 'unwrap', prepare: unwrapTrial, downstream: [] },
  { name: 'approve, one of two', prepare: firstYesTrial, downstream: [] },
  { name: 'approve, the last', prepare: lastYesTrial, downstream: LEASE_MOMENTS },
  { name: 'revoke a grant', prepare: revokeGrantTrial, downstream: [] },
  { name: 'revoke a session', prepare: revokeSessionTrial, downstream: [] },
  { name: 'revoke a run', prepare: revokeRunTrial, downstream: [] },
  { name: 'proxied call', prepare: proxiedTrial, downstream: UPSTREAM_MOMENTS },
];

async function issueTrial(scene: Scene): Promise<Trial> {
  const { calls, healthy } = scene;
  const agent = bodyOf(await calls.openSession(healthy, TENANTS.free));
  const requestId = randomUUID();
  const ask = (client: TransportClient) => calls.requestGrant(client, agent, 'wrapped_secret', requestId);
  return {
    run: ask,
    async again() {
      bodyOf(await ask(healthy));
    },
    async check(findings) {
      const grant = bodyOf(await ask(healthy));
      if (grant.state === 'expired') await opens(scene, agent, await aSecret(scene, agent), findings);
      else await opens(scene, agent, grant, findings);
    },
  };
}

async function mintTrial({ calls, healthy }: Scene): Promise<Trial> {
  const agent = bodyOf(await calls.openSession(healthy, TENANTS.free));
  const requestId = randomUUID();
  const tokens: string[] = [];
  const ask = async (client: TransportClient, id = requestId) => {
    const answer = await calls.requestGrant(client, agent, 'minted_token', id);
    if (answer.kind === 'done' && answer.body.delivery?.token !== undefined) tokens.push(answer.body.delivery.token);
    return answer;
  };
  return {
    run: ask,
    async again() {
      refusedOrDone(await ask(healthy), 'conflict');
    },
    async check(findings) {
      refusedOrDone(await ask(healthy), 'conflict');
      if (tokens.length > 1) findings.doubled.push(`a token was given out ${tokens.length} times`);
      // Whoever lost the answer asks anew.
      const before = tokens.length;
      bodyOf(await ask(healthy, randomUUID()));
      if (tokens.length !== before + 1) findings.lost.push('no token is to be had any more');
    },
  };
}

async function unwrapTrial(scene: Scene): Promise<Trial> {
  const { calls, healthy } = scene;
  const agent = bodyOf(await calls.openSession(healthy, TENANTS.free));
  const { delivery } = await aSecret(scene, agent);
  let opened = 0;
  const open = async (client: TransportClient) => {
    const answer = await calls.unwrap(client, agent, delivery?.artifact_id ?? '');
    if (answer.kind === 'done') opened += 1;
    return answer;
  };
  return {
    run: open,
    async again() {
      refusedOrDone(await open(healthy), 'conflict');
    },
    async check(findings) {
      refused(await open(healthy), 'conflict');
      if (opened > 1) findings.doubled.push(`a secret was opened ${opened} times`);
    },
  };
}

async function firstYesTrial(scene: Scene): Promise<Trial> {
  const { calls, healthy } = scene;
  const { agent, grantId, approvalId } = await aRequestForTwo(scene);
  return {
    run: (client) => calls.approve(client, approvalId, 'olga'),
    async again() {
      refusedOrDone(await calls.approve(healthy, approvalId, 'olga'), 'conflict');
    },
    async check(findings) {
      bodyOf(await calls.approve(healthy, approvalId, 'otto'));
      await opens(scene, agent, bodyOf(await calls.getGrant(healthy, agent, grantId)), findings);
    },
  };
}

async function lastYesTrial(scene: Scene): Promise<Trial> {
  const { calls, healthy } = scene;
  const { agent, grantId, approvalId } = await aRequestForTwo(scene);
  bodyOf(await calls.approve(healthy, approvalId, 'otto'));
  return {
    run: (client) => calls.approve(client, approvalId, 'olga'),
    async again() {
      refusedOrDone(await calls.approve(healthy, approvalId, 'olga'), 'conflict');
    },
    async check(findings) {
      refused(await calls.approve(healthy, approvalId, 'oscar'), 'conflict');
      const grant = bodyOf(await calls.getGrant(healthy, agent, grantId));
      if (grant.state !== 'expired') await opens(scene, agent, grant, findings);
    },
  };
}

async function revokeGrantTrial(scene: Scene): Promise<Trial> {
  const { calls, healthy } = scene;
  const agent = bodyOf(await calls.openSession(healthy, TENANTS.free));
  const { grant_id: grantId, delivery } = await aSecret(scene, agent);
  const revoke = (client: TransportClient) => calls.revokeGrant(client, agent, grantId);
  return {
    run: revoke,
    async again() {
      refusedOrDone(await revoke(healthy), 'conflict');
    },
    async check(findings) {
      const { state } = bodyOf(await calls.getGrant(healthy, agent, grantId));
      if (state !== 'revoked') findings.lost.push(`a grant that was revoked is ${state}`);
      refused(await calls.unwrap(healthy, agent, delivery?.artifact_id ?? ''), 'conflict');
    },
  };
}

async function revokeSessionTrial(scene: Scene): Promise<Trial> {
  const { calls, healthy } = scene;
  const agent = bodyOf(await calls.openSession(healthy, TENANTS.free));
  const { delivery } = await aSecret(scene, agent);
  const handle = await aHandle(scene, agent);
  const revoke = (client: TransportClient) => calls.revokeSession(client, agent);
  return {
    run: revoke,
    async again() {
      refusedOrDone(await revoke(healthy), 'conflict');
    },
    async check() {
      refused(await calls.requestGrant(healthy, agent, 'proxy', randomUUID()), 'unauthorized');
      refused(await calls.unwrap(healthy, agent, delivery?.artifact_id ?? ''), 'unauthorized');
      refused(await calls.proxied(healthy, handle, nextPage()), 'unauthorized');
    },
  };
}

async function revokeRunTrial(scene: Scene): Promise<Trial> {
  const { calls, healthy } = scene;
  const runId = randomUUID();
  const agents: Agent[] = [];
  const handles: string[] = [];
  for (let count = 0; count < 2; count += 1) {
    const agent = bodyOf(await calls.openSession(healthy, TENANTS.free, { runId }));
    await aSecret(scene, agent);
    handles.push(await aHandle(scene, agent));
    agents.push(agent);
  }
  const revoke = (client: TransportClient) => calls.revokeRun(client, TENANTS.free, runId);
  return {
    run: revoke,
    async again() {
      bodyOf(await revoke(healthy));
    },
    async check() {
      for (const agent of agents) refused(await calls.requestGrant(healthy, agent, 'proxy', randomUUID()), 'unauthorized');
      for (const handle of handles) refused(await calls.proxied(healthy, handle, nextPage()), 'unauthorized');
      refused(await calls.openSession(healthy, TENANTS.free, { runId }), 'forbidden');
    },
  };
}

async function proxiedTrial(scene: Scene): Promise<Trial> {
  const { calls, healthy, world } = scene;
  const agent = bodyOf(await calls.openSession(healthy, TENANTS.free));
  const handle = await aHandle(scene, agent);
  const pages = [nextPage(), nextPage()] as const;
  return {
    run: (client) => calls.proxied(client, handle, pages[0]),
    async again() {
      bodyOf(await calls.proxied(healthy, handle, pages[1]));
    },
    async check(findings) {
      const [first = 0, second = 0] = pages.map((page) => arrivalsOf(world, page));
      if (first > 1) findings.doubled.push(`a call reached GitHub ${first} times`);
      if (second !== 1) findings.lost.push(`a call that was answered reached GitHub ${second} times`);
      const { rows } = await world.database.query(REQUESTS_USED, [agent.sessionId]);
      const [{ used }] = usage.parse(rows);
      if (used < first + second) findings.lost.push(`${first + second} calls reached GitHub, and ${used} were counted`);
    },
  };
}

const REQUESTS_USED = 'SELECT requests_used AS used FROM artifacts WHERE session_id = $1';
const usage = z.tuple([z.object({ used: z.number() })]);

let pages = 0;
/** GitHub tells calls apart by the page that they ask for. */
export const nextPage = (): number => (pages += 1);

/** How often a page was asked for. */
export const arrivalsOf = ({ github }: World, page: number): number =>
  github.requests.filter(({ url }) => new URL(url, github.url).searchParams.get('page') === String(page)).length;

async function aSecret({ calls, healthy }: Scene, agent: Agent): Promise<GrantBody> {
  return bodyOf(await calls.requestGrant(healthy, agent, 'wrapped_secret', randomUUID()));
}

async function aHandle({ calls, healthy }: Scene, agent: Agent): Promise<string> {
  const { delivery } = bodyOf(await calls.requestGrant(healthy, agent, 'proxy', randomUUID()));
  if (delivery?.handle === undefined) throw new Error('no handle');
  return delivery.handle;
}

/** A secret that two people have to approve. */
async function aRequestForTwo({ calls, healthy }: Scene) {
  const agent = bodyOf(await calls.openSession(healthy, TENANTS.two));
  const answer = await calls.requestGrant(healthy, agent, 'wrapped_secret', randomUUID());
  const { grant_id: grantId, approval_id: approvalId } = bodyOf(answer);
  if (approvalId === undefined) throw new Error('nobody is asked');
  return { agent, grantId, approvalId };
}

const leaseOfGrant = z.tuple([z.object({ id: z.string() })]);

/** Opens the secret of a grant, which must be that of the lease that was issued for it. */
async function opens({ world, calls, healthy }: Scene, agent: Agent, grant: GrantBody, findings: Findings): Promise<void> {
  const { grant_id: grantId, state, delivery } = grant;
  if (delivery === undefined) {
    findings.lost.push(`grant ${grantId} is ${state} and delivers nothing`);
    return;
  }
  const password = bodyOf(await calls.unwrap(healthy, agent, delivery.artifact_id));
  const { rows } = await world.database.query('SELECT id FROM revocation_jobs WHERE grant_id = $1', [grantId]);
  const [{ id }] = leaseOfGrant.parse(rows);
  const lease = world.leases.ledger.issued().find(({ revocationId }) => revocationId === id);
  if (lease?.password !== password) findings.leaked.push(`grant ${grantId} opened the secret of another`);
  if (lease?.isRevoked !== false) findings.lost.push(`the lease of grant ${grantId} is dead`);
}

function refused(answer: Answer<unknown>, code: string): void {
  if (answer.kind !== 'refused' || answer.code !== code) throw new Error(`expected ${code}, got ${JSON.stringify(answer)}`);
}

/** A repetition is done, or refused because the first time it was done. */
function refusedOrDone(answer: Answer<unknown>, code: string): void {
  if (answer.kind !== 'done') refused(answer, code);
}

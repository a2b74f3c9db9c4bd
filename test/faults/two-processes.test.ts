import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { TENANTS } from '../support/configured.ts';
import { jsonClient, type TransportClient } from '../support/transports.ts';
import { type Agent, type Answer, bodyOf } from './agents.ts';
import { FaultProcess } from './fault-process.ts';
import { type HealthyScene, healthyScene } from './healthy-scene.ts';
import { countsOf, type Findings, noFindings } from './invariants.ts';
import { nextPage } from './operations.ts';
import { addRow } from './report.ts';
import { settle } from './settle.ts';

const BUDGET = 100;
let made: HealthyScene;
let processes: readonly FaultProcess[];
/** The ways to two processes that share their stores. */
let clients: readonly TransportClient[];

beforeAll(async () => {
  made = await healthyScene({
    ASB_PROXY_MAX_REQUESTS: String(BUDGET),
    // So that nothing but the budget stands in the way.
    ASB_PROXY_MAX_CONCURRENT: '1000',
  });
  const { environment } = made.scene.world;
  processes = await Promise.all([FaultProcess.api(environment), FaultProcess.api(environment)]);
  clients = processes.map(({ url }) => jsonClient(url));
});
afterAll(async () => {
  for (const client of clients) client.close();
  await Promise.all(processes.map((process) => process.kill()));
  await made.close();
});

/** Makes so many calls at once, one process after the other. Answers how many were done, and why the others were refused. */
async function atOnce(count: number, call: (client: TransportClient, number: number) => Promise<Answer<unknown>>) {
  const answers = await Promise.all(
    Array.from({ length: count }, (_, number) => call(clients[number % clients.length]!, number)),
  );
  const codes = answers.flatMap((answer) =>
    answer.kind === 'done' ? [] : [answer.kind === 'refused' ? answer.code : 'broken'],
  );
  return { done: count - codes.length, refusedFor: [...new Set(codes)] };
}

async function expectSettled(name: string, asked: number, done: number): Promise<void> {
  const findings: Findings = noFindings();
  await settle(made.scene.world, findings);
  addRow(inject('faultReport'), {
    fault: `${name}, at two APIs at once`,
    inFlight: asked,
    done: asked,
    acknowledged: done,
    ...countsOf(findings),
    recovery: '-',
  });
  expect(findings).toEqual(noFindings());
}

async function anAgent(tenant: string): Promise<Agent> {
  const { calls, healthy } = made.scene;
  return bodyOf(await calls.openSession(healthy, tenant));
}

describe('two API processes on one Postgres and one Redis', () => {
  test('let one of 200 open a secret', async () => {
    const { calls, healthy } = made.scene;
    const agent = await anAgent(TENANTS.free);
    const { delivery } = bodyOf(await calls.requestGrant(healthy, agent, 'wrapped_secret', randomUUID()));
    const result = await atOnce(200, (client) => calls.unwrap(client, agent, delivery?.artifact_id ?? ''));
    expect(result).toEqual({ done: 1, refusedFor: ['conflict'] });
    await expectSettled('200 open one secret', 200, result.done);
  });

  test('let one of 200 decide on an approval', async () => {
    const { calls, healthy, world } = made.scene;
    const agent = await anAgent(TENANTS.human);
    const { approval_id: approvalId = '' } = bodyOf(
      await calls.requestGrant(healthy, agent, 'wrapped_secret', randomUUID()),
    );
    const issued = world.leases.ledger.issued().length;
    const result = await atOnce(200, (client, number) => calls.approve(client, approvalId, `approver-${number}`));
    expect(result).toEqual({ done: 1, refusedFor: ['conflict'] });
    expect(world.leases.ledger.issued().length - issued).toBe(1);
    await expectSettled('200 decide on one approval', 200, result.done);
  });

  test('let 100 of 1,000 calls through on a budget of 100', async () => {
    const { calls, healthy, world } = made.scene;
    const agent = await anAgent(TENANTS.free);
    const { delivery } = bodyOf(await calls.requestGrant(healthy, agent, 'proxy', randomUUID()));
    const before = world.github.requests.length;
    const result = await atOnce(1000, (client) => calls.proxied(client, delivery?.handle ?? '', nextPage()));
    expect(result).toEqual({ done: BUDGET, refusedFor: ['resource_budget_exceeded'] });
    expect(world.github.requests.length - before).toBe(BUDGET);
    await expectSettled('1,000 calls on a budget of 100', 1000, result.done);
  });
});

import { setTimeout as wait } from 'node:timers/promises';
import type { Pool } from 'pg';
import { z } from 'zod';
import { systemClock } from '../../src/bootstrap/system-clock.ts';
import { expireDue } from '../../src/broker/expire-due.ts';
import { makeIdSource } from '../../src/crypto/random-ids.ts';
import { MemoryRuntimeStore } from '../../src/store/memory/memory-runtime-store.ts';
import { openPool } from '../../src/store/postgres/pool.ts';
import { PostgresRepository } from '../../src/store/postgres/postgres-repository.ts';
import { median, say } from '../load.ts';
import type { Setting } from '../setting.ts';
import { ADD_DUE, BACKLOG, COUNT_UNSEALED, FILL } from './fill-statements.ts';
import { type DurableServers, startWorker } from './servers.ts';

/** What one pass takes of each kind: the worker's default. */
const LIMIT = 100;
const FILL_STEP = 20_000;
/** Sessions that the grants which run out are of. */
const SESSIONS = 200;
const RATE_GOAL = 1000;
const FIVE_MINUTES_MS = 300_000;
const WORKLOAD = {
  type: 'k8s_sa',
  issuer: 'https://kubernetes.default.svc.cluster.local',
  subject: 'system:serviceaccount:agents:reviewer',
  audience: 'asb-control-plane',
  namespace: 'agents',
  serviceAccount: 'reviewer',
  attributes: { pod_name: 'reviewer-0', node_name: 'node-1' },
};

interface Amounts {
  /** Of sessions, grants, artifacts and events each, when it is measured. */
  tableSizes: readonly number[];
  due: number;
  sustainedSeconds: number;
}

/** What the cleanup takes for grants that have run out, and whether a worker keeps up with those that run out meanwhile. */
export async function measureCleanup(setting: Setting, servers: DurableServers, amounts: Amounts): Promise<void> {
  const dsn = await servers.makeDatabase('cleanup');
  const pool = openPool({ dsn, maxConnections: 20, statementTimeoutMs: FIVE_MINUTES_MS, lockTimeoutMs: 3000 });
  setting.keep({ stop: () => pool.end() });
  say(`cleanup: ${amounts.due} grants that ran out, ${LIMIT} a pass, beside so many sessions, grants, artifacts and events`);
  say('rows of each   grants a second   ms a pass: median   most   goal');
  let filled = 0;
  for (const [batch, size] of amounts.tableSizes.entries()) {
    await fill(pool, filled, size);
    filled = size;
    await pool.query(ADD_DUE, [batch, amounts.due, SESSIONS, new Date(Date.now() - amounts.due), amounts.due]);
    const passes = await endAll(pool);
    const rate = (amounts.due / passes.reduce((sum, ms) => sum + ms, 0)) * 1000;
    const figures = `${rate.toFixed(0).padEnd(18)}${median(passes).toFixed(1).padEnd(20)}${Math.max(...passes).toFixed(1)}`;
    say(`${String(size).padEnd(15)}${figures.padEnd(45)}the same at every size`);
  }
  await sustain(setting, servers, { dsn, pool, seconds: amounts.sustainedSeconds, batch: amounts.tableSizes.length });
}

async function fill(pool: Pool, from: number, to: number): Promise<void> {
  for (let first = from + 1; first <= to; first += FILL_STEP) {
    await pool.query(FILL, [first, Math.min(first + FILL_STEP - 1, to), WORKLOAD]);
  }
  // As autovacuum would within minutes; and what the filling has left to be written is not the cleanup's to pay.
  await pool.query('VACUUM (ANALYZE)');
  await pool.query('CHECKPOINT');
}

/** Passes of the cleanup until nothing is left that has run out. Answers what each took, in milliseconds. */
async function endAll(pool: Pool): Promise<number[]> {
  const clock = systemClock;
  const pass = expireDue({
    clock,
    ids: makeIdSource({ clock, handleKey: new Uint8Array(32) }),
    repository: new PostgresRepository({ pool }),
    runtime: new MemoryRuntimeStore(),
    revision: () => 'f'.repeat(64),
    retentionSeconds: 86_400,
  });
  const passes: number[] = [];
  for (;;) {
    const start = performance.now();
    const { grants } = await pass(LIMIT, 'req_bench');
    if (grants === 0) return passes;
    passes.push(performance.now() - start);
  }
}

interface Sustained {
  dsn: string;
  pool: Pool;
  seconds: number;
  batch: number;
}

const backlog = z.object({ grants: z.number(), seconds: z.number() });
const unsealed = z.object({ events: z.number() });

/** A worker process, and a thousand grants a second that run out. */
async function sustain(setting: Setting, servers: DurableServers, { dsn, pool, seconds, batch }: Sustained): Promise<void> {
  setting.keep(await startWorker(setting.apiEnvironment(servers.environmentOf(dsn))));
  const start = Date.now() + 2000;
  await pool.query(ADD_DUE, [batch, seconds * RATE_GOAL, SESSIONS, new Date(start), seconds * 1000]);
  const look = async () => backlog.parse((await pool.query(BACKLOG)).rows[0]);
  const lags: number[] = [];
  while (Date.now() < start + seconds * 1000) {
    await wait(250);
    lags.push((await look()).seconds);
  }
  const atEnd = await look();
  while ((await look()).grants > 0) await wait(50);
  const behindSeconds = (Date.now() - start) / 1000 - seconds;
  const { events } = unsealed.parse((await pool.query(COUNT_UNSEALED)).rows[0]);
  say(`cleanup: ${RATE_GOAL} grants a second run out for ${seconds} s, beside a worker with --interval 1s:`);
  say(
    `  the oldest waited ${Math.max(...lags).toFixed(1)} s at most; at the end ${atEnd.grants} waited, and all were done ` +
      `${behindSeconds.toFixed(1)} s later, with ${events} events still to be sealed (goal: it keeps up)`,
  );
}

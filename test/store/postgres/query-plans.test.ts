import type { Pool } from 'pg';
import { Pool as PlainPool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openPool } from '../../../src/store/postgres/pool.ts';
import { PostgresRepository } from '../../../src/store/postgres/postgres-repository.ts';
import { openDatabase, type TestDatabase } from '../../support/postgres.ts';
import { type Call, type Calls, CHANGES, everyCall, given } from './every-call.ts';
import { asDsnOptions, EXPLAINING } from './explaining.ts';
import { countRows, fillWithRows } from './many-rows.ts';

/** How many rows each table has; `ASB_TEST_PLAN_ROWS=1000000` takes minutes, and prints what each call takes. */
const ROWS = Number(process.env.ASB_TEST_PLAN_ROWS ?? 50_000);

interface World {
  database: TestDatabase;
  pool: Pool;
  repository: PostgresRepository;
  plans: string[];
}
const opened: World[] = [];

beforeAll(async () => {
  const database = await openDatabase();
  const admin = new PlainPool({ connectionString: database.dsn });
  await fillWithRows(admin, ROWS);
  await countRows(admin);
  await admin.end();
  const dsn = new URL(database.dsn);
  dsn.searchParams.set('options', asDsnOptions(EXPLAINING));
  const pool = openPool({ dsn: dsn.href, maxConnections: 1, statementTimeoutMs: 60_000, lockTimeoutMs: 10_000 });
  const plans: string[] = [];
  pool.on('connect', (client) => client.on('notice', ({ message = '' }) => plans.push(message)));
  opened.push({ database, pool, repository: new PostgresRepository({ pool }), plans });
}, 30 * 60_000);

afterAll(async () => {
  await opened[0]?.pool.end();
  await opened[0]?.database.close();
});

function world(): World {
  const [current] = opened;
  if (current === undefined) throw new Error('nothing is open');
  return current;
}

/** The plans of what a call does. */
async function plansOf(call: () => Promise<unknown>): Promise<string[]> {
  const { plans } = world();
  plans.length = 0;
  const started = performance.now();
  await call();
  if (process.env.ASB_TEST_PLAN_ROWS !== undefined) {
    const name = expect.getState().currentTestName?.split(' > ').at(-1) ?? '';
    process.stdout.write(`${name}: ${(performance.now() - started).toFixed(1)} ms\n`);
  }
  return [...plans];
}

/** The parts of plans that read a whole table. Fails when there are no plans at all. */
function sequentialScans(plans: readonly string[]): string[] {
  expect(plans.filter((plan) => plan.includes('plan:'))).not.toEqual([]);
  return plans.flatMap((plan) => plan.split('\n').filter((line) => line.includes('Seq Scan')));
}

const named = (calls: Calls): [string, Call][] =>
  Object.entries(calls).flatMap(([name, variants]) =>
    variants.map((call, index): [string, Call] => [variants.length === 1 ? name : `${name}, ${index + 1}`, call]),
  );

describe(`in tables of ${ROWS} rows no table is read from one end to the other`, () => {
  it('or this test would see it', async () => {
    const { pool } = world();
    const plans = await plansOf(() => pool.query(`SELECT FROM grants WHERE reason = 'nothing has an index on this'`));
    expect(sequentialScans(plans)).toEqual([expect.stringMatching(/Seq Scan on grants/)]);
  });

  it.each(named(everyCall(ROWS)))('by %s', async (_, call) => {
    const plans = await plansOf(() => call(world().repository));
    expect(sequentialScans(plans)).toEqual([]);
  });

  it.each(Object.entries(CHANGES))('by %s in a unit', async (_, stage) => {
    const { repository } = world();
    const rows = await given(repository);
    const plans = await plansOf(() => repository.transact((unit) => stage(unit, rows)));
    expect(sequentialScans(plans)).toEqual([]);
  });
});

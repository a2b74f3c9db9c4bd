import { expect, it } from 'vitest';
import { makeMetrics } from '../../src/transport/metrics.ts';
import { WORKER_LOOPS } from '../../src/transport/worker-metrics.ts';

/** The lines of one metric, without its help. */
async function linesOf(metrics: ReturnType<typeof makeMetrics>, name: string): Promise<string[]> {
  const { body } = await metrics.render();
  return body.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
}

it('shows the leases that are open, and nought for those that are not any more', async () => {
  const metrics = makeMetrics();
  expect(await linesOf(metrics, 'asb_leases_open')).toEqual([]);
  metrics.observeOpenLeases([
    { connector: 'vaultdb', state: 'held', count: 7 },
    { connector: 'vaultdb', state: 'due', count: 2 },
    { connector: 'browser', state: 'requested', count: 1 },
  ]);
  expect(await linesOf(metrics, 'asb_leases_open')).toEqual([
    'asb_leases_open{connector="vaultdb",state="requested"} 0',
    'asb_leases_open{connector="vaultdb",state="held"} 7',
    'asb_leases_open{connector="vaultdb",state="due"} 2',
    'asb_leases_open{connector="browser",state="requested"} 1',
    'asb_leases_open{connector="browser",state="held"} 0',
    'asb_leases_open{connector="browser",state="due"} 0',
  ]);
  metrics.observeOpenLeases([{ connector: 'vaultdb', state: 'due', count: 1 }]);
  expect(await linesOf(metrics, 'asb_leases_open')).toEqual([
    'asb_leases_open{connector="vaultdb",state="requested"} 0',
    'asb_leases_open{connector="vaultdb",state="held"} 0',
    'asb_leases_open{connector="vaultdb",state="due"} 1',
    'asb_leases_open{connector="browser",state="requested"} 0',
    'asb_leases_open{connector="browser",state="held"} 0',
    'asb_leases_open{connector="browser",state="due"} 0',
  ]);
});

it('names a score of connectors and counts the leases of all others as one', async () => {
  const metrics = makeMetrics();
  const many = Array.from({ length: 1000 }, (_, index) => ({
    connector: `connector-${index}`,
    state: 'due' as const,
    count: 1,
  }));
  for (const leases of [many, many.toReversed()]) {
    metrics.observeOpenLeases(leases);
    const lines = await linesOf(metrics, 'asb_leases_open');
    expect(lines).toHaveLength(3 * 21);
    expect(lines).toContain('asb_leases_open{connector="connector-0",state="due"} 1');
    expect(lines).toContain('asb_leases_open{connector="other",state="due"} 980');
  }
});

it('counts what became of attempts to revoke', async () => {
  const metrics = makeMetrics();
  metrics.observeRevocations({ revoked: 3, failed: 0, expired: 0 });
  metrics.observeRevocations({ revoked: 1, failed: 2, expired: 1 });
  expect(await linesOf(metrics, 'asb_revocations_total')).toEqual([
    'asb_revocations_total{outcome="revoked"} 4',
    'asb_revocations_total{outcome="failed"} 2',
    'asb_revocations_total{outcome="expired"} 1',
  ]);
});

it('counts calls that were ended for their makers', async () => {
  const metrics = makeMetrics();
  metrics.observeOverdueCalls(0);
  metrics.observeOverdueCalls(3);
  expect(await linesOf(metrics, 'asb_overdue_calls_total')).toEqual(['asb_overdue_calls_total 3']);
});

it('counts what was sealed and shows what is left, once somebody has looked', async () => {
  const metrics = makeMetrics();
  expect(await linesOf(metrics, 'asb_audit_events_unsealed')).toEqual([]);
  metrics.observeSealing({ sealed: 100, unsealed: 42 });
  metrics.observeSealing({ sealed: 42, unsealed: 0 });
  expect(await linesOf(metrics, 'asb_audit_events_sealed_total')).toEqual(['asb_audit_events_sealed_total 142']);
  expect(await linesOf(metrics, 'asb_audit_events_unsealed')).toEqual(['asb_audit_events_unsealed 0']);
});

it('tells when each loop last came to an end', async () => {
  const metrics = makeMetrics();
  expect(await linesOf(metrics, 'asb_worker_last_pass_timestamp_seconds')).toEqual([]);
  for (const loop of WORKER_LOOPS) metrics.observePass(loop, new Date('2026-01-02T03:04:05.000Z'));
  metrics.observePass('cleanup', new Date('2026-01-02T03:04:35.500Z'));
  expect(await linesOf(metrics, 'asb_worker_last_pass_timestamp_seconds')).toEqual(
    WORKER_LOOPS.map(
      (loop) =>
        `asb_worker_last_pass_timestamp_seconds{loop="${loop}"} ${loop === 'cleanup' ? '1767323075.5' : '1767323045'}`,
    ),
  );
});

it('describes every metric of its own', async () => {
  const metrics = makeMetrics();
  const { body } = await metrics.render();
  const names = [...body.matchAll(/^# TYPE (asb_\w+) /gm)].map(([, name = '']) => name);
  expect(names.length).toBeGreaterThan(10);
  for (const name of names) expect(body).toMatch(new RegExp(`^# HELP ${name} [A-Z].*\\.$`, 'm'));
});

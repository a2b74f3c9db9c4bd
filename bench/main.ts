import { parseArgs } from 'node:util';
import { measureCleanup } from './durable/cleanup.ts';
import { memoryOfLongRun } from './durable/long-run.ts';
import { compareWithHungVault } from './hung-vault.ts';
import { countRoundTrips } from './durable/round-trips.ts';
import { startDurableServers } from './durable/servers.ts';
import { compareOnDurable } from './durable/throughput.ts';
import type { Pace } from './load.ts';
import { compareOnMemory, memoryAfterSessions } from './memory-store.ts';
import { Setting } from './setting.ts';

// Load on the running processes beside floor servers. Without flags everything is measured.

const { values: flags } = parseArgs({
  options: {
    /** Seconds instead of minutes; the figures mean nothing. */
    smoke: { type: 'boolean', default: false },
    /** Only on Postgres and Redis. */
    durable: { type: 'boolean', default: false },
    // Only these measurements.
    throughput: { type: 'boolean', default: false },
    memory: { type: 'boolean', default: false },
    cleanup: { type: 'boolean', default: false },
    'round-trips': { type: 'boolean', default: false },
    'hung-vault': { type: 'boolean', default: false },
  },
});
const { smoke } = flags;
const PACE: Pace = smoke ? { rounds: 1, seconds: 1, warmUpSeconds: 1 } : { rounds: 5, seconds: 5, warmUpSeconds: 3 };
const SESSIONS = smoke ? 1000 : 50_000;
const CLEANUP = smoke
  ? { tableSizes: [1000, 10_000], due: 500, sustainedSeconds: 2 }
  : { tableSizes: [10_000, 1_000_000], due: 5000, sustainedSeconds: 20 };
const MEASUREMENTS = ['throughput', 'memory', 'cleanup', 'round-trips', 'hung-vault'] as const;
const named = MEASUREMENTS.filter((name) => flags[name]);
/** The hung Vault is no matter of stores. */
const ON_DURABLE = MEASUREMENTS.filter((name) => name !== 'hung-vault');
const isAsked = (name: (typeof MEASUREMENTS)[number]): boolean => named.length === 0 || named.includes(name);

async function onMemory(setting: Setting): Promise<void> {
  if (isAsked('throughput')) await compareOnMemory(setting, PACE);
  await setting.stopAll();
  if (isAsked('hung-vault')) await compareWithHungVault(setting, PACE);
  await setting.stopAll();
  if (isAsked('memory')) await memoryAfterSessions(setting, SESSIONS);
  await setting.stopAll();
}

async function onDurable(setting: Setting): Promise<void> {
  if (named.length > 0 && !ON_DURABLE.some(isAsked)) return;
  const servers = await startDurableServers(setting);
  try {
    if (isAsked('round-trips')) await countRoundTrips(setting, servers);
    if (isAsked('throughput')) await compareOnDurable(setting, servers, PACE);
    await setting.stopAll();
    if (isAsked('memory')) await memoryOfLongRun(setting, servers, 2 * SESSIONS);
    await setting.stopAll();
    if (isAsked('cleanup')) await measureCleanup(setting, servers, CLEANUP);
  } finally {
    await setting.stopAll();
    await servers.close();
  }
}

const setting = await Setting.open();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  // The servers end with this process; what it started besides must be told.
  process.once(signal, () => void setting.close().finally(() => process.exit(1)));
}
try {
  if (!flags.durable) await onMemory(setting);
  await onDurable(setting);
} finally {
  await setting.close();
}

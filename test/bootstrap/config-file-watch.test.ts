import { mkdirSync, readdirSync, renameSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { readRegularFile, type FileReader } from '../../src/bootstrap/config-file/file-reader.ts';
import { type ConfigFileResult, readConfigFile } from '../../src/bootstrap/config-file/read-config-file.ts';
import { watchConfigFile } from '../../src/bootstrap/config-file/watch-config-file.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { ConfigFolder, SIGNING_SECRET } from './config-file-folder.ts';
import { changed, NO_ISSUERS, SAMPLE } from './config-file-sample.ts';

/** A clock that can be waited for: a step that is due is over when the next one is planned. */
class StepClock extends FakeClock {
  #planned = 0;
  #waiting: (() => void) | null = null;

  override schedule(delayMs: number, task: () => void): () => void {
    this.#planned += 1;
    this.#waiting?.();
    return super.schedule(delayMs, task);
  }

  /** Moves time on, by no more than one step, and waits until that has ended. */
  async step(seconds: number): Promise<void> {
    const planned = this.#planned;
    const next = new Promise<void>((resolve) => (this.#waiting = resolve));
    this.advance(seconds);
    if (this.#planned === planned) await next;
  }
}

interface Watched {
  read?: FileReader;
  /** What is wrong with settings whose file is good. */
  unusable?: () => readonly string[];
}

/** Watches a folder's file from a first reading on. */
async function watched(path: string, { read = readRegularFile, unusable = () => [] }: Watched = {}) {
  const clock = new StepClock();
  const told: string[] = [];
  const first = await readConfigFile(path, NO_ISSUERS, { read });
  const load = vi.fn(() => readConfigFile(path, NO_ISSUERS, { read }));
  const watcher = watchConfigFile({
    clock,
    load,
    read,
    seen: first.seen,
    onLoaded({ policies }) {
      const problems = unusable();
      if (problems.length === 0) told.push(`max ${policies[0]?.maxTtlSeconds ?? 0}`);
      return problems;
    },
    onRejected: (problems) => void told.push(...problems.map((line) => line.replace(path, 'FILE'))),
    onError: (error) => void told.push(`error: ${String(error)}`),
  });
  return { clock, told, load, watcher };
}

const withMax = (ttl: string): string => changed('max_ttl: 15m', `max_ttl: ${ttl}`);

test('a file that stays the same is not read anew', async () => {
  using folder = new ConfigFolder();
  const { clock, told, load, watcher } = await watched(folder.file);
  for (let pass = 0; pass < 5; pass += 1) await clock.step(10);
  folder.write('asb.yaml', SAMPLE);
  await clock.step(10);
  await watcher.stop();
  expect(load).not.toHaveBeenCalled();
  expect(told).toEqual([]);
});

test('a file that has changed is in force within eleven seconds', async () => {
  using folder = new ConfigFolder();
  const { clock, told, watcher } = await watched(folder.file);
  folder.write('asb.yaml', withMax('20m'));
  await clock.step(10);
  await clock.step(1);
  await watcher.stop();
  expect(told).toEqual(['max 1200']);
});

test('a file that is still being written is left until it stays the same', async () => {
  using folder = new ConfigFolder();
  const { clock, told, load, watcher } = await watched(folder.file);
  // Without its last lines the policy would have no condition.
  folder.write('asb.yaml', withMax('20m').replace(/ +condition[^]*/, ''));
  await clock.step(10);
  folder.write('asb.yaml', withMax('20m').replace(/attestation[^]*/, ''));
  await clock.step(1);
  folder.write('asb.yaml', withMax('20m'));
  await clock.step(1);
  expect(load).not.toHaveBeenCalled();
  await clock.step(1);
  await watcher.stop();
  expect(told).toEqual(['max 1200']);
});

test('what changes between being seen and being read is read once more', async () => {
  using folder = new ConfigFolder();
  const { clock, told, load, watcher } = await watched(folder.file);
  folder.write('asb.yaml', withMax('20m'));
  await clock.step(10);
  load.mockImplementationOnce(() => {
    folder.write('asb.yaml', withMax('25m'));
    return readConfigFile(folder.file, NO_ISSUERS);
  });
  await clock.step(1);
  expect(told).toEqual([]);
  await clock.step(1);
  await clock.step(1);
  await watcher.stop();
  expect(told).toEqual(['max 1500']);
});

test('a bad file is told once, and a good one after it is in force', async () => {
  using folder = new ConfigFolder();
  const { clock, told, watcher } = await watched(folder.file);
  folder.write('asb.yaml', withMax('15 minutes'));
  await clock.step(10);
  await clock.step(1);
  const bad = ['FILE:27:18: tenants[0].policies[0].max_ttl: must be a duration such as 90s, 10m or 1h, and 24h at most'];
  expect(told).toEqual(bad);
  await clock.step(10);
  await clock.step(10);
  expect(told).toEqual(bad);
  folder.write('asb.yaml', SAMPLE);
  await clock.step(10);
  await clock.step(1);
  await watcher.stop();
  expect(told).toEqual([...bad, 'max 900']);
});

test('a file that is gone is told once, and is in force when it is back', async () => {
  using folder = new ConfigFolder();
  const { clock, told, watcher } = await watched(folder.file);
  folder.remove('asb.yaml');
  await clock.step(10);
  await clock.step(1);
  await clock.step(10);
  const gone = ['FILE: the file cannot be read (ENOENT)'];
  expect(told).toEqual(gone);
  folder.write('asb.yaml', SAMPLE);
  await clock.step(10);
  await clock.step(1);
  await watcher.stop();
  expect(told).toEqual([...gone, 'max 900']);
});

test('a swapped symbolic link is seen, as Kubernetes swaps it', async () => {
  using folder = new ConfigFolder();
  for (const [version, ttl] of [
    ['..1', '15m'],
    ['..2', '30m'],
  ] as const) {
    mkdirSync(join(folder.path, version));
    for (const name of readdirSync(folder.path).filter((entry) => /^[a-z]/.test(entry))) {
      symlinkSync(join('..', name), join(folder.path, version, name));
    }
    folder.write(`${version}/asb.yaml`, withMax(ttl));
  }
  symlinkSync('..1', join(folder.path, '..data'));
  const { clock, told, watcher } = await watched(join(folder.path, '..data', 'asb.yaml'));
  symlinkSync('..2', join(folder.path, '..data_tmp'));
  renameSync(join(folder.path, '..data_tmp'), join(folder.path, '..data'));
  await clock.step(10);
  await clock.step(1);
  await watcher.stop();
  expect(told).toEqual(['max 1800']);
});

test('a secret that was rotated, or shown to others, is seen as well', async () => {
  using folder = new ConfigFolder();
  const { clock, told, watcher } = await watched(folder.file);
  folder.write('desk.secret', `whsec_${Buffer.alloc(32, 7).toString('base64')}`);
  await clock.step(10);
  await clock.step(1);
  expect(told).toEqual(['max 900']);
  folder.write('desk.secret', SIGNING_SECRET, 0o644);
  await clock.step(10);
  await clock.step(1);
  await watcher.stop();
  expect(told).toEqual([
    'max 900',
    'FILE:58:20: notifications.receivers[0].secret_file: the file is a secret and others may use it (mode 0644); make it 0600 or 0400',
  ]);
});

test('a token that is rotated is not a change', async () => {
  using folder = new ConfigFolder();
  const { clock, load, watcher } = await watched(folder.file);
  folder.write('token', 'another token');
  await clock.step(10);
  await clock.step(10);
  await watcher.stop();
  expect(load).not.toHaveBeenCalled();
});

const NO_TOKEN = 'FILE:36:85: attestation.kubernetes[0].token_review.token_file: the file cannot be read (ENOENT)';

test('a file that was rejected for want of a token is in force once the token is there', async () => {
  using folder = new ConfigFolder();
  const { clock, told, watcher } = await watched(folder.file);
  folder.remove('token');
  folder.write('asb.yaml', withMax('20m'));
  await clock.step(10);
  await clock.step(1);
  await clock.step(10);
  await clock.step(10);
  expect(told).toEqual([NO_TOKEN]);
  folder.write('token', 'a token');
  await clock.step(10);
  await clock.step(10);
  await watcher.stop();
  expect(told).toEqual([NO_TOKEN, 'max 1200']);
});

test('settings that could not be used are in force once they can be, and each state is told once', async () => {
  using folder = new ConfigFolder();
  let problems: readonly string[] = ['ci.pem is gone'];
  const { clock, told, watcher } = await watched(folder.file, { unusable: () => problems });
  folder.write('asb.yaml', withMax('20m'));
  await clock.step(10);
  await clock.step(1);
  await clock.step(10);
  problems = ['ca.pem is gone'];
  await clock.step(10);
  await clock.step(10);
  problems = [];
  await clock.step(10);
  await clock.step(10);
  await watcher.stop();
  expect(told).toEqual(['ci.pem is gone', 'ca.pem is gone', 'max 1200']);
});

test('a rejected file that is being written is left until it stays the same', async () => {
  using folder = new ConfigFolder();
  const { clock, told, load, watcher } = await watched(folder.file);
  folder.write('asb.yaml', 'version: 1');
  await clock.step(10);
  await clock.step(1);
  const loads = load.mock.calls.length;
  folder.write('asb.yaml', withMax('20m').replace(/ +condition[^]*/, ''));
  await clock.step(10);
  folder.write('asb.yaml', withMax('20m'));
  await clock.step(1);
  expect(load).toHaveBeenCalledTimes(loads);
  await clock.step(1);
  await watcher.stop();
  expect(told).toEqual(['FILE:1:1: tenants: is missing', 'max 1200']);
});

test('a reload tells what is wrong even when it has been told', async () => {
  using folder = new ConfigFolder();
  const { told, watcher } = await watched(folder.file);
  folder.write('asb.yaml', 'version: 1');
  await watcher.reload();
  await watcher.reload();
  await watcher.stop();
  expect(told).toEqual(['FILE:1:1: tenants: is missing', 'FILE:1:1: tenants: is missing']);
});

test('a reload reads at once, whether the file has changed or not', async () => {
  using folder = new ConfigFolder();
  const { told, watcher } = await watched(folder.file);
  await watcher.reload();
  folder.write('asb.yaml', withMax('20m'));
  await watcher.reload();
  folder.write('asb.yaml', 'version: 1');
  await watcher.reload();
  await watcher.stop();
  expect(told).toEqual(['max 900', 'max 1200', 'FILE:1:1: tenants: is missing']);
});

test('what a reload has read is not read again by the next look', async () => {
  using folder = new ConfigFolder();
  const { clock, told, load, watcher } = await watched(folder.file);
  folder.write('asb.yaml', withMax('20m'));
  await clock.step(10);
  await watcher.reload();
  await clock.step(1);
  await clock.step(10);
  await watcher.stop();
  expect(load).toHaveBeenCalledTimes(1);
  expect(told).toEqual(['max 1200']);
});

/** A reading that ends when it is told to. */
function heldBack(results: readonly ConfigFileResult[]) {
  const release: (() => void)[] = [];
  let underWay = 0;
  let most = 0;
  const load = (): Promise<ConfigFileResult> =>
    new Promise((resolve) => {
      most = Math.max(most, (underWay += 1));
      const result = results[release.length]!;
      release.push(() => {
        underWay -= 1;
        resolve(result);
      });
    });
  return { load, release, mostAtOnce: () => most };
}

const rejected = (problem: string): ConfigFileResult => ({
  outcome: 'invalid',
  problems: [problem],
  warnings: [],
  seen: new Map(),
});
const settle = () => new Promise(setImmediate);

test('reloads never overlap, and those that are asked for meanwhile share one', async () => {
  const clock = new FakeClock();
  const { load, release, mostAtOnce } = heldBack([rejected('first'), rejected('second'), rejected('second')]);
  const told: string[] = [];
  const watcher = watchConfigFile({
    clock,
    load,
    read: () => Promise.resolve({ failure: 'is not looked at' }),
    seen: new Map(),
    onLoaded: () => [],
    onRejected: (problems) => void told.push(...problems),
    onError: (error) => void told.push(String(error)),
  });
  const first = watcher.reload();
  await settle();
  // They come after the first has begun to read, and may have changed the file since.
  const [second, third] = [watcher.reload(), watcher.reload()];
  clock.advance(10);
  await settle();
  expect(release).toHaveLength(1);
  release[0]?.();
  await first;
  await settle();
  expect(told).toEqual(['first']);
  release[1]?.();
  await Promise.all([second, third]);
  expect(told).toEqual(['first', 'second']);
  // The look that fell due meanwhile, which tries again what was rejected.
  await settle();
  expect(release).toHaveLength(3);
  release[2]?.();
  await settle();
  expect(told).toEqual(['first', 'second']);
  expect(mostAtOnce()).toBe(1);
  await watcher.stop();
});

test('stopping waits for the reading under way and begins no other', async () => {
  const clock = new FakeClock();
  const { load, release } = heldBack([rejected('last')]);
  const onRejected = vi.fn();
  const watcher = watchConfigFile({
    clock,
    load,
    read: () => Promise.resolve({ failure: 'is gone' }),
    seen: new Map([['x', 'was there']]),
    onLoaded: () => [],
    onRejected,
    onError: () => undefined,
  });
  void watcher.reload();
  await settle();
  const stopped = watcher.stop();
  release[0]?.();
  await stopped;
  expect(onRejected).toHaveBeenCalledWith(['last']);
  clock.advance(60);
  await settle();
  expect(release).toHaveLength(1);
});

test('settings that cannot be put in force are an error, and the next look tries again', async () => {
  using folder = new ConfigFolder();
  const clock = new StepClock();
  const { seen } = await readConfigFile(folder.file, NO_ISSUERS);
  const onLoaded = vi.fn((): Promise<readonly string[]> => Promise.resolve([])).mockRejectedValueOnce(new Error('no keys'));
  const onError = vi.fn();
  const watcher = watchConfigFile({
    clock,
    load: () => readConfigFile(folder.file, NO_ISSUERS),
    read: readRegularFile,
    seen,
    onLoaded,
    onRejected: () => undefined,
    onError,
  });
  folder.write('asb.yaml', withMax('20m'));
  await clock.step(10);
  await clock.step(1);
  expect(onError).toHaveBeenCalledExactlyOnceWith(new Error('no keys'));
  await clock.step(10);
  await clock.step(10);
  await watcher.stop();
  expect(onError).toHaveBeenCalledTimes(1);
  expect(onLoaded).toHaveBeenCalledTimes(2);
});
